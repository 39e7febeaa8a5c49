/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What tests/bench/firewall measures, within a disposable host: `bench-fence FOLDER ROUNDS GUESTS`
 * appends times, in hundredths of a millisecond, and throughputs to files in FOLDER. The networks are
 * made of namespaces of its own: `none` has the table without guests, `full` with GUESTS of them, `routed`
 * the same for guests of routed pools, which are not translated, `peer` the same for nft(8), `followed` what
 * connection tracking takes alone, `tracked` what it takes with translation, `least` what it takes with one
 * guest's source, bounds and counts, in as few rules as nft(8) can write them, `bare` no rules at all.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "firewall/link.h"
#include "firewall/owner.h"
#include "firewall/route.h"
#include "firewall/rules.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

#define GUESTS_MAX   10000
#define OUTSIDE	     "192.0.2.2"
#define PORT	     2222
#define BURST_US \
	175000 /* of a stream, and as many of them in a round: each takes a way of its own between processors */
#define BURSTS	     4
#define CONNECTIONS  300    /* of a round: far below what new-connections lets through */
#define LATE_MS	     5000

static const char *folder;
static struct rules_guest many[GUESTS_MAX];
static char texts[2][GUESTS_MAX + 1][24];
static const struct rules_guest one = { 20000, "10.66.200.1", "fd66::ffff" };

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("bench-fence: ", stderr);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void must(int r, const struct err *err)
{
	if (r != 0)
		die("%s", err->text);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void note(const char *file, double value)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s", folder, file);
	FILE *f = fopen(path, "ae");

	if (!f)
		die("cannot write %s", path);
	fprintf(f, "%.2f\n", value);
	fclose(f);
}

static void took(const char *file, double since_us)
{
	note(file, (now_us() - since_us) / 10);
}

/* --- namespaces --- */

static int own_netns(void)
{
	int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	return fd >= 0 ? fd : (die("no network namespace"), -1);
}

static void enter(int netns)
{
	if (setns(netns, CLONE_NEWNET) < 0)
		die("setns: %s", strerror(errno));
}

static int new_netns(void)
{
	int own = own_netns(), made;

	if (unshare(CLONE_NEWNET) < 0)
		die("unshare: %s", strerror(errno));
	made = own_netns();
	enter(own);
	close(own);
	return made;
}

static struct address addr(const char *text, uint8_t prefix)
{
	struct address a = { .family = AF_INET, .len = 4, .prefix = prefix };

	inet_pton(AF_INET, text, a.bytes);
	return a;
}

static void configure(const char *interface, const char *text)
{
	struct address a = addr(text, 24);
	struct netlink nl;
	struct err err;
	int index = (int)if_nametoindex(interface);

	must(netlink_open(&nl, NETLINK_ROUTE, &err), &err);
	route_set_up(&nl, 1);
	route_set_up(&nl, index);
	route_add_address(&nl, index, &a);
	must(netlink_exchange(&nl, interface, NULL, NULL, &err), &err);
	netlink_close(&nl);
}

/* --- networks --- */

struct network {
	const char *name;
	int host, guest, outside;
	pid_t owner;
	char run[128];
	struct rules_base base;
};

static void owner_process(const struct network *n, int listener, const struct rules_state *state)
{
	struct owner_change change;
	struct owner *o;
	struct err err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	must(owner_open(&n->base, listener, -1, OWNER_OWNS, &o, &err), &err);
	do
		must(owner_restore(o, state, &err), &err);
	while (owner_serve(o, -1, &change, &err) == 1);
	die("the owner ended: %s", err.text);
}

/* As vm2d does: a process keeps the table's socket and lends it. */
static void keep_table(struct network *n, uint32_t count)
{
	const struct rules_state state = { .guests = many, .n_guests = count };
	struct err err;
	int listener;

	snprintf(n->run, sizeof(n->run), "%s/%s", folder, n->name);
	mkdir(n->run, 0700);
	n->base.run = n->run;
	must(owner_listen(n->run, &listener, &err), &err);
	n->owner = fork();
	if (n->owner == 0)
		owner_process(n, listener, &state);
	close(listener);
}

