/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session of kind "forward": one for each of the gateway's connections that forwards ports. Its
 * child enters the guest and is the agent there: it connects and listens as a program of the guest
 * would, and hands the sockets out. What stays outside passes them on to the client (PROTOCOL,
 * session.open), accepts what arrives, keeps a second descriptor of each connection to count its
 * bytes, and writes each to the ledger. No byte of a forwarded connection passes through either.
 * The client's ssh-agent is a listener, too: a socket of the guest's, below /tmp as sshd has it.
 */
#ifndef VM2_SESSION_FORWARD_H
#define VM2_SESSION_FORWARD_H

#include <stdint.h>

#include "provision/base/config.h"
#include "provision/base/err.h"
#include "provision/session/order.h"

/* The longest name of a host: RFC 1035, 2.3.4. */
#define FORWARD_HOST_MAX 255

/* The longest path of a socket: unix(7), less its end. */
#define FORWARD_PATH_MAX 107

/* What the agent is told: one datagram. FORWARD_PATH connects to a socket of the file system. */
enum {
	FORWARD_CONNECT = 'C',
	FORWARD_LISTEN = 'L',
	FORWARD_SOCKET = 'S',
	FORWARD_PATH = 'P',
	FORWARD_X11 = 'X', /* listens as a display; host is what xauth(1) is told: "PROTOCOL COOKIE" */
};

/* Displays: numbers from 10 on, as sshd has them, each at the port of its number (X(7)). */
#define FORWARD_DISPLAY_FIRST 10
#define FORWARD_DISPLAY_LAST  999
#define FORWARD_DISPLAY_PORT  6000

struct forward_order {
	uint64_t id;
	int kind; /* FORWARD_* */
	uint16_t port;
	char host[FORWARD_HOST_MAX + 1]; /* or the path */
};

/* What it answers, with its sockets beside it: one, or for a listener one for each protocol. */
struct forward_answer {
	uint64_t id;
	int error;     /* 0, or an errno, or -1 for text */
	uint16_t port; /* of a listener */
	char text[96]; /* why not; of a socket: its path */
};

/* The agent, in the guest, as its root: serves orders until the other end is closed. */
_Noreturn void forward_agent(int sock);

struct forwarding {
	const struct config *config;
	const struct order *order;
	int control; /* the client's connection */
	int signals; /* signalfd */
	int agent;   /* the pair's end */
	uint64_t bytes_in, bytes_out; /* of all its connections, when it is over */
	const char *reason; /* why it was ended from our side, or NULL */
};

/* Serve until the client goes, the agent ends, or staff ends it. 0 or -errno. */
int forward_run(struct forwarding *f, struct err *err);

#endif
