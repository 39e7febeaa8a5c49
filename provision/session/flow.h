/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One direction of a session: bytes from one descriptor to another, with back pressure, never
 * blocking for long. Between pipes they are moved (splice(2)), else copied through a buffer.
 *
 * A client's descriptor may be shared with its other processes (a terminal, a log), so its flags
 * are left alone: a pipe is opened anew for ourselves, a socket asked not to wait, and anything else
 * is written in small pieces under a timer.
 */
#ifndef VM2_SESSION_FLOW_H
#define VM2_SESSION_FLOW_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLOW_BUFFER 65536

enum flow_kind { FLOW_OWN, FLOW_SOCKET, FLOW_TIMED };

/* What a step came to. A negative result is the -errno of the receiving side. */
enum { FLOW_ON = 0, FLOW_END = 1 };

struct flow {
	int from, to; /* owned when from_owned / to_owned; -1: closed */
	enum flow_kind from_kind, to_kind;
	bool from_owned, to_owned;
	bool moves;	   /* both are pipes */
	bool wait_to;	   /* a move found the receiving side full */
	bool ended;	   /* nothing more will come */
	char last;	   /* the last byte that was read (not when it moves) */
	char *buf;
	size_t pos, len;   /* what is not yet written */
	uint64_t bytes;	   /* handed on */
	/* Called with what was read, before it is handed on; not 0: the flow stops with that. */
	int (*seen)(void *data, const char *bytes, size_t len);
	void *data;
};

/* Make a flow; an own descriptor (nonblocking already) is closed with it, a client's too. */
void flow_init(struct flow *f, int from, bool from_client, int to, bool to_client);

/* What to wait for; fd is -1 when there is nothing. */
struct pollfd flow_poll(const struct flow *f);

/* Move what can be moved now. FLOW_*, or -errno. drain: nothing to read counts as the end. */
int flow_step(struct flow *f, bool drain);

/* Close both sides that are owned and free the buffer. May be called twice. */
void flow_close(struct flow *f);

/* To be called once by the program: makes the timer's signal interrupt and do nothing else. */
void flow_setup(void);

#endif
