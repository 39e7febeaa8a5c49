/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "tests/unit/firewall/net.h"

static const struct link_spec spec = { "vm2", 7, "10.66.0.7", "fd66::7", 1400 };

Test(link, name_and_mac_follow_from_the_number)
{
	char name[16];
	uint8_t host[6], guest[6], other[6];

	link_name("vm2", 4294967295U, name);
	cr_expect_str_eq(name, "vm2-4294967295");
	link_name("vm2vm2vm", 1234567, name);
	cr_expect_str_eq(name, "");
	link_mac(0x01020304, false, host);
	link_mac(0x01020304, true, guest);
	link_mac(0x01020305, true, other);
	cr_expect((host[0] & 3) == 2 && host[2] == 1 && host[5] == 4);
	cr_expect(memcmp(host, guest, 6) && memcmp(guest, other, 6));
}

Test(link, index_says_instance_and_number)
{
	struct link_spec many = { "vm2", LINK_NUMBER_MAX + 1, "10.66.0.7", NULL, 1400 };
	uint32_t vm2 = link_index_base("vm2"), other = link_index_base("vm3"), number = 0;
	struct err err;

	/* Running guests have theirs: another one would be a stranger to the rules. */
	cr_expect(vm2 == 0x21600000 && other != vm2, "%x %x", vm2, other);
	cr_expect(!(vm2 & LINK_NUMBER_MAX) && vm2 < 0x80000000);
	cr_expect(link_number(vm2, vm2 | 70000, &number) && number == 70000);
	cr_expect(!link_number(vm2, other | 70000, &number) && !link_number(vm2, 70000, &number));
	cr_expect(link_up(&many, -1, &err) == ERR_USAGE && strstr(err.text, "1048575"), "%s", err.text);
}

Test(link, prefixes)
{
	struct address a;
	struct err err;
	uint8_t mask[16];

	cr_expect(address_parse_cidr("10.64.0.0/11", AF_INET, &a, &err) == 0 && a.prefix == 11);
	address_mask(&a, mask);
	cr_expect(mask[0] == 0xff && mask[1] == 0xe0 && mask[2] == 0);
	cr_expect(address_parse_cidr("fd00::/8", AF_INET6, &a, &err) == 0 && a.len == 16);
	cr_expect(address_parse_cidr(NULL, AF_INET, &a, &err) == 0 && a.family == 0);
	cr_expect(address_parse_cidr("10.0.0.0/-1", AF_INET, &a, &err) == ERR_USAGE);
	cr_expect(address_parse_cidr("10.0.0.0/8/8", AF_INET, &a, &err) == ERR_USAGE);
	cr_expect(address_parse_cidr("/8", AF_INET, &a, &err) == ERR_USAGE);
	cr_expect(address_parse_cidr("fd66::1/64", AF_INET6, &a, &err) == ERR_USAGE);
	cr_expect(strstr(err.text, "fd66::1/64"), "%s", err.text);
}

/* The guest's side of it, as ip(8) tells. */
static int check_guest_side(const char *unused)
{
	static const char *const wanted[] = { "02:67:00:00:00:07", "mtu 1400", "inet 10.66.0.7/32",
		"inet6 fd66::7/128", "default via 169.254.1.1 dev eth0",
		"default via fe80::1 dev eth0", "LOOPBACK,UP,LOWER_UP",
		"169.254.1.1 dev eth0 proto static scope link", "PERMANENT" };
	char text[8192];

	(void)unused;
	output("ip addr; ip route; ip -6 route; ip neigh", text, sizeof(text));
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (!strstr(text, wanted[i])) {
			fprintf(stderr, "no \"%s\" in:\n%s", wanted[i], text);
			return 1;
		}
	return strstr(text, "tentative") ? 2 : 0;
}

