/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A process that stands in for vm2d: it listens on a socket and answers as the test wants. */
#ifndef VM2_TESTS_STUB_H
#define VM2_TESTS_STUB_H

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provision/api/msg.h"

/* Answer one request on fd. */
typedef void stub_answer(int fd, struct msg *request);

static inline void stub_end(int fd, int status, const char *error)
{
	struct msg m = { 0 };

	msg_add(&m, "event", "end");
	msg_add_i64(&m, "status", status);
	msg_add(&m, "error", error);
	msg_add(&m, "guest", "acme");
	msg_send(fd, &m, NULL);
	msg_free(&m);
}

static inline void stub_event(int fd, const char *event, const char *key, const char *value)
{
	struct msg m = { 0 };

	msg_add(&m, "event", event);
	if (!strcmp(event, "end"))
		msg_add(&m, "status", "0");
	msg_add(&m, key, value);
	msg_send(fd, &m, NULL);
	msg_free(&m);
}

/* Returns the pid; stop it with stub_stop(). It also ends with the test. */
static inline pid_t stub_start(const char *path, stub_answer *answer)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), fd;
	pid_t pid;

	unlink(path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	cr_assert_eq(bind(s, (const struct sockaddr *)&address, sizeof(address)), 0);
	cr_assert_eq(chmod(path, 0666), 0);
	cr_assert_eq(listen(s, 8), 0);
	pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			struct msg m = { 0 };

			fd = accept4(s, NULL, NULL, SOCK_CLOEXEC);
			if (fd >= 0 && msg_recv(fd, &m, 0, NULL) == 0)
				answer(fd, &m);
			msg_free(&m);
			close(fd);
		}
	}
	close(s);
	return pid;
}

static inline void stub_stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

#endif
