/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is out of line between host and database is found and mended. One test: it looks at all. */
#include "tests/integration/lib.h"

TestSuite(repair, .timeout = 300);

Test(repair, finds_and_mends)
{
	static const char list[] = "vm2 host repair --dry-run --json | jq -c 'map(.kind) | sort'";

	host_ready();
	tenant_ready("near");
	assert_status(ssh("near", "", "true"), 0);
	cr_assert_str_eq(ok("%s", list), "[]");
	ok("mkdir $(find /sys/fs/cgroup -path '*/vm2/near' -prune | sed 's/near$/nobody/')");
	ok("ip link add vm2-9999 type veth peer name x9999");
	ok("mkdir -p /run/vm2/guests/nobody /var/lib/vm2/guests/.near.new && "
	   "touch /run/vm2/locks/noone");
	cr_assert_str_eq(ok("%s", list),
			 "[\"cgroup\",\"folder\",\"lock\",\"stray interface\",\"unfinished files\"]");
	cr_assert_str_eq(ok("%s | jq length", list), "5");
	ok("vm2 host repair --json | jq -e 'all(.outcome == \"mended\")'");
	cr_assert_str_eq(ok("%s", list), "[]");
	ok("! ip link show vm2-9999 && ! test -e /run/vm2/guests/nobody");
	assert_status(ssh("near", "", "true"), 0);
	/* A single element of the firewall: others cannot change it, but the database may mean another. */
	ok("vm2 publish add near udp 8077");
	ok("sqlite3 /var/lib/vm2/tenants.db \"UPDATE publish SET host_port = 8078 WHERE host_port = 8077\"");
	cr_assert_str_eq(ok("%s", list), "[\"rule\",\"rule\",\"rule\",\"rule\"]");
	ok("vm2 host repair --json | jq -e 'all(.outcome == \"mended\")' && vm2 firewall verify");
	ok("vm2 publish remove near udp 8078");
	/* A link that somebody deleted is made anew, under the guest's running processes. */
	ok("vm2 guest exec near -- sh -c 'nohup sleep 1000 >/dev/null 2>&1 &'; ip link delete $(vm2 guest show near --json | jq -r .interface)");
	cr_assert_str_eq(ok("%s", list), "[\"interface\"]");
	ok("vm2 host repair --json | jq -e 'all(.outcome == \"mended\")'");
	ok("vm2 guest exec near -- pgrep -f 'sleep 1000' && vm2 guest exec near -- ping -c1 -W2 192.0.2.2");
	/* A vm2-guest whose folder is gone: nobody finds it but by looking at all processes. */
	ok("pgrep -x vm2-guest >/run/vm2-test/stray && rm -r /run/vm2/guests/near");
	ok("%s | jq -e 'index(\"process\")'", list);
	ok("vm2 host repair --json | jq -e 'all(.outcome == \"mended\")' && ! kill -0 $(cat /run/vm2-test/stray)");
	cr_assert_str_eq(ok("%s", list), "[]");
	assert_status(ssh("near", "", "true"), 0);
	/* Files of no row may be somebody's: they are named, and kept. */
	ok("mkdir /var/lib/vm2/guests/whose");
	ok("vm2 host repair --json | jq -e '.[0].kind == \"files\" and (.[0].outcome | startswith(\"kept\"))'");
	ok("rmdir /var/lib/vm2/guests/whose");
	/* And what is lost. */
	ok("vm2 guest stop near && mv /var/lib/vm2/guests/near /var/lib/vm2/guests/.away");
	ok("vm2 host repair --dry-run --json | jq -e '.[0] | .kind == \"files\" and .state == \"lost\"'");
	ok("mv /var/lib/vm2/guests/.away /var/lib/vm2/guests/near");
}