/* A guest and an outside, which knows the way back: without rules nothing is translated. */
static void wire(struct network *n)
{
	static const struct route_side up = { "up0", { 2, 0, 0, 0, 0, 1 } },
				       out = { "out0", { 2, 0, 0, 0, 0, 2 } };
	const struct link_spec link = { "vm2", 1, many[0].address4, many[0].address6, 1500 };
	struct address pool = addr("10.66.0.0", 16), hop = addr("192.0.2.1", 32);
	struct netlink nl;
	struct err err;

	enter(n->host);
	n->guest = new_netns();
	n->outside = new_netns();
	must(netlink_open(&nl, NETLINK_ROUTE, &err), &err);
	route_add_pair(&nl, &up, &out, n->outside, 1500);
	must(netlink_exchange(&nl, "up0", NULL, NULL, &err), &err);
	netlink_close(&nl);
	configure("up0", "192.0.2.1");
	fd_write_path(AT_FDCWD, "/proc/sys/net/ipv4/ip_forward", "1");
	must(link_up(&link, n->guest, &err), &err);
	enter(n->outside);
	configure("out0", OUTSIDE);
	must(netlink_open(&nl, NETLINK_ROUTE, &err), &err);
	route_add_route(&nl, (int)if_nametoindex("out0"), &pool, &hop);
	must(netlink_exchange(&nl, "out0", NULL, NULL, &err), &err);
	netlink_close(&nl);
}

static void make_network(struct network *n, const char *name)
{
	*n = (struct network){ .name = name,
		.host = new_netns(),
		.base = { "vm2", "10.66.0.0/16", "fd66::/64", NULL,
			"fd00:ec2::254/128 100.100.100.200/32 192.0.0.192/32", 8192, 1000, 1000 } };
	enter(n->host);
}

static void make_guests(uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		snprintf(texts[0][i], sizeof(texts[0][i]), "10.66.%u.%u", i / 250, i % 250 + 1);
		snprintf(texts[1][i], sizeof(texts[1][i]), "fd66::%x", i + 1);
		many[i] = (struct rules_guest){ i + 1, texts[0][i], texts[1][i] };
	}
}

/* --- the rules --- */

static void change(const struct network *n)
{
	CLEANUP_FREE char *add = xasprintf("add-%s", n->name);
	CLEANUP_FREE char *remove = xasprintf("remove-%s", n->name);
	struct err err;
	double from;

	enter(n->host);
	from = now_us();
	must(rules_add_guest(&n->base, &one, &err), &err);
	took(add, from);
	from = now_us();
	must(rules_remove_guest(&n->base, &one, &err), &err);
	took(remove, from);
}

static void nft(const char *sample, const char *verb)
{
	CLEANUP_FREE char *path = xasprintf("%s/nft", folder);
	CLEANUP_FREE char *command = xasprintf("nft -f %s", path);
	FILE *f = fopen(path, "we");
	double from;

	if (!f)
		die("cannot write %s", path);
	fprintf(f,
		"%s element inet vm2 guests { 559959584 . 02:67:00:00:4e:20 }\n"
		"%s element inet vm2 source4 { 559959584 . 02:67:00:00:4e:20 . 10.66.200.1 }\n"
		"%s element inet vm2 source6 { 559959584 . 02:67:00:00:4e:20 . fd66::ffff }\n"
		"%s element arp vm2 claims { 559959584 . 02:67:00:00:4e:20 . 02:67:00:00:4e:20 "
		". 10.66.200.1 }\n",
		verb, verb, verb, verb);
	fclose(f);
	from = now_us();
	if (system(command) != 0)
		die("nft does not run");
	took(sample, from);
}

static void measure_rules(
	const struct network *none, const struct network *full, const struct network *peer, uint32_t count)
{
	struct err err;
	double from;

	change(none);
	change(full);
	enter(peer->host);
	nft("nft-add", "add");
	nft("nft-remove", "delete");
	from = now_us();
	must(rules_restore(&peer->base, many, count, &err), &err);
	took("restore", from);
}

/* --- a guest's part of a first login --- */

static void measure_login(const struct network *full)
{
	const struct link_spec link = { "vm2", one.number, one.address4, one.address6, 1500 };
	struct err err;
	double from;
	int netns;

	enter(full->host);
	from = now_us();
	netns = new_netns();
	took("netns", from);
	close(netns);
	from = now_us();
	netns = new_netns();
	must(rules_add_guest(&full->base, &one, &err), &err);
	must(link_up(&link, netns, &err), &err);
	took("network", from);
	must(link_down("vm2", one.number, &err), &err);
	must(rules_remove_guest(&full->base, &one, &err), &err);
	close(netns);
}

/* --- traffic --- */

static int open_socket(int netns, int type, bool listens)
{
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int one_ = 1, fd;

	enter(netns);
	fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one_, sizeof(one_));
	if (fd < 0 || (listens && bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0) ||
		(listens && type == SOCK_STREAM && listen(fd, 512) < 0))
		die("socket: %s", strerror(errno));
	return fd;
}

static void dial(int fd)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(PORT) };

	inet_pton(AF_INET, OUTSIDE, &to.sin_addr);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("connect: %s", strerror(errno));
}

