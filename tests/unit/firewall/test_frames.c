/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is written by hand: frames and packets that say what is not so. */
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <netpacket/packet.h>

#include "firewall/reassembly.h"
#include "firewall/traffic.h"
#include "provision/base/cleanup.h"
#include "tests/unit/firewall/world.h"

/* Rules know a guest's link by its index: one that has only the name is let through nowhere. */
Test(frames, link_of_another_index_is_a_strangers)
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

Test(frames, spoofed_sources_are_dropped)
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

/*
 * "TO FROM": an unasked router advertisement (RFC 4861 4.2): the guest as everybody's way out, for 1,800 s.
 */
static int do_advertise(const char *what)
{
	const uint8_t advertisement[16] = { 134, 0, 0, 0, 64, 0, 7, 8 };
	char to[64] = "", from[64] = "";
	bool both = sscanf(what, "%63s %63s", to, from) == 2;
	struct sockaddr_storage ss, own;
	socklen_t len = socket_address(from, &own);
	int fd = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), hops = 255;

	((struct sockaddr_in6 *)&own)->sin6_scope_id = if_nametoindex("eth0");
	if (!both || bind(fd, (struct sockaddr *)&own, len) < 0)
		return 1;
	len = socket_address(to, &ss);
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

Test(frames, who_plays_router_or_server_is_not_heard)
{
	static const char *const to[] = { "ff02::1 fe80::2", "fe80::1 fe80::2", "ff02::1 fd66::1",
					  "fe80::1 fd66::1" };
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

Test(frames, who_claims_to_be_another_is_dropped_and_counted)
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
Test(frames, errors_about_anothers_connection_go_nowhere)
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
Test(frames, discovery_does_not_leave_the_link)
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

/* From the guest's own address to any, by a frame: its own system would not send all of them. */
static int do_send_to(const char *to)
{
	struct {
		struct ether_header head;
		union {
			struct iphdr four;
			struct ip6_hdr six;
		};
	} __attribute__((packed)) f;
	bool six = strchr(to, ':');

	f.head = head("own", six ? ETHERTYPE_IPV6 : ETHERTYPE_IP);
	if (six) {
		f.six = (struct ip6_hdr){ .ip6_hlim = 64, .ip6_nxt = SPOOF_PROTOCOL };
		f.six.ip6_vfc = 6 << 4;
		inet_pton(AF_INET6, "fd66::1", &f.six.ip6_src);
		return inet_pton(AF_INET6, to, &f.six.ip6_dst) != 1 ||
			send_frame(&f, sizeof(f.head) + sizeof(f.six));
	}
	f.four = (struct iphdr){ .version = 4, .ihl = 5, .ttl = 64, .protocol = SPOOF_PROTOCOL,
		.tot_len = htons(sizeof(f.four)) };
	inet_pton(AF_INET, "10.66.0.1", &f.four.saddr);
	inet_pton(AF_INET, to, &f.four.daddr);
	f.four.check = checksum(&f.four, sizeof(f.four));
	return send_frame(&f, sizeof(f.head) + sizeof(f.four));
}

/* Frames of these packets that come in by an interface of the namespace, whomever they are to. */
static int frame_receiver(int netns, const char *interface)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int own = own_netns(), fd;

	enter(netns);
	at.sll_ifindex = (int)if_nametoindex(interface);
	fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cr_assert(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	enter(own);
	close(own);
	return fd;
}

/* How many came since the last call. */
static int count_frames(int fd)
{
	uint8_t packet[256];
	ssize_t len;
	int n = 0;

	while ((len = recv(fd, packet, sizeof(packet), 0)) >= 0)
		n += len >= 20 && packet[packet[0] >> 4 == 6 ? 6 : 9] == SPOOF_PROTOCOL;
	return n;
}

/* RFC 6890 and what followed it: what is no destination, or not to be forwarded; and what looks like it. */
Test(frames, what_no_router_forwards_stays_here)
{
	static const char *const never[] = { "0.0.0.1", "0.255.255.255", "127.0.0.1", "127.1.2.3",
		"169.254.0.1", "169.254.169.254", "192.0.0.8", "192.0.0.170", "192.0.0.171", "240.0.0.1",
		"255.255.255.254", "::", "::1", "::ffff:192.0.2.2", "::ffff:10.66.0.2", "100:0:0:1::1",
		"fe80::77" };
	static const char *const usual[] = { "1.0.0.1", "126.255.255.255", "128.0.0.1", "100.64.0.1",
		"169.253.255.255", "169.255.0.1", "172.16.0.1", "192.0.0.1", "192.0.0.9", "192.0.0.10",
		"192.0.0.169", "192.168.0.1", "198.18.0.1", "::2", "64:ff9b::1", "64:ff9b:1::1", "100::1",
		"2001:1::1", "2002::1", "5f00::1", "fc00::1", "::fffe:192.0.2.2" };
	struct world w = make_world();
	int own = own_netns(), fd = frame_receiver(w.outside, "out0");

	add_route(own, "up0", "0.0.0.0", 1, "192.0.2.2");
	add_route(own, "up0", "128.0.0.0", 1, "192.0.2.2");
	add_route(own, "up0", "::", 1, "2001:db8::2");
	add_route(own, "up0", "8000::", 1, "2001:db8::2");
	for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
		cr_expect(within(w.guest[0], do_send_to, usual[i]), "%s was not sent", usual[i]);
		cr_expect(count_frames(fd) == 1, "%s was kept", usual[i]);
	}
	cr_expect(counter("guest_to_local") == 0, "%u", counter("guest_to_local"));
	for (size_t i = 0; i < ARRAY_LEN(never); i++) {
		cr_expect(within(w.guest[0], do_send_to, never[i]), "%s was not sent", never[i]);
		cr_expect(count_frames(fd) == 0, "%s left", never[i]);
	}
	cr_expect(counter("guest_to_local") > ARRAY_LEN(never) / 2, "%u", counter("guest_to_local"));
	close(own);
}

