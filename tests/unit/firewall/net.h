/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small network for tests of the firewall: this process's network namespace becomes a host, with
 * an outside world behind up0, and guests. Packets are sent by forked children in the namespaces.
 */
#ifndef VM2_TESTS_FIREWALL_NET_H
#define VM2_TESTS_FIREWALL_NET_H

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "firewall/link.h"
#include "firewall/route.h"
#include "firewall/rules.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

/* The indexes of guests' interfaces (firewall/link.h), as nft(8) prints those that are not there. */
#define VM2_1  "559939585"
#define VM2_2  "559939586"
#define VM2_9  "559939593"
#define VM2_77 "559939661"

#define REPLY_MS 1000 /* a packet that was not answered by then was dropped */
#define PORT	 2222

static inline double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* Become a host of one's own, or skip the test where that is not permitted. */
static inline void be_host(void)
{
	if (unshare(CLONE_NEWNET) < 0)
		cr_skip_test("needs root: unshare(CLONE_NEWNET): %s", strerror(errno));
}

static inline void enter(int netns)
{
	cr_assert(setns(netns, CLONE_NEWNET) == 0);
}

static inline int own_netns(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	cr_assert(fd >= 0);
	return fd;
}

static inline int new_netns(void)
{
	int own = own_netns(), made;

	cr_assert(unshare(CLONE_NEWNET) == 0);
	made = own_netns();
	enter(own);
	close(own);
	return made;
}

static inline struct address addr(const char *text, uint8_t prefix)
{
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;
	struct address a = {
		.family = family, .len = family == AF_INET ? 4 : 16, .prefix = prefix
	};

	cr_assert(inet_pton(family, text, a.bytes) == 1);
	return a;
}

/* Address and up, in the namespace of the caller. */
static inline void configure_interface(const char *name, const char *a4, const char *a6)
{
	struct address four = addr(a4, 24), six = addr(a6, 64);
	struct netlink nl;
	struct err err;
	int index = if_nametoindex(name);

	cr_assert(netlink_open(&nl, NETLINK_ROUTE, &err) == 0);
	route_set_up(&nl, 1);
	route_set_up(&nl, index);
	route_add_address(&nl, index, &four);
	route_add_address(&nl, index, &six);
	route_await_carrier(&nl, index);
	cr_assert(netlink_exchange(&nl, name, NULL, NULL, &err) == 0, "%s", err.text);
	netlink_close(&nl);
}

static inline void await_carrier(const char *name)
{
	struct netlink nl;
	struct err err;

	cr_assert(netlink_open(&nl, NETLINK_ROUTE, &err) == 0);
	route_await_carrier(&nl, if_nametoindex(name));
	cr_assert(netlink_exchange(&nl, name, NULL, NULL, &err) == 0, "%s", err.text);
	netlink_close(&nl);
}

/* The outside world, 192.0.2.2 and 2001:db8::2, behind up0; and the host forwards. */
static inline int make_outside(void)
{
	struct route_side host = { "up0", { 2, 0, 0, 0, 0, 1 } },
			  peer = { "out0", { 2, 0, 0, 0, 0, 2 } };
	int own = own_netns(), outside = new_netns();
	struct netlink nl;
	struct err err;

	cr_assert(netlink_open(&nl, NETLINK_ROUTE, &err) == 0);
	route_add_pair(&nl, &host, &peer, outside, 1500);
	cr_assert(netlink_exchange(&nl, "up0", NULL, NULL, &err) == 0, "%s", err.text);
	netlink_close(&nl);
	configure_interface("up0", "192.0.2.1", "2001:db8::1");
	enter(outside);
	configure_interface("out0", "192.0.2.2", "2001:db8::2");
	enter(own);
	await_carrier("up0");
	cr_assert(fd_write_path(AT_FDCWD, "/proc/sys/net/ipv4/ip_forward", "1") == 0);
	cr_assert(fd_write_path(AT_FDCWD, "/proc/sys/net/ipv6/conf/all/forwarding", "1") == 0);
	close(own);
	return outside;
}

/* A route by way of a next hop, in the namespace. */
static inline void add_route(
	int netns, const char *interface, const char *to, uint8_t bits, const char *via)
{
	struct address dst = addr(to, bits), hop = addr(via, strchr(via, ':') ? 128 : 32);
	int own = own_netns();
	struct netlink nl;
	struct err err;

	enter(netns);
	cr_assert(netlink_open(&nl, NETLINK_ROUTE, &err) == 0);
	route_add_route(&nl, if_nametoindex(interface), &dst, &hop);
	cr_assert(netlink_exchange(&nl, interface, NULL, NULL, &err) == 0, "%s", err.text);
	netlink_close(&nl);
	enter(own);
	close(own);
}

/* A TCP listener on all addresses of a namespace. */
static inline int listener(int netns)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(PORT) };
	int own = own_netns(), fd;

	enter(netns);
	fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(bind(fd, (struct sockaddr *)&any, sizeof(any)) == 0 && listen(fd, 8) == 0);
	enter(own);
	close(own);
	return fd;
}

static inline socklen_t socket_address(const char *to, struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *four = (struct sockaddr_in *)ret;

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, to, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		return sizeof(*four);
	}
	cr_assert(inet_pton(AF_INET6, to, &six->sin6_addr) == 1);
	six->sin6_family = AF_INET6;
	if (IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr))
		six->sin6_scope_id = if_nametoindex("eth0");
	return sizeof(*six);
}