/* A child of the guest's that sends packets of this size until it is killed. */
static pid_t sender(int fd, size_t size)
{
	static char data[65536];
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		(void)!send(fd, data, size, MSG_NOSIGNAL);
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* What arrives in BURST_US after the first: bytes per second. */
static double arriving(int fd)
{
	static char data[262144];
	struct pollfd p = { fd, POLLIN, 0 };
	double from, until, sum = 0;
	ssize_t n;

	if (poll(&p, 1, LATE_MS) != 1)
		die("nothing arrives");
	from = now_us();
	until = from + BURST_US;
	while (now_us() < until && poll(&p, 1, LATE_MS) == 1) {
		n = recv(fd, data, sizeof(data), MSG_DONTWAIT);
		if (n > 0)
			sum += (double)n;
	}
	return sum * 1e6 / (now_us() - from);
}

/*
 * The same in packets. It does not wait for them, but looks for them once a millisecond: a sender that had to wake
 * it for each would do little else, which costs a virtual machine half as much as the whole way.
 */
static double arriving_packets(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	double from, until, sum = 0;
	char data[64];

	if (poll(&p, 1, LATE_MS) != 1)
		die("nothing arrives");
	from = now_us();
	until = from + BURST_US;
	while (now_us() < until) {
		while (recv(fd, data, sizeof(data), MSG_DONTWAIT) > 0)
			sum++;
		poll(NULL, 0, 1);
	}
	return sum * 1e6 / (now_us() - from);
}

static void stream(const struct network *n)
{
	CLEANUP_FREE char *file = xasprintf("tcp-%s", n->name);
	int listens = open_socket(n->outside, SOCK_STREAM, true), fd, peer;
	pid_t pid;

	fd = open_socket(n->guest, SOCK_STREAM, false);
	dial(fd);
	peer = accept(listens, NULL, NULL);
	pid = sender(fd, 65536);
	note(file, arriving(peer) * 8 / 1e6);
	stop(pid);
	close(fd);
	close(peer);
	close(listens);
}

static void datagrams(const struct network *n)
{
	CLEANUP_FREE char *file = xasprintf("udp-%s", n->name);
	int receives = open_socket(n->outside, SOCK_DGRAM, true), fd;
	int size = 8 << 20;
	pid_t pid;

	setsockopt(receives, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	fd = open_socket(n->guest, SOCK_DGRAM, false);
	dial(fd);
	/* What a datagram costs its sender is the whole way, up to the receiver's queue. */
	pid = sender(fd, 64);
	note(file, arriving_packets(receives) / 1e3);
	stop(pid);
	close(fd);
	close(receives);
}

static void connections(const struct network *n)
{
	CLEANUP_FREE char *file = xasprintf("connect-%s", n->name);
	int listens = open_socket(n->outside, SOCK_STREAM, true);
	double from = now_us();

	for (int i = 0; i < CONNECTIONS; i++) {
		int fd = open_socket(n->guest, SOCK_STREAM, false), peer;

		dial(fd);
		peer = accept(listens, NULL, NULL);
		close(fd);
		close(peer);
	}
	note(file, (now_us() - from) / 10);
	close(listens);
}

#define KINDS 6

/* Every round another comes first: what is left behind burdens all alike. */
static void measure_traffic(const struct network *const of[KINDS], int round)
{
	for (int i = 0; i < BURSTS * KINDS; i++)
		stream(of[(i + i / KINDS + round) % KINDS]);
	for (int i = 0; i < BURSTS * KINDS; i++)
		datagrams(of[(i + i / KINDS + round) % KINDS]);
	for (int i = 0; i < KINDS; i++)
		connections(of[(i + round) % KINDS]);
}

/* --- a flood by another guest --- */

#define FLOOD_PORTS 50000

/*
 * A child in the namespace: it sends a datagram to another port each time, which begins a connection, and
 * one to the host, which is dropped; or (quiet) only takes as much of a processor.
 */
static pid_t flood(int netns, bool quiet)
{
	struct sockaddr_in out = { .sin_family = AF_INET }, host = { .sin_family = AF_INET,
		.sin_port = htons(PORT) };
	pid_t pid = fork();
	int fd;

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	inet_pton(AF_INET, OUTSIDE, &out.sin_addr);
	inet_pton(AF_INET, LINK_GATEWAY4, &host.sin_addr);
	enter(netns);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	for (uint32_t i = 0;; i++) {
		out.sin_port = htons((uint16_t)(10000 + i % FLOOD_PORTS));
		(void)!sendto(quiet ? -1 : fd, "x", 1, 0, (struct sockaddr *)&out, sizeof(out));
		(void)!sendto(quiet ? -1 : fd, "x", 1, 0, (struct sockaddr *)&host, sizeof(host));
	}
}

static int wire_second(const struct network *n)
{
	const struct link_spec link = { "vm2", 2, many[1].address4, many[1].address6, 1500 };
	struct err err;
	int netns;

	enter(n->host);
	netns = new_netns();
	must(link_up(&link, netns, &err), &err);
	return netns;
}

/* The first guest's traffic, while the second floods, and while it does no more than compute. */
static void measure_flood(const struct network *full, int second, int round)
{
	for (int i = 0; i < 2; i++) {
		bool quiet = (i + round) % 2;
		struct network n = *full;
		pid_t pid = flood(second, quiet);

		n.name = quiet ? "beside" : "flooded";
		for (int k = 0; k < BURSTS; k++)
			stream(&n);
		connections(&n);
		stop(pid);
	}
}

/* What any firewall that knows connections makes the kernel do, and no more. */
static void track(const struct network *n, bool translates)
{
	enter(n->host);
	if (system("nft 'add table ip t;"
		   "add chain ip t f { type filter hook forward priority 0; };"
		   "add rule ip t f ct state invalid drop'") != 0 ||
		(translates && system("nft 'add chain ip t n { type nat hook postrouting priority 100; };"
				      "add rule ip t n oifname up0 masquerade'") != 0))
		die("nft does not run");
}

/* What every guest is promised, for one: nothing about whom it may reach, no rates, no fragments. */
static void bound(const struct network *n)
{
	enter(n->host);
	if (system("nft 'add table inet t;"
		   "add set inet t own { type iface_index . ether_addr . ipv4_addr; };"
		   "add element inet t own { vm2-1 . 02:67:00:00:00:01 . 10.66.0.1 };"
		   "add set inet t openings { type iface_index; size 65536; flags dynamic,timeout; };"
		   "add set inet t connections { type iface_index; size 65536; flags dynamic; };"
		   "add set inet t sent { type iface_index; size 65536; flags dynamic; };"
		   "add set inet t received { type iface_index; size 65536; flags dynamic; };"
		   "add chain inet t p { type filter hook prerouting priority raw; };"
		   "add rule inet t p iif vm2-1 iif . ether saddr . ip saddr != @own drop;"
		   "add chain inet t f { type filter hook forward priority filter; };"
		   "add rule inet t f ct status & confirmed != confirmed iif vm2-1 update @openings"
		   " { iif timeout 1m limit rate over 1000/second burst 2000 packets } drop;"
		   "add rule inet t f ct status & confirmed != confirmed iif vm2-1 add @connections { iif ct count over 8192 } drop;"
		   "add rule inet t f ct state established,new iif vm2-1 add @sent { iif counter } accept;"
		   "add rule inet t f ct state established oif vm2-1 add @received { oif counter } accept;"
		   "add rule inet t f drop'") != 0)
		die("nft does not run");
}

int main(int argc, char **argv)
{
	int rounds = argc == 4 ? atoi(argv[2]) : 0, count = argc == 4 ? atoi(argv[3]) : 0;
	struct network none, full, routed, peer, followed, tracked, least, bare;
	const struct network *const traffic[KINDS] = { &routed, &bare, &full, &tracked, &followed, &least };
	struct err err;
	int second;

	if (rounds < 1 || count < 2 || count > GUESTS_MAX)
		die("bench-fence FOLDER ROUNDS GUESTS: 2 to %d guests", GUESTS_MAX);
	folder = argv[1];
	make_guests((uint32_t)count);
	make_network(&none, "none");
	keep_table(&none, 0);
	make_network(&full, "full");
	keep_table(&full, (uint32_t)count);
	wire(&full);
	second = wire_second(&full);
	make_network(&routed, "routed");
	routed.base.masquerade = "none";
	keep_table(&routed, (uint32_t)count);
	wire(&routed);
	make_network(&bare, "bare");
	wire(&bare);
	make_network(&tracked, "tracked");
	wire(&tracked);
	track(&tracked, true);
	make_network(&followed, "followed");
	wire(&followed);
	track(&followed, false);
	make_network(&least, "least");
	wire(&least);
	bound(&least);
	make_network(&peer, "peer");
	must(rules_restore(&peer.base, many, (uint32_t)count, &err), &err);
	for (int i = 0; i < rounds; i++) {
		measure_rules(&none, &full, &peer, (uint32_t)count);
		measure_login(&full);
		measure_traffic(traffic, i);
		measure_flood(&full, second, i);
	}
	kill(none.owner, SIGKILL);
	kill(full.owner, SIGKILL);
	kill(routed.owner, SIGKILL);
	return 0;
}
