/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sys/prctl.h>

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <netpacket/packet.h>

#include "firewall/restore.h"
#include "firewall/traffic.h"
#include "provision/base/cleanup.h"
#include "tests/unit/firewall/net.h"

static const struct rules_base base = { "vm2", "10.66.0.0/16", "fd66::/64" };
static const struct rules_guest guests[] = { { 1, "10.66.0.1", "fd66::1" },
	{ 2, "10.66.0.2", "fd66::2" } };

static const struct rules_base bounded = { "vm2", "10.66.0.0/16", "fd66::/64", NULL,
	"192.0.2.128/25", 8192, 1000 };

/* rules_drift_fn */
static void count_drift(void *data, const char *how, const char *what)
{
	struct buf *b = data;

	buf_printf(b, "%s %s\n", how, what);
}

/* A host with two guests that are up and an outside; their namespaces. */
struct world {
	int outside, guest[2];
};

static void guest_up(int i, int netns)
{
	struct link_spec spec = { "vm2", guests[i].number, guests[i].address4, guests[i].address6,
		1500 };
	struct err err = { 0 };

	cr_assert(rules_add_guest(&base, &guests[i], &err) == 0, "%s", err.text);
	cr_assert(link_up(&spec, netns, &err) == 0, "%s", err.text);
}

static struct world make_world(void)
{
	struct world w;
	struct err err = { 0 };

	be_host();
	w.outside = make_outside();
	cr_assert(rules_restore(&base, NULL, 0, &err) == 0, "%s", err.text);
	for (int i = 0; i < 2; i++) {
		w.guest[i] = new_netns();
		guest_up(i, w.guest[i]);
	}
	return w;
}

Test(rules, out_is_open_with_nat)
{
	struct world w = make_world();
	int fd = listener(w.outside);

	/* The outside has no route to the pools: an answer means that the source was translated. */
	cr_expect(within(w.guest[0], do_ping, "192.0.2.2"));
	cr_expect(within(w.guest[1], do_ping, "2001:db8::2"));
	cr_expect(within(w.guest[0], do_connect, "192.0.2.2"));
	cr_expect(within(w.guest[1], do_connect, "2001:db8::2"));
	cr_expect(counter("spoofed") == 0, "%u", counter("spoofed"));
	close(fd);
}

/* Rules know a guest's link by its index: one that has only the name is let through nowhere. */
Test(rules, link_of_another_index_is_a_strangers)
{
	struct world w = make_world();
	char text[256];

	cr_expect(within(w.outside, do_ping, "192.0.2.1"));
	output("ip link set up0 down && ip link set up0 name vm2-9 up 2>&1", text, sizeof(text));
	cr_assert(!*text, "%s", text);
	await_carrier("vm2-9");
	cr_expect(!within(w.outside, do_ping, "192.0.2.1"));
	cr_expect(counter("spoofed") > 0);
}

/* Whether it is told, by ICMP, that nobody is at that port. */
static int do_knock(const char *to)
{
	struct sockaddr_storage ss;
	socklen_t len = socket_address(to, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM, 0);
	struct pollfd p = { fd, POLLIN, 0 };
	char c;

	((struct sockaddr_in *)&ss)->sin_port = htons(PORT);
	if (connect(fd, (struct sockaddr *)&ss, len) < 0 || send(fd, "x", 1, 0) != 1)
		return 1;
	return !(poll(&p, 1, REPLY_MS) == 1 && recv(fd, &c, 1, 0) < 0 && errno == ECONNREFUSED);
}

/* An error is of its connection in the kernel's eyes, and yet no part of it: between guests it is judged. */
Test(rules, errors_come_from_outside_and_not_from_other_guests)
{
	static const struct rules_own open = { 1, RULES_PEER, true, IPPROTO_UDP, 0, 0, NULL };
	struct world w = make_world();
	struct err err = { 0 };

	cr_assert(rules_add_own(&base, &open, 1, &err) == 0, "%s", err.text);
	cr_expect(within(w.guest[0], do_knock, "192.0.2.2"));
	cr_expect(!within(w.guest[0], do_knock, "10.66.0.2"));
	cr_expect(counter("guest_to_guest") > 0);
}

static int translations(void)
{
	char text[64];

	output("nft list table inet vm2 | grep -c 'type nat'", text, sizeof(text));
	return atoi(text);
}

/* Those of pools that are routed leave as they are, and the kernel translates nothing. */
Test(rules, only_what_is_masqueraded_or_published_is_translated)
{
	static const struct rules_port ports[] = { { IPPROTO_TCP, PORT, PORT, "10.66.0.1", "fd66::1" },
		{ IPPROTO_UDP, 53, 5353, "10.66.0.2", NULL } };
	const struct rules_base routed = { "vm2", "10.66.0.0/16", "fd66::/64", .masquerade = "none" };
	const struct rules_base half = { "vm2", "10.66.0.0/16", "fd66::/64", .masquerade = "ipv4" };
	const struct rules_state plain = { guests, 2, NULL, 0 }, published = { guests, 2, ports, 2 };
	struct world w = make_world();
	int own = own_netns(), outside = listener(w.outside), inside = listener(w.guest[0]);
	const int from[] = { w.outside, own, w.guest[1], w.guest[0] };
	struct buf b = { 0 };
	struct err err = { 0 };

	cr_expect_eq(translations(), 3);
	cr_assert(rules_restore(&half, guests, 2, &err) == 0, "%s", err.text);
	cr_expect(translations() == 3 && rules_present(&half, &err) == 1);
	cr_expect(within(w.guest[0], do_connect, "192.0.2.2"));
	cr_expect(!within(w.guest[0], do_connect, "2001:db8::2"), "the outside knows no way back");
	cr_assert(rules_restore(&routed, guests, 2, &err) == 0, "%s", err.text);
	cr_expect(translations() == 0 && rules_present(&routed, &err) == 1);
	cr_expect(!within(w.guest[1], do_connect, "192.0.2.2"), "the outside knows no way back");
	add_route(w.outside, "out0", "10.66.0.0", 16, "192.0.2.1");
	add_route(w.outside, "out0", "fd66::", 64, "2001:db8::1");
	cr_expect(within(w.guest[1], do_connect, "192.0.2.2"));
	cr_expect(within(w.guest[1], do_connect, "2001:db8::2"));
	cr_expect(rules_verify(&routed, &plain, count_drift, &b, &err) == 0, "%s", b.data);

	/* They come with the first port, are there once however many there are, and go with the last. */
	for (int i = 0; i < 3; i++)
		cr_assert(rules_add_ports(&routed, &ports[i % 2], 1, &err) == 0, "%s", err.text);
	cr_expect(translations() == 3 && rules_present(&routed, &err) == 1);
	cr_expect(rules_verify(&routed, &published, count_drift, &b, &err) == 0, "%s", b.data);
	for (int i = 0; i < 4; i++) {
		cr_expect(within(from[i], do_connect, "192.0.2.1"), "%d", i);
		cr_expect(within(from[i], do_connect, "2001:db8::1"), "%d, IPv6", i);
	}
	cr_expect(within(w.guest[1], do_connect, "192.0.2.2"));
	cr_assert(rules_restore_state(&routed, &published, &err) == 0 && translations() == 3);
	cr_assert(rules_remove_ports(&routed, &ports[1], 1, &err) == 0, "%s", err.text);
	cr_expect(translations() == 3 && within(w.outside, do_connect, "192.0.2.1"));
	cr_expect(rules_verify(&routed, &plain, count_drift, &b, &err) > 0);
	cr_expect(strstr(b.data, "unexpected chain published\n") &&
			strstr(b.data, "unexpected chain postrouting\n"),
		"%s", b.data);
	for (int i = 0; i < 2; i++)
		cr_assert(rules_remove_ports(&routed, &ports[0], 1, &err) == 0, "%s", err.text);
	cr_expect(translations() == 0 && !within(w.outside, do_connect, "192.0.2.1"));
	buf_free(&b);
	cr_expect(rules_verify(&routed, &plain, count_drift, &b, &err) == 0, "%s", b.data);
	cr_expect(rules_verify(&routed, &published, count_drift, &b, &err) > 0);
	cr_expect(strstr(b.data, "missing chain published: rule 1\n"), "%s", b.data);
	cr_expect(within(w.guest[1], do_connect, "192.0.2.2"));
	buf_free(&b);
	close(outside);
	close(inside);
}

Test(rules, guest_to_guest_is_blocked)
{
	struct world w = make_world();
	int fd = listener(w.guest[1]);

	cr_expect(!within(w.guest[0], do_ping, "10.66.0.2"));
	cr_expect(!within(w.guest[0], do_ping, "fd66::2"));
	cr_expect(!within(w.guest[0], do_connect, "10.66.0.2"));
	cr_expect(counter("guest_to_guest") >= 3);
	close(fd);
}

Test(rules, host_answers_guests_icmp_alone)
{
	struct world w = make_world();
	int own = own_netns(), fd = listener(own);

	cr_expect(within(w.guest[0], do_ping, LINK_GATEWAY4));
	cr_expect(within(w.guest[0], do_ping, LINK_GATEWAY6));
	cr_expect(within(w.guest[0], do_ping, "192.0.2.1"));
	cr_expect(!within(w.guest[0], do_connect, LINK_GATEWAY4));
	cr_expect(!within(w.guest[0], do_connect, LINK_GATEWAY6));
	cr_expect(!within(w.guest[0], do_connect, "192.0.2.1"));
	cr_expect(!within(w.guest[0], do_connect, "2001:db8::1"));
	cr_expect(counter("guest_to_host") >= 3);
	/* The listener is there for others, and the host reaches its guests. */
	cr_expect(within(w.outside, do_connect, "192.0.2.1"));
	cr_expect(within(own, do_ping, "10.66.0.1"));
	cr_expect(within(own, do_ping, "fd66::2"));
	close(fd);
}

