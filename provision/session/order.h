/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The order that a vm2d worker gives to vm2-session, whose process it has started. Descriptors:
 *   3  the control channel: the client's connection (provision/api/PROTOCOL, session.open)
 *   4  a sealed memfd: the order, in the message codec (fields below)
 *   5  the session's input, 6 its output, 7 its error output (with pty=1: closed); with
 *      kind=forward none of them
 *   8  where its word to begin comes from (order_await), which brings a pidfd of the guest's init; that
 *      takes its place then
 *   9  the session's folder, SESSIONS/TENANT/ID, already made (0700); with kind=forward the file in
 *      which the tenant's forwards are counted (slots.h)
 * All others are closed. argv: vm2-session --config FILE TENANT ID
 *
 * Fields of the order: those of the session.open request (tenant kind command argv* pty term cols
 * rows xpixel ypixel modes env* original agent x11 source local via credential), and
 *   session=ID  started=SECONDS  config=FILE ("" for the default)  plan_recording=required|best-effort
 *   record=0|1 (a terminal is recorded)  address4= address6=  uid_base=N (the host's id of the
 *   guest's root; may be missing)  forwards=N (of kind=forward: the tenant's bound; 0: none)
 *
 * It may be started before its guest is there, and waits. Told to begin, it says event=open, and
 * event=end whatever happens. If the other end of 8 is closed instead, it ends and has left nothing.
 */
#ifndef VM2_SESSION_ORDER_H
#define VM2_SESSION_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "provision/api/msg.h"

enum {
	ORDER_FD_CONTROL = 3,
	ORDER_FD_ORDER = 4,
	ORDER_FD_INPUT = 5,
	ORDER_FD_OUTPUT = 6,
	ORDER_FD_ERROR = 7,
	ORDER_FD_GO = 8,
	ORDER_FD_INIT = 8,
	ORDER_FD_FOLDER = 9, /* for the recording of a terminal; without one not there */
	ORDER_FD_SLOTS = 9,  /* of kind forward */
	ORDER_FD_END = 10,
};

/* The order, checked. Strings live as long as msg; those that may be missing are NULL. */
struct order {
	struct msg msg;
	const char *tenant, *kind, *command, *via, *session;
	const char *term, *source, *local, *credential;
	const char *modes;    /* of the terminal, "NUMBER=VALUE ..." (RFC 4254, 8); or NULL */
	const char *agent;    /* the path of the socket of the client's ssh-agent; or NULL */
	const char *x11;      /* what DISPLAY is; or NULL */
	const char *original; /* what was asked for, where another command was put in its place; or NULL */
	const char *config; /* NULL for the default */
	char **argv;	    /* NULL-terminated; NULL when there are no words */
	unsigned int cols, rows, xpixel, ypixel;
	uint64_t forwards; /* as many forwarded connections and listeners has the tenant; 0: no bound */
	int64_t started; /* seconds since the epoch */
	bool pty;
	bool no_uploads, no_downloads; /* by sftp: the plan forbids them */
	bool x11_allowed; /* the plan allows X11 to be forwarded */
	bool forward;  /* no program: an agent that connects and listens (forward.h) */
	bool record;   /* the terminal is to be recorded */
	bool required; /* no recording, no session */
};

/* Read and check the order. *ret is to be freed with order_free. ERR_USAGE, -EBADMSG, -errno. */
int order_read(int fd, struct order *ret, struct err *err);
void order_free(struct order *o);

/* Wait for the word to begin; ORDER_FD_INIT is the init's then. Negative: there is nothing to be done. */
int order_await(void);

#endif
