/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of public SSH keys, as a person hands them in: authorized_keys, or id_ed25519.pub. */
#ifndef VM2_CLI_PUBLICKEY_H
#define VM2_CLI_PUBLICKEY_H

#include "provision/base/err.h"

/*
 * Read path ("-": standard input), at most 64 KiB, and hand each line that is neither blank nor a
 * comment to add. Nothing is handed on unless every line looks like a public key: a private key
 * given by mistake is refused before any of it leaves the program. ERR_USAGE says what it is
 * instead; -errno when it cannot be read.
 */
int publickey_read(const char *path, void (*add)(void *data, const char *line), void *data,
		   struct err *err);

/* The same for a text (it is taken apart in place); path is for messages. */
int publickey_parse(const char *path, char *text, void (*add)(void *data, const char *line),
		    void *data, struct err *err);

#endif