/* --- fragments --- */

#define FLOOD	 60000 /* fragments that are never made whole: 150 MB in the host, if nothing stops them */
#define LONG	 60000 /* bytes of one that says it is to be cut up, and of a ping that is sent in parts */
#define N_LONG	 100   /* 6 MB, where 1.5 may come in a second, and as many at once */
#define FRAGMENT 1448  /* bytes in each, of IPv4 and IPv6 */

/* The first fragment of a datagram, with room for what says that it is to be cut up. */
struct fragment {
	struct virtio_net_hdr cut;
	struct ether_header head;
	union {
		struct iphdr four;
		struct {
			struct ip6_hdr ip;
			struct ip6_frag part;
		} __attribute__((packed)) six;
	};
} __attribute__((packed));

/* From an address that is on eth0, or is not. */
static size_t make_fragment(struct fragment *f, const char *from, size_t bytes)
{
	bool six = strchr(from, ':');

	*f = (struct fragment){ .head = head("own", six ? ETHERTYPE_IPV6 : ETHERTYPE_IP) };
	if (six) {
		f->six.ip = (struct ip6_hdr){ .ip6_hlim = 64, .ip6_nxt = IPPROTO_FRAGMENT,
			.ip6_plen = htons((uint16_t)(sizeof(f->six.part) + bytes)) };
		f->six.ip.ip6_vfc = 6 << 4;
		inet_pton(AF_INET6, from, &f->six.ip.ip6_src);
		inet_pton(AF_INET6, strcmp(from, "fe80::2") ? "2001:db8::2" : "fe80::1",
			  &f->six.ip.ip6_dst);
		f->six.part.ip6f_nxt = SPOOF_PROTOCOL;
		f->six.part.ip6f_offlg = IP6F_MORE_FRAG;
		return sizeof(f->head) + sizeof(f->six) + bytes;
	}
	f->four = (struct iphdr){ .version = 4, .ihl = 5, .ttl = 64, .protocol = SPOOF_PROTOCOL,
		.tot_len = htons((uint16_t)(sizeof(f->four) + bytes)), .frag_off = htons(IP_MF) };
	inet_pton(AF_INET, from, &f->four.saddr);
	inet_pton(AF_INET, "192.0.2.2", &f->four.daddr);
	return sizeof(f->head) + sizeof(f->four) + bytes;
}

/* Each of another datagram, of which there is no more. */
static int do_fragments(const char *from)
{
	static char frame[sizeof(struct fragment) + FRAGMENT];
	struct fragment *f = (struct fragment *)frame;
	bool six = strchr(from, ':');
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("eth0") };
	size_t len = make_fragment(f, from, FRAGMENT);
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	for (uint32_t i = 0; i < FLOOD; i++) {
		if (six) {
			f->six.part.ip6f_ident = htonl(i);
		} else {
			f->four.id = htons((uint16_t)i);
			f->four.check = 0;
			f->four.check = checksum(&f->four, sizeof(f->four));
		}
		if (sendto(fd, &f->head, len, 0, (struct sockaddr *)&to, sizeof(to)) != (ssize_t)len)
			return 1;
	}
	return 0;
}

/* Those that a link takes whole however long they are (packet(7), PACKET_VNET_HDR). */
static int do_long_fragments(const char *unused)
{
	static char frame[sizeof(struct fragment) + LONG];
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex("eth0"),
		.sll_protocol = htons(ETH_P_IP) };
	struct fragment *f = (struct fragment *)frame;
	size_t len = sizeof(f->cut) + make_fragment(f, "10.66.0.1", LONG);
	int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1;

	(void)unused;
	setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one));
	f->four.protocol = IPPROTO_TCP;
	f->cut = (struct virtio_net_hdr){ VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 54, 1400,
		34, 16 };
	frame[sizeof(f->cut) + 34 + 12] = 5 << 4; /* how long TCP's header is, in words */
	for (uint16_t i = 0; i < N_LONG; i++) {
		f->four.id = htons(i);
		f->four.check = 0;
		f->four.check = checksum(&f->four, sizeof(f->four));
		if (sendto(fd, frame, len, 0, (struct sockaddr *)&to, sizeof(to)) != (ssize_t)len)
			return 1;
	}
	return 0;
}

