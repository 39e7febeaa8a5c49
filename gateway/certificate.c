/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's side of vm2-gateway-certify: a process for each certificate that is offered. */
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "build.h"
#include "gateway/launch.h"
#include "gateway/monitor.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

#define CERTIFY VM2_LIBEXECDIR "/vm2-gateway-certify"

/* How long it may take, in ms: it takes three. */
#define PATIENCE_MS 10000

static int ask(int fd, const struct monitor *m, const char *key, struct msg *reply, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };
	int r;

	msg_add(&request, "key", key);
	msg_add(&request, "source", m->source);
	r = msg_send(fd, &request, err);
	if (r == 0)
		r = msg_recv(fd, reply, clock_ms() + PATIENCE_MS, err);
	if (r == 0 && msg_get(reply, "error"))
		r = err_set(err, ERR_DENIED, "%s", msg_get(reply, "error"));
	return r;
}

int certificate_check(const struct monitor *m, const char *key, struct msg *reply, struct err *err)
{
	char program[] = CERTIFY;
	char *argv[] = { program, NULL };
	CLEANUP_CLOSE int ours = -1;
	int pair[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	ours = pair[0];
	r = launch_program(argv, &pair[1], 1, &pid, err);
	fd_close(pair[1]);
	if (r != 0)
		return r;
	r = ask(ours, m, key, reply, err);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return r;
}