Test(link, both_sides_are_complete)
{
	struct err err = { 0 };
	char text[4096];
	int netns;

	be_host();
	netns = new_netns();
	cr_assert(link_up(&spec, netns, &err) == 0, "%s", err.text);
	cr_expect(within(netns, check_guest_side, NULL));
	output("ip addr show vm2-7; ip route; ip -6 route", text, sizeof(text));
	cr_expect(strstr(text, "inet 169.254.1.1/32") && strstr(text, "inet6 fe80::1/64"), "%s",
		text);
	cr_expect(strstr(text, "10.66.0.7 dev vm2-7") && strstr(text, "fd66::7 dev vm2-7"), "%s",
		text);
	cr_expect(!strstr(strstr(text, "fe80::1") + 7, "inet6"), "another address: %s", text);
	output("ip neigh show dev vm2-7", text, sizeof(text));
	cr_expect(strstr(text, "10.66.0.7 lladdr 02:67:00:00:00:07 PERMANENT") &&
			strstr(text, "fd66::7 lladdr 02:67:00:00:00:07 PERMANENT") &&
			strstr(text, "fe80::2 lladdr 02:67:00:00:00:07 PERMANENT"),
		"%s", text);
	output("cd /proc/sys/net; cat ipv4/conf/vm2-7/rp_filter ipv4/conf/vm2-7/forwarding "
	       "ipv6/conf/vm2-7/forwarding ipv6/conf/vm2-7/accept_ra ipv4/conf/vm2-7/proxy_arp",
		text, sizeof(text));
	cr_expect_str_eq(text, "1\n1\n1\n0\n0\n");
	cr_expect(within(netns, do_ping, LINK_GATEWAY4));
	cr_expect(within(netns, do_ping, LINK_GATEWAY6));
}

/* Before the rules of the guest are there. */
Test(link, lets_no_packet_pass_until_it_is_opened)
{
	CLEANUP_CLOSE int proc = fd_proc();
	struct link_begun *begun;
	struct err err = { 0 };
	char text[4096];
	int netns;

	be_host();
	netns = new_netns();
	cr_assert(link_begin(&spec, netns, proc, &begun, &err) == 0, "%s", err.text);
	cr_expect(!within(netns, do_ping, LINK_GATEWAY4));
	output("ip -br link show vm2-7; ip route; ip -6 route", text, sizeof(text));
	cr_expect(strstr(text, "vm2-7") && !strstr(text, "UP") && !strstr(text, "10.66.0.7") &&
			  !strstr(text, "fd66::7"),
		  "%s", text);
	cr_assert(link_open(begun, &err) == 0, "%s", err.text);
	link_at_work(begun);
	cr_expect(within(netns, do_ping, LINK_GATEWAY4));
	cr_expect(within(netns, do_ping, LINK_GATEWAY6));
	link_begun_free(begun);
}

static int forget_neighbours(const char *unused)
{
	char text[256];

	(void)unused;
	output("ip neigh del 169.254.1.1 dev eth0; ip neigh del fe80::1 dev eth0", text,
		sizeof(text));
	return do_ping(LINK_GATEWAY4) || do_ping(LINK_GATEWAY6);
}

Test(link, works_without_permanent_neighbours)
{
	struct err err = { 0 };
	int netns;

	be_host();
	netns = new_netns();
	cr_assert(link_up(&spec, netns, &err) == 0, "%s", err.text);
	cr_expect(within(netns, forget_neighbours, NULL));
}

Test(link, up_and_down_may_be_repeated)
{
	struct err err = { 0 };
	int first, second;

	be_host();
	first = new_netns();
	second = new_netns();
	cr_expect(link_down("vm2", 7, &err) == 0, "%s", err.text);
	cr_assert(link_up(&spec, first, &err) == 0, "%s", err.text);
	cr_assert(link_up(&spec, second, &err) == 0, "%s", err.text);
	cr_expect(!within(first, do_ping, LINK_GATEWAY4));
	cr_expect(within(second, do_ping, LINK_GATEWAY4));
	for (int i = 0; i < 2; i++)
		cr_expect(link_down("vm2", 7, &err) == 0, "%s", err.text);
	cr_expect(if_nametoindex("vm2-7") == 0);
}

Test(link, failure_leaves_nothing)
{
	struct link_spec bad = spec;
	struct err err = { 0 };
	int netns, null;

	be_host();
	netns = new_netns();
	null = open("/dev/null", O_RDONLY);
	cr_expect(link_up(&spec, null, &err) < 0);
	cr_expect(strstr(err.text, "vm2-7"), "%s", err.text);
	bad.mtu = 10; /* too small for IPv6, and for IPv4 */
	cr_expect(link_up(&bad, netns, &err) < 0);
	bad.mtu = 1500;
	bad.address4 = "10.66.0.7/32";
	cr_expect(link_up(&bad, netns, &err) == ERR_USAGE);
	bad.address4 = NULL;
	bad.instance = "a-b";
	cr_expect(link_up(&bad, netns, &err) == ERR_USAGE);
	cr_expect(if_nametoindex("vm2-7") == 0);
	cr_expect(link_up(&spec, netns, &err) == 0, "%s", err.text);
}

