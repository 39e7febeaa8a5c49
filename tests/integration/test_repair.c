/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is out of line between host and database is found and mended. One test: it looks at all. */
#include "tests/integration/lib.h"

TestSuite(repair, .timeout = 300);

static const char list[] = "vm2 host repair --dry-run --json | jq -c 'map(.kind) | sort'";

#define MEND                                                                                 \
	"l=$(vm2 host repair --json) && echo \"$l\" && echo \"$l\" | jq -e 'length > 0 and " \
	"all(.outcome == \"mended\")'"
#define KEPT	 "vm2 host repair --json | jq -e 'length > 0 and all(.outcome | startswith(\"kept\"))'"
#define DATABASE "sqlite3 /var/lib/vm2/tenants.db"

/* What is of a guest that does not run: its row is right, and something that only a running one has is there. */
static void mends_what_a_stopped_guest_left(void)
{
	ok("vm2 guest start far && vm2 guest stop far");
	ok("mkdir $(find /sys/fs/cgroup -path '*/vm2/near' -prune | sed 's/near$/far/')");
	ok("ip link add $(vm2 guest show far --json | jq -r .interface) type veth peer name x9998");
	cr_assert_str_eq(ok("%s", list), "[\"cgroup\",\"interface\"]");
	ok(MEND);
	ok("! ip link show x9998 && ! find /sys/fs/cgroup -path '*/vm2/far' | grep .");
	/* Of processes that there are no more. */
	ok("mkdir -p /run/vm2/guests/far && printf 'init_pid=999999\ninit_start=1\nsupervisor_pid=999998\n"
	   "supervisor_start=1\nsince=1\n' >/run/vm2/guests/far/state && vm2 host repair");
	ok("! test -e /run/vm2/guests/far/state");
	ok("vm2 guest stop far; " DATABASE " \"UPDATE session SET state = 'open', pid = 999999 WHERE id = "
	   "(SELECT max(id) FROM session)\"");
	cr_assert_str_eq(ok("%s", list), "[\"session\"]");
	ok(MEND);
}

/* A row of which the making, or the destroying, was cut off: of the guest nothing stays. */
static void finishes_what_is_half_done(const char *intent)
{
	ok("vm2 guest start far && vm2 guest stop far && vm2 guest snapshot far s");
	ok(DATABASE " \"UPDATE guest SET intent = '%s' WHERE tenant = (SELECT id FROM tenant "
	   "WHERE name = 'far')\"", intent);
	ok("%s | jq -e 'index(\"row\")'", list);
	ok(MEND);
	ok("vm2 tenant show far --json | jq -e '.guest == \"none\"' && ! ls -A /var/lib/vm2/guests "
	   "/var/lib/vm2/guests/.snapshots | grep -x far");
}

/* Where a guest's processes are, of all trees of version 1 or the one of version 2. */
#define GROUPS(guest) "find /sys/fs/cgroup -depth -type d -path '*/vm2/" guest "*'"

/* Everybody out, to the top of each tree. A guest that forks meanwhile is asked again. */
#define EMPTY                                                                                          \
	"for i in 1 2 3 4 5; do for g in $(" GROUPS("near") "); do top=${g%%/vm2/near*}; "                  \
	"[ ! -e $top/init.scope ] || top=$top/init.scope; "                                            \
	"while read -r p; do echo $p >$top/cgroup.procs; done <$g/cgroup.procs; done; done"

/* A file of a limit, by its names in version 1 and 2, and the processes that it counts. */
#define HOLDS                                                                                                     \
	"g=$(find /sys/fs/cgroup -path '*/vm2/near/pids.max'); grep -qx 77 $g && "                                \
	"test $(cat ${g%%/*}/pids.current) -ge 3 && grep -qx 50331648 $(find /sys/fs/cgroup -path "                \
	"'*/vm2/near/memory.limit_in_bytes' -o -path '*/vm2/near/memory.max') && "                                 \
	"! grep -L /vm2/near $(pgrep -f '[s]leep 100' | sed 's,.*,/proc/&/cgroup,') | grep ."

/* Removed, or only emptied, by others: the plan holds again, of who was there and who comes. */
static void loses_its_control_group(void)
{
	ok("vm2 tenant set near --processes 77 --memory 48M; vm2 guest exec near -- sh -c 'setsid sleep 1001 "
	   ">/dev/null 2>&1 &'");
	ok(HOLDS);
	for (int removed = 0; removed < 2; removed++) {
		ok(EMPTY "; [ %d = 0 ] || " GROUPS("near") " -exec rmdir {} \\;", removed);
		ok("! { " HOLDS "; }");
		cr_assert_str_eq(ok("%s", list), "[\"cgroup\"]");
		ok(MEND);
		cr_assert_str_eq(ok("%s", list), "[]");
		ok(HOLDS);
		assert_status(ssh("near", "", "pgrep -f \"[s]leep 1001\""), 0);
	}
	/* What is killed for want of memory is told again; the end of the old group may have it look once. */
	for (int i = 1; i <= 2; i++) {
		ok("! vm2 guest exec near -- perl -e '$x .= q(x) x 1000000 while 1'");
		wait_for(20, "test $(vm2 guest console near | grep -c 'vm2: out of memory (50331648') = %d", i);
	}
	ok("vm2 tenant set near --processes plan --memory plan");
}

