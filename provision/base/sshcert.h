/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * OpenSSH's certificates of users' keys (PROTOCOL.certkeys), read strictly and within bounds. Computes
 * only: whether the authority signed it is for whoever has cryptography (gateway/certify.c), whether
 * the authority counts for vm2d.
 */
#ifndef VM2_BASE_SSHCERT_H
#define VM2_BASE_SSHCERT_H

#include "provision/base/err.h"
#include "provision/base/keyopts.h"
#include "provision/base/sshwire.h"

/* The longest, in bytes: as the gateway's bound on a key's text. */
#define SSHCERT_MAX 12288

/* Bounds of OpenSSH's sshkey.c, or below: principals, and bytes of each and of the key's name. */
#define SSHCERT_PRINCIPALS_MAX 256
#define SSHCERT_PRINCIPAL_LEN  64
#define SSHCERT_ID_LEN	       128

/* RFC 8332 and NIST say 2,048; what is shorter is refused. */
#define SSHCERT_RSA_MIN 2048 /* bits */

/* Points into the bytes that were read; what is owned is freed with sshcert_free(). */
struct sshcert {
	struct sshwire ca;	  /* the authority's public key, as on the wire */
	struct sshwire tbs;	  /* what it signed */
	struct sshwire signature; /* how: type and signature (RFC 4253, 6.6) */
	uint64_t serial;
	char id[SSHCERT_ID_LEN + 1]; /* what does not print became '?' */
	char **principals;
	size_t n_principals;
	uint64_t after, before; /* seconds since the epoch: valid from, and until before */
	struct keyopts options; /* what it does not permit, its addresses, its command, and the rest */
};

/* Whether a key's type, as at the start of its text, is that of a certificate. */
bool sshcert_type(const char *type);

/*
 * Read one. ERR_USAGE says what is wrong: cut short, or more than it should be, a host's certificate,
 * a critical option that is not known. *ret is to be freed also then.
 */
int sshcert_parse(const unsigned char *blob, size_t len, struct sshcert *ret, struct err *err);

/* The same from a key's text: "TYPE BASE64". `blob` has room for SSHCERT_MAX bytes, and stays. */
int sshcert_parse_text(const char *text, unsigned char *blob, struct sshcert *ret, struct err *err);

/* Whether it is valid at a time, and may be used from "ADDR:PORT". ERR_DENIED says which not. */
int sshcert_usable(const struct sshcert *c, int64_t now, const char *source, struct err *err);

void sshcert_free(struct sshcert *c);
#define CLEANUP_SSHCERT __attribute__((cleanup(sshcert_free)))

#endif
