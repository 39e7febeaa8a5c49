/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fence: out allowed, in, across and to the host blocked, spoofing dropped. */
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/lib.h"

TestSuite(network, .timeout = 240);

static void ready(void)
{
	tenant_shared("neta");
	tenant_shared("netb");
	assert_status(ssh("neta", "", "true"), 0);
	assert_status(ssh("netb", "", "true"), 0);
}

static const char *address(const char *guest, int family)
{
	return ok("vm2 guest show %s --json | jq -r .address%d", guest, family);
}

/* What is new to IPv6, an address or a link, may be looked for on a busy machine for longer than a ping waits. */
static void reaches6(const char *tenant, const char *options)
{
	wait_for(20, "vm2 guest exec %s -- ping -c 1 -W 1 %s 2001:db8:1::1", tenant, options);
}

Test(network, out_is_allowed_with_nat)
{
	ready();
	ok("vm2 guest exec neta -- ping -c 1 -W 3 198.51.100.1");
	reaches6("neta", "");
	/* The outside sees the host's address, not the guest's. */
	ok("/run/host/outside timeout 20 nc -lvn 198.51.100.1 8080 >/run/vm2-test/nc 2>&1 </dev/null & echo $! >/run/vm2-test/nc.pid");
	wait_for(10, "/run/host/outside ss -Hltn 'sport = 8080' | grep -q 8080");
	ok("vm2 guest exec neta -- bash -c 'echo hello >/dev/tcp/198.51.100.1/8080'");
	wait_for(10, "grep -q '192.0.2.2' /run/vm2-test/nc");
}

Test(network, in_is_blocked)
{
	ready();
	ok("/run/host/outside ip route replace 10.82.0.0/16 via 192.0.2.2");
	ok("! /run/host/outside ping -c 1 -W 1 %s", address("neta", 4));
	ok("vm2 guest exec neta -- sh -c 'setsid sh -c \"nc -lp 7000 >/dev/null\" >/dev/null 2>&1 </dev/null &'");
	ok("! /run/host/outside nc -zw 1 %s 7000", address("neta", 4));
}

Test(network, guests_do_not_reach_each_other)
{
	ready();
	ok("! vm2 guest exec neta -- ping -c 1 -W 1 %s", address("netb", 4));
	ok("! vm2 guest exec neta -- ping -c 1 -W 1 %s", address("netb", 6));
	ok("vm2 guest exec netb -- sh -c 'setsid sh -c \"nc -lp 7001 >/dev/null\" >/dev/null 2>&1 </dev/null &'");
	ok("! vm2 guest exec neta -- timeout 2 bash -c 'echo x >/dev/tcp/%s/7001'", address("netb", 4));
}

Test(network, the_host_answers_pings_and_nothing_else)
{
	ready();
	ok("vm2 guest exec neta -- ping -c 1 -W 3 192.0.2.2");
	ok("vm2 guest exec neta -- ping -c 1 -W 3 169.254.1.1");
	assert_status(sh("vm2 guest exec neta -- timeout 2 bash -c 'echo x >/dev/tcp/192.0.2.2/2222'"), 124);
	assert_status(sh("vm2 guest exec neta -- timeout 2 bash -c 'echo x >/dev/tcp/169.254.1.1/2222'"), 124);
}

Test(network, spoofed_sources_are_dropped)
{
	const char *pid;

	ready();
	/* From the host's side into the guest's namespace, where more is allowed than root inside may. */
	pid = ok("vm2 guest show neta --json | jq -r .pid");
	ok("nsenter -t %s -n ip address add 10.82.200.200/32 dev eth0", pid);
	ok("nsenter -t %s -n ip -6 address add fd82:766d:3200::dead/128 dev eth0 nodad", pid);
	ok("! nsenter -t %s -n ping -c 1 -W 1 -I 10.82.200.200 198.51.100.1", pid);
	ok("! nsenter -t %s -n ping -c 1 -W 1 -I fd82:766d:3200::dead 2001:db8:1::1", pid);
	ok("nsenter -t %s -n ping -c 1 -W 3 198.51.100.1", pid);
	ok("nft list counter inet vm2 spoofed | grep -qE 'packets [1-9]'");
	ok("nsenter -t %s -n ip address del 10.82.200.200/32 dev eth0", pid);
	ok("nsenter -t %s -n ip -6 address del fd82:766d:3200::dead/128 dev eth0", pid);
}

Test(network, low_ports_and_ping_work_inside)
{
	ready();
	ok("vm2 guest exec neta -- timeout 5 bash -c 'nc -lp 80 & sleep 0.3; echo x >/dev/tcp/127.0.0.1/80; wait'");
}

/* A server in a guest that greets whoever connects, again and again. */
static void greeter(const char *guest, int port)
{
	ok("vm2 guest exec %s -- sh -c 'setsid sh -c \"while :; do echo hello from %s | nc -lN -p %d; done\" "
	   ">/dev/null 2>&1 </dev/null &'",
	   guest, guest, port);
}

Test(network, a_published_port_leads_to_the_guest)
{
	ready();
	greeter("neta", 7080);
	ok("vm2 publish add neta tcp 8090:7080 --dry-run");
	cr_assert_str_eq(ok("vm2 publish list neta --json | jq length"), "0");
	ok("vm2 publish add neta tcp 8090:7080");
	cr_assert_str_eq(ok("vm2 publish list --json | jq -r '.[0] | \"\\(.tenant) \\(.host_port) \\(.guest_port)\"'"),
			 "neta 8090 7080");
	ok("vm2 firewall verify");
	wait_for(20, "/run/host/outside nc -w 2 192.0.2.2 8090 </dev/null | grep 'hello from neta'");
	wait_for(20, "nc -w 2 192.0.2.2 8090 </dev/null | grep 'hello from neta'");
	wait_for(20, "vm2 guest exec netb -- nc -w 2 192.0.2.2 8090 </dev/null | grep 'hello from neta'");
	wait_for(20, "vm2 guest exec neta -- nc -w 2 192.0.2.2 8090 </dev/null | grep 'hello from neta'");
	/* It comes back with the guest, and stays when the table is made anew. */
	ok("vm2 firewall restore");
	wait_for(20, "/run/host/outside nc -w 2 192.0.2.2 8090 </dev/null | grep 'hello from neta'");
	ok("vm2 publish remove neta tcp 8090");
	ok("! /run/host/outside nc -zw 1 192.0.2.2 8090");
	ok("vm2 firewall verify");
}

