/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raw packets, for tests of the fence: `packets send PROTOCOL SOURCE,DESTINATION...` sends one of
 * each again and again, sources as they are given; `packets count PROTOCOL` counts what arrives in
 * its network namespace. Both print how many when SIGTERM ends them. `packets claim OWN4 OTHER4 OTHER6`
 * sends by eth0, once each, what claims to be another: a frame from another MAC, an ARP reply for the
 * one address, a neighbour advertisement for the other, a router advertisement, a DHCP offer.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS_MAX 32
#define BURST	  20   /* of each pair, then a pause: others want the processor, too */
#define PAUSE_US  1000

static volatile sig_atomic_t ended;

static void end(int sig)
{
	ended = sig;
}

struct packet {
	int fd;
	size_t len;
	union {
		struct iphdr four;
		struct ip6_hdr six;
	} head;
	union {
		struct sockaddr any;
		struct sockaddr_in four;
		struct sockaddr_in6 six;
	} to;
	socklen_t to_len;
};

static int make(struct packet *p, uint8_t protocol, char *pair)
{
	char *to = strchr(pair, ',');

	if (!to)
		return -1;
	*to++ = '\0';
	memset(p, 0, sizeof(*p));
	if (strchr(pair, ':')) {
		p->head.six.ip6_vfc = 6 << 4;
		p->head.six.ip6_hlim = 64;
		p->head.six.ip6_nxt = protocol;
		p->to.six.sin6_family = AF_INET6;
		p->len = sizeof(p->head.six);
		p->to_len = sizeof(p->to.six);
		p->fd = socket(AF_INET6, SOCK_RAW, IPPROTO_RAW);
		if (inet_pton(AF_INET6, pair, &p->head.six.ip6_src) != 1 ||
			inet_pton(AF_INET6, to, &p->to.six.sin6_addr) != 1)
			return -1;
		p->head.six.ip6_dst = p->to.six.sin6_addr;
		return p->fd;
	}
	p->head.four = (struct iphdr){ .version = 4, .ihl = 5, .ttl = 64, .protocol = protocol };
	p->to.four.sin_family = AF_INET;
	p->len = sizeof(p->head.four);
	p->to_len = sizeof(p->to.four);
	p->fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	if (inet_pton(AF_INET, pair, &p->head.four.saddr) != 1 ||
		inet_pton(AF_INET, to, &p->to.four.sin_addr) != 1)
		return -1;
	p->head.four.daddr = p->to.four.sin_addr.s_addr;
	return p->fd;
}

static int send_all(uint8_t protocol, char **pairs)
{
	struct packet packets[PAIRS_MAX];
	unsigned long sent = 0;
	int n = 0;

	for (; n < PAIRS_MAX && pairs[n]; n++)
		if (make(&packets[n], protocol, pairs[n]) < 0) {
			fprintf(stderr, "packets: %s: no pair, or no socket\n", pairs[n]);
			return 1;
		}
	while (!ended) {
		for (int i = 0; i < n * BURST; i++) {
			const struct packet *p = &packets[i % n];

			sent += sendto(p->fd, &p->head, p->len, 0, &p->to.any, p->to_len) > 0;
		}
		usleep(PAUSE_US);
	}
	printf("%lu\n", sent);
	return 0;
}

static int count_all(uint8_t protocol)
{
	struct pollfd p[2] = { { socket(AF_INET, SOCK_RAW, protocol), POLLIN, 0 },
		{ socket(AF_INET6, SOCK_RAW, protocol), POLLIN, 0 } };
	unsigned long arrived = 0;
	char buf[2048];

	if (p[0].fd < 0 || p[1].fd < 0) {
		perror("packets: socket");
		return 1;
	}
	/* The line that says it is there. */
	puts("counts");
	fflush(stdout);
	while (!ended) {
		if (poll(p, 2, 100) <= 0)
			continue;
		for (int i = 0; i < 2; i++)
			while (recv(p[i].fd, buf, sizeof(buf), MSG_DONTWAIT) >= 0)
				arrived++;
	}
	printf("%lu\n", arrived);
	return 0;
}

/* --- what claims to be another --- */

#define LINK "eth0"

static int send_frame(const void *frame, size_t len)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(LINK) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	return sendto(fd, frame, len, 0, (struct sockaddr *)&to, sizeof(to)) == (ssize_t)len ? 0 : -1;
}

