/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Raw packets, for tests of the fence: `packets send PROTOCOL SOURCE,DESTINATION...` sends one of
 * each again and again, sources as they are given; `packets count PROTOCOL` counts what arrives in
 * its network namespace. Both print how many when SIGTERM ends them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
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

int main(int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = end };
	int protocol = argc > 2 ? atoi(argv[2]) : 0;

	sigaction(SIGTERM, &action, NULL);
	if (argc > 3 && !strcmp(argv[1], "send"))
		return send_all((uint8_t)protocol, argv + 3);
	if (argc == 3 && !strcmp(argv[1], "count"))
		return count_all((uint8_t)protocol);
	fprintf(stderr, "packets send PROTOCOL SOURCE,DESTINATION... | packets count PROTOCOL\n");
	return 2;
}
