/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What passes, and what does not: ordinary packets between guests, host and world. */
#include <netinet/udp.h>
#include <sys/prctl.h>

#include "firewall/traffic.h"
#include "provision/base/cleanup.h"
#include "tests/unit/firewall/world.h"

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
	cr_expect(rules_remove_guest(&base, &guests[1], &err) == 0);
	cr_expect(traffic_read(&base, &t, &err) == 0 && t.n > 2 && t.of[2].sent_packets == 100 &&
		  t.of[2].sent_bytes == 2900);
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

/* A guest without a rate is counted elsewhere than one that has one. */
Test(rules, what_is_counted_outlives_a_change_of_rate)
{
	struct rules_guest rated[] = { guests[0], guests[1] };
	const struct rules_guest *const turns[] = { &guests[1], &rated[1],  &guests[1], &rated[1],
						    &rated[1],	&guests[1], &guests[1] };
	struct world w = make_world();
	int fd = datagram_receiver(w.outside);
	CLEANUP_TRAFFIC struct traffic t = { 0 };
	struct err err = { 0 };

	rated[1].packets = 1000000;
	for (unsigned int i = 0; i < ARRAY_LEN(turns); i++) {
		/* A guest that stops keeps it, too. */
		if (i == 3)
			cr_expect(rules_remove_guest(&base, turns[i], &err) == 0, "%s", err.text);
		cr_expect(rules_add_guest(&base, turns[i], &err) == 0, "%s", err.text);
		cr_expect(arriving(w.guest[1], fd) == 100);
		cr_expect(within(w.outside, do_ping, "10.66.0.2") == false);
		cr_expect(within(w.guest[1], do_ping, "192.0.2.2"));
		cr_expect(traffic_read(&base, &t, &err) == 0, "%s", err.text);
		cr_expect(t.n > 2 && t.of[2].sent_packets == 101 * (i + 1) &&
				  t.of[2].sent_bytes == 2928 * (i + 1) &&
				  t.of[2].received_packets == i + 1 &&
				  t.of[2].received_bytes == 28 * (i + 1),
			  "%u: %lu, %lu", i, (unsigned long)t.of[2].sent_packets,
			  (unsigned long)t.of[2].received_packets);
	}
	close(fd);
}

#define SEGMENTS 60

/* As many datagrams of one byte, handed over as one. */
static int do_segments(const char *to)
{
	struct sockaddr_storage ss;
	socklen_t len = socket_address(to, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM, 0), each = 1;
	char data[SEGMENTS] = "";

	((struct sockaddr_in *)&ss)->sin_port = htons(PORT);
	return setsockopt(fd, SOL_UDP, UDP_SEGMENT, &each, sizeof(each)) < 0 ||
		sendto(fd, data, sizeof(data), 0, (struct sockaddr *)&ss, len) != SEGMENTS;
}

/* Else a guest would send twenty times what its plan lets it, and what is counted. */
Test(rules, datagrams_are_counted_one_by_one)
{
	CLEANUP_TRAFFIC struct traffic t = { 0 };
	struct world w = make_world();
	struct err err = { 0 };

	cr_expect(within(w.guest[0], do_segments, "192.0.2.2"));
	cr_expect(within(w.guest[0], do_segments, "2001:db8::2"));
	cr_expect(traffic_read(&base, &t, &err) == 0 && t.n > 1, "%s", err.text);
	cr_expect_eq(t.of[1].sent_packets, 2 * SEGMENTS, "%lu", (unsigned long)t.of[1].sent_packets);
	cr_expect_eq(t.of[1].sent_bytes, SEGMENTS * (29 + 49), "%lu", (unsigned long)t.of[1].sent_bytes);
}

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

	cr_assert(rules_add_ports(&base, two_ports, 2, &err) == 0, "%s", err.text);
	for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++) {
		cr_expect(within(from[i].netns, do_connect, "192.0.2.1"), "%s", from[i].who);
		cr_expect(within(from[i].netns, do_connect, "2001:db8::1"), "%s, IPv6", from[i].who);
	}
	/* Not by any other way than before. */
	cr_expect(!within(w.guest[1], do_connect, "10.66.0.1"));
	cr_expect(!within(w.guest[1], do_ping, "10.66.0.1"));
	cr_expect(within(own, do_connect, "127.0.0.1") == false, "the host's loopback is the host's");
	/* There already is success; elsewhere is not. */
	cr_expect(rules_add_ports(&base, two_ports, 2, &err) == 0, "%s", err.text);
	cr_expect(rules_add_ports(&base,
			  &(struct rules_port){ IPPROTO_TCP, PORT, PORT, "10.66.0.2", NULL }, 1,
			  &err) < 0);
	cr_expect(rules_remove_ports(&base, two_ports, 2, &err) == 0, "%s", err.text);
	for (size_t i = 0; i < sizeof(from) / sizeof(from[0]); i++)
		cr_expect(!within(from[i].netns, do_connect, "192.0.2.1"), "%s", from[i].who);
	cr_expect(rules_remove_ports(&base, two_ports, 2, &err) == 0, "%s", err.text);
	close(fd);
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
	cr_assert(rules_add_ports(&base, two_ports, 1, &err) == 0, "%s", err.text);
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