/* To all, so that nobody's MAC need be known. */
static struct ether_header head(uint16_t type)
{
	return (struct ether_header){ .ether_dhost = { 255, 255, 255, 255, 255, 255 },
		.ether_shost = { 2, 0, 0, 0, 0, 99 }, .ether_type = htons(type) };
}

static int claim_mac(const char *own)
{
	struct {
		struct ether_header head;
		struct iphdr ip;
	} __attribute__((packed)) f = { head(ETHERTYPE_IP),
		{ .version = 4, .ihl = 5, .ttl = 64, .protocol = 253,
			.tot_len = htons(sizeof(struct iphdr)), .daddr = htonl(0xc6336401) } };
	const uint8_t *bytes = (const uint8_t *)&f.ip;
	uint32_t sum = 0;

	inet_pton(AF_INET, own, &f.ip.saddr);
	for (size_t i = 0; i < sizeof(f.ip); i += 2)
		sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	f.ip.check = htons((uint16_t)~(sum + (sum >> 16)));
	return send_frame(&f, sizeof(f));
}

static int claim_arp(const char *address)
{
	struct {
		struct ether_header head;
		struct ether_arp arp;
	} __attribute__((packed)) f = { head(ETHERTYPE_ARP),
		{ .ea_hdr = { htons(ARPHRD_ETHER), htons(ETHERTYPE_IP), 6, 4, htons(ARPOP_REPLY) } } };

	memcpy(f.arp.arp_sha, f.head.ether_shost, ETH_ALEN);
	inet_pton(AF_INET, address, f.arp.arp_spa);
	inet_pton(AF_INET, "169.254.1.1", f.arp.arp_tpa);
	return send_frame(&f, sizeof(f));
}

static int say_icmp6(const void *message, size_t len)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_scope_id = if_nametoindex(LINK) };
	int fd = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6), hops = 255;

	inet_pton(AF_INET6, "fe80::1", &to.sin6_addr);
	setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof(hops));
	return sendto(fd, message, len, 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -1 : 0;
}

static int claim_neighbour(const char *address)
{
	struct nd_neighbor_advert na = { .nd_na_hdr = { .icmp6_type = ND_NEIGHBOR_ADVERT } };

	na.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE;
	inet_pton(AF_INET6, address, &na.nd_na_target);
	return say_icmp6(&na, sizeof(na));
}

static int claim_router(const char *none)
{
	struct nd_router_advert ra = { .nd_ra_hdr = { .icmp6_type = ND_ROUTER_ADVERT } };

	(void)none;
	ra.nd_ra_router_lifetime = htons(1800);
	return say_icmp6(&ra, sizeof(ra));
}

static int offer(const char *none)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_port = htons(67) };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(68),
		.sin_addr.s_addr = INADDR_BROADCAST };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), one = 1;

	(void)none;
	if (setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof(one)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
		bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, LINK, sizeof(LINK));
	return sendto(fd, "offer", 5, 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -1 : 0;
}

static int claim(const char *own, const char *other4, const char *other6)
{
	const struct {
		const char *name, *argument;
		int (*send)(const char *argument);
	} claims[] = { { "mac", own, claim_mac }, { "arp", other4, claim_arp },
		{ "neighbour", other6, claim_neighbour }, { "router", NULL, claim_router },
		{ "dhcp", NULL, offer } };
	int failed = 0;

	for (size_t i = 0; i < sizeof(claims) / sizeof(claims[0]); i++)
		if (claims[i].send(claims[i].argument) < 0) {
			fprintf(stderr, "packets: %s: %s\n", claims[i].name, strerror(errno));
			failed = 1;
		}
	return failed;
}

int main(int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = end };
	int protocol = argc > 2 ? atoi(argv[2]) : 0;

	sigaction(SIGTERM, &action, NULL);
	if (argc > 3 && !strcmp(argv[1], "send"))
		return send_all((uint8_t)protocol, argv + 3);
	if (argc == 3 && !strcmp(argv[1], "count"))
		return count_all((uint8_t)protocol);
	if (argc == 5 && !strcmp(argv[1], "claim"))
		return claim(argv[2], argv[3], argv[4]);
	fprintf(stderr, "packets claim OWN4 OTHER4 OTHER6\npackets send PROTOCOL SOURCE,DESTINATION... | packets count PROTOCOL\n");
	return 2;
}