Test(rules, in_is_blocked)
{
	struct world w = make_world();
	int fd = listener(w.guest[0]);

	add_route(w.outside, "out0", "10.66.0.0", 16, "192.0.2.1");
	add_route(w.outside, "out0", "fd66::", 64, "2001:db8::1");
	cr_expect(!within(w.outside, do_ping, "10.66.0.1"));
	cr_expect(!within(w.outside, do_ping, "fd66::1"));
	cr_expect(!within(w.outside, do_connect, "10.66.0.1"));
	cr_expect(counter("to_guest") >= 3);
	close(fd);
}

Test(rules, spoofed_sources_are_dropped)
{
	static const char *const lies[] = { "10.66.0.2", "192.0.2.1", "192.0.2.77", "127.0.0.1",
		"169.254.1.1", "169.254.1.2", "fd66::2", "2001:db8::1", "2001:db8::77", "fe80::2",
		"fe80::1" };
	static const char *const unfiltered[] = { "all", "vm2-1" };
	struct world w = make_world();
	int four = spoof_receiver(w.outside, AF_INET), six = spoof_receiver(w.outside, AF_INET6);
	char path[80];

	/* The rules must hold where reverse-path filtering does not. */
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter", unfiltered[i]);
		cr_assert(fd_write_path(AT_FDCWD, path, "0") == 0);
	}
	cr_assert(within(w.guest[0], do_spoof, "10.66.0.1") && arrives(four));
	cr_assert(within(w.guest[0], do_spoof, "fd66::1") && arrives(six));
	cr_expect(counter("spoofed") == 0);
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		unsigned int before = counter("spoofed");

		cr_expect(within(w.guest[0], do_spoof, lies[i]), "%s was not sent", lies[i]);
		cr_expect(!received(strchr(lies[i], ':') ? six : four), "%s arrived", lies[i]);
		cr_expect(counter("spoofed") > before, "%s was not counted", lies[i]);
	}
}

/* A hundred datagrams that nobody answers, by one socket. */
static int do_stream(const char *to)
{
	struct sockaddr_storage ss;
	socklen_t len = socket_address(to, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM, 0);

	((struct sockaddr_in *)&ss)->sin_port = htons(PORT);
	for (int i = 0; i < 100; i++)
		if (sendto(fd, "x", 1, 0, (struct sockaddr *)&ss, len) != 1)
			return 1;
	return 0;
}

static int datagram_receiver(int netns)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int own = own_netns(), fd;

	enter(netns);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	cr_assert(bind(fd, (struct sockaddr *)&any, sizeof(any)) == 0);
	enter(own);
	close(own);
	return fd;
}

Test(rules, a_stream_that_nobody_answers_is_one_connection)
{
	const struct rules_base slow = { "vm2", "10.66.0.0/16", "fd66::/64", NULL, NULL, 2, 2 };
	struct world w = make_world();
	int n = 0, fd = datagram_receiver(w.outside);
	struct err err = { 0 };

	cr_assert(rules_restore(&slow, guests, 2, &err) == 0, "%s", err.text);
	cr_expect(within(w.guest[0], do_stream, "192.0.2.2"));
	while (n < 100 && arrives(fd))
		n++;
	cr_expect(n == 100, "%d arrived", n);
	cr_expect(counter("too_fast") == 0 && counter("too_many") == 0);
	close(fd);
}

/* How many of do_stream()'s datagrams arrive. */
static int arriving(int netns, int fd)
{
	int n = 0;

	cr_expect(within(netns, do_stream, "192.0.2.2"));
	while (received(fd))
		n++;
	return n;
}

Test(rules, a_guest_has_its_rate)
{
	struct rules_guest limited[] = { guests[0], guests[1] };
	const struct rules_state state = { limited, 2, NULL, 0 };
	struct world w = make_world();
	int fd = datagram_receiver(w.outside), n;
	struct buf b = { 0 };
	struct err err = { 0 };

	cr_expect(arriving(w.guest[0], fd) == 100);
	limited[0].packets = 20;
	cr_expect(rules_add_guest(&base, &limited[0], &err) == 0, "%s", err.text);
	n = arriving(w.guest[0], fd);
	cr_expect(n >= 20 && n < 90, "%d arrived", n);
	cr_expect(counter("over_rate") == (unsigned int)(100 - n), "%u", counter("over_rate"));
	/* The other has its own, and what is in the kernel is what was meant. */
	cr_expect(arriving(w.guest[1], fd) == 100);
	cr_expect(rules_verify(&base, &state, count_drift, &b, &err) == 0, "%s", b.data);
	/* A byte a second is nothing; the same after all is put in anew. */
	limited[0].packets = 0;
	limited[0].up = limited[0].down = 1;
	cr_expect(rules_add_guest(&base, &limited[0], &err) == 0, "%s", err.text);
	cr_expect(arriving(w.guest[0], fd) == 0);
	cr_expect(rules_restore(&base, limited, 2, &err) == 0, "%s", err.text);
	cr_expect(arriving(w.guest[0], fd) == 0);
	cr_expect(!within(w.outside, do_ping, "10.66.0.1"));
	cr_expect(rules_verify(&base, &state, count_drift, &b, &err) == 0, "%s", b.data);
	limited[0].down = 2;
	cr_expect(rules_verify(&base, &state, count_drift, &b, &err) == 2);
	cr_expect(strstr(b.data, "missing down { \"vm2-1\" limit rate over 2 bytes/second }"), "%s",
		b.data);
	cr_expect(rules_add_guest(&base, &guests[0], &err) == 0, "%s", err.text);
	cr_expect(arriving(w.guest[0], fd) == 100);
	buf_free(&b);
	close(fd);
}

Test(rules, what_passes_is_counted_for_its_guest)
{
	struct world w = make_world();
	int fd = datagram_receiver(w.outside);
	CLEANUP_TRAFFIC struct traffic t = { 0 };
	struct err err = { 0 };
	uint64_t epoch;

	cr_expect(traffic_read(&base, &t, &err) == 0 && t.epoch, "%s", err.text);
	epoch = t.epoch;
	cr_expect(arriving(w.guest[1], fd) == 100);
	cr_expect(within(w.guest[0], do_ping, "192.0.2.2"));
	/* What is dropped is not. */
	cr_expect(!within(w.guest[0], do_ping, "10.66.0.2"));
	cr_expect(traffic_read(&base, &t, &err) == 0 && t.epoch == epoch && t.n > 2, "%s", err.text);
	cr_expect(t.of[1].sent_packets == 1 && t.of[1].received_packets == 1 &&
		t.of[1].sent_bytes == 28 && t.of[1].received_bytes == 28);
	cr_expect(t.of[2].sent_packets == 100 && t.of[2].sent_bytes == 2900 &&
		t.of[2].received_packets == 0);
	/* It outlives the guest's elements, until it is forgotten; and ends with the table. */
	cr_expect(rules_remove_guest(&base, &guests[1], &err) == 0);
	cr_expect(traffic_forget(&base, 1, &err) == 0, "%s", err.text);
	cr_expect(traffic_forget(&base, 77, &err) == 0, "%s", err.text);
	cr_expect(traffic_read(&base, &t, &err) == 0);
	cr_expect(t.of[1].sent_packets == 0 && t.of[2].sent_packets == 100);
	cr_expect(rules_restore(&base, guests, 2, &err) == 0);
	cr_expect(traffic_read(&base, &t, &err) == 0 && t.epoch && t.epoch != epoch && t.n == 0);
	cr_expect(rules_remove(&base, &err) == 0);
	cr_expect(traffic_read(&base, &t, &err) == 0 && t.epoch == 0);
	cr_expect(traffic_forget(&base, 1, &err) == 0, "%s", err.text);
	close(fd);
}

/* What rules_verify() tells, in one text. */
static const char *drift(const struct rules_state *state, struct buf *b)
{
	struct err err = { 0 };
	int n;

	buf_free(b);
	buf_puts(b, "");
	n = rules_verify(&base, state, count_drift, b, &err);
	cr_expect(n >= 0, "%s", err.text);
	cr_expect((n == 0) == (b->len == 0), "%d: %s", n, b->data);
	return b->data;
}

static const struct rules_port ports[] = { { IPPROTO_TCP, PORT, PORT, "10.66.0.1", "fd66::1" },
	{ IPPROTO_UDP, 53, 5353, "10.66.0.2", NULL } };
static const struct rules_state full = { guests, 2, ports, 2 };

static int do_send(const char *to)
{
	struct sockaddr_storage ss;
	socklen_t len = socket_address(to, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM, 0);

	((struct sockaddr_in *)&ss)->sin_port = htons(PORT);
	return sendto(fd, "x", 1, 0, (struct sockaddr *)&ss, len) != 1;
}

Test(rules, protected_prefixes_are_not_reached)
{
	const struct rules_base protects = { "vm2", "10.66.0.0/16", "fd66::/64", NULL,
		" 192.0.2.0/30  2001:db8::2/128 ", 0, 0 };
	const struct rules_state both = { guests, 2, NULL, 0 };
	struct world w = make_world();
	struct buf b = { 0 };
	struct err err = { 0 };

	cr_expect(within(w.guest[0], do_ping, "192.0.2.2"));
	cr_expect(within(w.guest[0], do_ping, "2001:db8::2"));
	cr_assert(rules_restore(&protects, guests, 2, &err) == 0, "%s", err.text);
	cr_expect(rules_present(&protects, &err) == 1);
	/* What began before is ended by whoever put them in. */
	cr_assert(rules_end_forbidden(&protects, &both, &err) == 0, "%s", err.text);
	cr_expect(!within(w.guest[0], do_ping, "192.0.2.2"));
	cr_expect(!within(w.guest[0], do_ping, "2001:db8::2"));
	cr_expect(counter("protected") == 2, "%u", counter("protected"));
	/* Nor do they begin anything that could not be answered. */
	add_route(w.outside, "out0", "10.66.0.0", 16, "192.0.2.1");
	cr_expect(within(w.outside, do_send, "10.66.0.1"));
	cr_expect(counter("protected") == 3, "%u", counter("protected"));
	buf_free(&b);
}

