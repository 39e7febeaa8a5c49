/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host goes down and comes back. One test: it takes all guests along. */
#include "tests/integration/lib.h"

TestSuite(boot, .timeout = 300);

/* Everything of ours dies at once, and /run is empty afterwards; the control groups too. */
static void crash_the_host(void)
{
	ok("/usr/libexec/vm2/supervise stop vm2-gateway; /usr/libexec/vm2/supervise stop vm2d;"
	   "pkill -9 -x vm2-guest; pkill -9 -x vm2d; true");
	wait_for(30, "! pgrep -x vm2-guest && ! pgrep -x vm2d");
	ok("find /sys/fs/cgroup -depth -path '*/vm2/*' -type d -exec sh -c "
	   "'xargs -r kill -9 <\"$1/cgroup.procs\"' sh {} \\;");
	wait_for(30, "find /sys/fs/cgroup -depth -path '*/vm2/*' -type d -exec rmdir {} + 2>/dev/null;"
		     "! find /sys/fs/cgroup -path '*/vm2/*' -type d | grep .");
	ok("for l in $(ip -br link | grep -o '^vm2-[0-9]*'); do ip link del $l; done;"
	   "rm -rf /run/vm2");
}

/* Who starts guests waits for those processes as soon as it has as many as it may have. Prints how many. */
static const char starting[] =
	"for p in $(pgrep -x -P $(pgrep -ox vm2d) vm2d); do ! grep -q do_wait /proc/$p/wchan || pgrep -cP $p; done";

#define MANY "1 2 3 4 5"

/* Of five guests, whose locks are held, so that each start takes as long as is wanted here. */
static void starts_some_at_a_time(void)
{
	ok("for i in " MANY "; do vm2 tenant add many$i --key /run/vm2-test/key.pub && vm2 guest start many$i || exit 1; "
	   "done; printf '[guest]\nstart-parallel = 2\n' >>/etc/vm2/vm2.conf");
	crash_the_host();
	ok("mkdir -p -m 700 /run/vm2/locks; for i in " MANY "; do setsid flock /run/vm2/locks/many$i -c "
	   "\"until test -e /run/vm2-test/go$i; do sleep .02; done\" >/dev/null 2>&1 & done");
	wait_for(20, "for i in " MANY "; do ! flock -n /run/vm2/locks/many$i true || exit 1; done");
	ok("/usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(20, "%s | grep .", starting);
	cr_assert_str_eq(ok("%s", starting), "2");
	/* When one is up the next begins, and no other. */
	ok("touch /run/vm2-test/go1");
	wait_for(60, "vm2 guest list --json | jq -e 'any(.name == \"many1\" and .state == \"running\")'");
	wait_for(20, "%s | grep -qx 2", starting);
	ok("vm2 guest list --json | jq -e 'map(select(.name | startswith(\"many\")) | select(.state == \"running\")) "
	   "| length == 1'; for i in " MANY "; do touch /run/vm2-test/go$i; done");
	wait_for(60, "test -e /run/vm2/booted && vm2 guest list --json | "
		     "jq -e 'map(select(.name | startswith(\"many\"))) | all(.state == \"running\")'");
}

Test(boot, starts_what_ran)
{
	host_ready();
	tenant_ready("ran");
	tenant_ready("ran-too");
	tenant_ready("rested");
	for (const char *const *t = (const char *[]){ "ran", "ran-too", "rested", NULL }; *t; t++)
		assert_status(ssh(*t, "", "echo mine >/root/mine"), 0);
	ok("vm2 guest stop rested");
	crash_the_host();
	ok("/usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(60, "vm2 guest list --json | "
		     "jq -e 'map(select(.state == \"running\") | .name) | sort == [\"ran\", \"ran-too\"]'");
	wait_for(30, "test -e /run/vm2/booted");
	cr_assert_str_eq(ok("vm2 host repair --dry-run --json"), "[]");
	ok("/usr/libexec/vm2/supervise start vm2-gateway -- vm2-gateway");
	wait_for(20, "ss -Hltn 'sport = 2222' | grep -q 2222");
	cr_assert_str_eq(ssh("ran", "", "cat /root/mine").out, "mine\n");
	cr_assert_str_eq(ssh("rested", "", "cat /root/mine").out, "mine\n");
	/* Another start of vm2d is no boot. */
	ok("vm2 guest stop ran-too && /usr/libexec/vm2/supervise stop vm2d &&"
	   " /usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(30, "vm2 host status");
	ok("vm2 guest show ran-too --json | jq -e '.state == \"stopped\"'");
	starts_some_at_a_time();
}