Test(link, address_is_taken_from_nobody)
{
	struct link_spec thief = { "vm2", 8, "10.66.0.8", "fd66::7", 1500 };
	struct err err = { 0 };
	int netns[3];

	be_host();
	for (int i = 0; i < 3; i++)
		netns[i] = new_netns();
	cr_assert(link_up(&spec, netns[0], &err) == 0, "%s", err.text);
	cr_expect(link_up(&thief, netns[1], &err) == -EEXIST);
	cr_expect(strstr(err.text, "vm2-8: cannot add a route"), "%s", err.text);
	cr_expect(if_nametoindex("vm2-8") == 0);
	thief.address6 = NULL;
	cr_expect(link_up(&thief, netns[0], &err) == -EEXIST, "a second eth0");
	cr_expect(if_nametoindex("vm2-8") == 0 && if_nametoindex("vm2-7") != 0);
	cr_expect(link_up(&thief, netns[2], &err) == 0, "%s", err.text);
	cr_expect(within(netns[0], do_ping, LINK_GATEWAY6));
}

static bool has_address(int netns, const char *address)
{
	char text[4096];
	int own = own_netns();

	enter(netns);
	output("ip address show dev eth0", text, sizeof(text));
	enter(own);
	close(own);
	return strstr(text, address);
}

static int rename_eth0(const char *unused)
{
	char text[256];

	(void)unused;
	output("ip link set eth0 down && ip link set eth0 name mine && ip link set mine up 2>&1", text,
		sizeof(text));
	return text[0] != 0;
}

Test(link, further_addresses_come_and_go)
{
	struct link_spec with = { "vm2", 8, NULL, "fd66::8", 1500, "198.51.100.8 fd77::8 198.51.100.9" };
	struct err err = { 0 };
	int netns[2];
	char text[2048];

	be_host();
	netns[0] = new_netns();
	netns[1] = new_netns();
	cr_assert(link_up(&spec, netns[0], &err) == 0, "%s", err.text);
	cr_assert(link_up(&with, netns[1], &err) == 0, "%s", err.text);
	cr_expect(has_address(netns[1], "198.51.100.8/32") && has_address(netns[1], "fd77::8/128") &&
		  has_address(netns[1], "198.51.100.9/32"));
	cr_expect(within(netns[1], do_ping, LINK_GATEWAY4));
	cr_expect(within(own_netns(), do_ping, "198.51.100.9"));
	cr_expect(within(own_netns(), do_ping, "fd77::8"));
	/* From one to the other, while both run. */
	cr_expect(link_add_address("vm2", 7, netns[0], "198.51.100.9", &err) == -EEXIST);
	cr_expect(!has_address(netns[0], "198.51.100.9"));
	for (int i = 0; i < 2; i++)
		cr_expect(link_remove_address("vm2", 8, netns[1], "198.51.100.9", &err) == 0, "%s",
			err.text);
	cr_expect(link_add_address("vm2", 7, netns[0], "198.51.100.9", &err) == 0, "%s", err.text);
	cr_expect(has_address(netns[0], "198.51.100.9/32") && !has_address(netns[1], "198.51.100.9"));
	cr_expect(link_add_address("vm2", 7, netns[0], "fd77::7", &err) == 0, "%s", err.text);
	cr_expect(within(own_netns(), do_ping, "198.51.100.9"));
	cr_expect(within(own_netns(), do_ping, "198.51.100.8"));
	cr_expect(within(own_netns(), do_ping, "fd77::7"));
	cr_expect(link_remove_address("vm2", 7, netns[0], "fd77::7", &err) == 0, "%s", err.text);
	output("ip -6 route; ip neigh", text, sizeof(text));
	cr_expect(!strstr(text, "fd77::7"), "%s", text);
	/* Whatever a guest has made of its side, the host's is the host's. */
	cr_expect(within(netns[0], rename_eth0, NULL));
	cr_expect(link_remove_address("vm2", 7, netns[0], "198.51.100.9", &err) == 0, "%s", err.text);
	output("ip route", text, sizeof(text));
	cr_expect(!strstr(text, "198.51.100.9") && strstr(text, "198.51.100.8"), "%s", text);
	/* No such link, no address. */
	cr_expect(link_remove_address("vm2", 9, netns[0], "198.51.100.9", &err) == 0);
	cr_expect(link_add_address("vm2", 9, netns[0], "198.51.100.10", &err) == -ENODEV);
	cr_expect(link_add_address("vm2", 7, netns[0], "198.51.100.10 198.51.100.11", &err) == ERR_USAGE);
	cr_expect(link_add_address("vm2", 7, netns[0], "127.0.0.1", &err) == ERR_USAGE);
}

