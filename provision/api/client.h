/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client side of vm2d's socket: one connection, one request, its answer. */
#ifndef VM2_API_CLIENT_H
#define VM2_API_CLIENT_H

#include "provision/api/msg.h"

/* What to do with what comes before the end of an answer; a NULL function ignores it. */
struct client_sink {
	void (*row)(void *data, const struct msg *row);
	void (*progress)(void *data, const char *text);
	void *data;
};

/*
 * Connect to vm2d. *ret_fd is to be closed by the caller. The connection is refused when the
 * socket's owner is neither root nor the caller's own uid (SO_PEERCRED), so that nobody else can
 * pose as vm2d. It is waited for CLIENT_CONNECT_MS at most, and so is each send on it later
 * (SO_SNDTIMEO). Errors: ERR_BUSY when vm2d does not answer, with what to do.
 */
#define CLIENT_CONNECT_MS 5000
int client_connect(const char *socket_path, int *ret_fd, struct err *err);

/*
 * Read messages until the one with event=end, or until the first with event=open (a session that
 * goes on). Rows and progress go to sink (may be NULL). timeout_ms (0: none) bounds all of it; with
 * a sink, which takes time of its own (a person in a pager), it bounds each wait.
 * The last message is put into reply when it is not NULL (an empty message; to be freed).
 * Returns 0 or what the end message says: its status, with its error text in err.
 */
int client_finish(int fd, int timeout_ms, const struct client_sink *sink, struct msg *reply,
		  struct err *err);

/* Connect, send, finish. */
int client_call(const char *socket_path, const struct msg *request, int timeout_ms,
		const struct client_sink *sink, struct msg *reply, struct err *err);

#endif