/* As many connections as it can: a port each. */
static int do_open_many(const char *to)
{
	struct sockaddr_storage ss;
	socklen_t len = socket_address(to, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM, 0);

	for (int port = 10000; port < 11000; port++) {
		((struct sockaddr_in *)&ss)->sin_port = htons(port);
		if (sendto(fd, "x", 1, 0, (struct sockaddr *)&ss, len) < 0 && errno != ECONNREFUSED)
			return 1;
	}
	return 0;
}

/* As many packets and connections as it can, until the test kills it. */
static pid_t flooder(int netns)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (setns(netns, CLONE_NEWNET) == 0)
		for (;;)
			do_open_many("192.0.2.2");
	_exit(99);
}

Test(rules, a_flood_leaves_the_others_traffic_flowing)
{
	const struct rules_base shares = { "vm2", "10.66.0.0/16", "fd66::/64", NULL, NULL, 100, 50 };
	struct world w = make_world();
	int fd = listener(w.outside);
	struct err err = { 0 };
	char text[64];
	pid_t pid;

	cr_assert(rules_restore(&shares, guests, 2, &err) == 0, "%s", err.text);
	pid = flooder(w.guest[0]);
	for (double until = now_ms() + 10000; counter("too_fast") < 5000 && now_ms() < until;)
		poll(NULL, 0, 20);
	cr_expect(counter("too_fast") >= 5000);
	/* Fewer than its own bound: none of them is refused. */
	for (int i = 0; i < 4; i++)
		cr_expect(within(w.guest[1], do_connect, i % 2 ? "192.0.2.2" : "2001:db8::2"));
	for (int i = 0; i < 20; i++)
		cr_expect(within(w.guest[1], do_ping, "192.0.2.2"));
	output("grep -c 'src=10.66.0.1 ' /proc/net/nf_conntrack", text, sizeof(text));
	cr_expect(atoi(text) <= 101, "%s", text);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fd);
}

Test(rules, each_guest_has_its_share_of_connections)
{
	static const struct {
		uint32_t at_once, a_second;
		int most;
		const char *counter;
	} cases[] = { { 100, 0, 101, "too_many" }, { 0, 50, 899, "too_fast" } };
	const struct rules_state state = { guests, 2, NULL, 0 };
	char text[64];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct rules_base shares = { "vm2", "10.66.0.0/16", "fd66::/64", NULL, NULL,
			cases[i].at_once, cases[i].a_second };
		struct world w = make_world();
		struct buf b = { 0 };
		struct err err = { 0 };

		cr_assert(rules_restore(&shares, guests, 2, &err) == 0, "%s", err.text);
		cr_expect(rules_verify(&shares, &state, count_drift, &b, &err) == 0, "%s%s",
			b.data ?: "", err.text);
		cr_expect(within(w.guest[0], do_open_many, "192.0.2.2"));
		cr_expect(counter(cases[i].counter) > 100, "%s: %u", cases[i].counter,
			counter(cases[i].counter));
		output("grep -c 'src=10.66.0.1 ' /proc/net/nf_conntrack", text, sizeof(text));
		cr_expect(atoi(text) >= 10 && atoi(text) <= cases[i].most, "%s", text);
		/* The other has its own. */
		cr_expect(within(w.guest[1], do_ping, "192.0.2.2"));
		cr_expect(within(w.guest[1], do_ping, "2001:db8::2"));
		buf_free(&b);
	}
}

Test(rules, published_ports_lead_to_the_guest)
{
	struct world w = make_world();
	int own = own_netns(), fd = listener(w.guest[0]);
	const struct {
		const char *who;
		int netns;
	} from[] = { { "outside", w.outside }, { "the host", own }, { "the other guest", w.guest[1] },
		{ "the guest itself", w.guest[0] } };
	struct err err = { 0 };

	cr_assert(rules_add_ports(&base, ports, 2, &err) == 0, "%s", err.text);
	for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
		cr_expect(within(from[i].netns, do_connect, "192.0.2.1"), "%s", from[i].who);
		cr_expect(within(from[i].netns, do_connect, "2001:db8::1"), "%s, IPv6", from[i].who);
	}
	/* Not by any other way than before. */
	cr_expect(!within(w.guest[1], do_connect, "10.66.0.1"));
	cr_expect(!within(w.guest[1], do_ping, "10.66.0.1"));
	cr_expect(within(own, do_connect, "127.0.0.1") == false, "the host's loopback is the host's");
	/* There already is success; elsewhere is not. */
	cr_expect(rules_add_ports(&base, ports, 2, &err) == 0, "%s", err.text);
	cr_expect(rules_add_ports(&base,
			  &(struct rules_port){ IPPROTO_TCP, PORT, PORT, "10.66.0.2", NULL }, 1,
			  &err) < 0);
	cr_expect(rules_remove_ports(&base, ports, 2, &err) == 0, "%s", err.text);
	for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++)
		cr_expect(!within(from[i].netns, do_connect, "192.0.2.1"), "%s", from[i].who);
	cr_expect(rules_remove_ports(&base, ports, 2, &err) == 0, "%s", err.text);
	close(fd);
}

/* Keeps a connection until the test says the end by killing it. */
static int connect_and_stay(const char *to)
{
	struct sockaddr_storage ss;
	socklen_t len = socket_address(to, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM, 0);

	((struct sockaddr_in *)&ss)->sin_port = htons(PORT);
	if (connect(fd, (struct sockaddr *)&ss, len) < 0)
		return 1;
	/* To be found by its parent. */
	return write(fd, "x", 1) == 1 && pause() == 0;
}

Test(rules, a_port_that_is_published_no_more_ends_its_connections)
{
	static const char look[] = "grep -c 'dport=2222.*10.66.0.1' /proc/net/nf_conntrack";
	struct world w = make_world();
	int fd = listener(w.guest[0]), status;
	double deadline = now_ms() + 10000;
	struct err err = { 0 };
	char text[256] = "";
	pid_t pid;

	cr_assert(rules_add_ports(&base, ports, 1, &err) == 0, "%s", err.text);
	pid = fork();
	if (pid == 0)
		_exit(setns(w.outside, CLONE_NEWNET) < 0 ? 99 : connect_and_stay("192.0.2.1"));
	while (atoi(text) == 0 && now_ms() < deadline)
		output(look, text, sizeof(text));
	cr_expect(atoi(text) == 1, "%s", text);
	cr_expect(rules_remove_ports(&base, ports, 1, &err) == 0, "%s", err.text);
	output(look, text, sizeof(text));
	cr_expect(atoi(text) == 0, "%s", text);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(fd);
}

/* Change guest 1's rules, and have the kernel's be those. */
static void change_own(const struct rules_own *from, uint32_t n_from, const struct rules_own *to,
	uint32_t n_to)
{
	const struct rules_state state = { guests, 2, NULL, 0, to, n_to };
	struct buf b = { 0 };
	struct err err = { 0 };

	cr_assert(rules_change_own(&base, from, n_from, to, n_to, &err) == 0, "%s", err.text);
	cr_expect_str_eq(drift(&state, &b), "");
	buf_free(&b);
}

Test(rules, own_rules_decide_who_comes_in)
{
	static const struct rules_own own[] = {
		{ 1, RULES_IN, false, IPPROTO_TCP, PORT, PORT, "192.0.2.2/32" },
		{ 1, RULES_IN, true, IPPROTO_TCP, 2000, 3000, "192.0.2.0/24" },
		{ 1, RULES_IN, true, IPPROTO_ICMP, 0, 0, NULL } };
	struct world w = make_world();
	int fd = listener(w.guest[0]);
	struct err err = { 0 };

	add_route(w.outside, "out0", "10.66.0.0", 16, "192.0.2.1");
	add_route(w.outside, "out0", "fd66::", 64, "2001:db8::1");
	change_own(NULL, 0, own + 1, 2);
	cr_expect(within(w.outside, do_connect, "10.66.0.1"));
	cr_expect(within(w.outside, do_ping, "10.66.0.1"));
	cr_expect(within(w.outside, do_ping, "fd66::1"));
	cr_expect(!within(w.outside, do_connect, "fd66::1"), "the prefix is of IPv4");
	cr_expect(!within(w.outside, do_ping, "10.66.0.2"), "another guest's");
	cr_expect(!within(w.guest[1], do_ping, "10.66.0.1"), "another guest is not outside");
	/* The first decides; published ports are under them, too, by the guest's port. */
	change_own(own + 1, 2, own, 3);
	cr_expect(!within(w.outside, do_connect, "10.66.0.1"));
	cr_expect(within(w.outside, do_ping, "10.66.0.1"));
	cr_assert(rules_add_ports(&base, ports, 1, &err) == 0, "%s", err.text);
	cr_expect(!within(w.outside, do_connect, "192.0.2.1"));
	cr_expect(within(w.outside, do_connect, "2001:db8::1"));
	cr_assert(rules_change_own(&base, own, 3, own + 1, 2, &err) == 0, "%s", err.text);
	cr_expect(within(w.outside, do_connect, "192.0.2.1"));
	close(fd);
}

