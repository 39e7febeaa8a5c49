/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What vm2-shell makes of its arguments and its environment: plain data, and all of it hostile. */
#ifndef VM2_SHELL_ASK_H
#define VM2_SHELL_ASK_H

#include "provision/api/msg.h"

/*
 * Fill in the session.open of this tenant. argv (NULL-terminated): `vm2-shell` and `-vm2-shell` are a
 * shell, `vm2-shell -c COMMAND` is a command; of the environment (NULL-terminated, or NULL) only the
 * language goes along. terminal: whether standard output is one.
 * Returns 0, or ERR_USAGE with the request untouched.
 */
int ask_fill(struct msg *request, const char *tenant, char *const argv[], char *const env[],
	     bool terminal, struct err *err);

#endif
