/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A session at a terminal and without one, against a stand-in for vm2d and its session. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <utmp.h>

#include "provision/api/terminal.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "tests/unit/stub.h"

static char sock[64];
static pid_t stub;

static void setup(void)
{
	snprintf(sock, sizeof(sock), "/tmp/vm2-term-test.%d", getpid());
}

static void teardown(void)
{
	if (stub)
		stub_stop(stub);
	unlink(sock);
}

TestSuite(terminal, .init = setup, .fini = teardown, .timeout = 60);

/* A session: says what was asked, then echoes a line and the resizes and signals it hears of. */
static void session(int fd, struct msg *request)
{
	const char *command = msg_get(request, "command"), *pty = msg_get(request, "pty");
	int in = msg_take_fd(request, 0), out = msg_take_fd(request, 1), pending = 1;
	char line[128];
	ssize_t n;

	if (!command)
		command = "";
	stub_event(fd, "progress", "text", "making\033[2J it");
	if (!strcmp(command, "refuse")) {
		stub_end(fd, ERR_DENIED, "suspended: unpaid");
		return;
	}
	dprintf(out, "pty=%s term=%s cols=%s rows=%s tty=%d\n", pty,
		msg_get(request, "term") ? msg_get(request, "term") : "-",
		msg_get(request, "cols") ? msg_get(request, "cols") : "-",
		msg_get(request, "rows") ? msg_get(request, "rows") : "-", isatty(in));
	stub_event(fd, "open", "session", "1");
	if (!strcmp(command, "die"))
		return;
	if (!strcmp(command, "killed")) {
		stub_event(fd, "end", "signal", "TERM");
		return;
	}
	while (pending) {
		struct pollfd p[2] = { { in, POLLIN, 0 }, { fd, POLLIN, 0 } };
		struct msg m = { 0 };

		poll(p, 2, -1);
		if (p[0].revents) {
			n = read(in, line, sizeof(line));
			if (n <= 0 || memchr(line, 'q', (size_t)n))
				break;
			dprintf(out, "got %.*s\n", (int)n, line);
		}
		if (p[1].revents) {
			pending = msg_recv(fd, &m, 0, NULL) == 0;
			if (pending)
				dprintf(out, "heard %s %s\n", msg_get(&m, "op"),
					msg_get(&m, "name") ? msg_get(&m, "name") :
							      msg_get(&m, "cols"));
			msg_free(&m);
		}
	}
	dprintf(out, "bye\n");
	stub_event(fd, "end", "exit", "7");
}

/* The client in a process of its own, on these descriptors; exits with the session's status. */
static pid_t client(const char *command, int in, int out, int new_session)
{
	struct msg request = { 0 };
	struct err err = { 0 };
	int status = 0, r;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (new_session) {
		login_tty(in);
	} else {
		dup2(in, 0);
		dup2(out, 1);
		dup2(out, 2);
	}
	fd_close_from(3);
	setenv("TERM", "xterm-test", 1);
	msg_add(&request, "op", "session.open");
	msg_add(&request, "command", command);
	r = terminal_session(sock, &request, &status, &err);
	if (r != 0)
		dprintf(2, "error %d: %s\n", r, err.text);
	_exit(r != 0 ? 200 + r : status);
}

static int ended(pid_t pid)
{
	int status = 0;

	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Read until text is seen (or 5 s). */
static void expect(int fd, const char *text)
{
	static char seen[8192];
	static size_t len;
	struct pollfd p = { fd, POLLIN, 0 };
	char *at;

	while (!(at = strstr(seen, text))) {
		ssize_t n = poll(&p, 1, 5000) > 0 ? read(fd, seen + len, sizeof(seen) - 1 - len) : 0;

		cr_assert_gt(n, 0, "'%s' never came, only '%s'", text, seen);
		len += (size_t)n;
		seen[len] = 0;
	}
	memmove(seen, at + strlen(text), strlen(at + strlen(text)) + 1);
	len = strlen(seen);
}

static bool is_raw(int fd)
{
	struct termios mode;

	cr_assert_eq(tcgetattr(fd, &mode), 0);
	return !(mode.c_lflag & (ICANON | ECHO | ISIG));
}

Test(terminal, relays_a_terminal_and_restores_it)
{
	struct winsize size = { .ws_row = 30, .ws_col = 90 };
	int master, slave;
	pid_t pid;

	stub = stub_start(sock, session);
	cr_assert_eq(openpty(&master, &slave, NULL, NULL, &size), 0);
	cr_assert(!is_raw(slave));
	pid = client(NULL, slave, slave, 1);
	expect(master, "making?[2J it");
	expect(master, "pty=1 term=xterm-test cols=90 rows=30 tty=0");
	while (!is_raw(slave))
		usleep(1000);
	cr_assert_eq(write(master, "a\003", 2), 2);
	expect(master, "got a\003");
	size.ws_col = 100;
	cr_assert_eq(ioctl(master, TIOCSWINSZ, &size), 0);
	expect(master, "heard resize 100");
	cr_assert_eq(write(master, "q", 1), 1);
	expect(master, "bye");
	cr_assert_eq(ended(pid), 7);
	cr_assert(!is_raw(slave));
}

Test(terminal, restores_the_terminal_when_killed)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
	int master, slave;
	pid_t pid;

	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		stub = stub_start(sock, session);
		cr_assert_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
		pid = client(NULL, slave, slave, 1);
		while (!is_raw(slave))
			usleep(1000);
		kill(pid, signals[i]);
		cr_expect_eq(ended(pid), 128 + signals[i]);
		cr_expect(!is_raw(slave));
		stub_stop(stub);
		close(master);
		close(slave);
	}
	stub = 0;
}

Test(terminal, restores_the_terminal_when_the_session_is_cut_off)
{
	int master, slave;
	pid_t pid;

	stub = stub_start(sock, session);
	cr_assert_eq(openpty(&master, &slave, NULL, NULL, NULL), 0);
	pid = client("die", slave, slave, 1);
	expect(master, "error 5: the session was cut off");
	cr_assert_eq(ended(pid), 205);
	cr_assert(!is_raw(slave));
}

Test(terminal, passes_pipes_and_signals_on)
{
	int in[2], out[2];
	pid_t pid;

	stub = stub_start(sock, session);
	cr_assert(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
	pid = client("cat", in[0], out[1], 0);
	expect(out[0], "pty=0 term=- cols=- rows=- tty=0");
	cr_assert_eq(write(in[1], "hello", 5), 5);
	expect(out[0], "got hello");
	/* The bytes did not come through the client: give it time to hear that the session is open. */
	usleep(200000);
	kill(pid, SIGTERM);
	expect(out[0], "heard signal TERM");
	kill(pid, SIGINT);
	expect(out[0], "heard signal INT");
	close(in[1]);
	close(in[0]);
	expect(out[0], "bye");
	cr_assert_eq(ended(pid), 7);
}

Test(terminal, tells_how_it_ended)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), out[2];

	stub = stub_start(sock, session);
	cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
	cr_expect_eq(ended(client("killed", null, null, 0)), 128 + SIGTERM);
	cr_expect_eq(ended(client("refuse", null, out[1], 0)), 200 + ERR_DENIED);
	expect(out[0], "error 4: suspended: unpaid");
	cr_expect_eq(ended(client("x", null, null, 0)), 7);
	stub_stop(stub);
	stub = 0;
	cr_expect_eq(ended(client("x", null, null, 0)), 200 + ERR_BUSY);
}