Test(network, a_port_is_published_with_the_guest)
{
	tenant_ready("netc");
	ok("vm2 publish add netc tcp 8091:7081");
	ok("vm2 firewall show | grep '8091.*once it has a guest'");
	assert_status(ssh("netc", "", "true"), 0);
	ok("nft list map inet vm2 publish4 | grep 'tcp . 8091'");
	ok("vm2 guest stop netc && vm2 firewall verify");
	ok("vm2 guest destroy --yes netc");
	ok("! nft list map inet vm2 publish4 | grep 'tcp . 8091'");
	ok("vm2 firewall verify");
	ok("vm2 tenant remove --yes netc");
	cr_assert_str_eq(ok("vm2 publish list --json | jq '[.[] | select(.tenant == \"netc\")] | length'"), "0");
}

static void refused(int status, const char *words, const char *line)
{
	struct result r = sh("%s", line);

	assert_status(r, status);
	assert_has(r.err, words);
	cr_expect_eq(strchr(r.err, '\n'), r.err + strlen(r.err) - 1, "one line: %s", r.err);
}

Test(network, bad_publications_are_refused)
{
	ready();
	ok("vm2 publish add neta udp 8099");
	refused(6, "published already: it leads to port 8099 of 'neta'", "vm2 publish add netb udp 8099");
	refused(6, "a program listens on it", "vm2 publish add neta tcp 2222");
	refused(2, "is no port", "vm2 publish add neta tcp 0");
	refused(2, "is no port", "vm2 publish add neta tcp 65536");
	refused(2, "is no port", "vm2 publish add neta tcp 80:");
	refused(2, "is no port", "vm2 publish add neta tcp 80:80:80");
	refused(2, "neither tcp nor udp", "vm2 publish add neta icmp 80");
	refused(3, "no tenant", "vm2 publish add nobody tcp 8080");
	refused(3, "not for 'netb'", "vm2 publish remove netb udp 8099");
	refused(3, "is not published", "vm2 publish remove neta tcp 8099");
	refused(2, "'8099:8099' is no port", "vm2 publish remove neta udp 8099:8099");
	ok("vm2 publish remove neta udp 8099 --dry-run && vm2 publish remove neta udp 8099");
	cr_assert_str_eq(ok("vm2 publish list neta --json | jq length"), "0");
}

Test(network, own_rules_are_kept_in_order)
{
	static const char greeting[] = "/run/host/outside nc -w 2 192.0.2.2 8093 </dev/null | grep 'hello from netb'";

	ready();
	greeter("netb", 7083);
	ok("vm2 publish add netb tcp 8093:7083");
	wait_for(20, greeting);
	/* What is served to the world is served no more to one of it; the port is the guest's. */
	ok("vm2 rule add netb in deny tcp --port 7083 --prefix 198.51.100.0/24 --comment 'no outside' --dry-run");
	cr_assert_str_eq(ok("vm2 rule list netb --json | jq length"), "0");
	ok("vm2 rule add netb in deny tcp --port 7083 --comment 'nobody'");
	ok("vm2 firewall verify");
	ok("vm2 firewall show | grep 'to netb from the world, tcp port 7083 (rule 1)'");
	ok("! %s", greeting);
	ok("vm2 rule add netb in allow tcp --prefix 198.51.100.0/24 --port 7000-7999 --position 1");
	wait_for(20, "/run/host/outside nc -s 198.51.100.1 -w 2 192.0.2.2 8093 </dev/null | grep 'hello from netb'");
	cr_assert_str_eq(ok("vm2 rule list netb --json | jq -r '[.[] | \"\\(.position)\\(.verdict) \\(.port)\"] | join(\",\")'"),
			 "1allow 7000-7999,2deny 7083");
	/* They are there again with the table, and with the guest. */
	ok("vm2 firewall restore && vm2 firewall verify");
	ok("vm2 guest stop netb && vm2 guest start netb && vm2 firewall verify");
	ok("! %s", "/run/host/outside nc -s 192.0.2.1 -w 2 192.0.2.2 8093 </dev/null | grep 'hello from netb'");
	ok("vm2 rule remove netb 1 --dry-run && vm2 rule remove netb 1 && vm2 rule remove netb 1");
	cr_assert_str_eq(ok("vm2 rule list --json | jq length"), "0");
	ok("vm2 publish remove netb tcp 8093 && vm2 firewall verify");
}

Test(network, own_rules_say_whom_a_guest_reaches)
{
	ready();
	ok("vm2 rule add neta out deny icmp");
	ok("! vm2 guest exec neta -- ping -c 1 -W 1 198.51.100.1");
	ok("! vm2 guest exec neta -- ping -c 1 -W 1 2001:db8:1::1");
	ok("vm2 guest exec netb -- ping -c 1 -W 3 198.51.100.1");
	/* All of one family is not all. */
	ok("vm2 rule add neta out allow icmp --prefix ::/0 --position 1 && vm2 firewall verify");
	reaches6("neta", "");
	ok("! vm2 guest exec neta -- ping -c 1 -W 1 198.51.100.1");
	ok("vm2 rule remove neta 1");
	ok("vm2 rule add neta peer allow icmp --prefix %s/32", address("netb", 4));
	ok("vm2 guest exec neta -- ping -c 1 -W 3 %s", address("netb", 4));
	ok("! vm2 guest exec netb -- ping -c 1 -W 1 %s", address("neta", 4));
	ok("vm2 firewall verify");
	ok("vm2 rule remove neta 2 && vm2 rule remove neta 1");
	ok("! vm2 guest exec neta -- ping -c 1 -W 1 %s", address("netb", 4));
	ok("vm2 guest exec neta -- ping -c 1 -W 3 198.51.100.1");
}

/* Until the guest's connection is tracked, or is not. */
static void await_connection(const char *guest, bool there)
{
	wait_for(20, "%s grep 'src=%s .*dport=8083 ' /proc/net/nf_conntrack", there ? "" : "!",
		 address(guest, 4));
}

static void hold_connection(const char *guest)
{
	ok("vm2 guest exec %s -- sh -c 'setsid sh -c \"sleep 1000 | nc 198.51.100.1 8083\" "
	   ">/dev/null 2>&1 </dev/null &'",
	   guest);
	await_connection(guest, true);
}

Test(network, what_is_no_longer_allowed_ends)
{
	ready();
	ok("/run/host/outside sh -c 'nc -lk 198.51.100.1 8083 >/dev/null 2>&1 </dev/null & echo $!' >/run/vm2-test/held.pid");
	wait_for(10, "/run/host/outside ss -Hltn 'sport = 8083' | grep -q 8083");
	hold_connection("neta");
	hold_connection("netb");
	ok("vm2 rule add neta out deny tcp --port 8083");
	await_connection("neta", false);
	await_connection("netb", true);
	ok("vm2 rule remove neta 1");
	ok("vm2 tenant suspend netb --reason 'unpaid invoice'");
	await_connection("netb", false);
	ok("vm2 tenant resume netb && vm2 guest start netb && vm2 firewall verify");
	ok("kill $(cat /run/vm2-test/held.pid)");
}

