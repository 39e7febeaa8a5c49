/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One request in its worker: what it is served with, and how it is answered.
 */
#ifndef VM2_DAEMON_REQUEST_H
#define VM2_DAEMON_REQUEST_H

#include "provision/api/msg.h"
#include "provision/daemon/access.h"
#include "provision/guest/guest.h"
#include "provision/store/store.h"

/* What all workers inherit from the listener. */
struct host {
	const struct config *config;
	const char *config_path; /* as given on the command line, or NULL */
	struct access access;
	int64_t started_ms;   /* clock_ms() */
	unsigned int workers; /* busy ones, this one among them */
	int queue;	      /* where a worker takes a vm2-guest that was begun ahead (guest.h) */
};

struct request {
	const struct host *host;
	const struct config *config; /* host->config, for short */
	int fd;			     /* the connection */
	struct peer peer;
	struct msg in;
	struct msg rows; /* of request_row(), to be sent together */
	struct msg out; /* fields and descriptors that the end message takes along */
	struct store *store;
	bool self;	/* the peer is the account of the tenant that the request names */
	bool again;	/* the handler has left the process as it was: it may serve another */
	bool handed_on; /* another process has the connection, and answers */
	struct err err; /* what a handler says when it fails */
};

typedef int (*request_fn)(struct request *r);

enum {
	REQUEST_CHANGES = 1, /* is logged, and durable when it has been answered */
	REQUEST_LOGS = 2,    /* is logged */
};

/* A line of the table: reading it is reading what vm2d can be asked for. */
struct request_kind {
	const char *op;
	unsigned int roles; /* who may, beside root */
	unsigned int flags;
	/*
	 * Fields: those without brackets must be there. The request_serve() refuses what lacks
	 * them.
	 */
	const char *fields;
	request_fn handle;
	const char *text;
};

/* The table (requests.c), ended by one whose op is NULL. */
extern const struct request_kind request_kinds[];

/*
 * Receive the one request of a connection, check it, serve it, answer; a session's process answers by
 * itself. The database is opened when the request needs it, unless *store is it. Returns whether the
 * process may serve another with it: then *store stays open.
 */
bool request_serve(const struct host *host, int fd, struct store **store);

/* Answer status and text without having read a request. */
void request_refuse(int fd, int status, const char *text);

/* Send a row; an empty `row` is begun with request_row_begin(). ERR_* or -errno ends a list. */
void request_row_begin(struct msg *row);
int request_row(struct request *r, const struct msg *row);

/* A line for a person; a peer that has gone does not stop the work. Fits guest_progress_fn. */
void request_progress(void *request, const char *text);

/* A field that is a name: ERR_USAGE when it is missing or none. */
int request_name(struct request *r, const char *key, const char **ret);

/*
 * A field that people write for people to read: UTF-8 of at most max bytes, without control characters
 * (ASCII's and those of U+0080 to U+009F); else ERR_USAGE. Missing is "".
 */
int request_text(struct request *r, const char *key, size_t max, const char **ret);

#endif
