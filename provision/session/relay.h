/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The relay: one poll loop between the client's descriptors, the guest's process and the control
 * channel, from the process's start until nothing of the session is left to do.
 */
#ifndef VM2_SESSION_RELAY_H
#define VM2_SESSION_RELAY_H

#include <sys/types.h>

#include "provision/audit/recording.h"
#include "provision/session/flow.h"
#include "provision/session/order.h"
#include "provision/session/status.h"

/* How long the session's processes have between SIGHUP and SIGKILL, milliseconds. */
#define RELAY_GRACE 5000

/*
 * The largest recording, bytes. A terminal read by people comes to a few megabytes an hour; one that
 * nobody reads must not fill the file system that holds everybody's evidence.
 */
#ifndef RELAY_RECORDING_MAX
#define RELAY_RECORDING_MAX (256 << 20)
#endif

struct relay {
	int control;   /* the client's connection */
	int signals;   /* signalfd: SIGTERM, by which vm2d ends a session */
	int pidfd;     /* of the child */
	pid_t child;   /* leader of its own session; reaped when `exited` */
	int master;    /* of its terminal, or -1; owned by the output's flow */
	bool required; /* no recording, no session */
	int64_t begun_by; /* clock_ms(): until when the child must have got anywhere */
	struct recording *recording; /* or NULL */
	struct flow in, out, error;

	/* Results, and what the loop needs to know. */
	struct status status;
	bool exited;
	bool hung_up;	    /* SIGHUP was sent */
	bool cut;	    /* the recording ended early */
	bool end_of_input;  /* the terminal's end-of-file character was given */
	int64_t kill_at;    /* clock_ms() */
	const char *reason; /* why it was ended from our side, or NULL */
};

/*
 * Run until the child has ended and its output has been taken, or it was killed after the client
 * went. The flows are closed then, and the child is reaped. 0 or -errno of poll itself.
 */
int relay_run(struct relay *r, struct err *err);

#endif
