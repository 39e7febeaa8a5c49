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
}
