/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a session ended, and the names of signals (RFC 4254 6.9 and 6.10: without "SIG"). */
#ifndef VM2_SESSION_STATUS_H
#define VM2_SESSION_STATUS_H

#include <signal.h>
#include <stdbool.h>

struct status {
	int exit;   /* 0..255; only when signal is 0 */
	int signal; /* what killed it, or 0 */
	bool core;
};

/* From what waitid(2) says of an ended child. */
struct status status_from(const siginfo_t *info);

/* "TERM" for SIGTERM; "RTMIN+2" and such in buf, which must be there. */
const char *status_signal_name(int sig, char buf[16]);

/* The number of a signal's name, or 0 for a name that is not known. */
int status_signal_number(const char *name);

#endif