Test(rules, own_rules_decide_who_is_reached)
{
	static const struct rules_own own[] = {
		{ 1, RULES_OUT, false, IPPROTO_TCP, PORT, PORT, NULL },
		{ 1, RULES_OUT, true, 0, 0, 0, "192.0.2.2/32" }, { 1, RULES_OUT, false, 0, 0, 0, NULL },
		{ 1, RULES_PEER, true, IPPROTO_TCP, PORT, PORT, "10.66.0.2/32" } };
	struct world w = make_world();
	int outside = listener(w.outside), peer = listener(w.guest[1]), self = listener(w.guest[0]);

	change_own(NULL, 0, own, 1);
	cr_expect(!within(w.guest[0], do_connect, "192.0.2.2"));
	cr_expect(!within(w.guest[0], do_connect, "2001:db8::2"));
	cr_expect(within(w.guest[0], do_ping, "192.0.2.2"));
	cr_expect(within(w.guest[1], do_connect, "192.0.2.2"), "they are another guest's");
	change_own(own, 1, own, 4);
	cr_expect(!within(w.guest[0], do_connect, "192.0.2.2"));
	cr_expect(within(w.guest[0], do_ping, "192.0.2.2"));
	cr_expect(!within(w.guest[0], do_ping, "2001:db8::2"));
	cr_expect(within(w.guest[0], do_ping, LINK_GATEWAY4), "the host is not outside");
	/* To another guest, one way, and that alone. */
	cr_expect(within(w.guest[0], do_connect, "10.66.0.2"));
	cr_expect(!within(w.guest[0], do_ping, "10.66.0.2"));
	cr_expect(!within(w.guest[1], do_connect, "10.66.0.1"));
	change_own(own, 4, NULL, 0);
	cr_expect(!within(w.guest[0], do_connect, "10.66.0.2"));
	cr_expect(within(w.guest[0], do_connect, "2001:db8::2"));
	close(outside);
	close(peer);
	close(self);
}

/* What rules_set_siblings() says is gone, as text. */
static const char *set_siblings(uint32_t number, const uint32_t *others, uint32_t n)
{
	static char text[64];
	CLEANUP_FREE uint32_t *gone = NULL;
	struct err err = { 0 };
	uint32_t n_gone = 0;
	size_t len = 0;

	cr_expect(rules_set_siblings(&base, number, others, n, &gone, &n_gone, &err) == 0, "%s", err.text);
	text[0] = '\0';
	for (uint32_t i = 0; i < n_gone; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%u ", gone[i]);
	return text;
}

Test(rules, siblings_reach_each_other)
{
	static const struct rules_own deny[] = {
		{ 1, RULES_PEER, false, IPPROTO_TCP, PORT, PORT, NULL } };
	static const struct rules_pair both[] = { { 1, 2 }, { 2, 1 }, { 1, 9 }, { 9, 1 } };
	const struct rules_state state = { guests, 2, .pairs = both, .n_pairs = 4 };
	struct world w = make_world();
	int first = listener(w.guest[0]), second = listener(w.guest[1]);
	struct buf b = { 0 };
	struct err err = { 0 };

	cr_expect_str_eq(set_siblings(1, (uint32_t[]){ 2, 9 }, 2), "");
	cr_expect_str_eq(drift(&state, &b), "");
	cr_expect(within(w.guest[0], do_connect, "10.66.0.2"));
	cr_expect(within(w.guest[1], do_connect, "fd66::1"));
	cr_expect(within(w.guest[1], do_ping, "10.66.0.1"));
	/* What its own rules deny stays denied. */
	cr_expect(rules_add_own(&base, deny, 1, &err) == 0, "%s", err.text);
	cr_expect(!within(w.guest[0], do_connect, "10.66.0.2"));
	cr_expect(within(w.guest[1], do_connect, "10.66.0.1"));
	cr_expect(rules_remove_own(&base, deny, 1, &err) == 0, "%s", err.text);
	cr_expect_str_eq(set_siblings(1, (uint32_t[]){ 2, 9 }, 2), "");
	cr_expect_str_eq(set_siblings(1, (uint32_t[]){ 2 }, 1), "9 ");
	cr_expect_str_eq(set_siblings(2, NULL, 0), "1 ");
	cr_expect_str_eq(set_siblings(1, NULL, 0), "");
	cr_expect(!within(w.guest[0], do_connect, "10.66.0.2"));
	cr_expect(!within(w.guest[1], do_ping, "fd66::1"));
	buf_free(&b);
	close(first);
	close(second);
}

/* Says a letter again and again, until the test kills it. */
static pid_t talker(int netns, const char *to, char letter)
{
	struct sockaddr_storage ss;
	socklen_t len;
	pid_t pid = fork();
	int fd;

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (setns(netns, CLONE_NEWNET) < 0)
		_exit(99);
	len = socket_address(to, &ss);
	((struct sockaddr_in *)&ss)->sin_port = htons(PORT);
	fd = socket(ss.ss_family, SOCK_STREAM, 0);
	for (int r = connect(fd, (struct sockaddr *)&ss, len); r == 0; usleep(5000))
		r = write(fd, &letter, 1) == 1 ? 0 : -1;
	_exit(1);
}

/* How often the talkers said each letter, until `until` was heard so many times, or for 20 s. */
static void hear(const int fd[2], char until, int times, int heard[128])
{
	double deadline = now_ms() + 20000;

	memset(heard, 0, 128 * sizeof(*heard));
	while (heard[(int)until] < times && now_ms() < deadline) {
		struct pollfd p[2] = { { fd[0], POLLIN, 0 }, { fd[1], POLLIN, 0 } };
		char buf[4096];

		poll(p, 2, 1000);
		for (int i = 0; i < 2; i++) {
			ssize_t n = p[i].revents ? recv(fd[i], buf, sizeof(buf), MSG_DONTWAIT) : 0;

			for (ssize_t k = 0; k < n; k++)
				heard[buf[k] & 127]++;
		}
	}
	cr_expect(heard[(int)until] >= times, "'%c' was heard %d times", until, heard[(int)until]);
}

Test(rules, connections_end_that_are_no_longer_allowed, .timeout = 90)
{
	static const struct rules_own deny[] = {
		{ 1, RULES_OUT, false, IPPROTO_TCP, PORT, PORT, "192.0.2.0/24" } };
	struct world w = make_world();
	int server = listener(w.outside), fd[2], heard[128];
	struct err err = { 0 };
	pid_t pid[2];

	/* One by each family: the rule is about one of them. */
	pid[0] = talker(w.guest[0], "192.0.2.2", 'a');
	fd[0] = accept(server, NULL, NULL);
	pid[1] = talker(w.guest[0], "2001:db8::2", 'b');
	fd[1] = accept(server, NULL, NULL);
	hear(fd, 'a', 5, heard);
	hear(fd, 'b', 5, heard);
	change_own(NULL, 0, deny, 1);
	hear(fd, 'a', 5, heard); /* so far it goes on */
	cr_assert(rules_end_disallowed(&base, &guests[0], NULL, 0, deny, 1, &err) == 0, "%s", err.text);
	hear(fd, 'b', 20, heard); /* what was on its way */
	hear(fd, 'b', 100, heard);
	cr_expect(heard['a'] == 0, "'a' was heard %d times more", heard['a']);
	cr_assert(rules_end_guest(&base, &guests[0], &err) == 0, "%s", err.text);
	for (int i = 0; i < 2; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
		close(fd[i]);
	}
	close(server);
}

/* Connects, and sends back what it is sent, until the test kills it. */
static pid_t echoer(int netns, const char *to)
{
	struct sockaddr_storage ss;
	socklen_t len;
	pid_t pid = fork();
	char byte;
	int fd;

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (setns(netns, CLONE_NEWNET) < 0)
		_exit(99);
	len = socket_address(to, &ss);
	((struct sockaddr_in *)&ss)->sin_port = htons(PORT);
	fd = socket(ss.ss_family, SOCK_STREAM, 0);
	for (int r = connect(fd, (struct sockaddr *)&ss, len); r == 0;)
		r = read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1 ? 0 : -1;
	_exit(1);
}

/* What is sent meanwhile is sent again. */
static bool echoes(int fd, int ms)
{
	struct pollfd p = { fd, POLLIN, 0 };
	char byte = 'x';

	return write(fd, &byte, 1) == 1 && poll(&p, 1, ms) == 1 && read(fd, &byte, 1) == 1;
}

/* What a guest goes on to send does not begin anew, from its side, what was ended: that way all is open. */
Test(rules, who_was_served_is_served_no_more)
{
	static const struct rules_own allow = { 1, RULES_IN, true, IPPROTO_TCP, PORT, PORT, NULL };
	const struct rules_base routed = { "vm2", "10.66.0.0/16", "fd66::/64", .masquerade = "none" };
	const struct rules_port port = { IPPROTO_TCP, PORT, PORT, "10.66.0.1", NULL };
	struct world w = make_world();
	int server = listener(w.guest[0]), fd[2];
	struct err err = { 0 };
	pid_t pid[2];

	cr_assert(rules_add_ports(&base, &port, 1, &err) == 0, "%s", err.text);
	pid[0] = echoer(w.outside, "192.0.2.1");
	fd[0] = accept(server, NULL, NULL);
	cr_expect(echoes(fd[0], 10000));
	cr_assert(rules_remove_ports(&base, &port, 1, &err) == 0, "%s", err.text);
	cr_expect(!echoes(fd[0], 700), "by a port that is published no more");

	cr_assert(rules_restore(&routed, guests, 2, &err) == 0, "%s", err.text);
	cr_assert(rules_add_own(&routed, &allow, 1, &err) == 0, "%s", err.text);
	add_route(w.outside, "out0", "fd66::", 64, "2001:db8::1");
	pid[1] = echoer(w.outside, "fd66::1");
	fd[1] = accept(server, NULL, NULL);
	cr_expect(echoes(fd[1], 10000));
	cr_assert(rules_remove_own(&routed, &allow, 1, &err) == 0, "%s", err.text);
	cr_assert(rules_end_disallowed(&routed, &guests[0], &allow, 1, NULL, 0, &err) == 0, "%s", err.text);
	cr_expect(!echoes(fd[1], 700), "by a rule that is no more");
	for (int i = 0; i < 2; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
		close(fd[i]);
	}
	close(server);
}

/* While there are no rules a guest speaks to another and to the host; once there are, not to them. */
Test(rules, what_began_without_the_rules_ends, .timeout = 90)
{
	static const char *const to[] = { "192.0.2.2", "10.66.0.2", "192.0.2.1" };
	const struct rules_state state = { guests, 2, NULL, 0 };
	struct world w = make_world();
	int server[3] = { listener(w.outside), listener(w.guest[1]), listener(own_netns()) };
	int fd[3], heard[128];
	struct err err = { 0 };
	char drain[4096];
	pid_t pid[3];

	add_route(w.outside, "out0", "10.66.0.0", 16, "192.0.2.1");
	/* Somebody else has the connections tracked meanwhile. */
	output("nft 'add table inet admins; add chain inet admins f { type filter hook input priority 10; }; "
	       "add rule inet admins f ct state established accept'", drain, sizeof(drain));
	cr_assert(rules_remove(&base, &err) == 0, "%s", err.text);
	for (int i = 0; i < 3; i++) {
		pid[i] = talker(w.guest[0], to[i], "abc"[i]);
		fd[i] = accept(server[i], NULL, NULL);
		cr_assert(fd[i] >= 0);
	}
	/* The rules alone do not ask again. */
	cr_assert(rules_restore_state(&base, &state, &err) == 0, "%s", err.text);
	hear((int[]){ fd[0], fd[1] }, 'b', 20, heard);
	cr_assert(rules_end_forbidden(&base, &state, &err) == 0, "%s", err.text);
	hear((int[]){ fd[0], fd[1] }, 'a', 20, heard); /* what was on its way */
	for (int i = 1; i < 3; i++)
		while (recv(fd[i], drain, sizeof(drain), MSG_DONTWAIT) > 0)
			continue;
	hear((int[]){ fd[0], fd[1] }, 'a', 50, heard);
	cr_expect(heard['b'] == 0, "'b' was heard %d times more", heard['b']);
	hear((int[]){ fd[0], fd[2] }, 'a', 50, heard);
	cr_expect(heard['c'] == 0, "'c' was heard %d times more", heard['c']);
	cr_expect(counter("guest_to_guest") > 0 && counter("guest_to_host") > 0);
	for (int i = 0; i < 3; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
		close(fd[i]);
		close(server[i]);
	}
}

Test(rules, a_guest_takes_its_connections_along)
{
	static const char look[] = "grep -cE '(10.66.0.1|fd66:0000:0000:0000:0000:0000:0000:0001) ' "
				   "/proc/net/nf_conntrack";
	struct world w = make_world();
	struct err err = { 0 };
	char text[64];

	cr_expect(within(w.guest[0], do_open_many, "192.0.2.2"));
	cr_expect(within(w.guest[0], do_ping, "2001:db8::2"));
	cr_expect(within(w.guest[1], do_ping, "192.0.2.2"));
	output(look, text, sizeof(text));
	cr_expect(atoi(text) > 900, "%s", text);
	cr_expect(rules_end_guest(&base, &guests[0], &err) == 0, "%s", err.text);
	output(look, text, sizeof(text));
	cr_expect(atoi(text) == 0, "%s", text);
	output("grep -c 'src=10.66.0.2 ' /proc/net/nf_conntrack", text, sizeof(text));
	cr_expect(atoi(text) == 1, "%s", text);
}

Test(rules, own_rules_of_a_thousand_guests, .timeout = 60)
{
	static struct rules_guest many[1000];
	static struct rules_own own[3000];
	static char text[1000][24];
	static const struct rules_own one[] = {
		{ 5000, RULES_OUT, false, IPPROTO_TCP, 25, 25, NULL },
		{ 5000, RULES_IN, true, IPPROTO_TCP, 8000, 8099, "198.51.100.0/24" } };
	struct rules_state state = { many, 1000, NULL, 0, own, 3000 };
	struct buf b = { 0 };
	struct err err = { 0 };
	double t0, t1, t2;

	be_host();
	for (uint32_t i = 0; i < 1000; i++) {
		snprintf(text[i], 24, "10.66.%u.%u", i / 250, i % 250 + 1);
		many[i] = (struct rules_guest){ i + 1, text[i], NULL };
		own[3 * i] = one[0];
		own[3 * i + 1] = one[1];
		own[3 * i + 2] = (struct rules_own){ 0, RULES_PEER, true, 0, 0, 0, "10.66.0.0/24" };
		for (int k = 0; k < 3; k++)
			own[3 * i + k].number = i + 1;
	}
	for (int n = 0; n <= 1000; n += 1000) {
		state.n_own = 3 * n;
		t0 = now_ms();
		cr_assert(rules_restore_state(&base, &state, &err) == 0, "%s", err.text);
		cr_expect_str_eq(drift(&state, &b), "");
		t1 = now_ms();
		cr_assert(rules_change_own(&base, NULL, 0, one, 2, &err) == 0, "%s", err.text);
		t2 = now_ms();
		cr_assert(rules_change_own(&base, one, 2, NULL, 0, &err) == 0, "%s", err.text);
		cr_log_info("%d guests with rules: restore and verify %.2f ms, add two rules %.3f ms, "
			    "remove them %.3f ms", n, t1 - t0, t2 - t1, now_ms() - t2);
	}
	cr_expect_str_eq(drift(&state, &b), "");
	buf_free(&b);
}

Test(rules, differences_are_named)
{
	static const struct {
		const char *command, *told;
	} cases[] = {
		{ "delete element inet vm2 source4 { " VM2_1 " . 02:67:00:00:00:01 . 10.66.0.1 }",
			"missing source4 { \"vm2-1\" . 02:67:00:00:00:01 . 10.66.0.1 }\n" },
		{ "delete element arp vm2 claims { " VM2_1 " . 02:67:00:00:00:01 . "
		  "02:67:00:00:00:01 . 10.66.0.1 }",
			"missing claims { \"vm2-1\" . 02:67:00:00:00:01 . 02:67:00:00:00:01 . "
			"10.66.0.1 }\n" },
		{ "flush chain arp vm2 claimed", "missing chain claimed: rule 1\n" },
		{ "flush chain inet vm2 drop_sent", "missing chain drop_sent: rule 1\n" },
		/* Of no guest's that is. */
		{ "add element inet vm2 guests { " VM2_77 " . 02:67:00:00:00:4d }",
			"unexpected guests { \"vm2-77\" . 02:67:00:00:00:4d }\n" },
		{ "delete element inet vm2 publish4 { udp . 53 }",
			"missing publish4 { udp . 53 : 10.66.0.2 . 5353 }\n" },
		{ "flush chain inet vm2 input", "missing chain input: rule 1\n" },
		{ "insert rule inet vm2 forward accept", "changed chain forward: rule 1\n" },
		{ "add rule inet vm2 forward accept",
			"unexpected chain forward: a rule more than it has, at place 4\n" },
	};
	struct buf b = { 0 };
	struct err err = { 0 };
	char text[512], command[256];

	be_host();
	cr_assert(rules_restore_state(&base, &full, &err) == 0, "%s", err.text);
	cr_expect_str_eq(drift(&full, &b), "");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(command, sizeof(command), "nft '%s' 2>&1", cases[i].command);
		output(command, text, sizeof(text));
		cr_expect(!text[0], "%s: %s", cases[i].command, text);
		cr_expect(strstr(drift(&full, &b), cases[i].told) == b.data, "%s: %s",
			cases[i].command, b.data);
		cr_expect(rules_restore_state(&base, &full, &err) == 0, "%s", err.text);
		cr_expect_str_eq(drift(&full, &b), "");
	}
	output("nft delete table inet vm2", text, sizeof(text));
	cr_expect(strstr(drift(&full, &b), "missing set guests\n"), "%s", b.data);
	buf_free(&b);
}