Test(network, siblings_reach_each_other)
{
	ready();
	tenant_ready("neti");
	ok("vm2 tenant set netb --owner acme --siblings yes && vm2 tenant set neti --siblings yes");
	assert_status(ssh("neti", "", "true"), 0);
	ok("! vm2 guest exec neti -- ping -c 1 -W 1 %s", address("netb", 4));
	/* Live: an owner, and what both say. */
	ok("vm2 tenant set neti --owner acme && vm2 firewall verify");
	cr_assert_str_eq(ok("vm2 tenant show neti --json | jq -r '\"\\(.owner) \\(.siblings)\"'"), "acme yes");
	ok("vm2 guest exec neti -- ping -c 1 -W 3 %s", address("netb", 4));
	ok("vm2 guest exec netb -- ping -c 1 -W 3 %s", address("neti", 6));
	ok("! vm2 guest exec neta -- ping -c 1 -W 1 %s", address("neti", 4));
	/* Again with the table and with the guest. */
	ok("vm2 firewall restore && vm2 guest restart neti && vm2 firewall verify");
	ok("vm2 guest exec netb -- sh -c 'setsid sh -c \"nc -lk 7090 >/dev/null\" >/dev/null 2>&1 </dev/null &'");
	wait_for(10, "vm2 guest exec netb -- ss -Hltn 'sport = 7090' | grep -q 7090");
	ok("vm2 guest exec neti -- sh -c 'setsid sh -c \"sleep 1000 | nc %s 7090\" >/dev/null 2>&1 </dev/null &'",
	   address("netb", 4));
	wait_for(20, "grep 'src=%s .*dport=7090 .*ASSURED' /proc/net/nf_conntrack", address("neti", 4));
	/* A rule that allows it keeps it; without one it ends. */
	ok("vm2 rule add neti peer allow tcp --port 7090 && vm2 tenant set netb --siblings no");
	ok("grep 'src=%s .*dport=7090 ' /proc/net/nf_conntrack", address("neti", 4));
	ok("! vm2 guest exec neti -- ping -c 1 -W 1 %s", address("netb", 4));
	ok("vm2 rule remove neti 1");
	wait_for(20, "! grep 'src=%s .*dport=7090 ' /proc/net/nf_conntrack", address("neti", 4));
	ok("vm2 tenant set netb --owner none --siblings plan && vm2 firewall verify");
	ok("vm2 tenant remove --yes neti && vm2 firewall verify");
	refused(2, "is no name", "vm2 tenant set netb --owner 'a b'");
}

Test(network, rules_go_before_the_guest_and_with_it)
{
	tenant_ready("netd");
	ok("vm2 rule add netd out deny any && vm2 rule add netd in allow icmp");
	assert_status(ssh("netd", "", "! ping -c 1 -W 1 198.51.100.1"), 0);
	ok("nft list map inet vm2 out4 | grep drop && vm2 firewall verify");
	ok("vm2 guest destroy --yes netd && vm2 firewall verify");
	ok("! nft list map inet vm2 out4 | grep drop");
	ok("vm2 tenant remove --yes netd");
	cr_assert_str_eq(ok("vm2 rule list --json | jq '[.[] | select(.tenant == \"netd\")] | length'"), "0");
}

Test(network, bad_rules_are_refused)
{
	ready();
	ok("vm2 rule add neta in allow tcp --port 80");
	refused(6, "rule 2 is there already: it is rule 1", "vm2 rule add neta in allow tcp --port 80");
	refused(2, "rule 2 (in, deny) can never match", "vm2 rule add neta in deny tcp --port 80");
	refused(2, "rule 2 (in, allow) can never match", "vm2 rule add neta in deny tcp --position 1");
	refused(2, "bits are set after the first 24", "vm2 rule add neta in allow tcp --prefix 198.51.100.7/24");
	refused(2, "is not an IPv4 prefix", "vm2 rule add neta in allow tcp --prefix example.org");
	refused(2, "'0' is no port", "vm2 rule add neta in allow tcp --port 0");
	refused(2, "'65536' is no port", "vm2 rule add neta in allow tcp --port 1-65536");
	refused(2, "'-1' is no port", "vm2 rule add neta in allow tcp --port -1");
	refused(2, "'' is no prefix", "vm2 rule add neta in allow any --prefix ''");
	refused(2, "nothing is forwarded from or to 127.0.0.0/8", "vm2 rule add neta in allow any --prefix 127.0.0.0/8");
	refused(2, "greater than the last", "vm2 rule add neta in allow tcp --port 90-80");
	refused(2, "ports are of tcp or udp alone", "vm2 rule add neta in allow icmp --port 80");
	refused(2, "'sctp' is no protocol: tcp, udp, icmp, any", "vm2 rule add neta in allow sctp");
	refused(2, "'sideways' is no direction: in, out, peer", "vm2 rule add neta sideways allow any");
	refused(2, "there is no place 9", "vm2 rule add neta out deny any --position 9");
	refused(2, "network.protect keeps all guests from", "vm2 rule add neta out allow any --prefix 100.100.100.200/32");
	refused(2, "the bits must be 0 to 32", "vm2 rule add neta in allow tcp --prefix 0.0.0.0/33");
	refused(2, "no guest has an address in", "vm2 rule add neta peer allow any --prefix 198.18.0.0/24");
	refused(2, "rules of direction peer", "vm2 rule add neta out allow any --prefix 10.82.0.0/16");
	refused(2, "control characters", "vm2 rule add neta out deny any --comment $'a\nb'");
	refused(3, "no tenant", "vm2 rule add nobody out deny any");
	refused(3, "has no rule 7", "vm2 rule remove neta 7");
	ok("vm2 rule remove neta 1");
	cr_assert_str_eq(ok("vm2 rule list neta --json | jq length"), "0");
}

