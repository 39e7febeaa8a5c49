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
 * Returns 0, or what vm2d said.
 */
int terminal_session(const char *socket_path, struct msg *request, int *ret_status,
		     struct err *err);

#endif