/* The routes to the namespace's own IPv6 addresses, as hexadecimal digits (proc(5)). */
static bool is_local(int netns, const char *address)
{
	static char routes[262144];
	char digits[33] = "";
	struct in6_addr a;
	int own = own_netns();

	cr_assert(inet_pton(AF_INET6, address, &a) == 1);
	for (int i = 0; i < 16; i++)
		snprintf(digits + 2 * i, 3, "%02x", a.s6_addr[i]);
	cr_assert(setns(netns, CLONE_NEWNET) == 0);
	cr_assert(fd_read_path(AT_FDCWD, "/proc/thread-self/net/ipv6_route", routes,
			       sizeof(routes)) > 0);
	cr_assert(setns(own, CLONE_NEWNET) == 0);
	close(own);
	for (char *line = strtok(routes, "\n"); line; line = strtok(NULL, "\n"))
		if (!strncmp(line, digits, 32) &&
		    strstr(line, " 80200001 ")) /* RTF_UP, NONEXTHOP, LOCAL */
			return true;
	return false;
}

/* Linux has it so only a moment after it has said that it is added: here one in six was late. */
Test(link, ipv6_addresses_are_at_work_when_they_are_there, .timeout = 60)
{
	struct err err = { 0 };
	int netns;

	be_host();
	for (int i = 0; i < 20; i++) {
		netns = new_netns();
		cr_assert(link_up(&spec, netns, &err) == 0, "%s", err.text);
		cr_expect(is_local(netns, "fd66::7") && is_local(netns, LINK_GUEST6) &&
			  is_local(own_netns(), LINK_GATEWAY6));
		if (i < 19)
			close(netns);
	}
	for (int i = 0; i < 100; i++) {
		char address[32];

		snprintf(address, sizeof(address), "fd77::%x", i + 1);
		cr_assert(link_add_address("vm2", 7, netns, address, &err) == 0, "%s", err.text);
		cr_expect(is_local(netns, address), "%s", address);
	}
}

Test(link, guest_without_ipv6_has_ipv4)
{
	struct err err = { 0 };
	int own, netns;

	be_host();
	own = own_netns();
	netns = new_netns();
	enter(netns);
	cr_assert(
		fd_write_path(AT_FDCWD, "/proc/sys/net/ipv6/conf/default/disable_ipv6", "1") == 0);
	enter(own);
	cr_assert(link_up(&spec, netns, &err) == 0, "%s", err.text);
	cr_expect(within(netns, do_ping, LINK_GATEWAY4));
	close(own);
}

Test(link, host_without_ipv6_has_ipv4)
{
	struct err err = { 0 };
	char text[1024];
	int netns;

	be_host();
	cr_assert(fd_write_path(AT_FDCWD, "/proc/sys/net/ipv6/conf/all/disable_ipv6", "1") == 0);
	cr_assert(
		fd_write_path(AT_FDCWD, "/proc/sys/net/ipv6/conf/default/disable_ipv6", "1") == 0);
	netns = new_netns();
	cr_assert(link_up(&spec, netns, &err) == 0, "%s", err.text);
	output("ip addr show vm2-7", text, sizeof(text));
	cr_expect(!strstr(text, "inet6"), "%s", text);
	cr_expect(within(netns, do_ping, LINK_GATEWAY4));
}