Test(network, root_inside_may_have_the_network_for_its_own)
{
	tenant_ready("nete");
	ok("vm2 tenant set nete --network own");
	assert_status(ssh("nete", "", "ping -c 1 -W 3 198.51.100.1"), 0);
	reaches6("nete", "");
	ok("vm2 guest exec nete -- sh -c 'ls /sys/class/net | grep -qx eth0 && test $(ls /sys/class/net | wc -l) = 2'");
	/* What it adds to itself leads nowhere; what it has goes on. */
	ok("vm2 guest exec nete -- sh -ec 'ip address add 10.82.200.200/32 dev eth0; "
	   "ip -6 address add fd82:766d:3200::dead/128 dev eth0 nodad; ip link set eth0 mtu 1400; "
	   "ip link add d0 type veth peer name d1; ip route add 192.0.2.77 via 169.254.1.1'");
	ok("! vm2 guest exec nete -- ping -c 1 -W 1 -I 10.82.200.200 198.51.100.1");
	ok("! vm2 guest exec nete -- ping -c 1 -W 1 -I fd82:766d:3200::dead 2001:db8:1::1");
	ok("nft list counter inet vm2 spoofed | grep -qE 'packets [1-9]'");
	ok("vm2 guest exec nete -- ping -c 1 -W 3 198.51.100.1");
	/* It takes its own link away, and has it again after a restart. */
	ok("vm2 guest exec nete -- ip link del eth0");
	ok("vm2 guest stop nete && vm2 guest start nete && vm2 firewall verify");
	ok("vm2 guest exec nete -- ping -c 1 -W 3 198.51.100.1");
	ok("vm2 tenant set nete --network host-configured && vm2 guest stop nete && vm2 guest start nete");
	ok("! vm2 guest exec nete -- ip link set eth0 down");
	ok("vm2 tenant remove --yes nete");
}

static const char *packets(void)
{
	static char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	cr_assert_gt(n, 0);
	return ok("echo %s/packets", dirname(self));
}

static int dropped(const char *family, const char *counter)
{
	return atoi(ok("nft -j list counter %s vm2 %s | jq '.nftables[] | .counter? // empty | .packets'",
		       family, counter));
}

/* From within its network, by `enter`: dropped, each counted by its reason and all for the guest. */
static void claims_are_dropped(const char *guest, const char *enter)
{
	static const struct {
		const char *family, *counter;
		int more;
	} expected[] = { { "inet", "spoofed", 1 }, { "arp", "spoofed_arp", 1 },
		{ "inet", "advertised", 2 }, { "inet", "guest_to_host", 1 } };
	int before[4], all = atoi(ok("vm2 guest show %s --json | jq .dropped", guest));

	for (int i = 0; i < 4; i++)
		before[i] = dropped(expected[i].family, expected[i].counter);
	ok("%s %s claim %s %s %s", enter, packets(), address(guest, 4), address("netb", 4),
	   address("netb", 6));
	for (int i = 0; i < 4; i++)
		cr_expect_eq(dropped(expected[i].family, expected[i].counter) - before[i],
			     expected[i].more, "%s", expected[i].counter);
	cr_expect_eq(atoi(ok("vm2 guest show %s --json | jq .dropped", guest)) - all, 5);
	ok("! ip neighbour show dev %s | grep -e 02:00:00:00:00:63 -e '%s '",
	   ok("vm2 guest show %s --json | jq -r .interface", guest), address("netb", 4));
}

Test(network, who_claims_to_be_another_is_dropped_and_counted)
{
	const char *pid;

	ready();
	pid = ok("vm2 guest show neta --json | jq -r .pid");
	/* Root inside may not even try; whoever may, from the host, gets no further. */
	ok("! nsenter -t %s -U -n %s claim 10.82.0.9 10.82.0.9 fd82::9", pid, packets());
	claims_are_dropped("neta", ok("echo nsenter -t %s -n", pid));
	tenant_ready("netg");
	ok("vm2 tenant set netg --network own");
	assert_status(ssh("netg", "", "true"), 0);
	claims_are_dropped("netg", ok("echo nsenter -t $(vm2 guest show netg --json | jq -r .pid) -U -n"));
	ok("vm2 guest exec netg -- ping -c 1 -W 3 198.51.100.1");
	cr_expect_geq(atoi(ok("vm2 network top --interval 1 --json | jq '.[] | select(.tenant == \"netg\") | .dropped'")), 5);
	ok("vm2 tenant remove --yes netg");
}

Test(network, a_guest_may_have_ipv6_alone)
{
	tenant_ready("netf");
	ok("vm2 tenant set netf --ipv4 none");
	assert_status(ssh("netf", "", "true"), 0);
	reaches6("netf", "");
	cr_assert_str_eq(ok("vm2 guest show netf --json | jq -r '.address4 // \"\"'"), "");
	ok("! vm2 guest exec netf -- ping -c 1 -W 1 198.51.100.1");
	cr_assert_str_eq(ok("vm2 guest exec netf -- sh -c 'ip -4 address show dev eth0; ip -4 route'"), "");
	ok("vm2 firewall verify && vm2 tenant remove --yes netf");
}

Test(network, path_mtu_is_told)
{
	static const char *const cases[][2] = { { "-4", "198.51.100.1" }, { "-6", "2001:db8:1::1" } };

	ready();
	ok("ip link set eth0 mtu 1300");
	for (size_t i = 0; i < 2; i++) {
		ok("! vm2 guest exec neta -- ping %s -M do -c 1 -W 1 -s 1400 %s", cases[i][0], cases[i][1]);
		wait_for(10, "vm2 guest exec neta -- ip %s route get %s | grep 'mtu 1300'", cases[i][0],
			 cases[i][1]);
		ok("vm2 guest exec neta -- ping %s -M do -c 1 -W 3 -s 1200 %s", cases[i][0], cases[i][1]);
	}
	ok("ip link set eth0 mtu 1500");
}

Test(network, resolver_and_hosts_follow_the_plan)
{
	tenant_ready("netj");
	ok("vm2 plan add named --nameservers '192.0.2.53 2001:db8::53' --search 'example.org example.net'");
	ok("vm2 tenant set netj --plan named");
	assert_status(ssh("netj", "", "true"), 0);
	cr_assert_str_eq(ok("vm2 guest exec netj -- grep -v ^# /etc/resolv.conf | paste -sd,"),
			 "nameserver 192.0.2.53,nameserver 2001:db8::53,search example.org example.net");
	for (int family = 4; family <= 6; family += 2)
		ok("vm2 guest exec netj -- grep -x $'%s\tnetj' /etc/hosts", address("netj", family));
	/* At once, in the guest that runs; and what changes while it is stopped, when it starts. */
	ok("vm2 tenant set netj --nameservers 192.0.2.54");
	cr_assert_str_eq(ok("vm2 guest exec netj -- grep -v ^# /etc/resolv.conf | paste -sd,"),
			 "nameserver 192.0.2.54,search example.org example.net");
	ok("vm2 guest stop netj && vm2 plan set named --search none && vm2 guest start netj");
	cr_assert_str_eq(ok("vm2 guest exec netj -- grep -v ^# /etc/resolv.conf"), "nameserver 192.0.2.54");
	/* One that root inside has for its own, and a link to what is the host's. */
	ok("vm2 guest exec netj -- sh -c 'echo nameserver 192.0.2.99 >/etc/resolv.conf; "
	   "ln -sf /etc/passwd /etc/hosts'");
	ok("vm2 tenant set netj --nameservers plan");
	for (int i = 0; i < 2; i++) {
		cr_assert_str_eq(ok("vm2 guest exec netj -- cat /etc/resolv.conf"), "nameserver 192.0.2.99");
		cr_assert_str_eq(ok("vm2 guest exec netj -- readlink /etc/hosts"), "/etc/passwd");
		ok("vm2 guest restart netj");
	}
	refused(2, "'127.0.0.1' is no address that a guest can ask", "vm2 plan set named --nameservers 127.0.0.1");
	refused(2, "name 1 to 3", "vm2 plan set named --nameservers '192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4'");
	refused(2, "is no domain", "vm2 plan set named --search $'a\\nnameserver 6.6.6.6'");
	ok("vm2 tenant remove --yes netj && vm2 plan remove named");
}

