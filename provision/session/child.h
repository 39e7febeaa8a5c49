/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The half of vm2-session that goes into the guest, and what it says to the half that stays:
 * over a SOCK_SEQPACKET pair, first CHILD_READY (with the terminal's master beside it when there
 * is one) or CHILD_FAILED and an error's code and text; then it waits for one byte; then the exec
 * closes its end.
 */
#ifndef VM2_SESSION_CHILD_H
#define VM2_SESSION_CHILD_H

#include "provision/base/err.h"
#include "provision/guest/guest.h"
#include "provision/session/order.h"

enum { CHILD_READY = 'R', CHILD_FAILED = 'F' };

struct child_report {
	int kind; /* CHILD_* */
	int code;
	int pid; /* as the guest numbers it */
	char text[ERR_TEXT_MAX];
};

/* Descriptors for the child: its standard three (or /dev/null with a terminal), and the pair's end. */
struct child_fds {
	int in, out, err, sock;
};

/* Enter, prepare, report, wait, exec. To be called after fork. */
_Noreturn void child_run(const struct order *o, const struct guest_run *run,
			 const struct child_fds *fds);

/*
 * The relay's side: wait until deadline_ms (clock_ms()) for the report. *ret_master: the terminal,
 * unchecked, or -1. *ret_pid: what the child says its number is in the guest. 0; the child's error;
 * ERR_BUSY when it says nothing in time.
 */
int child_wait_ready(int sock, int64_t deadline_ms, int *ret_master, int *ret_pid, struct err *err);

/* Let it exec and wait until it has. 0, or ERR_BUSY when it does not happen in time. */
int child_go(int sock, int64_t deadline_ms, struct err *err);

#endif
