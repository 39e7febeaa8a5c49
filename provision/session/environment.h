/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a session's process gets as its environment: made from nothing, nothing of the host's in it. */
#ifndef VM2_SESSION_ENVIRONMENT_H
#define VM2_SESSION_ENVIRONMENT_H

#include <stdbool.h>

#include "provision/session/order.h"
#include "provision/session/passwd.h"

/*
 * Whether "NAME=VALUE" is a variable, of letters, digits and underscores. Which of them a client may
 * set is the doors' to say (accept-env of vm2.conf(5)); it is the customer's own guest.
 */
bool environment_accepts(const char *entry);

/*
 * Split "ADDR:PORT" or "[ADDR]:PORT" (text may be NULL): the address goes to ret_addr[0..cap),
 * *ret_port points into text. False when it is neither, or does not fit.
 */
bool environment_address(const char *text, char *ret_addr, size_t cap, const char **ret_port);

/*
 * The environment, NULL-terminated, for the rest of the process's life. tty: its name, or NULL.
 * lang: LANG where the customer's client says none; empty for none.
 */
char **environment_make(const struct order *o, const struct passwd_root *root, const char *tty,
			const char *lang);

#endif
