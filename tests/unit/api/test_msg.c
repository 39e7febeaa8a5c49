/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provision/api/client.h"
#include "provision/api/msg.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

static void pair(int fds[2])
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
}

Test(msg, carries_fields_and_descriptors)
{
	CLEANUP_MSG struct msg out = { 0 }, in = { 0 };
	const char *value = NULL;
	struct err err = { 0 };
	size_t pos = 0;
	int s[2], fd;

	pair(s);
	msg_add(&out, "op", "test");
	msg_add(&out, "env", "A=1");
	msg_add(&out, "env", "B=\n2");
	msg_add(&out, "none", NULL);
	msg_add_u64(&out, "n", 42);
	cr_assert_eq(msg_add_fd(&out, s[0]), 0);
	cr_assert_eq(msg_send(s[0], &out, &err), 0, "%s", err.text);
	cr_assert_eq(msg_recv(s[1], &in, clock_ms() + 1000, &err), 0, "%s", err.text);
	cr_assert_str_eq(msg_next_value(&in, "env", &pos), "A=1");
	cr_assert_str_eq(msg_next_value(&in, "env", &pos), "B=\n2");
	cr_assert_null(msg_next_value(&in, "env", &pos));
	cr_assert_null(msg_get(&in, "none"));
	cr_assert_eq(msg_need(&in, "missing", &value, &err), ERR_USAGE);
	cr_assert(strstr(err.text, "'missing'"));
	fd = msg_take_fd(&in, 0);
	cr_assert_geq(fd, 0);
	cr_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	cr_assert_eq(msg_take_fd(&in, 0), -1);
	close(fd);
}

Test(msg, refuses_what_is_no_message)
{
	static const struct {
		const char *data;
		size_t len;
	} bad[] = {
		{ "a=1", 3 }, { "", 1 }, { "=x", 3 }, { "A=x", 4 }, { "a=1\0b", 6 }, { "a b=1", 6 },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct msg m = { 0 };

		cr_assert_eq(msg_parse(&m, bad[i].data, bad[i].len), -EBADMSG, "case %zu", i);
		cr_assert_eq(m.data.len, 0);
	}
}

Test(msg, long_ones_pass_and_too_long_ones_are_refused)
{
	CLEANUP_MSG struct msg out = { 0 }, in = { 0 };
	CLEANUP_FREE char *text = xcalloc(1, MSG_MAX + 1);
	struct err err = { 0 };
	int s[2];

	pair(s);
	memset(text, 'x', 131072);
	msg_add(&out, "command", text);
	cr_assert_eq(msg_send(s[0], &out, &err), 0, "%s", err.text);
	cr_assert_eq(msg_recv(s[1], &in, 0, &err), 0);
	cr_assert_eq(strlen(msg_get(&in, "command")), 131072);
	memset(text, 'x', MSG_MAX);
	msg_add(&out, "command", text);
	cr_assert_eq(msg_send(s[0], &out, &err), ERR_USAGE);
}

Test(msg, waits_no_longer_than_told)
{
	CLEANUP_MSG struct msg in = { 0 };
	struct err err = { 0 };
	int s[2];

	pair(s);
	cr_assert_eq(msg_recv(s[1], &in, clock_ms() + 20, &err), -ETIMEDOUT);
	close(s[0]);
	cr_assert_eq(msg_recv(s[1], &in, clock_ms() + 1000, &err), -EPIPE);
}

Test(client, an_error_crosses_whole)
{
	CLEANUP_MSG struct msg end = { 0 };
	struct err err = { 0 };
	int s[2];

	pair(s);
	msg_add(&end, "event", "end");
	msg_add_u64(&end, "status", ERR_EXISTS);
	msg_add(&end, "error", "tenant acme: there is one already");
	cr_assert_eq(msg_send(s[0], &end, &err), 0);
	cr_assert_eq(client_finish(s[1], 1000, NULL, NULL, &err), ERR_EXISTS);
	cr_assert_str_eq(err.text, "tenant acme: there is one already");
	close(s[0]);
	cr_assert_eq(client_finish(s[1], 1000, NULL, NULL, &err), ERR_BUSY);
}

/* A daemon that says a word now and then, and never that it is done. */
static pid_t start_chatter(int fd)
{
	pid_t pid = fork();

	if (pid == 0) {
		CLEANUP_MSG struct msg m = { 0 };

		msg_add(&m, "event", "progress");
		msg_add(&m, "text", "soon");
		for (int i = 0; i < 100 && msg_send(fd, &m, NULL) == 0; i++)
			usleep(30000);
		_exit(0);
	}
	return pid;
}

Test(client, a_daemon_that_goes_on_and_on_is_left)
{
	int64_t start = clock_ms();
	int s[2];
	pid_t pid;

	pair(s);
	pid = start_chatter(s[0]);
	cr_expect_eq(client_finish(s[1], 300, NULL, NULL, NULL), ERR_BUSY);
	cr_expect_lt(clock_ms() - start, 2000);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

Test(client, a_daemon_that_does_not_accept_is_left, .timeout = 60)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), fd, n = 0, r = 0;
	struct err err = { 0 };
	int64_t start;

	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/vm2-unit-%d.sock", (int)getpid());
	cr_assert_eq(bind(s, (const struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(listen(s, 1), 0);
	start = clock_ms();
	while (r == 0 && n++ < 10)
		r = client_connect(address.sun_path, &fd, &err);
	unlink(address.sun_path);
	cr_expect_eq(r, ERR_BUSY, "%d %s", r, err.text);
	cr_expect_lt(clock_ms() - start, CLIENT_CONNECT_MS + 10000);
}