Test(rules, a_stopped_guest_is_no_difference)
{
	static const struct rules_guest stopped[] = { { 1, "10.66.0.1", "fd66::1", false },
		{ 2, "10.66.0.2", "fd66::2", true } };
	const struct rules_state state = { stopped, 2, NULL, 0 };
	struct buf b = { 0 };
	struct err err = { 0 };

	be_host();
	cr_assert(rules_restore(&base, stopped, 2, &err) == 0, "%s", err.text);
	cr_expect_str_eq(drift(&state, &b), "");
	cr_assert(rules_remove_guest(&base, &stopped[1], &err) == 0, "%s", err.text);
	cr_expect_str_eq(drift(&state, &b), "");
	buf_free(&b);
}

Test(rules, removed_guest_gets_nothing)
{
	struct world w = make_world();
	struct err err = { 0 };

	cr_expect(within(w.guest[0], do_ping, "192.0.2.2"));
	cr_expect(rules_remove_guest(&base, &guests[0], &err) == 0, "%s", err.text);
	cr_expect(!within(w.guest[0], do_ping, "192.0.2.2"));
	cr_expect(!within(w.guest[0], do_ping, LINK_GATEWAY4));
	cr_expect(within(w.guest[1], do_ping, "192.0.2.2"));
	cr_expect(rules_add_guest(&base, &guests[0], &err) == 0);
	cr_expect(within(w.guest[0], do_ping, "192.0.2.2"));
}

Test(rules, address_without_link_goes_nowhere)
{
	struct world w = make_world();
	int own = own_netns();

	/* The outside would answer for both, and the host's routes lead there. */
	add_address(w.outside, "out0", "10.66.9.9");
	add_address(w.outside, "out0", "169.254.169.254");
	add_route(own, "up0", "10.0.0.0", 8, "192.0.2.2");
	add_route(own, "up0", "169.254.169.0", 24, "192.0.2.2");
	cr_expect(!within(w.guest[0], do_ping, "10.66.9.9"));
	cr_expect(counter("to_nobody") == 1);
	cr_expect(!within(w.guest[0], do_ping, "169.254.169.254"));
	cr_expect(counter("guest_to_local") == 1);
	/* The host itself may. */
	cr_expect(within(own, do_ping, "169.254.169.254"));
	close(own);
}

Test(rules, missing_table_is_told)
{
	struct err err = { 0 };

	be_host();
	cr_expect(rules_present(&base, &err) == 0);
	cr_expect(rules_add_guest(&base, &guests[0], &err) == -ENOENT);
	cr_expect(strstr(err.text, "table inet vm2"), "%s", err.text);
	cr_expect(rules_remove_guest(&base, &guests[0], &err) == 0);
	cr_expect(rules_remove(&base, &err) == 0, "%s", err.text);
	cr_expect(rules_present(&base, &err) == 0);
}