Test(link, two_hundred_links, .timeout = 120)
{
	struct link_spec s = spec;
	struct err err = { 0 };
	double up[3], down[3], t0, t1;
	int netns[203];

	be_host();
	for (int i = 0; i < 203; i++) {
		char a4[24], a6[24];

		netns[i] = new_netns();
		snprintf(a4, sizeof(a4), "10.66.1.%d", i + 1);
		snprintf(a6, sizeof(a6), "fd66::1:%x", i + 1);
		s = (struct link_spec){ "vm2", 100 + i, a4, a6, 1500 };
		t0 = now_ms();
		cr_assert(link_up(&s, netns[i], &err) == 0, "%s", err.text);
		t1 = now_ms();
		if (i < 3) {
			up[i] = t1 - t0;
			link_down("vm2", s.number, &err);
			down[i] = now_ms() - t1;
		} else if (i >= 200) {
			cr_log_info("200 links: up %.2f ms", t1 - t0);
		}
	}
	for (int i = 0; i < 3; i++) {
		t0 = now_ms();
		cr_assert(link_down("vm2", 300 + i, &err) == 0);
		cr_log_info("0 links: up %.2f ms, down %.2f ms; 200 links: down %.2f ms", up[i],
			down[i], now_ms() - t0);
	}
}

/* link_verify() */
static void add_words(void *data, enum link_fault fault, const char *what)
{
	char *text = data;
	size_t len = strlen(text);

	snprintf(text + len, 1024 - len, "%s%s;", fault == LINK_FURTHER ? "further: " : "", what);
}

static const char *faults(const struct link_spec *of)
{
	static char text[1024];
	struct err err = { 0 };
	int r;

	text[0] = '\0';
	r = link_verify(of, add_words, text, &err);
	if (r == -ENODEV)
		return "gone";
	cr_assert(r == 0, "%s", err.text);
	return text;
}

#define PERMANENT " is no permanent neighbour of its guest's MAC;"