/* What is asked and what is answered goes in parts, and is made whole by the host. */
static int do_long_ping(const char *to)
{
	static uint8_t echo[LONG], reply[LONG + 100];
	struct timeval limit = { REPLY_MS / 1000 + 1, 0 };
	struct sockaddr_storage ss;
	socklen_t len = socket_address(to, &ss);
	bool six = ss.ss_family == AF_INET6;
	int fd = socket(ss.ss_family, SOCK_RAW, six ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	uint16_t sum;
	ssize_t n;

	if (six && IN6_IS_ADDR_LINKLOCAL(&((struct sockaddr_in6 *)&ss)->sin6_addr))
		((struct sockaddr_in6 *)&ss)->sin6_scope_id = if_nametoindex("eth0");
	echo[0] = six ? ICMP6_ECHO_REQUEST : ICMP_ECHO;
	sum = checksum(echo, sizeof(echo));
	memcpy(echo + 2, &sum, sizeof(sum));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (sendto(fd, echo, sizeof(echo), 0, (struct sockaddr *)&ss, len) < 0)
		return 1;
	do
		n = recv(fd, reply, sizeof(reply), 0);
	while (n >= 0 && n < LONG);
	return n < 0;
}

/* reassembly_provide() */
static void count_setting(void *data, const char *setting, const char *was, const char *is)
{
	(void)setting, (void)was, (void)is;
	++*(int *)data;
}

Test(frames, fragments_of_one_leave_the_others_room, .timeout = 60)
{
	static const struct rules_base bound = { "vm2", "10.66.0.0/16", "fd66::/64", NULL, NULL, 0, 0,
		1000 };
	static const char *const to[] = { "192.0.2.2", "2001:db8::2", "fe80::1" };
	static const char *const from[] = { "10.66.0.1", "fd66::1", "fe80::2" };
	struct world w = make_world();
	struct err err = { 0 };
	int n = 0;

	cr_assert(rules_restore(&bound, guests, 2, &err) == 0, "%s", err.text);
	/* What the kernel has by itself is replaced, and what somebody has set is not. */
	cr_assert(fd_write_path(AT_FDCWD, "/proc/sys/net/ipv4/ipfrag_time", "7") == 0);
	cr_assert(reassembly_provide(count_setting, &n, &err) == 0, "%s", err.text);
	cr_expect_eq(n, 3);
	for (int i = 0; i < 3; i++) {
		unsigned int before = counter("too_fragmented");

		cr_assert(within(w.guest[1], do_long_ping, to[i]), "%s", to[i]);
		cr_assert(within(w.guest[0], do_fragments, from[i]));
		cr_expect(counter("too_fragmented") > before + FLOOD / 2, "%s", to[i]);
		cr_expect(within(w.guest[1], do_long_ping, to[i]), "%s", to[i]);
		cr_expect(i == 2 || within(w.guest[0], do_ping, to[i]), "%s", to[i]);
	}
}

/* They wait for no others: nothing of theirs is kept. */
Test(frames, spoofed_fragments_are_not_put_together)
{
	static const char *const lies[] = { "10.66.0.2", "fd66::2", "::" };
	struct world w = make_world();

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		unsigned int before = counter("spoofed");
		char text[64];

		cr_assert(within(w.guest[0], do_fragments, lies[i]));
		cr_expect(counter("spoofed") == before + FLOOD, "%s: %u", lies[i],
			  counter("spoofed") - before);
		output("grep -h -o 'FRAG.*inuse [1-9][0-9]*' /proc/net/sockstat /proc/net/sockstat6",
		       text, sizeof(text));
		cr_expect(!text[0], "%s: %s", lies[i], text);
	}
}

Test(frames, long_fragments_are_counted_by_their_bytes)
{
	static const struct rules_base bound = { "vm2", "10.66.0.0/16", "fd66::/64", NULL, NULL, 0, 0,
		1000 };
	struct world w = make_world();
	struct err err = { 0 };

	cr_assert(rules_restore(&bound, guests, 2, &err) == 0, "%s", err.text);
	cr_expect(within(w.guest[0], do_long_fragments, NULL));
	cr_expect(counter("too_fragmented") > N_LONG / 5 && counter("too_fragmented") < N_LONG, "%u",
		counter("too_fragmented"));
}

/* Where hardly a fragment may come, all else comes as it did. */
Test(frames, what_is_whole_is_no_fragment)
{
	static const struct rules_base bound = { "vm2", "10.66.0.0/16", "fd66::/64", NULL, NULL, 0, 0, 1 };
	static const char *const to[] = { "192.0.2.2", "2001:db8::2" };
	struct world w = make_world();
	struct err err = { 0 };

	cr_assert(rules_restore(&bound, guests, 2, &err) == 0, "%s", err.text);
	for (int i = 0; i < 10; i++)
		cr_expect(within(w.guest[0], do_ping, to[i % 2]), "%s", to[i % 2]);
	cr_expect_eq(counter("too_fragmented"), 0, "%u", counter("too_fragmented"));
	cr_expect(!within(w.guest[0], do_long_ping, to[0]));
	cr_expect(counter("too_fragmented") > 0);
}