Test(rules, flushed_table_is_noticed)
{
	struct err err = { 0 };
	char text[256];

	be_host();
	cr_expect(rules_restore(&base, guests, 2, &err) == 0, "%s", err.text);
	cr_expect(rules_present(&base, &err) == 1, "%s", err.text);
	output("nft flush chain inet vm2 input", text, sizeof(text));
	cr_expect(rules_present(&base, &err) == 0);
	cr_expect(rules_restore(&base, guests, 2, &err) == 0 && rules_present(&base, &err) == 1);
	output("nft flush chain inet vm2 drop_sent", text, sizeof(text));
	cr_expect(rules_present(&base, &err) == 0);
	cr_expect(rules_restore(&base, guests, 2, &err) == 0 && rules_present(&base, &err) == 1);
	output("nft delete table arp vm2", text, sizeof(text));
	cr_expect(rules_present(&base, &err) == 0);
	cr_expect(rules_restore(&base, guests, 2, &err) == 0, "%s", err.text);
	cr_expect(rules_present(&base, &err) == 1);
}

/* The manual shows the table; what it shows must be what is there. */
Test(rules, manual_shows_this_table)
{
	static char text[16384], manual[32768];
	struct err err = { 0 };

	be_host();
	output("nft --version", text, sizeof(text));
	if (!strstr(text, "v1.0.6"))
		cr_skip_test("needs nft 1.0.6: others print the same in other words");
	/* nft(8) prints the name of an interface that is there. */
	output("ip link add vm2-1 index " VM2_1 " type veth 2>&1", text, sizeof(text));
	cr_assert(!*text, "%s", text);
	cr_expect(rules_restore(&bounded, guests, 1, &err) == 0, "%s", err.text);
	output("nft list table inet vm2", text, sizeof(text));
	cr_assert(fd_read_path(AT_FDCWD, SOURCE_ROOT "/docs/FIREWALL", manual, sizeof(manual)) > 0);
	cr_expect(strstr(manual, text), "docs/FIREWALL does not hold:\n%s", text);
	output("nft list table arp vm2", text, sizeof(text));
	cr_expect(strstr(manual, text), "docs/FIREWALL does not hold:\n%s", text);
}

Test(rules, each_act_may_be_repeated)
{
	struct rules_guest half = { 1, "10.66.0.1", NULL };
	struct err err = { 0 };
	char text[8192];

	be_host();
	for (int i = 0; i < 2; i++) {
		cr_expect(rules_restore(&base, guests, 2, &err) == 0, "%s", err.text);
		cr_expect(rules_present(&base, &err) == 1);
	}
	for (int i = 0; i < 2; i++)
		cr_expect(rules_add_guest(&base, &guests[0], &err) == 0, "%s", err.text);
	/* Some elements are gone already: the others go all the same. */
	cr_expect(rules_remove_guest(&base, &half, &err) == 0, "%s", err.text);
	for (int i = 0; i < 2; i++)
		cr_expect(rules_remove_guest(&base, &guests[0], &err) == 0, "%s", err.text);
	output("nft list table inet vm2", text, sizeof(text));
	cr_expect(!strstr(text, VM2_1) && strstr(text, VM2_2 " . 02:67:00:00:00:02 . 10.66.0.2"), "%s", text);
	for (int i = 0; i < 2; i++)
		cr_expect(rules_remove(&base, &err) == 0, "%s", err.text);
	cr_expect(rules_present(&base, &err) == 0);
}

/* An unasked router advertisement (RFC 4861 4.2): the guest as everybody's way out, for 1,800 s. */
static int do_advertise(const char *to)
{
	const uint8_t advertisement[16] = { 134, 0, 0, 0, 64, 0, 7, 8 };
	struct sockaddr_storage ss;
	socklen_t len = socket_address(to, &ss);
	int fd = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), hops = 255;

	((struct sockaddr_in6 *)&ss)->sin6_scope_id = if_nametoindex("eth0");
	setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof(hops));
	setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof(hops));
	return sendto(fd, advertisement, sizeof(advertisement), 0, (struct sockaddr *)&ss, len) < 0;
}

/* From a DHCP server's port to all clients. */
static int do_offer(const char *to)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_port = htons(67) };
	struct sockaddr_storage ss;
	socklen_t len = socket_address(to, &ss);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), one = 1;

	((struct sockaddr_in *)&ss)->sin_port = htons(68);
	setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one));
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5) < 0 ||
		bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0)
		return 1;
	return sendto(fd, "offer", 5, 0, (struct sockaddr *)&ss, len) < 0;
}

Test(rules, who_plays_router_or_server_is_not_heard)
{
	static const char *const to[] = { "ff02::1", "fe80::1" };
	struct world w = make_world();
	char text[256];

	for (size_t i = 0; i < sizeof(to) / sizeof(to[0]); i++) {
		unsigned int before = counter("advertised");

		cr_expect(within(w.guest[0], do_advertise, to[i]), "%s was not sent", to[i]);
		cr_expect(counter("advertised") == before + 1, "%s was not counted", to[i]);
	}
	output("ip -6 route show default", text, sizeof(text));
	cr_expect(!text[0], "%s", text);
	cr_expect(within(w.guest[0], do_offer, "255.255.255.255"));
	cr_expect(within(w.guest[0], do_offer, LINK_GATEWAY4));
	cr_expect(counter("guest_to_host") == 2, "%u", counter("guest_to_host"));
}

/* --- frames as they are sent by those who write them themselves --- */

#define GUEST_MAC  { 0x02, 0x67, 0, 0, 0, 1 }
#define OTHER_MAC  { 0x02, 0x67, 0, 0, 0, 2 }
#define HOST_MAC   { 0x02, 0x68, 0, 0, 0, 1 }

static int send_frame(const void *frame, size_t len)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("eth0") };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	return sendto(fd, frame, len, 0, (struct sockaddr *)&to, sizeof(to)) != (ssize_t)len;
}

static struct ether_header head(const char *mac, uint16_t type)
{
	static const uint8_t own[] = GUEST_MAC, other[] = OTHER_MAC, host[] = HOST_MAC;
	struct ether_header h = { .ether_type = htons(type) };

	memcpy(h.ether_shost, strcmp(mac, "own") ? other : own, ETH_ALEN);
	memcpy(h.ether_dhost, host, ETH_ALEN);
	return h;
}

/* "MAC-of-the-frame MAC-claimed ADDRESS": "own" or "other", and the IPv4 address that is claimed. */
static int do_arp(const char *what)
{
	struct {
		struct ether_header head;
		struct ether_arp arp;
	} __attribute__((packed)) f;
	char frame[8], claimed[8], address[16];

	if (sscanf(what, "%7s %7s %15s", frame, claimed, address) != 3)
		return 1;
	f.head = head(frame, ETHERTYPE_ARP);
	f.arp = (struct ether_arp){ .ea_hdr = { htons(ARPHRD_ETHER), htons(ETHERTYPE_IP), 6, 4,
					    htons(ARPOP_REQUEST) } };
	memcpy(f.arp.arp_sha, head(claimed, 0).ether_shost, ETH_ALEN);
	inet_pton(AF_INET, address, f.arp.arp_spa);
	inet_pton(AF_INET, LINK_GATEWAY4, f.arp.arp_tpa);
	return send_frame(&f, sizeof(f));
}

/* RFC 1071, of what has an even length */
static uint16_t checksum(const void *data, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i += 2) {
		uint16_t word;

		memcpy(&word, (const char *)data + i, 2);
		sum += word;
	}
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~(sum + (sum >> 16));
}

/* From the guest's own address, by the MAC. */
static int do_frame(const char *mac)
{
	struct {
		struct ether_header head;
		struct iphdr ip;
	} __attribute__((packed)) f = { head(mac, ETHERTYPE_IP),
		{ .version = 4, .ihl = 5, .ttl = 64, .protocol = SPOOF_PROTOCOL,
			.tot_len = htons(sizeof(struct iphdr)) } };

	inet_pton(AF_INET, "10.66.0.1", &f.ip.saddr);
	inet_pton(AF_INET, "192.0.2.2", &f.ip.daddr);
	f.ip.check = checksum(&f.ip, sizeof(f.ip));
	return send_frame(&f, sizeof(f));
}

/* "SOURCE TARGET": an unasked neighbour advertisement to the host. */
static int do_neighbour(const char *what)
{
	struct nd_neighbor_advert na = { .nd_na_hdr = { .icmp6_type = ND_NEIGHBOR_ADVERT } };
	struct sockaddr_in6 from = { .sin6_family = AF_INET6 }, to = { .sin6_family = AF_INET6 };
	int fd = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), hops = 255, one = 1;
	char source[48], target[48];

	if (sscanf(what, "%47s %47s", source, target) != 2)
		return 1;
	inet_pton(AF_INET6, source, &from.sin6_addr);
	inet_pton(AF_INET6, target, &na.nd_na_target);
	inet_pton(AF_INET6, LINK_GATEWAY6, &to.sin6_addr);
	from.sin6_scope_id = to.sin6_scope_id = if_nametoindex("eth0");
	na.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE;
	setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof(hops));
	setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0)
		return 1;
	return sendto(fd, &na, sizeof(na), 0, (struct sockaddr *)&to, sizeof(to)) < 0;
}

/* Sent, and then that many more were dropped and counted. */
static void told(int netns, int (*what)(const char *), const char *words, const char *family,
	const char *name, unsigned int more)
{
	unsigned int before = counter_of(family, name);

	cr_expect(within(netns, what, words), "%s was not sent", words);
	cr_expect_eq(counter_of(family, name), before + more, "%s: %s", name, words);
}