static inline int do_ping(const char *to)
{
	struct sockaddr_storage ss;
	socklen_t len = socket_address(to, &ss);
	bool six = ss.ss_family == AF_INET6;
	struct icmphdr four = { .type = ICMP_ECHO, .un.echo.id = htons(7), .checksum = 0 };
	struct icmp6_hdr echo6 = { .icmp6_type = ICMP6_ECHO_REQUEST };
	int fd = socket(ss.ss_family, SOCK_RAW, six ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	double deadline = now_ms() + REPLY_MS;
	uint8_t buf[512];

	four.checksum = ~(four.type + four.un.echo.id);
	if (sendto(fd, six ? (void *)&echo6 : (void *)&four, 8, 0, (struct sockaddr *)&ss, len) < 0)
		return 1;
	while (now_ms() < deadline) {
		struct pollfd p = { fd, POLLIN, 0 };

		if (poll(&p, 1, 20) == 1 && recv(fd, buf, sizeof(buf), 0) >= 8 &&
			(six ? buf[0] == ICMP6_ECHO_REPLY : buf[20] == ICMP_ECHOREPLY))
			return 0;
	}
	return 1;
}

static inline int do_connect(const char *to)
{
	struct sockaddr_storage ss;
	socklen_t len = socket_address(to, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0), error = 0;
	struct pollfd p = { fd, POLLOUT, 0 };
	socklen_t size = sizeof(error);

	((struct sockaddr_in *)&ss)->sin_port = htons(PORT);
	if (connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		return 1;
	if (poll(&p, 1, REPLY_MS) != 1)
		return 1;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
	return error ? 2 : 0;
}

/* Of no checksum and no use: RFC 3692 lends it to experiments. */
#define SPOOF_PROTOCOL 253

/* One packet to the outside from a source that need not be the sender's. */
static inline int do_spoof(const char *from)
{
	struct iphdr four = { .version = 4, .ihl = 5, .ttl = 64, .protocol = SPOOF_PROTOCOL };
	struct ip6_hdr six = { .ip6_hlim = 64, .ip6_nxt = SPOOF_PROTOCOL };
	bool is_six = strchr(from, ':');
	int fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_RAW, IPPROTO_RAW);
	struct sockaddr_storage ss;
	socklen_t len = socket_address(is_six ? "2001:db8::2" : "192.0.2.2", &ss);

	six.ip6_vfc = 6 << 4;
	six.ip6_dst = ((struct sockaddr_in6 *)&ss)->sin6_addr;
	four.daddr = ((struct sockaddr_in *)&ss)->sin_addr.s_addr;
	inet_pton(AF_INET, from, &four.saddr);
	inet_pton(AF_INET6, from, &six.ip6_src);
	if (is_six)
		return sendto(fd, &six, sizeof(six), 0, (struct sockaddr *)&ss, len) < 0;
	return sendto(fd, &four, sizeof(four), 0, (struct sockaddr *)&ss, len) < 0;
}

/* A socket in the namespace that receives what comes of a protocol. */
static inline int raw_receiver(int netns, int family, int protocol)
{
	int own = own_netns(), fd;

	enter(netns);
	fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, protocol);
	cr_assert(fd >= 0);
	enter(own);
	close(own);
	return fd;
}

/* What do_spoof() sent, when it got there. */
static inline int spoof_receiver(int netns, int family)
{
	return raw_receiver(netns, family, SPOOF_PROTOCOL);
}

/* Whether what is allowed arrives: a loaded machine has all the time. */
static inline bool arrives(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	char buf[256];

	return poll(&p, 1, 10000) == 1 && recv(fd, buf, sizeof(buf), 0) >= 0;
}

/* Whether something was received. */
static inline bool received(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	char buf[256];

	return poll(&p, 1, 50) == 1 && recv(fd, buf, sizeof(buf), 0) >= 0;
}

/* One more address of an interface in the namespace. */
static inline void add_address(int netns, const char *interface, const char *text)
{
	struct address a = addr(text, 32);
	int own = own_netns();
	struct netlink nl;
	struct err err;

	enter(netns);
	cr_assert(netlink_open(&nl, NETLINK_ROUTE, &err) == 0);
	route_add_address(&nl, if_nametoindex(interface), &a);
	cr_assert(netlink_exchange(&nl, interface, NULL, NULL, &err) == 0, "%s", err.text);
	netlink_close(&nl);
	enter(own);
	close(own);
}

/* Do it in a child, in the namespace. Whether it returned 0. */
static inline bool within(int netns, int (*what)(const char *), const char *arg)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(setns(netns, CLONE_NEWNET) < 0 ? 99 : what(arg));
	cr_assert(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	cr_assert(WEXITSTATUS(status) != 99);
	return WEXITSTATUS(status) == 0;
}

/* The output of a command, cut at cap. */
static inline void output(const char *command, char *ret, size_t cap)
{
	FILE *f = popen(command, "r");
	size_t len;

	cr_assert(f);
	len = fread(ret, 1, cap - 1, f);
	ret[len] = '\0';
	pclose(f);
}

/* How many packets a counter of table inet vm2, or another family's, has seen. */
static inline unsigned int counter_of(const char *family, const char *name)
{
	char command[128], text[1024];
	const char *at;

	snprintf(command, sizeof(command), "nft list counter %s vm2 %s", family, name);
	output(command, text, sizeof(text));
	at = strstr(text, "packets ");
	cr_assert(at, "no counter %s: %s", name, text);
	return strtoul(at + 8, NULL, 10);
}

static inline unsigned int counter(const char *name)
{
	return counter_of("inet", name);
}

#endif
