/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What guests send and receive is counted, kept, and shown. */
#include <stdlib.h>

#include "tests/integration/lib.h"

TestSuite(traffic, .timeout = 240);

static void ping(const char *guest, int count)
{
	ok("vm2 guest exec %s -- ping -q -c %d -i 0.01 -W 5 198.51.100.1", guest, count);
}

static void assert_packets(const char *guest, int sent)
{
	int now = atoi(ok("vm2 guest show %s --json | jq .sent_packets", guest));

	cr_assert(now == sent, "%d packets, not %d", now, sent);
	cr_assert(atoi(ok("vm2 guest show %s --json | jq .received_packets", guest)) == sent);
	cr_assert(atoi(ok("vm2 guest show %s --json | jq .sent_bytes", guest)) == 84 * sent);
}

Test(traffic, is_counted_over_all_that_happens)
{
	tenant_ready("flows");
	assert_status(ssh("flows", "", "true"), 0);
	cr_assert_str_eq(ok("vm2 guest show flows --json | jq .sent_packets"), "0");
	ping("flows", 10);
	assert_packets("flows", 10);
	/* The rules are replaced, by us and by the fence's own restart. */
	ok("vm2 firewall restore");
	ping("flows", 5);
	ok("/usr/libexec/vm2/supervise stop vm2d");
	ok("/usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(20, "vm2 host status");
	ping("flows", 5);
	assert_packets("flows", 20);
	/* The guest stops, and its link with it. */
	ok("vm2 guest stop flows && vm2 guest start flows");
	ping("flows", 5);
	assert_packets("flows", 25);
	/* All that runs is gone, as after a boot: the table, too. */
	ok("vm2 guest stop flows && /usr/libexec/vm2/supervise stop vm2d");
	ok("nft delete table inet vm2");
	ok("/usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(20, "vm2 host status");
	ok("vm2 guest start flows");
	ping("flows", 5);
	assert_packets("flows", 30);
	/* Another guest of the tenant's, with the same number: the tenant's sums go on. */
	ok("vm2 guest destroy --yes flows && vm2 guest start flows");
	ping("flows", 5);
	assert_packets("flows", 35);
	cr_assert_str_eq(ok("vm2 network history flows --json | jq 'map(.sent_packets) | add'"), "35");
	cr_assert_str_eq(ok("vm2 network history flows --hours 2 --json | jq '.[0].hour > 1700000000'"), "true");
	assert_status(sh("vm2 network history flows --hours 0"), 2);
	assert_status(sh("vm2 network history nobody"), 3);
	ok("vm2 tenant remove --yes flows");
}

static void assert_quota(const char *state)
{
	cr_assert_str_eq(ok("vm2 guest show saver --json | jq -r .quota_state"), state);
	ok("vm2 firewall verify");
}

#define TRY_OUTSIDE "vm2 guest exec saver -- ping -c 1 -W 1 198.51.100.1"

Test(traffic, has_a_quota)
{
	tenant_ready("saver");
	ok("vm2 tenant set saver --quota 1M --beyond block");
	assert_status(ssh("saver", "", "true"), 0);
	assert_quota("within");
	/* 2 x 400 x 1,428 bytes; nobody asks, and the keeper finds it out. */
	ok("vm2 guest exec saver -- ping -q -c 400 -i 0.002 -s 1400 198.51.100.1");
	wait_for(40, "nft list set inet vm2 up | grep -q \"\\\"$(vm2 guest show saver --json | jq -r .interface)\\\" limit rate over 1 bytes\"");
	assert_quota("block");
	ok("! " TRY_OUTSIDE);
	cr_assert_str_eq(ok("vm2 guest show saver --json | jq '.month_bytes > 1142000 and .quota == 1048576'"), "true");
	ok("grep -rqs '\"change\":\"block\",\"quota\":1048576,\"tenant\":\"saver\"' /var/lib/vm2/ledger");
	/* In force again with a new table, and a new start. Its owner still gets in. */
	ok("vm2 firewall restore && ! " TRY_OUTSIDE);
	ok("vm2 guest restart saver && ! " TRY_OUTSIDE);
	assert_status(ssh("saver", "", "true"), 0);
	/* Another end, and another quota, at once. */
	ok("vm2 tenant set saver --beyond throttle --throttle 2mbit");
	assert_quota("throttle");
	ok("nft list set inet vm2 down | grep -E 'limit rate over 250 ?kbytes|limit rate over 250000 bytes'");
	ok(TRY_OUTSIDE);
	ok("vm2 tenant set saver --quota 1G");
	assert_quota("within");
	ok("! nft list set inet vm2 down | grep limit.*vm2-");
	ok("grep -rqs '\"change\":\"lifted\",\"quota\":1073741824,\"tenant\":\"saver\"' /var/lib/vm2/ledger");
	/* So does the next month. */
	ok("vm2 tenant set saver --quota 1M --beyond block && ! " TRY_OUTSIDE);
	ok("sqlite3 /var/lib/vm2/tenants.db 'UPDATE traffic SET month = month - 2678400'");
	ok("vm2 tenant set saver --beyond block && " TRY_OUTSIDE);
	assert_quota("within");
	ok("vm2 tenant remove --yes saver");
}

Test(traffic, is_shown_as_it_goes)
{
	tenant_ready("busy");
	tenant_ready("quiet");
	assert_status(ssh("busy", "", "true"), 0);
	assert_status(ssh("quiet", "", "true"), 0);
	ok("vm2 guest exec busy -- ping -q -i 0.01 -w 60 198.51.100.1 >/dev/null & echo $! >/run/vm2-test/pinger");
	wait_for(20, "vm2 network top --interval 1 --json | jq -e '.[0].tenant == \"busy\" and .[0].sends > 100 "
		     "and .[0].sends_packets > 1 and (.[] | select(.tenant == \"quiet\") | .sends) == 0'");
	ok("vm2 network top --interval 1 | grep -q '^busy '");
	/* On a terminal it goes on. */
	ok("timeout -s INT 8 script -qec 'vm2 network top --interval 1' /dev/null </dev/null >/run/vm2-test/top; "
	   "test $(grep -c TENANT /run/vm2-test/top) -gt 1");
	ok("kill $(cat /run/vm2-test/pinger)");
	assert_status(sh("vm2 network top --interval 0"), 2);
	ok("vm2 tenant remove --yes busy && vm2 tenant remove --yes quiet");
}
