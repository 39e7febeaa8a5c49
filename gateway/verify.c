/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The monitor's side of a verifier (gateway/wire_verify.c): a process for each signature. */
#include <errno.h>
#include <sys/socket.h>

#include "gateway/monitor.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

/* How long it may take, in ms: it takes two. */
#define PATIENCE_MS 10000

/* Its other end goes to the nursery, which forks a verifier for it; it ends with ours. */
static int start(const struct monitor *m, int *ret, struct err *err)
{
	CLEANUP_MSG struct msg message = { 0 };
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	msg_add(&message, "op", "verify");
	r = msg_add_fd(&message, pair[1]);
	fd_close(pair[1]);
	if (r == 0)
		r = msg_send(m->leash, &message, err);
	if (r != 0)
		fd_close(pair[0]);
	else
		*ret = pair[0];
	return r;
}

int verify_signature(const struct monitor *m, const struct msg *proved, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 }, reply = { 0 };
	CLEANUP_CLOSE int fd = -1;
	int r = start(m, &fd, err);

	if (r != 0)
		return r;
	/* Who it is and with which key is the monitor's word, and the session was said before the offer. */
	msg_add(&request, "user", m->user);
	msg_add(&request, "key", m->key);
	msg_add(&request, "session", m->session_id);
	msg_add(&request, "signature", msg_get(proved, "signature"));
	msg_add(&request, "flags", msg_get(proved, "flags"));
	msg_add(&request, "counter", msg_get(proved, "counter"));
	r = msg_send(fd, &request, err);
	if (r == 0)
		r = msg_recv(fd, &reply, clock_ms() + PATIENCE_MS, err);
	if (r == 0 && !msg_get(&reply, "valid"))
		r = err_set(err, ERR_DENIED, "%s", msg_get(&reply, "error") ?: "it was not said why");
	return r;
}