Test(rules, who_claims_to_be_another_is_dropped_and_counted)
{
	static const char *const filters[] = { "/proc/sys/net/ipv4/conf/all/rp_filter",
		"/proc/sys/net/ipv4/conf/vm2-1/rp_filter" };
	CLEANUP_TRAFFIC struct traffic t = { 0 };
	struct world w = make_world();
	struct err err = { 0 };
	char text[1024];
	int fd = spoof_receiver(w.outside, AF_INET);

	told(w.guest[0], do_frame, "own", "inet", "spoofed", 0);
	cr_expect(arrives(fd));
	told(w.guest[0], do_frame, "other", "inet", "spoofed", 1);
	cr_expect(!received(fd));

	/* Who asks is remembered, where no rule or filter is against it. */
	for (int i = 0; i < 2; i++)
		cr_assert(fd_write_path(AT_FDCWD, filters[i], "0") == 0);
	told(w.guest[0], do_arp, "own own 10.66.0.1", "arp", "spoofed_arp", 0);
	told(w.guest[0], do_arp, "own own 10.66.0.77", "arp", "spoofed_arp", 1);
	told(w.guest[0], do_arp, "own own 10.66.0.2", "arp", "spoofed_arp", 1);
	told(w.guest[0], do_arp, "own own 169.254.1.1", "arp", "spoofed_arp", 1);
	told(w.guest[0], do_arp, "own other 10.66.0.1", "arp", "spoofed_arp", 1);
	told(w.guest[0], do_arp, "other own 10.66.0.1", "arp", "spoofed_arp", 1);

	told(w.guest[0], do_neighbour, "fe80::2 fe80::2", "inet", "advertised", 0);
	told(w.guest[0], do_neighbour, "fd66::1 fd66::1", "inet", "advertised", 0);
	told(w.guest[0], do_neighbour, "fe80::2 fd66::2", "inet", "advertised", 1);
	told(w.guest[0], do_neighbour, "fd66::1 fe80::1", "inet", "advertised", 1);
	/* From a link-local address that guests do not have: it would be one more neighbour each. */
	told(w.guest[0], do_neighbour, "fe80::77 fe80::2", "inet", "spoofed", 1);

	/* All of it is this guest's. */
	cr_expect(traffic_read(&base, &t, &err) == 0 && t.n > 1, "%s", err.text);
	cr_expect_eq(t.of[1].dropped, 9, "%lu", (unsigned long)t.of[1].dropped);
	cr_expect(t.n == 2 || t.of[2].dropped == 0);
	cr_expect(traffic_forget(&base, 1, &err) == 0, "%s", err.text);
	cr_expect(traffic_read(&base, &t, &err) == 0 && (t.n < 2 || t.of[1].dropped == 0));
	/* And the host believes none of it. */
	output("ip neighbour show dev vm2-1", text, sizeof(text));
	cr_expect(!strstr(text, "02:67:00:00:00:02") && !strstr(text, "10.66.0.2") &&
			!strstr(text, "10.66.0.77"),
		"%s", text);
	close(fd);
}

/* "TO [PORT]": a datagram from PORT, to PORT if no other is said. */
static int do_send_from(const char *what)
{
	struct sockaddr_in6 own = { .sin6_port = htons(PORT) };
	struct sockaddr_storage ss;
	int port = PORT, fd;
	char to[48];
	socklen_t len;

	if (sscanf(what, "%47s %d", to, &port) < 1)
		return 1;
	len = socket_address(to, &ss);
	own.sin6_family = ss.ss_family;
	fd = socket(ss.ss_family, SOCK_DGRAM, 0);
	((struct sockaddr_in *)&ss)->sin_port = htons((uint16_t)port);
	return bind(fd, (struct sockaddr *)&own, len) < 0 ||
		sendto(fd, "x", 1, 0, (struct sockaddr *)&ss, len) != 1;
}

/* The first of a datagram, as errors quote it. */
struct quoted4 {
	struct icmphdr error;
	struct iphdr ip;
	uint16_t udp[4];
} __attribute__((packed));

struct quoted6 {
	struct icmp6_hdr error;
	struct ip6_hdr ip;
	uint16_t udp[4];
} __attribute__((packed));

/* "TO SOURCE PORT DESTINATION [PORT]": tell TO that a datagram from the one to the other was too big. */
static int do_error(const char *what)
{
	struct quoted4 four = { { ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED, .un.frag.mtu = htons(600) },
		{ .version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP, .tot_len = htons(28) },
		{ 0, 0, htons(8) } };
	struct quoted6 six = { { ICMP6_PACKET_TOO_BIG, .icmp6_dataun = { { htonl(1280) } } },
		{ .ip6_hlim = 64, .ip6_nxt = IPPROTO_UDP, .ip6_plen = htons(8) }, { 0, 0, htons(8) } };
	char to[48], source[48], destination[48];
	bool is_six = strchr(what, ':');
	struct sockaddr_storage ss;
	socklen_t len;
	int port, other = PORT, fd;

	if (sscanf(what, "%47s %47s %d %47s %d", to, source, &port, destination, &other) < 4)
		return 1;
	len = socket_address(to, &ss);
	fd = socket(ss.ss_family, SOCK_RAW, is_six ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	four.udp[0] = six.udp[0] = htons((uint16_t)port);
	four.udp[1] = six.udp[1] = htons((uint16_t)other);
	inet_pton(AF_INET, source, &four.ip.saddr);
	inet_pton(AF_INET, destination, &four.ip.daddr);
	six.ip.ip6_vfc = 6 << 4;
	inet_pton(AF_INET6, source, &six.ip.ip6_src);
	inet_pton(AF_INET6, destination, &six.ip.ip6_dst);
	four.error.checksum = checksum(&four, sizeof(four));
	if (is_six)
		return sendto(fd, &six, sizeof(six), 0, (struct sockaddr *)&ss, len) < 0;
	return sendto(fd, &four, sizeof(four), 0, (struct sockaddr *)&ss, len) < 0;
}

/* By those, whoever guesses a connection's ends could end it or slow it down. */
Test(rules, errors_about_anothers_connection_go_nowhere)
{
	static const struct rules_port published = { IPPROTO_UDP, 53, PORT, "10.66.0.2", "fd66::2" };
	struct world w = make_world();
	int own = own_netns(), four = raw_receiver(w.outside, AF_INET, IPPROTO_ICMP);
	struct err err = { 0 };
	char text[1024];

	cr_assert(rules_add_ports(&base, &published, 1, &err) == 0, "%s", err.text);
	for (int i = 0; i < 2; i++)
		cr_assert(within(w.guest[i], do_send_from, "192.0.2.2") &&
			within(w.guest[i], do_send_from, "2001:db8::2"));
	/* To the world: about its own, and about the other's. */
	told(w.guest[0], do_error, "192.0.2.2 192.0.2.2 2222 10.66.0.1", "inet", "invalid", 0);
	cr_expect(arrives(four));
	told(w.guest[0], do_error, "192.0.2.2 192.0.2.2 2222 10.66.0.2", "inet", "invalid", 1);
	cr_expect(!received(four));
	told(w.guest[0], do_error, "2001:db8::2 2001:db8::2 2222 fd66::1", "inet", "invalid", 0);
	told(w.guest[0], do_error, "2001:db8::2 2001:db8::2 2222 fd66::2", "inet", "invalid", 1);
	/* To the other guest, by the port that it has published; it may say so of what came by that. */
	cr_assert(within(w.outside, do_send_from, "192.0.2.1 53") &&
		within(w.outside, do_send_from, "2001:db8::1 53"));
	told(w.guest[0], do_error, "192.0.2.1 192.0.2.1 53 192.0.2.2", "inet", "invalid", 1);
	told(w.guest[0], do_error, "2001:db8::1 2001:db8::1 53 2001:db8::2", "inet", "invalid", 1);
	told(w.guest[1], do_error, "192.0.2.2 192.0.2.2 2222 10.66.0.2", "inet", "invalid", 0);
	/* To the host: about what it never sent, and about what it did. */
	told(w.guest[0], do_error, "192.0.2.1 192.0.2.1 7 192.0.2.2", "inet", "invalid", 1);
	told(w.guest[0], do_error, "2001:db8::1 2001:db8::1 7 2001:db8::2", "inet", "invalid", 1);
	cr_assert(within(own, do_send_from, "192.0.2.2 7") && within(own, do_send_from, "2001:db8::2 7"));
	told(w.guest[0], do_error, "192.0.2.1 192.0.2.1 2222 192.0.2.2 7", "inet", "invalid", 1);
	told(w.guest[0], do_error, "2001:db8::1 2001:db8::1 2222 2001:db8::2 7", "inet", "invalid", 1);
	output("ip route show cache; ip -6 route show cache", text, sizeof(text));
	cr_expect(!text[0], "the host believes: %s", text);
	cr_assert(within(own, do_send_from, "10.66.0.1") && within(own, do_send_from, "fd66::1"));
	told(w.guest[0], do_error, "169.254.1.1 169.254.1.1 2222 10.66.0.1", "inet", "invalid", 0);
	close(four);
	close(own);
}

/* "SOURCE DESTINATION TYPE", of ICMPv6 */
static int do_icmp6(const char *what)
{
	uint8_t message[24] = { 0 };
	struct sockaddr_in6 from = { .sin6_family = AF_INET6 }, to = { .sin6_family = AF_INET6 };
	int fd = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), one = 1, type;
	char source[48], destination[48];

	if (sscanf(what, "%47s %47s %d", source, destination, &type) != 3)
		return 1;
	message[0] = (uint8_t)type;
	inet_pton(AF_INET6, source, &from.sin6_addr);
	inet_pton(AF_INET6, destination, &to.sin6_addr);
	memcpy(message + 8, &from.sin6_addr, 16);
	setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &one, sizeof(one));
	return bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
		sendto(fd, message, sizeof(message), 0, (struct sockaddr *)&to, sizeof(to)) < 0;
}

/* An ICMPv6 type, from "::" to the host. */
static int do_nameless(const char *type)
{
	struct {
		struct ether_header head;
		struct ip6_hdr ip;
		struct icmp6_hdr icmp;
	} __attribute__((packed)) f = { head("own", ETHERTYPE_IPV6),
		{ .ip6_plen = htons(sizeof(f.icmp)), .ip6_nxt = IPPROTO_ICMPV6, .ip6_hlim = 255 },
		{ .icmp6_type = (uint8_t)atoi(type) } };

	f.ip.ip6_vfc = 6 << 4;
	inet_pton(AF_INET6, "2001:db8::1", &f.ip.ip6_dst);
	return send_frame(&f, sizeof(f));
}

