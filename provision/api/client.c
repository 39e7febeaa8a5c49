/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/api/client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

/* connect(2) waits for room in the listener's queue as long as a send would: unix(7), socket(7). */
static int limit_sends(int fd, int ms)
{
	struct timeval limit = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ? -errno : 0;
}

int client_connect(const char *socket_path, int *ret_fd, struct err *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	CLEANUP_CLOSE int fd = -1;
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (strlen(socket_path) >= sizeof(address.sun_path))
		return err_set(err, ERR_USAGE, "the socket path %s is too long", socket_path);
	memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || limit_sends(fd, CLIENT_CONNECT_MS) < 0)
		return err_sys(err, errno, "cannot make a socket");
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		err_sys(err, errno, "vm2d does not answer at %s", socket_path);
		return err_set(err, errno == EACCES ? ERR_DENIED : ERR_BUSY,
			       "%s; see that it runs: vm2 host check", err ? err->text : "");
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return err_sys(err, errno, "cannot tell who serves %s", socket_path);
	if (peer.uid != 0 && peer.uid != geteuid())
		return err_set(err, ERR_DENIED, "%s is served by uid %u, not by root's vm2d",
			       socket_path, (unsigned int)peer.uid);
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int end_status(const struct msg *m, struct err *err)
{
	uint64_t status;
	const char *text = msg_get(m, "error");

	if (msg_get_u64(m, "status", ERR_FAILED, 255, &status, err) != 0)
		return ERR_FAILED;
	if (status == 0)
		return 0;
	return err_set(err, (int)status, "%s", text ? text : "vm2d refused and did not say why");
}

/*
 * The next row of a message that holds one or several; false after the last. What it points to is m's.
 */
static bool next_row(const struct msg *m, size_t *pos, struct msg *ret)
{
	size_t from = *pos, next = from, len;
	const char *key, *value;

	while (msg_next(m, &next, &key, &len, &value)) {
		if (*pos > from && len == strlen("event") && !memcmp(key, "event", len))
			break;
		*pos = next;
	}
	*ret = (struct msg){ .data = { .data = m->data.data + from, .len = *pos - from } };
	return *pos > from;
}

static void take_rows(const struct msg *m, const struct client_sink *sink)
{
	struct msg row;
	size_t pos = 0;

	while (next_row(m, &pos, &row))
		sink->row(sink->data, &row);
}

int client_finish(int fd, int timeout_ms, const struct client_sink *sink, struct msg *reply,
		  struct err *err)
{
	int64_t deadline = timeout_ms > 0 ? clock_ms() + timeout_ms : 0;

	for (;;) {
		CLEANUP_MSG struct msg m = { 0 };
		const char *event;
		int r;

		if (sink && deadline)
			deadline = clock_ms() + timeout_ms;
		r = msg_recv(fd, &m, deadline, err);
		if (r < 0) {
			err_wrap(err, "vm2d did not finish its answer");
			return ERR_BUSY;
		}
		event = msg_get(&m, "event");
		if (!event)
			return err_set(err, -EBADMSG, "vm2d's answer names no event");
		if (!strcmp(event, "row") && sink && sink->row)
			take_rows(&m, sink);
		if (!strcmp(event, "progress") && sink && sink->progress && msg_get(&m, "text"))
			sink->progress(sink->data, msg_get(&m, "text"));
		if (strcmp(event, "end") && strcmp(event, "open"))
			continue;
		r = strcmp(event, "end") ? 0 : end_status(&m, err);
		if (reply) {
			*reply = m;
			m = (struct msg){ 0 };
		}
		return r;
	}
}

int client_call(const char *socket_path, const struct msg *request, int timeout_ms,
		const struct client_sink *sink, struct msg *reply, struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	int r = client_connect(socket_path, &fd, err);

	if (r != 0)
		return r;
	r = msg_send(fd, request, err);
	/* A daemon that refused at once has closed its side: what it said is there to be read. */
	if (r != 0 && r != -EPIPE)
		return r;
	return client_finish(fd, timeout_ms, sink, reply, err);
}
