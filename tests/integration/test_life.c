/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests live on: through failures of their init, through a boot of the host; and are put to rest. */
#include <stdlib.h>

#include <string.h>

#include "tests/integration/lib.h"

TestSuite(life, .timeout = 300);

static void have(const char *tenant, const char *limits)
{
	host_ready();
	sh("vm2 tenant remove --yes %s; vm2 plan remove %s-plan", tenant, tenant);
	ok("vm2 plan add %s-plan %s", tenant, limits);
	ok("vm2 tenant add %s --plan %s-plan --key /run/vm2-test/key.pub", tenant, tenant);
}

#define STATE(tenant, state) \
	"vm2 guest show " tenant " --json | jq -e '.state == \"" state "\"'"

Test(life, an_idle_guest_rests_until_somebody_comes)
{
	have("rests", "--idle 1s");
	have("works", "--idle 1s");
	/* What a session has left running keeps its guest; this one is there before the other. */
	assert_status(ssh("works", "", "setsid sleep 1000 </dev/null >/dev/null 2>&1 &"), 0);
	assert_status(ssh("rests", "", "echo mine >/root/mine"), 0);
	wait_for(60, STATE("rests", "stopped") " && ! pgrep -f 'vm2-guest.*[r]ests'");
	ok(STATE("works", "running"));
	cr_assert_str_eq(ok("grep -c 'nobody was here' /run/vm2/guests/rests/console"), "1");
	cr_assert_str_eq(ssh("rests", "", "cat /root/mine").out, "mine\n");
	ok("vm2 host repair --dry-run --json | jq -e '[.[] | select(.name == \"rests\")] == []'");
	/* Taken back while it waits, it holds at once. */
	ok("vm2 plan set works-plan --idle none && vm2 plan set rests-plan --idle none");
}

Test(life, a_failed_init_begins_again_as_the_plan_says)
{
	have("fails", "--restart on-failure");
	ok("vm2 guest start fails && vm2 guest show fails --json | jq .pid >/run/vm2-test/fails.pid");
	ok("kill -9 $(cat /run/vm2-test/fails.pid)");
	wait_for(60, "vm2 guest show fails --json | "
		     "jq -e \".state == \\\"running\\\" and .pid != $(cat /run/vm2-test/fails.pid)\"");
	assert_has(ok("cat /run/vm2/guests/fails/console"), "init ended (signal 9)");
	assert_status(ssh("fails", "", "true"), 0);
	ok("vm2 plan set fails-plan --restart no");
	ok("kill -9 $(vm2 guest show fails --json | jq .pid)");
	wait_for(60, STATE("fails", "stopped") " && ! pgrep -f 'vm2-guest.*[f]ails'");
	/* An end that was asked for is none to mend. */
	ok("vm2 plan set fails-plan --restart on-failure && vm2 guest start fails");
	ok("kill -TERM $(vm2 guest show fails --json | jq .pid)");
	wait_for(60, STATE("fails", "stopped") " && ! pgrep -f 'vm2-guest.*[f]ails'");
}

/* There is one for each guest: KiB of its own, and all that it maps. */
Test(life, what_keeps_a_guest_is_small)
{
	have("small", "");
	ok("vm2 guest start small");
	wait_for(10, ". /run/vm2/guests/small/state && awk '/^Anonymous:/ && $2 <= 56 { few = 1 } "
		     "/^Rss:/ && $2 <= 512 { small = 1 } END { exit !(few && small) }' "
		     "/proc/$supervisor_pid/smaps_rollup");
}

Test(life, memory_runs_out_in_one_guest_only)
{
	have("hog", "--memory 48M");
	tenant_ready("beside");
	assert_status(ssh("beside", "", "true"), 0);
	ok("vm2 guest start hog && vm2 guest show hog --json | jq .pid >/run/vm2-test/hog.pid");
	cr_assert_neq(ssh("hog", "", "head -c 300000000 /dev/zero | tail >/dev/null").status, 0);
	wait_for(30, "vm2 guest console hog | grep 'vm2: out of memory'");
	assert_status(sh("vm2 guest console beside | grep 'out of memory'"), 1);
	ok("vm2 guest show hog --json | jq -e '.kills > 0 and .memory_limit == 50331648'");
	ok("test $(vm2 guest show hog --json | jq .pid) = $(cat /run/vm2-test/hog.pid)");
	/* Files that are memory: what is there for all is full before that is. */
	ok("vm2 guest exec hog -- sh -c 'head -c 99M /dev/zero >/dev/shm/f; head -c 99M /dev/zero >/run/f; true'");
	assert_status(ssh("hog", "", "df -m --output=size /dev/shm | grep -w 24 && rm /dev/shm/f /run/f"), 0);
	assert_status(ssh("beside", "", "true"), 0);
}