/* What somebody does to the host's side, what is said of it, and that it is as it was afterwards. */
Test(link, what_others_change_is_named_and_mended)
{
	static const struct {
		const char *harm, *words;
		bool further; /* which is lost with it, and not for this to mend */
	} harms[] = {
		{ "ip link set vm2-7 down", "it is down;", true },
		{ "ip link set vm2-7 down; ip link set vm2-7 name away; ip link set away up; "
		  "ip address add fe80::1/64 dev away nodad; ip route add 10.66.0.7 dev away; "
		  "ip route add fd66::7 dev away; for a in 10.66.0.7 fd66::7 fe80::2 10.77.0.7; do ip neigh "
		  "replace $a lladdr 02:67:00:00:00:07 dev away; done; ip route add 10.77.0.7 dev away",
		  "it is named away;", true },
		{ "ip link set vm2-7 mtu 1300", "its MTU is 1300, not 1400;" },
		{ "ip link add br9 type bridge; ip link set vm2-7 master br9",
		  "it is a port of br9;" },
		{ "echo 0 >/proc/sys/net/ipv4/conf/vm2-7/rp_filter; echo 1 "
		  ">/proc/sys/net/ipv6/conf/vm2-7/accept_ra",
		  "net.ipv4.conf.vm2-7.rp_filter is 0, not 1;net.ipv6.conf.vm2-7.accept_ra is 1, not 0;" },
		/* With its last address the kernel takes all of IPv4 from it. */
		{ "ip address delete 169.254.1.1/32 dev vm2-7",
		  "it has not the address 169.254.1.1;10.66.0.7" PERMANENT
		  "no route leads to 10.66.0.7 by it;10.77.0.7" PERMANENT
		  "further: no route leads to 10.77.0.7 by it;",
		  true },
		{ "ip address delete fe80::1/64 dev vm2-7", "it has not the address fe80::1;" },
		{ "ip neigh delete 10.66.0.7 dev vm2-7", "10.66.0.7" PERMANENT },
		{ "ip neigh delete 10.77.0.7 dev vm2-7", "10.77.0.7" PERMANENT },
		{ "ip neigh replace fe80::2 lladdr 02:67:00:00:00:08 dev vm2-7",
		  "fe80::2" PERMANENT },
		{ "ip route delete 10.66.0.7", "no route leads to 10.66.0.7 by it;" },
		{ "ip route replace blackhole 10.66.0.7", "no route leads to 10.66.0.7 by it;" },
		{ "ip route replace 10.66.0.7 via 192.0.2.1",
		  "no route leads to 10.66.0.7 by it;" },
		{ "ip -6 route delete fd66::7", "no route leads to fd66::7 by it;" },
	};
	struct link_spec with = spec;
	struct err err = { 0 };
	char text[1024];
	int netns;

	be_host();
	netns = new_netns();
	with.more = "10.77.0.7";
	cr_expect_str_eq(faults(&with), "gone");
	cr_expect(link_mend(&with, netns, &err) == -ENODEV && !link_there("vm2", 7));
	cr_assert(link_up(&with, netns, &err) == 0, "%s", err.text);
	cr_expect_str_eq(faults(&with), "");
	output("ip link add up0 type veth peer name up1; ip link set up0 up; ip link set up1 up; "
	       "ip address add 192.0.2.2/24 dev up0",
	       text, sizeof(text));
	for (size_t i = 0; i < sizeof(harms) / sizeof(harms[0]); i++) {
		output(harms[i].harm, text, sizeof(text));
		cr_expect_str_eq(faults(&with), harms[i].words, "%s: %s", harms[i].harm,
				 faults(&with));
		cr_expect(link_there("vm2", 7));
		cr_expect(link_mend(&with, netns, &err) == 0, "%s: %s", harms[i].harm, err.text);
		cr_expect_str_eq(faults(&with),
				 harms[i].further ? "further: no route leads to 10.77.0.7 by it;" :
						    "",
				 "%s: %s", harms[i].harm, faults(&with));
		cr_expect(within(netns, do_ping, LINK_GATEWAY4) &&
				  within(netns, do_ping, LINK_GATEWAY6),
			  "%s", harms[i].harm);
		output("ip route replace 10.77.0.7 dev vm2-7", text, sizeof(text));
	}
	output("ip link set vm2-7 address 02:00:00:00:00:01", text, sizeof(text));
	cr_expect(strstr(faults(&with), "its MAC is 02:00:00:00:00:01, not 02:68:00:00:00:07;"));
	cr_expect(link_mend(&with, netns, &err) == 0);
	cr_expect_str_eq(faults(&with), "");
	/* Where IPv6 is off there is nothing of it to miss. */
	output("echo 1 >/proc/sys/net/ipv6/conf/vm2-7/disable_ipv6", text, sizeof(text));
	cr_expect_str_eq(faults(&with), "");
}

static void count_number(void *data, uint32_t number)
{
	*(int *)data += number == 7;
}

/* A start's additions may be told; each loss must be. */
Test(link, losses_are_told)
{
	static const char *const losses[] = {
		"ip address delete fe80::1/64 dev vm2-7",
		"ip link set vm2-7 down",
		"ip link set vm2-7 up",
		"ip route add 10.66.0.7 dev vm2-7; ip route delete 10.66.0.7",
		"ip address delete 169.254.1.1/32 dev vm2-7",
		"ip link set vm2-7 mtu 1300",
		"ip neigh add 10.66.0.7 lladdr 02:67:00:00:00:07 dev vm2-7; ip neigh delete 10.66.0.7 dev vm2-7",
		"ip link set vm2-7 down",
		"ip link delete vm2-7"
	};
	struct err err = { 0 };
	int told = 0, watch = -1;
	char text[256];

	be_host();
	cr_assert(link_watch_open(&watch, &err) == 0, "%s", err.text);
	cr_assert(link_up(&spec, new_netns(), &err) == 0, "%s", err.text);
	cr_expect(link_watch_read(watch, "vm2", count_number, &told) == 0 && told > 0);
	told = 0;
	cr_expect(link_watch_read(watch, "vm2", count_number, &told) == 0 && told == 0);
	for (size_t i = 0; i < sizeof(losses) / sizeof(losses[0]); i++) {
		told = 0;
		output(losses[i], text, sizeof(text));
		cr_expect(link_watch_read(watch, "vm2", count_number, &told) == 0 && told > 0, "%s",
			  losses[i]);
		cr_expect(link_watch_read(watch, "vm3", count_number, &told) == 0);
	}
	close(watch);
}
