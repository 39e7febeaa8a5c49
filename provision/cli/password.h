/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Asking for a new password. */
#ifndef VM2_CLI_PASSWORD_H
#define VM2_CLI_PASSWORD_H

#include <stddef.h>

#include "provision/base/err.h"

/* The longest password, with its NUL: CRYPT_MAX_PASSPHRASE_SIZE of crypt(3). */
#define PASSWORD_MAX 512

/*
 * On a terminal: ask twice, without echo; elsewhere: read one line of standard input. ERR_USAGE for
 * an empty, too long or differing one. The caller wipes it (explicit_bzero(3)).
 */
int password_read(const char *whose, char ret[PASSWORD_MAX], struct err *err);

#endif
