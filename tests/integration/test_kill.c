/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any process may be killed at any instant: whoever works on a guest, the guest's vm2-guest, vm2d.
 * After each kill the next login or `vm2 host repair` ends clean, and the checker finds nothing.
 *
 * Two ways of choosing the instant. By system calls: strace kills vm2d's workers and vm2-guest at
 * their Nth call of a kind that changes something, so that every step is hit, at the same place each
 * time; with VM2_KILLS at all kinds of calls. And at random: as often as VM2_KILLS says (500 takes half
 * an hour).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/lib.h"

#define KILLS_DEFAULT 6

TestSuite(kill, .timeout = 3600);

static int kills(void)
{
	const char *text = getenv("VM2_KILLS");

	return text ? atoi(text) : KILLS_DEFAULT;
}

/* One that was killed a dozen times in a row is started again later each time: not so here. */
static void vm2d_serves(void)
{
	if (sh("for i in $(seq 20); do vm2 host status && exit; sleep .1; done; exit 1").status != 0)
		sh("/usr/libexec/vm2/supervise stop vm2d; /usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(60, "vm2 host status >/dev/null");
}

/* The keeper of a vm2d that was just started is at the same: until both are through. */
static void is_clean(const char *after)
{
	struct result r = { 0 };

	vm2d_serves();
	for (int i = 0; i < 20; i++) {
		sh("vm2 host repair");
		r = sh("vm2 host repair --dry-run --json");
		if (r.status == 0 && !strcmp(r.out, "[]\n"))
			return;
	}
	cr_assert_fail("after %s: %d %s%s\n%s", after, r.status, r.out, r.err,
		       sh("tail -n 30 /var/log/vm2/vm2d.log").out);
}

static void works(const char *after)
{
	struct result r;

	for (int i = 0; i < 10; i++) {
		r = sh("timeout 60 vm2 guest exec kills -- true");
		if (r.status == 0)
			return;
		vm2d_serves();
	}
	cr_assert_fail("after %s: %d %s\n%s", after, r.status, r.err,
		       sh("tail -n 30 /var/log/vm2/vm2d.log").out);
}

#define EXPORT "/run/vm2-test/kills.guest"

/* What is done to a guest, and what must be so before. */
static const struct {
	const char *name, *before, *act;
} acts[] = {
	{ "create", "vm2 guest destroy --yes kills", "vm2 guest start kills" },
	{ "start", "vm2 guest start kills; vm2 guest stop kills", "vm2 guest start kills" },
	{ "stop", "vm2 guest start kills", "vm2 guest stop kills" },
	{ "snapshot", "vm2 guest start kills; vm2 guest snapshot --remove kills s",
	  "vm2 guest snapshot kills s" },
	{ "restore", "vm2 guest start kills; vm2 guest snapshot kills s",
	  "vm2 guest restore --yes kills s" },
	{ "export", "vm2 guest start kills; rm -f " EXPORT "*", "vm2 guest export kills " EXPORT },
	{ "import",
	  "rm -f " EXPORT "*; vm2 guest start kills; vm2 guest export kills " EXPORT "; vm2 guest destroy --yes kills",
	  "vm2 guest import kills " EXPORT },
	{ "destroy", "vm2 guest start kills", "vm2 guest destroy --yes kills" },
};

#define ACTS (sizeof(acts) / sizeof(acts[0]))

static void check_after(const char *act, const char *how)
{
	char after[128];

	snprintf(after, sizeof(after), "%s, killed %s", act, how);
	is_clean(after);
	works(after);
	is_clean(after);
}

/* Kinds of calls, of which each one is where something becomes another than it was. */
static const char *const calls[] = { "mkdir,mkdirat", "renameat,renameat2,rename", "sendto,sendmsg",
				     "unlink,unlinkat", "clone,clone3,fork,vfork,execve" };

/*
 * All of vm2d and what it starts is traced; who makes the Nth call dies. Runs the act meanwhile.
 * Returns how many died.
 */
static int act_under_strace(size_t act, const char *call, int nth)
{
	sh("%s", acts[act].before);
	is_clean("the preparation");
	sh("strace -f -o /run/vm2-test/strace -e trace=%s -e inject=%s:signal=SIGKILL:when=%d "
	   "$(pgrep -x vm2d | sed 's/^/-p /') & s=$!;"
	   "for i in $(seq 100); do grep -q 'TracerPid:.[1-9]' /proc/$(pgrep -ox vm2d)/status && break;"
	   " sleep 0.05; done; timeout 60 %s; kill $s; wait $s",
	   call, call, nth, acts[act].act);
	return atoi(sh("grep -c 'killed by SIGKILL' /run/vm2-test/strace").out);
}

Test(kill, at_every_step)
{
	size_t kinds = sizeof(calls) / sizeof(calls[0]), each = getenv("VM2_KILLS") ? kinds : 2;
	int died = 0;

	host_ready();
	if (sh("command -v strace").status != 0)
		cr_skip_test("needs strace");
	tenant_ready("kills");
	for (size_t i = 0; i < ACTS; i++)
		for (size_t k = 0; k < each; k++) {
			const char *call = calls[(2 * i + k) % kinds];
			char how[96];
			int nth = 1 + (int)((i + k) % 3);

			died += act_under_strace(i, call, nth);
			snprintf(how, sizeof(how), "at call %d of %s", nth, call);
			check_after(acts[i].name, how);
		}
	cr_expect_geq(died, (int)(ACTS * each / 2), "only %d were killed", died);
}

/* Victims: one of vm2d's workers, the guest's vm2-guest, vm2d itself, what reads archives, all at once. */
static const char *const victims[] = { "pgrep -x vm2d | shuf -n 1", "pgrep -x vm2-guest | shuf -n 1",
				       "pgrep -ox vm2d", "pgrep -x vm2-archive",
				       "pgrep -x 'vm2d|vm2-guest|vm2-archive'" };

#define VICTIMS (sizeof(victims) / sizeof(victims[0]))

Test(kill, at_any_instant)
{
	host_ready();
	tenant_ready("kills");
	srand((unsigned int)atoi(ok("date +%%s")));
	for (int i = 0; i < kills(); i++) {
		size_t act = (size_t)rand() % ACTS, victim = (size_t)rand() % VICTIMS;
		int ms = rand() % 120;
		char how[96];

		sh("%s", acts[act].before);
		sh("timeout 60 %s & sleep 0.%03d; kill -9 $(%s); wait", acts[act].act, ms,
		   victims[victim]);
		snprintf(how, sizeof(how), "(number %d) after %d ms: %s", i, ms, victims[victim]);
		check_after(acts[act].name, how);
	}
}
