/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Public keys as text: one authorized_keys line (sshd(8)), parsed strictly. Computes only, and the
 * parser needs no cryptography: whoever logs in is compared by the blob itself.
 */
#ifndef VM2_STORE_AUTHKEY_H
#define VM2_STORE_AUTHKEY_H

#include <stddef.h>

#include "provision/base/err.h"
#include "provision/base/keyopts.h"

/* The longest line, in bytes: an RSA key of 16,384 bits fits four times. */
#define AUTHKEY_LINE_MAX 16384
#define AUTHKEY_RSA_MIN	 2048 /* bits */

struct authkey {
	char type[64];
	char comment[256]; /* control characters become '?'; cut to fit */
	char options[KEYOPTS_MAX + 1]; /* as keyopts_write() has them; empty: none */
	unsigned char blob[AUTHKEY_LINE_MAX * 3 / 4];
	size_t len;
};

/*
 * Parse "[OPTIONS ]TYPE BASE64 [COMMENT]", the options as keyopts.h has them: ssh-ed25519, ecdsa-sha2-nistp256/384/521, ssh-rsa of at least
 * 2,048 bits, sk-ssh-ed25519@openssh.com, sk-ecdsa-sha2-nistp256@openssh.com. The blob must be
 * whole, of that type, and of the right length. A newline at the end is dropped.
 * ERR_USAGE says what is wrong. *ret is undefined then.
 */
int authkey_parse(const char *line, struct authkey *ret, struct err *err);

/* Further options, as a text of their own: they count after those of the line. ERR_USAGE. */
int authkey_restrict(struct authkey *key, const char *options, struct err *err);

/* Another comment than the line's. */
void authkey_comment(struct authkey *key, const char *comment);

/* "SHA256:" and the digest in base64 without padding, as ssh-keygen -l prints it. */
void authkey_fingerprint(const void *blob, size_t len, char ret[64]);

#endif
