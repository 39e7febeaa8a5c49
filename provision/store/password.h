/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Passwords: yescrypt by crypt(3). About 70 ms of processor time each, on purpose. */
#ifndef VM2_STORE_PASSWORD_H
#define VM2_STORE_PASSWORD_H

#include <stdbool.h>

#include "provision/base/err.h"

/* The longest password, in bytes: CRYPT_MAX_PASSPHRASE_SIZE of crypt(3), with its NUL. */
#define PASSWORD_MAX 511

/*
 * Hash a password; *ret is to be freed with free(3). ERR_USAGE: empty, too long, or control
 * characters.
 */
int password_hash(const char *password, char **ret, struct err *err);

/*
 * Whether the password is that of the hash. hash NULL stands for a tenant that is not there or has
 * no password: then a hash of the same cost is computed and the answer is false.
 */
bool password_verify(const char *password, const char *hash);

#endif
