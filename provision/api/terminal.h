/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session with the caller's own standard input, output and error: what `vm2 guest exec` and
 * vm2-shell are. On a terminal: raw mode, window size and signals relayed, all restored at the end.
 */
#ifndef VM2_API_TERMINAL_H
#define VM2_API_TERMINAL_H

#include "provision/api/msg.h"

/*
 * Open the session that request describes (session.open; pty, term, cols, rows are added here when
 * standard input is a terminal and the request does not say pty=0), pass it our standard
 * descriptors, and stay until it ends. *ret_status: the exit status, or 128 + signal number.
 * A file or pipe among our descriptors is passed as it is; a terminal never is: its bytes are
 * carried through a pipe. On a terminal SIGHUP, SIGINT, SIGQUIT and SIGTERM end the session and
 * give 128 + their number; else they are passed on to it. The request's descriptors are closed.
 * Returns 0, or what vm2d said. Not for programs with threads: it changes the signal mask.
 */
int terminal_session(const char *socket_path, struct msg *request, int *ret_status,
		     struct err *err);

#endif
