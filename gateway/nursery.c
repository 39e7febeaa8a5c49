/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gateway/nursery.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "build.h"
#include "gateway/launch.h"
#include "gateway/sandbox.h"
#include "gateway/settings.h"
#include "provision/api/msg.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

#define WIRE VM2_LIBEXECDIR "/vm2-gateway-wire"
#define MONITOR VM2_LIBEXECDIR "/vm2-gateway-monitor"

/* So long it may leave a message unread, in seconds: it takes one at once, or is just starting. */
#define PATIENCE_S 5

/* And so long one that makes monitors may take to answer, in ms: it forks, or is loading what it needs. */
#define ANSWER_MS 5000

static int send_settings(const struct nursery *n, int link, struct err *err)
{
	CLEANUP_MSG struct msg settings = { 0 };
	int r = settings_make(n->config, &settings, err);

	if (r == 0)
		r = msg_send(link, &settings, err);
	if (settings.data.data)
		explicit_bzero(settings.data.data, settings.data.len);
	return r;
}

static int start(struct nursery *n, struct err *err)
{
	char wire[] = WIRE, monitor[] = MONITOR, word[] = "room";
	CLEANUP_FREE char *config = xstrdup(n->monitors ? n->monitors : "");
	char *argv[] = { n->monitors ? monitor : wire, n->monitors ? config : n->room ? word : NULL, NULL };
	struct timeval patience = { .tv_sec = PATIENCE_S };
	CLEANUP_CLOSE int ours = -1;
	int pair[2], fds[1 + SANDBOX_ROOM_FDS], n_fds = 1, r;
	pid_t pid, *more = reallocarray(n->pids, n->n_pids + 1, sizeof(*more));

	if (!more)
		return err_sys(err, ENOMEM, "cannot start %s", argv[0]);
	n->pids = more;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	ours = pair[0];
	setsockopt(ours, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	fds[0] = pair[1];
	for (int i = 0; n->room && i < SANDBOX_ROOM_FDS; i++)
		fds[n_fds++] = n->room[i];
	r = launch_program(argv, fds, n_fds, &pid, err);
	fd_close(pair[1]);
	if (r != 0)
		return r;
	n->pids[n->n_pids++] = pid;
	r = n->monitors ? 0 : send_settings(n, ours, err);
	if (r == 0)
		n->link = steal_fd(&ours);
	return r;
}

/* One end of a socket pair goes into the message, the other to the caller. */
static int add_pair(struct msg *message, int *ret, struct err *err)
{
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	r = msg_add_fd(message, pair[1]);
	fd_close(pair[1]);
	if (r != 0) {
		fd_close(pair[0]);
		return err_sys(err, -r, "cannot pass a socket on");
	}
	*ret = pair[0];
	return 0;
}

/* Send, to a new one if need be: one that has just made its last, or died, is followed by another. */
static int ask(struct nursery *n, const struct msg *message, struct msg *answer, struct err *err)
{
	int r = 0;

	for (int tries = 0; tries < 2; tries++) {
		r = n->link < 0 ? start(n, err) : 0;
		if (r != 0)
			return r;
		r = msg_send(n->link, message, err);
		if (r == 0 && answer)
			r = msg_recv(n->link, answer, clock_ms() + ANSWER_MS, err);
		if (r == 0)
			break;
		nursery_retire(n);
	}
	return r;
}

int nursery_take(struct nursery *n, int *ret_fds, struct err *err)
{
	CLEANUP_MSG struct msg message = { 0 };
	CLEANUP_CLOSE int wire = -1, leash = -1;
	int r;

	msg_add(&message, "op", "wire");
	r = add_pair(&message, &wire, err);
	if (r == 0)
		r = add_pair(&message, &leash, err);
	if (r == 0)
		r = ask(n, &message, NULL, err);
	if (r != 0)
		return r;
	ret_fds[0] = steal_fd(&wire);
	ret_fds[1] = steal_fd(&leash);
	return 0;
}

int nursery_monitor(struct nursery *n, const int *fds, int n_fds, pid_t *ret_pid, struct err *err)
{
	CLEANUP_MSG struct msg message = { 0 }, answer = { 0 };
	uint64_t pid = 0;
	int r = 0;

	msg_add(&message, "op", "monitor");
	for (int i = 0; i < n_fds && r == 0; i++)
		r = msg_add_fd(&message, fds[i]);
	if (r != 0)
		return err_sys(err, -r, "cannot pass a descriptor on");
	r = ask(n, &message, &answer, err);
	if (r == 0)
		r = msg_get_u64(&answer, "pid", 0, INT32_MAX, &pid, err);
	/* Never 0 or less: it will be sent signals. */
	if (r == 0 && pid <= 1)
		r = err_set(err, -EBADMSG, "a process for a connection was not made");
	if (r == 0)
		*ret_pid = (pid_t)pid;
	return r;
}

void nursery_retire(struct nursery *n)
{
	n->link = fd_close(n->link);
}

bool nursery_reaped(struct nursery *n, pid_t pid)
{
	for (size_t i = 0; i < n->n_pids; i++) {
		if (n->pids[i] != pid)
			continue;
		n->pids[i] = n->pids[--n->n_pids];
		return true;
	}
	return false;
}