/* An init that says what it finds, and does no more. */
Test(network, all_is_there_before_inits_first_instruction)
{
	static const char *const found[] = { "eth0\t00000000\t0101FEA9", "\n1\n", "nameserver 192.0.2.53\n",
		"fe80000000000000000000000000000" };

	tenant_ready("netk");
	ok("vm2 tenant set netk --nameservers 192.0.2.53");
	assert_status(ssh("netk", "", "true"), 0);
	ok("vm2 guest exec netk -- sh -c 'rm -f /sbin/init; printf \"#!/bin/sh\\n"
	   "cat /proc/net/route /sys/class/net/eth0/carrier /etc/resolv.conf /proc/net/ipv6_route >/root/first; "
	   "exec sleep 1000\\n\" >/sbin/init; chmod 755 /sbin/init'");
	ok("vm2 guest restart netk");
	wait_for(10, "vm2 guest exec netk -- test -s /root/first");
	for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++)
		assert_has(ok("vm2 guest exec netk -- cat /root/first"), found[i]);
	ok("vm2 tenant remove --yes netk");
}

Test(network, a_plan_may_have_its_mtu)
{
	const char *interface;

	ready();
	interface = ok("vm2 guest show neta --json | jq -r .interface");
	ok("vm2 tenant set neta --mtu 1400");
	for (int i = 0; i < 2; i++) {
		cr_assert_str_eq(ok("vm2 guest exec neta -- cat /sys/class/net/eth0/mtu"), "1400");
		cr_assert_str_eq(ok("cat /sys/class/net/%s/mtu", interface), "1400");
		ok("! vm2 guest exec neta -- ping -M do -c 1 -W 1 -s 1400 198.51.100.1");
		ok("vm2 guest exec neta -- ping -M do -c 1 -W 3 -s 1300 198.51.100.1");
		if (i == 0)
			ok("vm2 guest restart neta");
	}
	ok("vm2 tenant set neta --mtu plan");
	ok("vm2 guest exec neta -- ping -M do -c 1 -W 3 -s 1400 198.51.100.1");
	refused(2, "mtu = '1000' is neither a number from 1280", "vm2 tenant set neta --mtu 1000");
}

/* A router further out whose next link takes less: what it says reaches the guest. */
Test(network, path_mtu_is_told_from_afar)
{
	ready();
	ok("/run/host/outside sh -ec 'ip link add far type veth peer name further; ip link set further up; ip link set far mtu 1290 up; "
	   "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1; "
	   "ip route replace 203.0.113.128/25 dev far; ip -6 route replace 2001:db8:99::/64 dev far'");
	ok("ip route replace 203.0.113.128/25 via 192.0.2.1 && ip -6 route replace 2001:db8:99::/64 via 2001:db8::1");
	ok("! vm2 guest exec neta -- ping -4 -M do -c 1 -W 1 -s 1400 203.0.113.200");
	wait_for(10, "vm2 guest exec neta -- ip -4 route get 203.0.113.200 | grep 'mtu 1290'");
	ok("! vm2 guest exec neta -- ping -6 -M do -c 1 -W 1 -s 1400 2001:db8:99::7");
	wait_for(10, "vm2 guest exec neta -- ip -6 route get 2001:db8:99::7 | grep 'mtu 1290'");
	ok("ip route del 203.0.113.128/25 && ip -6 route del 2001:db8:99::/64");
}