Test(life, the_console_is_followed_and_steers_no_terminal)
{
	tenant_ready("says");
	assert_status(ssh("says", "", "true"), 0);
	cr_expect_str_eq(ok("vm2 guest console says"), "");
	ok("vm2 guest console says --follow >/run/vm2-test/says & echo $! >/run/vm2-test/says.pid");
	assert_status(ssh("says", "", "printf \"first\\n\\033]0;x\\007\\n\" >/dev/console"), 0);
	wait_for(20, "grep first /run/vm2-test/says");
	assert_has(ok("script -qc 'vm2 guest console says' /dev/null"), "\\x1b]0;x\\x07");
	assert_has(ok("vm2 guest console says"), "\033]0;x");
	ok("vm2 guest restart says");
	assert_status(ssh("says", "", "echo second >/dev/console"), 0);
	wait_for(20, "grep second /run/vm2-test/says");
	/* Whoever floods it waits, and fills two files of 64 KiB and no more. */
	ok("vm2 guest exec says -- sh -c 'head -c 250000 /dev/zero | tr \\\\0 x >/dev/console; echo third >/dev/console'");
	wait_for(20, "grep third /run/vm2-test/says");
	ok("test $(cat /run/vm2/guests/says/console* | wc -c) -le 131072 && "
	   "test $(vm2 guest console says | wc -c) -ge 65536");
	/* It ends, and another comes; then there is no such tenant. */
	ok("vm2 guest destroy says --yes && vm2 guest start says && vm2 guest exec says -- sh -c 'echo new >/dev/console'");
	wait_for(20, "grep new /run/vm2-test/says");
	ok("kill -0 $(cat /run/vm2-test/says.pid) && vm2 tenant remove says --yes");
	wait_for(20, "! kill -0 $(cat /run/vm2-test/says.pid)");
	tenant_ready("says");
	assert_status(sh("vm2 guest console nosuch"), 3);
	assert_status(sh("runuser -u nobody -- vm2 guest console says"), 4);
}

Test(life, a_guest_that_the_host_cannot_hold_is_refused)
{
	struct result r;

	have("huge", "--memory 1000T");
	r = sh("vm2 guest start huge");
	assert_status(r, 5);
	assert_has(r.err, "MiB");
	assert_has(r.err, "reserve-memory");
	assert_status(sh("vm2 guest show huge"), 3);
	ok("vm2 tenant set huge --memory 64M && vm2 guest start huge");
	ok("vm2 host status --json | jq -e '.memory_used > 0 and .memory_limits >= 67108864 and .processes > 0 and "
	   ".memory_reserve == 67108864 and .disk_available > 0'");
}

/* Have vm2d run with this line in [host]; none: as before. */
static void have_reserve(const char *line)
{
	ok("sed -i '/^# reserve of the test/,$d' /etc/vm2/vm2.conf; "
	   "[ -z '%s' ] || printf '# reserve of the test\n[host]\n%s\n' >>/etc/vm2/vm2.conf; "
	   "/usr/libexec/vm2/supervise stop vm2d; /usr/libexec/vm2/supervise start vm2d -- vm2d", line, line);
	wait_for(20, "vm2 host status");
}

Test(life, the_reserve_of_the_host_is_kept)
{
	static const struct {
		const char *line, *setting, *unit;
	} reserves[] = {
		{ "reserve-memory = 900T", "host.reserve-memory", "MiB available" },
		{ "reserve-disk = 900T", "host.reserve-disk", "MiB available" },
		{ "reserve-addresses = 65534", "host.reserve-addresses", "65534 in reserve" },
		{ "reserve-ranges = 19455", "host.reserve-ranges", "19455 in reserve" },
	};
	struct result r = { 0 };

	tenant_ready("kept");
	tenant_ready("there");
	ok("vm2 guest start there");
	for (size_t i = 0; i < sizeof(reserves) / sizeof(reserves[0]); i++) {
		have_reserve(reserves[i].line);
		r = sh("vm2 guest start kept");
		if (r.status != 5 || !strstr(r.err, reserves[i].setting) || !strstr(r.err, reserves[i].unit))
			break;
		/* What is there already is started all the same. */
		ok("vm2 guest restart there");
	}
	have_reserve("");
	cr_assert_eq(r.status, 5, "%s", r.err);
	assert_has(r.err, "19455 in reserve (host.reserve-ranges)");
	assert_status(sh("vm2 guest show kept"), 3);
	ok("vm2 guest start kept");
}

Test(life, an_init_that_does_not_end_is_killed_after_the_time_it_has)
{
	tenant_ready("stays");
	ok("vm2 guest start stays && vm2 guest exec stays -- sh -c 'rm -f /sbin/init && cat >/sbin/init && chmod 755 "
	   "/sbin/init' <<'END'\n#!/bin/sh\ntrap '' TERM INT\n>/run/deaf\nwhile :; do sleep 9; done\nEND");
	have_reserve("[guest]\\nstop-timeout = 1");
	ok("vm2 guest restart stays");
	wait_for(10, "vm2 guest exec stays -- test -e /run/deaf");
	ok("s=$(date +%%s%%N); timeout 6 vm2 guest stop stays && test $(($(date +%%s%%N) - s)) -ge 900000000");
	ok(STATE("stays", "stopped") " && ! pgrep -f 'vm2-guest.*[s]tays'");
	have_reserve("");
}