/* Trees that were being made go, unless one is being made just now; those of no row are somebody's. */
static void looks_through_templates(void)
{
	ok("cd /var/lib/vm2/templates && mkdir -p .half.new/rootfs/x whose");
	cr_assert_str_eq(ok("flock /run/vm2/locks/.template vm2 host repair --json"), "[]");
	cr_assert_str_eq(ok("%s", list), "[\"template\",\"unfinished template\"]");
	cr_assert_str_eq(
		ok("vm2 host repair --json | jq -c 'map(.name + \" \" + .outcome) | sort'"),
		"[\"half mended\",\"whose kept: look at it\"]");
	ok("cd /var/lib/vm2/templates && rmdir whose && ! ls -A | grep half");
}

#define INTERFACE \
	"i=$(vm2 guest show near --json | jq -r .interface) a=$(vm2 guest show near --json | jq -r .address4); "
#define PING "vm2 guest exec near -- ping -c1 -W2 192.0.2.2"

/* What is done to it, and how it is named; what the kernel tells nobody of is found by asking. */
static const struct {
	const char *what, *kinds, *words;
} harms[] = {
	{ "ip link set $i down", "[\"link\"]", "it is down" },
	{ "ip route delete $a dev $i", "[\"link\"]", "no route leads to " },
	{ "ip link set $i mtu 1300", "[\"link\"]", "its MTU is 1300, not 1500" },
	{ "ip link set $i down && ip link set $i name away && ip link set away up", "[\"link\"]",
	  "it is named away" },
	{ "ip link delete $i", "[\"interface\"]", "it is not there" },
};

/* The younger of vm2d's children that lead a session: the other one is the fence. */
#define KEEPER                                                                                \
	"$(ps -o pid=,sid=,comm= --ppid $(pgrep -ox vm2d) | awk '$1 == $2 && $3 == \"vm2d\" " \
	"{ print $1 }' | sort -n | sed -n 2p)"

/* The keeper, which would mend it at once, is held meanwhile. */
static void loses_its_link(void)
{
	ok("vm2 guest exec near -- sh -c 'nohup sleep 1000 >/dev/null 2>&1 &'; " PING
	   " && kill -STOP " KEEPER);
	for (size_t i = 0; i < sizeof(harms) / sizeof(harms[0]); i++) {
		ok(INTERFACE "%s", harms[i].what);
		cr_assert_str_eq(ok("%s | jq -c unique", list), harms[i].kinds, "%s",
				 harms[i].what);
		assert_has(sh("vm2 firewall verify").out, harms[i].words);
		ok("! vm2 firewall verify");
		cr_assert_str_eq(ok("vm2 host repair --json | jq -c 'map(.outcome) | unique'"),
				 "[\"mended\"]", "%s: %s", harms[i].what,
				 sh("vm2 host repair --json; ip route; ip link").out);
		ok("vm2 firewall verify");
		cr_assert_str_eq(ok("%s", list), "[]", "%s", harms[i].what);
		ok(PING);
	}
	ok(INTERFACE "ip link set $i down && ip route flush dev $i");
	ok("vm2 firewall restore --dry-run | grep 'it is down'; vm2 firewall restore && vm2 firewall verify");
	ok(PING);
	/* Nobody says so, and it is mended. */
	ok("kill -CONT " KEEPER);
	ok(INTERFACE "ip link set $i down");
	wait_for(10, "vm2 firewall verify");
	ok(PING);
	ok(INTERFACE "ip link delete $i");
	wait_for(10, "vm2 firewall verify");
	ok(PING);
}

Test(repair, finds_and_mends)
{

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
	loses_its_link();
	ok("vm2 guest exec near -- pgrep -f 'sleep 1000' && vm2 guest exec near -- ping -c1 -W2 192.0.2.2");
	loses_its_control_group();
	looks_through_templates();
	/* A vm2-guest whose folder is gone: nobody finds it but by looking at all processes. */
	ok("pgrep -x vm2-guest >/run/vm2-test/stray && rm -r /run/vm2/guests/near");
	ok("%s | jq -e 'index(\"process\")'", list);
	ok("vm2 host repair --json | jq -e 'all(.outcome == \"mended\")' && ! kill -0 $(cat /run/vm2-test/stray)");
	cr_assert_str_eq(ok("%s", list), "[]");
	assert_status(ssh("near", "", "true"), 0);
	/* Files of no row may be somebody's: they are named, and kept. */
	ok("mkdir /var/lib/vm2/guests/whose");
	ok("vm2 host repair --json | jq -e '.[0].kind == \"files\" and (.[0].outcome | startswith(\"kept\"))'");
	ok("rmdir /var/lib/vm2/guests/whose && mkdir -p /var/lib/vm2/guests/.snapshots/whose");
	ok(KEPT " && rmdir /var/lib/vm2/guests/.snapshots/whose");
	ok("mkdir /var/lib/vm2/guests/.at && mount -t tmpfs x /var/lib/vm2/guests/.at");
	ok(KEPT " && umount /var/lib/vm2/guests/.at && rmdir /var/lib/vm2/guests/.at");
	/* And what is lost. */
	ok("vm2 guest stop near && mv /var/lib/vm2/guests/near /var/lib/vm2/guests/.away");
	ok("vm2 host repair --dry-run --json | jq -e '.[0] | .kind == \"files\" and .state == \"lost\"'");
	ok("mv /var/lib/vm2/guests/.away /var/lib/vm2/guests/near && vm2 guest start near");
	tenant_ready("far");
	mends_what_a_stopped_guest_left();
	finishes_what_is_half_done("creating");
	finishes_what_is_half_done("destroying");
	cr_assert_str_eq(ok("%s", list), "[]");
}
