/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ledger's leaves for a session: canonical JSON (sorted keys, no spaces). */
#ifndef VM2_SESSION_LEAF_H
#define VM2_SESSION_LEAF_H

#include <stdint.h>

#include "provision/base/str.h"
#include "provision/session/order.h"
#include "provision/session/status.h"

/* A longer command is cut in the leaf; "command_bytes" then says how long it was. */
#define LEAF_COMMAND_MAX 8192

/* What is known when a session is over. */
struct leaf_close {
	struct status status;
	const char *error; /* it could not be started, or was ended: why; or NULL */
	uint64_t bytes_in, bytes_out;
	bool recorded;
	bool cut; /* the recording ended before the session */
	uint64_t recording_bytes;
	unsigned char recording_digest[32];
};

/* One forwarded connection. */
struct leaf_forward {
	const char *target; /* where it led to, or where it came from: HOST:PORT */
	bool inbound;	    /* from the guest to the client */
	bool end;	    /* it is over, and these are its bytes: in is towards the guest */
	uint64_t bytes_in, bytes_out;
};

/* Write a leaf into b (empty). now: seconds since the epoch. */
void leaf_open(struct buf *b, const struct order *o, int64_t now);
void leaf_close(struct buf *b, const struct order *o, const struct leaf_close *c, int64_t now);
void leaf_forward(struct buf *b, const struct order *o, const struct leaf_forward *f, int64_t now);

#endif
