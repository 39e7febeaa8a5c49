/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How many a guest may have, and which end when they are allowed no more. */
#include <sys/prctl.h>

#include "tests/unit/firewall/world.h"

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

Test(connections, a_flood_leaves_the_others_traffic_flowing)
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

Test(connections, each_guest_has_its_share_of_connections)
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

Test(connections, a_port_that_is_published_no_more_ends_its_connections)
{
	static const char look[] = "grep -c 'dport=2222.*10.66.0.1' /proc/net/nf_conntrack";
	struct world w = make_world();
	int fd = listener(w.guest[0]), status;
	double deadline = now_ms() + 10000;
	struct err err = { 0 };
	char text[256] = "";
	pid_t pid;

	cr_assert(rules_add_ports(&base, two_ports, 1, &err) == 0, "%s", err.text);
	pid = fork();
	if (pid == 0)
		_exit(setns(w.outside, CLONE_NEWNET) < 0 ? 99 : connect_and_stay("192.0.2.1"));
	while (atoi(text) == 0 && now_ms() < deadline)
		output(look, text, sizeof(text));
	cr_expect(atoi(text) == 1, "%s", text);
	cr_expect(rules_remove_ports(&base, two_ports, 1, &err) == 0, "%s", err.text);
	output(look, text, sizeof(text));
	cr_expect(atoi(text) == 0, "%s", text);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(fd);
}

/* A child in the namespace that ends with the test, and in it a socket that is connected, or -1. */
static pid_t fork_connected(int netns, const char *to, int *ret)
{
	struct sockaddr_storage ss;
	socklen_t len;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (setns(netns, CLONE_NEWNET) < 0)
		_exit(99);
	len = socket_address(to, &ss);
	((struct sockaddr_in *)&ss)->sin_port = htons(PORT);
	*ret = socket(ss.ss_family, SOCK_STREAM, 0);
	if (connect(*ret, (struct sockaddr *)&ss, len) < 0)
		*ret = -1;
	return 0;
}

/* Says a letter again and again, until the test kills it. */
static pid_t talker(int netns, const char *to, char letter)
{
	int fd = -1;
	pid_t pid = fork_connected(netns, to, &fd);

	if (pid != 0)
		return pid;
	while (write(fd, &letter, 1) == 1)
		usleep(5000);
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

Test(connections, connections_end_that_are_no_longer_allowed, .timeout = 90)
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
	int fd = -1;
	pid_t pid = fork_connected(netns, to, &fd);
	char byte;

	if (pid != 0)
		return pid;
	while (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1)
		continue;
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
Test(connections, who_was_served_is_served_no_more)
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

/*
 * While there are no rules a guest speaks to another, to the host and to where no router forwards to; once
 * there are, not to them.
 */
Test(connections, what_began_without_the_rules_ends, .timeout = 90)
{
	static const char *const to[] = { "192.0.2.2", "10.66.0.2", "192.0.2.1", "240.0.0.1" };
	const struct rules_state state = { guests, 2, NULL, 0 };
	struct world w = make_world();
	int own = own_netns(), server[4] = { listener(w.outside), listener(w.guest[1]), listener(own) };
	int fd[4], heard[128];
	struct err err = { 0 };
	char drain[4096];
	pid_t pid[4];

	server[3] = dup(server[0]);
	add_route(w.outside, "out0", "10.66.0.0", 16, "192.0.2.1");
	add_address(w.outside, "out0", "240.0.0.1");
	add_route(own, "up0", "240.0.0.0", 8, "192.0.2.2");
	/* Somebody else has the connections tracked meanwhile. */
	output("nft 'add table inet admins; add chain inet admins f { type filter hook input priority 10; }; "
	       "add rule inet admins f ct state established accept'", drain, sizeof(drain));
	cr_assert(rules_remove(&base, &err) == 0, "%s", err.text);
	for (int i = 0; i < 4; i++) {
		pid[i] = talker(w.guest[0], to[i], "abcd"[i]);
		fd[i] = accept(server[i], NULL, NULL);
		cr_assert(fd[i] >= 0);
	}
	/* The rules alone do not ask again. */
	cr_assert(rules_restore_state(&base, &state, &err) == 0, "%s", err.text);
	hear((int[]){ fd[0], fd[1] }, 'b', 20, heard);
	cr_assert(rules_end_forbidden(&base, &state, &err) == 0, "%s", err.text);
	hear((int[]){ fd[0], fd[1] }, 'a', 20, heard); /* what was on its way */
	for (int i = 1; i < 4; i++)
		while (recv(fd[i], drain, sizeof(drain), MSG_DONTWAIT) > 0)
			continue;
	hear((int[]){ fd[0], fd[1] }, 'a', 50, heard);
	cr_expect(heard['b'] == 0, "'b' was heard %d times more", heard['b']);
	hear((int[]){ fd[0], fd[2] }, 'a', 50, heard);
	cr_expect(heard['c'] == 0, "'c' was heard %d times more", heard['c']);
	hear((int[]){ fd[0], fd[3] }, 'a', 50, heard);
	cr_expect(heard['d'] == 0, "'d' was heard %d times more", heard['d']);
	cr_expect(counter("guest_to_guest") > 0 && counter("guest_to_host") > 0);
	for (int i = 0; i < 4; i++) {
		kill(pid[i], SIGKILL);
		waitpid(pid[i], NULL, 0);
		close(fd[i]);
		close(server[i]);
	}
	close(own);
}

Test(connections, a_guest_takes_its_connections_along)
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
