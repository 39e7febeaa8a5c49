/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One-time codes: TOTP (RFC 6238) with what every authenticator takes: HMAC-SHA-1, 6 digits, 30 s. A
 * code of the step before and after now is taken too (a clock that drifts), none twice. Beside them 10
 * recovery codes, of which only digests are kept; each works once.
 */
#ifndef VM2_STORE_TOTP_H
#define VM2_STORE_TOTP_H

#include "provision/store/store.h"

#define TOTP_SECRET_LEN	   20 /* bytes: RFC 4226 section 4, R6 */
#define TOTP_STEP_SECONDS  30
#define TOTP_RECOVERY	   10
#define TOTP_SECRET_SIZE   33 /* 20 bytes in base32, and NUL */
#define TOTP_RECOVERY_SIZE 20 /* "abcd-efgh-ijkl-mnop" */

/* What a tenant is shown, once. */
struct totp_new {
	char secret[TOTP_SECRET_SIZE]; /* base32 (RFC 4648), without padding */
	char recovery[TOTP_RECOVERY][TOTP_RECOVERY_SIZE];
};

/* The code of a step (seconds since the epoch / 30): RFC 4226 section 5.3. */
void totp_code(const unsigned char secret[TOTP_SECRET_LEN], uint64_t step, char ret[7]);

/* len bytes in base32, no padding; ret has room for (len * 8 + 4) / 5 and a NUL. */
void totp_base32(const unsigned char *data, size_t len, char *ret);

/* Give the tenant a new secret and recovery codes; the old ones are gone. To be wiped after use. */
int totp_set(struct store *store, const char *tenant, struct totp_new *ret, struct err *err);

/* Ask for no code any more. ERR_NOT_FOUND: the tenant, or it has none. */
int totp_remove(struct store *store, const char *tenant, struct err *err);

/* Whether it has one; false for a tenant that there is not. */
int totp_has(struct store *store, const char *tenant, bool *ret, struct err *err);

/*
 * Take a code, at the time `now`: 0, or ERR_DENIED without a text (wrong, or used before). Spaces and
 * '-' in it are passed over.
 */
int totp_take(
	struct store *store, const char *tenant, const char *code, int64_t now, struct err *err);

#endif