/* Further pools, which the outside routes to the host. */
static void pools_ready(void)
{
	ready();
	if (sh("grep -q '^pools = 203' /etc/vm2/vm2.conf").status == 0)
		return;
	ok("/usr/libexec/vm2/supervise stop vm2d; sed -i -E "
	   "'s,^#?pools = .*,pools = 203.0.113.0/29 198.51.100.77/32 2001:db8:77::/64,' /etc/vm2/vm2.conf && "
	   "grep -q '^pools = 203' /etc/vm2/vm2.conf");
	ok("/usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(20, "vm2 host status");
	wait_for(20, "nft list table inet vm2 | grep 203.0.113.0/29");
	ok("/run/host/outside ip route replace 203.0.113.0/29 via 192.0.2.2 && "
	   "/run/host/outside ip -6 route replace 2001:db8:77::/64 via 2001:db8::2");
}

Test(network, further_addresses_come_move_and_go)
{
	pools_ready();
	ok("vm2 address add neta 203.0.113.0/29 --dry-run");
	cr_assert_str_eq(ok("vm2 address list neta --json | jq length"), "2");
	cr_assert_str_eq(ok("vm2 address add neta 203.0.113.0/29 --json | jq -r .address"), "203.0.113.1");
	ok("vm2 address add neta 2001:DB8:77:0::7 && vm2 firewall verify");
	ok("vm2 guest exec neta -- grep -x $'203.0.113.1\tneta' /etc/hosts");
	/* At once, out with its own address, and in where a rule says so. */
	ok("vm2 guest exec neta -- ping -c 1 -W 3 -I 203.0.113.1 198.51.100.1");
	reaches6("neta", "-I 2001:db8:77::7");
	ok("! /run/host/outside ping -c 1 -W 1 203.0.113.1");
	ok("vm2 rule add neta in allow icmp");
	ok("/run/host/outside ping -c 1 -W 3 203.0.113.1");
	ok("/run/host/outside ping -c 1 -W 3 2001:db8:77::7");
	ok("! /run/host/outside ping -c 1 -W 1 203.0.113.2"); /* nobody's */
	/* After a restart as before. */
	ok("vm2 guest stop neta && vm2 guest start neta && vm2 firewall verify");
	ok("/run/host/outside ping -c 1 -W 3 2001:db8:77::7");
	/* To another, which has no such rule; both run. */
	refused(6, "203.0.113.1 is in use: 'neta' has it", "vm2 address add netb 203.0.113.1");
	ok("vm2 address add netb 203.0.113.1 --move && vm2 firewall verify");
	ok("! vm2 guest exec neta -- grep 203.0.113.1 /etc/hosts && vm2 guest exec netb -- grep 203.0.113.1 /etc/hosts");
	ok("! /run/host/outside ping -c 1 -W 1 203.0.113.1");
	ok("vm2 guest exec netb -- ping -c 1 -W 3 -I 203.0.113.1 198.51.100.1");
	ok("! vm2 guest exec neta -- ping -c 1 -W 1 -I 203.0.113.1 198.51.100.1");
	ok("vm2 rule add netb in allow icmp");
	ok("/run/host/outside ping -c 1 -W 3 203.0.113.1");
	cr_assert_str_eq(ok("vm2 address list --json | jq -r '[.[] | select(.kind == \"further\") | "
			    "\"\\(.tenant) \\(.address)\"] | join(\",\")'"),
			 "neta 2001:db8:77::7,netb 203.0.113.1");
	ok("vm2 address remove netb 203.0.113.1 && vm2 address remove neta 2001:db8:77::7");
	ok("! /run/host/outside ping -c 1 -W 1 203.0.113.1");
	ok("vm2 rule remove neta 1 && vm2 rule remove netb 1 && vm2 firewall verify");
}

/* The database as it is when who moves an address is killed behind its first step, or another's last. */
static void moved_in_the_books(const char *address, const char *to)
{
	ok("sqlite3 /var/lib/vm2/tenants.db \"UPDATE address SET tenant = (SELECT id FROM tenant WHERE name = '%s') "
	   "WHERE address = '%s'\"", to, address);
}

static void has_alone(const char *who, const char *other, const char *address, const char *to)
{
	wait_for(20, "vm2 firewall verify");
	wait_for(20, "test $(vm2 host repair --dry-run --json | jq '[.[] | select(.kind == \"address\")] | length') = 0");
	wait_for(20, "vm2 guest exec %s -- ping -c 1 -W 1 -I %s %s", who, address, to);
	ok("! vm2 guest exec %s -- ip -o address show eth0 | grep -F %s", other, address);
	ok("vm2 guest exec %s -- grep -F %s /etc/hosts", who, address);
}

Test(network, a_move_that_was_cut_short_is_finished)
{
	pools_ready();
	ok("vm2 address add neta 203.0.113.5 && vm2 address add neta 2001:db8:77::5");
	moved_in_the_books("203.0.113.5", "netb");
	moved_in_the_books("2001:db8:77::5", "netb");
	cr_assert_str_eq(ok("vm2 host repair --dry-run --json | jq -r '[.[] | select(.kind == \"address\") | "
			    "\"\\(.name) \\(.state)\"] | sort | join(\",\")'"),
			 "2001:db8:77::5 left,2001:db8:77::5 lost,203.0.113.5 left,203.0.113.5 lost");
	ok("vm2 host repair");
	has_alone("netb", "neta", "203.0.113.5", "198.51.100.1");
	has_alone("netb", "neta", "2001:db8:77::5", "2001:db8:1::1");
	/* By a start of vm2d. */
	moved_in_the_books("203.0.113.5", "neta");
	ok("vm2 address remove netb 2001:db8:77::5");
	ok("/usr/libexec/vm2/supervise stop vm2d; /usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(20, "vm2 host status");
	has_alone("neta", "netb", "203.0.113.5", "198.51.100.1");
	ok("vm2 address remove neta 203.0.113.5 && vm2 firewall verify");
}

/* How many packets left the host by up2 while the guest sent five pings from this address. */
static int left_by_up2(const char *from, const char *to)
{
	ok("s() { ip -j -s link show up2 | jq '.[].stats64.tx.packets'; }; a=$(s); "
	   "vm2 guest exec neta -- ping -c 5 -i 0.01 -W 3 -I %s %s >/dev/null && echo $(($(s) - a)) >/run/vm2-test/left",
	   from, to);
	return atoi(ok("cat /run/vm2-test/left"));
}

/* Guests need know nothing of it: the way of a pool is a route of the host's, as docs/FIREWALL has it. */
Test(network, each_pool_goes_by_its_own_gateway)
{
	pools_ready();
	ok("ip link add up2 type veth peer name up2 netns /run/host/outside.net && "
	   "ip address add 198.18.0.1/30 dev up2 && ip address add 2001:db8:2::1/64 dev up2 nodad && ip link set up2 up");
	ok("/run/host/outside sh -ec 'ip address add 198.18.0.2/30 dev up2; ip address add 2001:db8:2::2/64 dev up2 nodad; "
	   "ip link set up2 up; ip route replace 203.0.113.0/29 via 198.18.0.1; "
	   "ip route replace 2001:db8:77::/64 via 2001:db8:2::1'");
	ok("ip route add default via 198.18.0.2 table 77 && ip rule add from 203.0.113.0/29 table 77");
	ok("ip -6 route add default via 2001:db8:2::2 table 77 && ip -6 rule add from 2001:db8:77::/64 table 77");
	ok("vm2 address add neta 203.0.113.3 && vm2 address add neta 2001:db8:77::3 && vm2 address add neta 198.51.100.77");
	ok("vm2 rule add neta in allow icmp");
	cr_expect_geq(left_by_up2("203.0.113.3", "198.51.100.1"), 5);
	reaches6("neta", "-I 2001:db8:77::3");
	cr_expect_geq(left_by_up2("2001:db8:77::3", "2001:db8:1::1"), 5);
	cr_expect_lt(left_by_up2(address("neta", 4), "198.51.100.1"), 5);
	cr_expect_lt(left_by_up2(address("neta", 6), "2001:db8:1::1"), 5);
	ok("/run/host/outside ping -c 1 -W 3 203.0.113.3 && /run/host/outside ping -c 1 -W 3 2001:db8:77::3");
	/* One that is not routed to the host, but looked for in its network. */
	ok("/run/host/outside ip route add 198.51.100.77 dev eth0");
	ok("! /run/host/outside ping -c 1 -W 1 198.51.100.77");
	ok("ip neighbour add proxy 198.51.100.77 dev eth0 && /run/host/outside ip neighbour flush dev eth0 to 198.51.100.77");
	ok("/run/host/outside ping -c 1 -W 3 198.51.100.77");
	cr_expect_lt(left_by_up2("198.51.100.77", "198.51.100.1"), 5);
	/* What a guest sees of all of them. */
	cr_assert_str_eq(ok("vm2 guest exec neta -- ip -j address show eth0 | jq -r '[.[].addr_info[] | "
			    "select(.scope == \"global\") | .prefixlen] | unique | join(\",\")'"), "32,128");
	cr_assert_str_eq(ok("{ vm2 guest exec neta -- ip -j route show default; vm2 guest exec neta -- ip -6 -j route show default; } | "
			    "jq -r '.[].gateway' | paste -sd,"), "169.254.1.1,fe80::1");
	ok("vm2 rule remove neta 1; for a in 203.0.113.3 2001:db8:77::3 198.51.100.77; do vm2 address remove neta $a || exit 1; done");
	ok("ip rule del table 77; ip -6 rule del table 77; ip link del up2; ip neighbour del proxy 198.51.100.77 dev eth0; "
	   "/run/host/outside sh -c 'ip route del 198.51.100.77; ip route replace 203.0.113.0/29 via 192.0.2.2; "
	   "ip route replace 2001:db8:77::/64 via 2001:db8::2'");
}

Test(network, bad_addresses_are_refused)
{
	pools_ready();
	ok("vm2 address add neta 198.51.100.77");
	refused(6, "'neta' has 198.51.100.77 already", "vm2 address add neta 198.51.100.77");
	refused(5, "198.51.100.77/32 is full", "vm2 address add netb 198.51.100.77/32");
	refused(2, "is in no pool: add its prefix", "vm2 address add neta 203.0.113.8");
	refused(2, "each guest has one address of already", "vm2 address add neta 10.82.3.4");
	refused(2, "is not an IPv4 address", "vm2 address add neta 203.0.113.1.5");
	refused(2, "bits are set after", "vm2 address add neta 203.0.113.1/29");
	refused(3, "no tenant", "vm2 address add nobody 203.0.113.1");
	refused(3, "has no further address 203.0.113.1", "vm2 address remove neta 203.0.113.1");
	refused(3, "'netb' has no further address", "vm2 address remove netb 198.51.100.77");
	refused(2, "is no address", "vm2 address remove neta 203.0.113.0/29");
	ok("ip address add 203.0.113.1/32 dev lo");
	refused(6, "203.0.113.1 is in use: the host itself has it", "vm2 address add neta 203.0.113.1");
	cr_assert_str_eq(ok("vm2 address add neta 203.0.113.0/29 --dry-run --json | jq -r .address"), "203.0.113.2");
	ok("ip address del 203.0.113.1/32 dev lo");
	ok("vm2 address remove neta 198.51.100.77 --dry-run && vm2 address remove neta 198.51.100.77 && vm2 firewall verify");
	ok("printf '[instance]\\nname = other\\n[paths]\\nstate = /var/lib/vm2/second\\nrun = /run/second\\n"
	   "[network]\\npools = 10.82.7.0/24\\n' >/tmp/overlap.conf");
	assert_has(ok("! timeout 20 vm2d --config /tmp/overlap.conf 2>&1"),
		   "network.pools: 10.82.7.0/24 overlaps another pool");
	ok("! timeout 20 vm2d --config /tmp/overlap.conf 2>&1 | grep serves");
	ok("sed -i 's/^pools = .*/table = mine/' /tmp/overlap.conf");
	assert_has(ok("! timeout 20 vm2d --config /tmp/overlap.conf 2>&1"),
		   "network.table: 'mine' is neither owned nor watched");
}

Test(network, differences_are_named_and_mended)
{
	ready();
	ok("vm2 firewall verify");
	/* Others cannot change the table: what differs is what the database means. */
	ok("vm2 publish add neta udp 8077");
	ok("sqlite3 /var/lib/vm2/tenants.db \"UPDATE publish SET host_port = 8078 WHERE host_port = 8077\"");
	refused(1, "differs from the database", "vm2 firewall verify >/run/vm2-test/verify");
	ok("grep 'missing .*publish4 { udp . 8078' /run/vm2-test/verify");
	ok("grep 'unexpected .*publish4 { udp . 8077' /run/vm2-test/verify");
	ok("vm2 firewall plan --json | jq -e 'length == 4'");
	ok("vm2 firewall restore --dry-run | grep 'missing .*publish6'");
	ok("vm2 firewall restore && vm2 firewall verify");
	ok("grep -rqs '\"by\":\"vm2 (uid 0)\",\"change\":\"had the table restored\"' /var/lib/vm2/ledger");
	ok("vm2 publish remove neta udp 8078 && vm2 firewall verify");
	ok("vm2 firewall show | grep 'from a guest to another'");
}

Test(network, a_dry_run_of_limits_changes_none)
{
	ready();
	cr_assert_str_eq(ok("vm2 plan add dry --quota 5G --dry-run --json | jq -r '.quota'"), "5368709120");
	refused(3, "no plan 'dry'", "vm2 plan set dry --quota 6G --dry-run");
	ok("vm2 plan add dry --up 1mbit");
	refused(6, "is a plan 'dry' already", "vm2 plan add dry --dry-run");
	cr_assert_str_eq(ok("vm2 plan set dry --up 2mbit --dry-run --json | jq -r '.up'"), "2000000");
	cr_assert_str_eq(ok("vm2 plan list --json | jq -r '.[] | select(.name == \"dry\") | .up'"), "1000000");
	cr_assert_str_eq(ok("vm2 tenant set neta --plan dry --down 3mbit --dry-run --json | jq -r '\"\\(.plan) \\(.up) \\(.down)\"'"),
			 "dry 1000000 3000000");
	cr_assert_str_eq(ok("vm2 tenant show neta --json | jq -r '\"\\(.plan) \\(.up) \\(.own)\"'"), "small 0 ");
	cr_assert_str_eq(ok("vm2 tenant set neta --nameservers 192.0.2.53 --hours Wk0800-1800 --dry-run --json | "
			    "jq -r '\"\\(.nameservers) \\(.hours)\"'"), "192.0.2.53 Wk0800-1800");
	refused(2, "nothing is to be changed", "vm2 tenant set neta --dry-run");
	refused(2, "down = '1' is neither", "vm2 tenant set neta --down 1 --dry-run");
	refused(5, "is what tenants without one get", "vm2 plan remove small --dry-run");
	ok("vm2 tenant set neta --plan dry");
	refused(5, "plan 'dry' is in use", "vm2 plan remove dry --dry-run");
	ok("vm2 tenant set neta --plan small");
	ok("vm2 plan remove dry --dry-run && vm2 plan remove dry");
	refused(3, "no plan 'dry'", "vm2 plan remove dry --dry-run");
}

Test(network, a_dry_run_ends_nobody)
{
	static const char state[] = "vm2 tenant show neta --json | jq -r '\"\\(.state) \\(.guest) \\(.nameservers) \\(.hours)\"'";
	const char *before;

	ready();
	before = ok(state);
	ok("vm2 tenant suspend neta --reason 'unpaid invoice' --dry-run && vm2 tenant resume neta --dry-run");
	ok("vm2 tenant remove neta --dry-run");
	cr_assert_str_eq(ok(state), before);
	refused(3, "no tenant", "vm2 tenant suspend nobody --dry-run");
	refused(3, "no tenant", "vm2 tenant remove nobody --dry-run");
	refused(2, "control characters", "vm2 tenant suspend neta --reason $'a\nb' --dry-run");
}

/* What `vm2 host check` says of a fact: its state, and what it found. */
static void checked(const char *fact, const char *state, const char *words)
{
	const char *row = ok("vm2 host check --json | jq -r '.[] | select(.name == \"%s\") | .state + \": \" + .found'", fact);

	cr_expect(strncmp(row, state, strlen(state)) == 0, "%s: %s", fact, row);
	assert_has(row, words);
}

Test(network, what_stands_in_the_way_is_named_and_left_alone)
{
	host_ready();
	checked("other-tables", "ok", "none drops");
	ok("nft add table ip other && "
	   "nft 'add chain ip other gate { type filter hook forward priority 0; policy drop; }'");
	checked("other-tables", "missing", "table ip other, chain gate");
	ok("nft list chain ip other gate && nft delete table ip other");
	checked("other-tables", "ok", "none drops");
	ok("sysctl -qw net.ipv4.conf.all.proxy_arp=1 net.ipv4.conf.all.rp_filter=2");
	checked("proxy-arp", "missing", "ipv4/conf/all/proxy_arp is 1");
	checked("rp-filter", "missing", "is 2");
	ok("vm2 host setup >/dev/null");
	cr_assert_str_eq(ok("sysctl -n net.ipv4.conf.all.proxy_arp net.ipv4.conf.all.rp_filter | paste -sd' '"), "1 2");
	ok("sysctl -qw net.ipv4.conf.all.proxy_arp=0 net.ipv4.conf.all.rp_filter=0");
	checked("proxy-arp", "ok", "");
	checked("rp-filter", "ok", "");
	ok("sysctl -qw net.ipv4.conf.all.accept_redirects=1");
	checked("redirects", "missing", "ipv4/conf/all/accept_redirects is 1");
	ok("sysctl -qw net.ipv4.conf.all.accept_redirects=0");
	checked("redirects", "ok", "");
	checked("reassembly", "ok", "");
	ok("sysctl -qw net.ipv4.ipfrag_time=120");
	checked("reassembly", "missing", "ipv4/ipfrag_high_thresh is 134217728");
	ok("sysctl -qw net.ipv4.ipfrag_time=5 net.netfilter.nf_conntrack_frag6_high_thresh=4194304");
	checked("reassembly", "missing", "nf_conntrack_frag6_high_thresh is 4194304");
	ok("sysctl -qw net.netfilter.nf_conntrack_frag6_high_thresh=134217728");
	checked("reassembly", "ok", "");
	for (int i = 0; i < 2; i++) {
		checked("forwarding", "ok", "");
		ok("sysctl -qw %s=0", i ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding");
		checked("forwarding", "missing", "");
		ok("vm2 host setup >/dev/null");
	}
	checked("forwarding", "ok", "");
	/* A default route that a router's advertisement made (RFC 4861 4.2), and will not renew. */
	checked("accept-ra", "ok", "");
	ok("sysctl -qw net.ipv6.conf.eth0.accept_ra=2 && /run/host/outside python3 -c 'import socket\n"
	   "s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)\n"
	   "s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)\n"
	   "s.sendto(bytes([134, 0, 0, 0, 64, 0, 7, 8]) + bytes(8), (\"ff02::1\", 0, 0, socket.if_nametoindex(\"eth0\")))'");
	wait_for(10, "ip -6 route show default | grep 'proto ra'");
	ok("sysctl -qw net.ipv6.conf.eth0.accept_ra=1");
	checked("accept-ra", "missing", "ipv6/conf/eth0/accept_ra is 1");
	ok("sysctl -qw net.ipv6.conf.eth0.accept_ra=2");
	checked("accept-ra", "ok", "");
	ok("sysctl -qw net.ipv6.conf.eth0.accept_ra=1 && ip -6 route del default proto ra");
}

/* The kernel has one number for all namespaces, and shows it in the first alone: here a file stands for it. */
Test(network, neighbours_for_many_guests_are_provided_for)
{
	host_ready();
	ok("mv /etc/sysctl.d/60-vm2.conf /run/vm2-test/ && unshare -m sh -ec '"
	   "for f in 4 6; do mkdir -p /run/vm2-test/$f/default; for n in 2 3; do echo 512 >/run/vm2-test/$f/default/gc_thresh$n; done; "
	   "mount --bind /run/vm2-test/$f /proc/sys/net/ipv$f/neigh; done; vm2 host setup' >/dev/null; r=$?; "
	   "mv -f /run/vm2-test/60-vm2.conf /etc/sysctl.d/; exit $r");
	for (int family = 4; family <= 6; family += 2)
		cr_assert_str_eq(ok("cat /run/vm2-test/%d/default/gc_thresh3", family), "65536");
}

static void masquerade(const char *which)
{
	ok("/usr/libexec/vm2/supervise stop vm2d; sed -i -E 's/^#?masquerade = .*/masquerade = %s/' "
	   "/etc/vm2/vm2.conf && grep -q '^masquerade = ' /etc/vm2/vm2.conf", which);
	ok("/usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(20, "vm2 host status");
	wait_for(20, "vm2 firewall verify");
}

Test(network, pools_that_are_routed_are_not_translated)
{
	static const char translates[] = "nft list table inet vm2 | grep 'type nat'";

	ready();
	greeter("neta", 7095);
	masquerade("none");
	ok("! %s", translates);
	ok("/run/host/outside ip route replace 10.82.0.0/16 via 192.0.2.2");
	ok("vm2 guest exec neta -- ping -c 1 -W 3 198.51.100.1");
	ok("vm2 firewall show --json | jq -e '.[] | select(.what == \"from a guest to the world\") | .verdict == \"allowed\"'");
	ok("vm2 publish add neta tcp 8095:7095 && vm2 firewall verify && %s", translates);
	wait_for(20, "/run/host/outside nc -w 2 192.0.2.2 8095 </dev/null | grep 'hello from neta'");
	wait_for(20, "vm2 guest exec netb -- nc -w 2 192.0.2.2 8095 </dev/null | grep 'hello from neta'");
	ok("vm2 firewall restore && vm2 firewall verify && %s", translates);
	ok("vm2 publish remove neta tcp 8095 && vm2 firewall verify && ! %s", translates);
	ok("vm2 guest exec neta -- ping -c 1 -W 3 198.51.100.1");
	masquerade("both");
	ok("%s", translates);
}