/* What belongs on the link is not tracked: no rule of the guest's own is asked, and nothing translates it. */
Test(rules, discovery_does_not_leave_the_link)
{
	static const int types[] = { 130, MLD_LISTENER_REPORT, ND_ROUTER_SOLICIT, ND_NEIGHBOR_SOLICIT,
		ND_NEIGHBOR_ADVERT, 143 };
	struct world w = make_world();
	char words[64];

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		snprintf(words, sizeof(words), "fd66::1 2001:db8::2 %d", types[i]);
		told(w.guest[0], do_icmp6, words, "inet", "invalid", 1);
	}
	told(w.guest[0], do_icmp6, "fd66::1 2001:db8::1 135", "inet", "invalid", 0);
	/* From no source: who asks whether an address is anybody's, and not whom the host would answer to nowhere. */
	told(w.guest[0], do_nameless, "135", "inet", "spoofed", 0);
	told(w.guest[0], do_nameless, "128", "inet", "spoofed", 1);
}

/* A socket whose queue is full of answers that nobody has read: the next is lost. */
static void fill_queue(struct netlink *nl)
{
	int fd = mnl_socket_get_fd(nl->sock), size = 1;
	struct {
		struct nlmsghdr head;
		struct nfgenmsg body;
	} ask = { { sizeof(ask), NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN,
			  NLM_F_REQUEST | NLM_F_ACK, 1, 0 },
		{ 0 } };
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	char byte;

	cr_assert(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) == 0);
	for (int i = 0; i < 100; i++)
		(void)!sendto(fd, &ask, sizeof(ask), 0, (struct sockaddr *)&kernel, sizeof(kernel));
	cr_assert(recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) >= 0 || errno == ENOBUFS);
}

Test(rules, a_lost_answer_is_asked_for_again)
{
	const struct rules_state state = { .guests = guests, .n_guests = 2 };
	struct buf b = { 0 };
	struct err err = { 0 };
	struct netlink nl;

	be_host();
	for (int i = 0; i < 3; i++) {
		cr_assert(netlink_open(&nl, NETLINK_NETFILTER, &err) == 0, "%s", err.text);
		nl.first_seq = nl.next_seq = 1000;
		fill_queue(&nl);
		cr_expect(rules_restore_on(&nl, &base, &state, &err) == 0, "%s", err.text);
		cr_expect(rules_verify(&base, &state, count_drift, &b, &err) == 0, "%s", b.data);
		/* What is no batch may have been done or not: that is said. */
		fill_queue(&nl);
		nl.next_seq = nl.first_seq = 5000;
		route_delete_link(&nl, "nothing");
		cr_expect(netlink_exchange(&nl, "x", NULL, NULL, &err) == -ENOBUFS, "%s", err.text);
		netlink_close(&nl);
	}
	buf_free(&b);
}

Test(rules, other_tables_are_untouched)
{
	struct rules_base other = { "vm2b", "10.67.0.0/16", NULL };
	struct err err = { 0 };
	char text[4096];

	be_host();
	output("nft add table inet mine; nft add chain inet mine c", text, sizeof(text));
	cr_expect(rules_restore(&base, guests, 2, &err) == 0);
	cr_expect(rules_restore(&other, NULL, 0, &err) == 0, "%s", err.text);
	cr_expect(rules_remove(&base, &err) == 0);
	output("nft list tables; nft list table inet mine", text, sizeof(text));
	cr_expect(
		strstr(text, "inet vm2b") && strstr(text, "chain c") && !strstr(text, "inet vm2\n"),
		"%s", text);
}

Test(rules, ten_thousand_guests, .timeout = 60)
{
	static struct rules_guest many[10000];
	static char text[2][10000][24];
	struct rules_guest one = { 20000, "10.66.200.1", "fd66::ffff" };
	struct err err = { 0 };
	char count[64];
	double t0, t1, t2, t3;

	be_host();
	for (unsigned int i = 0; i < 10000; i++) {
		snprintf(text[0][i], 24, "10.66.%u.%u", i / 250, i % 250 + 1);
		snprintf(text[1][i], 24, "fd66::%x", i + 1);
		many[i] = (struct rules_guest){ i + 1, text[0][i], text[1][i] };
	}
	for (int n = 0; n <= 10000; n += 10000) {
		t0 = now_ms();
		cr_assert(rules_restore(&base, many, n, &err) == 0, "%s", err.text);
		t1 = now_ms();
		cr_assert(rules_add_guest(&base, &one, &err) == 0, "%s", err.text);
		t2 = now_ms();
		cr_assert(rules_remove_guest(&base, &one, &err) == 0, "%s", err.text);
		t3 = now_ms();
		cr_log_info("%d guests: restore %.2f ms, add one %.3f ms, remove one %.3f ms", n,
			t1 - t0, t2 - t1, t3 - t2);
	}
	output("nft list set inet vm2 source6 | grep -o fd66 | wc -l", count, sizeof(count));
	cr_expect(atoi(count) == 10000, "%s", count);
	output("nft list set inet vm2 source4 | grep -c ' 559949584 . .* . 10.66.39.250'", count,
		sizeof(count));
	cr_expect(atoi(count) == 1, "%s", count);
}

/* More than 16 bits count: guests, and elements of one set in one message's worth. */
Test(rules, more_than_65536_elements, .timeout = 120)
{
	const uint32_t n = 65537;
	struct rules_guest *guests_ = xcalloc(n, sizeof(*guests_));
	char(*text)[24] = xcalloc(n, sizeof(*text));
	const struct rules_state state = { .guests = guests_, .n_guests = n };
	struct err err = { 0 };
	char count[64];

	be_host();
	for (uint32_t i = 0; i < n; i++) {
		snprintf(text[i], sizeof(text[i]), "fd66::1:%x:%x", i >> 16, i & 0xffff);
		guests_[i] = (struct rules_guest){ i + 1, NULL, text[i] };
	}
	cr_assert(rules_restore_state(&base, &state, &err) == 0, "%s", err.text);
	output("nft list set inet vm2 source6 | grep -c 'fd66:'", count, sizeof(count));
	cr_expect(atoi(count) == (int)n, "%s", count);
	cr_expect(rules_add_guest(&base, &(struct rules_guest){ n + 1, NULL, "fd66::9:1" }, &err) == 0,
		"%s", err.text);
	free(guests_);
	free(text);
}

Test(rules, bad_input_is_refused_with_words)
{
	static const struct rules_base bases[] = { { "vm2", "10.66.0.0", NULL },
		{ "vm2", "10.66.0.0/33", NULL }, { "vm2", "10.66.0.1/16", NULL },
		{ "vm2", "fd66::/64", NULL }, { "vm2", NULL, "10.66.0.0/16" },
		{ "vm2", "0.0.0.0/0", NULL }, { "vm2", "10.66.0.0/", NULL },
		{ "vm2", "127.0.0.0/16", NULL }, { "vm2", NULL, "fe80::/64" },
		{ "vm2-b", NULL, NULL }, { "", NULL, NULL }, { "vm2vm2vm2", NULL, NULL },
		{ "2vm", NULL, NULL }, { NULL, NULL, NULL },
		{ "vm2", "10.66.0.0/16", NULL, .masquerade = "yes" } };
	static const struct rules_guest bad[] = { { 1, "10.66.0.1/32", NULL },
		{ 1, "fd66::1", NULL }, { 1, NULL, "10.66.0.1" }, { 1, "127.0.0.1", NULL },
		{ 1, "169.254.1.1", NULL }, { 1, NULL, "fe80::1" }, { 1, NULL, "::" },
		{ 1, "224.0.0.1", NULL }, { 1, "a\nb", NULL } };
	static const char *const pools[] = { "127.0.0.0/8", "10.0.0.0/8 169.254.7.0/24", "224.0.0.0/8",
		"128.0.0.0/1", "fe80::/64", "ff00::/16", "10.0.0.1/8", "10.66.7.0/24", "10.1.0.0/24 10.1.0.128/25" };
	static const char *const lists[] = { "10.0.0.0", "10.0.0.1/8", "10.0.0.0/8,fd00::/8",
		"10.0.0.0/8 x", "fd00::1/64", "0.0.0.0/0" };
	static const struct rules_base longest = { "vm2vm2vm", NULL, NULL };
	static const struct rules_guest far = { 4000000000U, "10.66.0.1", NULL };
	struct err err = { 0 };

	for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		err.text[0] = '\0';
		cr_expect(rules_restore(&bases[i], NULL, 0, &err) == ERR_USAGE, "base %zu", i);
		cr_expect(err.text[0]);
	}
	for (size_t i = 0; i < sizeof(pools) / sizeof(pools[0]); i++) {
		const struct rules_base b = { "vm2", "10.66.0.0/16", NULL, .pools = pools[i] };

		cr_expect(rules_check(&b, &err) == ERR_USAGE, "%s", pools[i]);
		cr_expect(strstr(err.text, "network.pools: ") == err.text, "%s", err.text);
	}
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		const struct rules_base b = { "vm2", NULL, NULL, NULL, lists[i], 0, 0 };

		cr_expect(rules_check(&b, &err) == ERR_USAGE, "%s", lists[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect(rules_add_guest(&base, &bad[i], &err) == ERR_USAGE, "guest %zu", i);
	cr_expect(rules_add_guest(&longest, &far, &err) == ERR_USAGE);
}

Test(rules, probe_finds_this_kernel_fit)
{
	char text[256];

	be_host();
	cr_expect(firewall_probe() == NULL, "%s", firewall_probe());
	output("nft list tables; ip -br link | grep -v lo", text, sizeof(text));
	cr_expect(!text[0], "it left: %s", text);
}
