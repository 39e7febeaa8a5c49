/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/store/totp.h"

#include <errno.h>
#include <nettle/hmac.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "provision/base/cleanup.h"
#include "provision/store/db.h"

#define DIGITS 6
/* Steps before and after now: RFC 6238 section 5.2 recommends one. */
#define DRIFT 1
/* 80 random bits: 16 letters and digits. */
#define RECOVERY_LEN   10
#define RECOVERY_CHARS 16

void totp_base32(const unsigned char *data, size_t len, char *ret)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	unsigned int bits = 0, n = 0;

	for (size_t i = 0; i < len; i++) {
		bits = bits << 8 | data[i];
		for (n += 8; n >= 5; n -= 5)
			*ret++ = letters[bits >> (n - 5) & 31];
	}
	if (n > 0)
		*ret++ = letters[bits << (5 - n) & 31];
	*ret = '\0';
}

void totp_code(const unsigned char secret[TOTP_SECRET_LEN], uint64_t step, char ret[DIGITS + 1])
{
	unsigned char counter[8], digest[SHA1_DIGEST_SIZE];
	struct hmac_sha1_ctx hmac;
	uint32_t number;
	size_t at;

	for (int i = 0; i < 8; i++)
		counter[i] = (unsigned char)(step >> (56 - 8 * i));
	hmac_sha1_set_key(&hmac, TOTP_SECRET_LEN, secret);
	hmac_sha1_update(&hmac, sizeof(counter), counter);
	hmac_sha1_digest(&hmac, sizeof(digest), digest);
	at = digest[19] & 15;
	number = (uint32_t)(digest[at] & 0x7f) << 24 | (uint32_t)digest[at + 1] << 16 |
		 (uint32_t)digest[at + 2] << 8 | digest[at + 3];
	snprintf(ret, DIGITS + 1, "%06u", number % 1000000);
	explicit_bzero(&hmac, sizeof(hmac));
}

static int random_bytes(void *data, size_t len, struct err *err)
{
	/* Up to 256 bytes come whole (getrandom(2)). */
	return getrandom(data, len, 0) == (ssize_t)len ? 0 : err_sys(err, errno, "no random bytes");
}

static void digest_of(const char *plain, unsigned char ret[SHA256_DIGEST_SIZE])
{
	struct sha256_ctx sha;

	sha256_init(&sha);
	sha256_update(&sha, strlen(plain), (const unsigned char *)plain);
	sha256_digest(&sha, SHA256_DIGEST_SIZE, ret);
	explicit_bzero(&sha, sizeof(sha));
}

/* A recovery code: shown in groups of four, kept as the digest of its 16 characters. */
static int add_recovery(
	struct store *store, int64_t id, char ret[TOTP_RECOVERY_SIZE], struct err *err)
{
	unsigned char random[RECOVERY_LEN], digest[SHA256_DIGEST_SIZE];
	char plain[RECOVERY_CHARS + 1];
	int r = random_bytes(random, sizeof(random), err);

	if (r != 0)
		return r;
	totp_base32(random, sizeof(random), plain);
	for (char *p = plain; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	digest_of(plain, digest);
	snprintf(ret, TOTP_RECOVERY_SIZE, "%.4s-%.4s-%.4s-%.4s", plain, plain + 4, plain + 8,
		plain + 12);
	explicit_bzero(plain, sizeof(plain));
	return db_run(store, NULL, err, "INSERT INTO recovery_code VALUES (?, ?)", "ib", id, digest,
		sizeof(digest));
}

static int forget(struct store *store, int64_t id, int *ret_changes, struct err *err)
{
	int r = db_run(store, ret_changes, err, "DELETE FROM totp WHERE tenant = ?", "i", id);

	return r == 0 ? db_run(store, NULL, err, "DELETE FROM recovery_code WHERE tenant = ?", "i",
				id) :
			r;
}

static int set_new(struct store *store, const char *tenant, struct totp_new *ret, struct err *err)
{
	unsigned char secret[TOTP_SECRET_LEN];
	int64_t id = 0;
	int r = db_tenant_id(store, tenant, &id, err);

	if (r == 0)
		r = forget(store, id, NULL, err);
	if (r == 0)
		r = random_bytes(secret, sizeof(secret), err);
	if (r == 0)
		r = db_run(store, NULL, err, "INSERT INTO totp (tenant, secret) VALUES (?, ?)",
			"ib", id, secret, sizeof(secret));
	for (int i = 0; r == 0 && i < TOTP_RECOVERY; i++)
		r = add_recovery(store, id, ret->recovery[i], err);
	if (r == 0)
		totp_base32(secret, sizeof(secret), ret->secret);
	explicit_bzero(secret, sizeof(secret));
	return r;
}

int totp_set(struct store *store, const char *tenant, struct totp_new *ret, struct err *err)
{
	struct totp_new made = { 0 };
	int r = db_begin(store, err);

	if (r != 0)
		return r;
	r = db_end(store, set_new(store, tenant, &made, err), err);
	if (r == 0)
		*ret = made;
	explicit_bzero(&made, sizeof(made));
	return r;
}

int totp_remove(struct store *store, const char *tenant, struct err *err)
{
	int64_t id = 0;
	int changes = 0, r = db_begin(store, err);

	if (r != 0)
		return r;
	r = db_tenant_id(store, tenant, &id, err);
	if (r == 0)
		r = forget(store, id, &changes, err);
	r = db_end(store, r, err);
	if (r == 0 && changes == 0)
		return err_set(err, ERR_NOT_FOUND, "tenant '%s' is asked for no code", tenant);
	return r;
}

int totp_has(struct store *store, const char *tenant, bool *ret, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err,
		"SELECT 1 FROM totp JOIN tenant t ON t.id = totp.tenant WHERE t.name = ?", "s",
		tenant);

	if (r == 0)
		r = db_step(store, s, err);
	if (r < 0 || r > 1)
		return r;
	*ret = r == 1;
	return 0;
}

/* Equal without telling by time where they differ; both have DIGITS characters. */
static bool same_digits(const char *a, const char *b)
{
	unsigned char differ = 0;

	for (int i = 0; i < DIGITS; i++)
		differ |= (unsigned char)(a[i] ^ b[i]);
	return differ == 0;
}

/* The step whose code this is, or -1. */
static int64_t step_of(const unsigned char *secret, const char *code, int64_t now)
{
	int64_t step = now / TOTP_STEP_SECONDS, found = -1;
	char right[DIGITS + 1];

	for (int64_t i = step - DRIFT; i <= step + DRIFT; i++) {
		totp_code(secret, (uint64_t)i, right);
		if (same_digits(code, right))
			found = i;
	}
	explicit_bzero(right, sizeof(right));
	return found;
}

static int read_secret(struct store *store, int64_t id, unsigned char *ret, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err, "SELECT secret FROM totp WHERE tenant = ?", "i", id);

	if (r == 0)
		r = db_step(store, s, err);
	if (r != 1)
		return r == 0 ? ERR_DENIED : r;
	if (sqlite3_column_bytes(s, 0) != TOTP_SECRET_LEN)
		return err_set(err, ERR_FAILED, "the secret of a tenant's codes is damaged");
	memcpy(ret, sqlite3_column_blob(s, 0), TOTP_SECRET_LEN);
	return 0;
}

/* Two who say the same code at once: the UPDATE of one finds the step taken. */
static int take_digits(
	struct store *store, int64_t id, const char *code, int64_t now, struct err *err)
{
	unsigned char secret[TOTP_SECRET_LEN];
	int changes = 0, r = read_secret(store, id, secret, err);
	int64_t step = -1;

	if (r == 0)
		step = step_of(secret, code, now);
	explicit_bzero(secret, sizeof(secret));
	if (step >= 0)
		r = db_run(store, &changes, err,
			"UPDATE totp SET last_step = ?1 WHERE tenant = ?2 AND last_step < ?1", "ii",
			step, id);
	return r == 0 && changes == 0 ? ERR_DENIED : r;
}

static int take_recovery(struct store *store, int64_t id, const char *code, struct err *err)
{
	unsigned char digest[SHA256_DIGEST_SIZE];
	int changes = 0, r;

	digest_of(code, digest);
	r = db_run(store, &changes, err,
		"DELETE FROM recovery_code WHERE tenant = ? AND digest = ?", "ib", id, digest,
		sizeof(digest));
	return r == 0 && changes == 0 ? ERR_DENIED : r;
}

/* Letters small, no spaces and hyphens. Returns the length; what is too long is cut, and wrong. */
static size_t plain_code(const char *code, char ret[RECOVERY_CHARS + 2])
{
	size_t n = 0;

	for (; *code && n <= RECOVERY_CHARS; code++)
		if (*code >= 'A' && *code <= 'Z')
			ret[n++] = (char)(*code - 'A' + 'a');
		else if (*code != ' ' && *code != '-')
			ret[n++] = *code;
	ret[n] = '\0';
	return n;
}

int totp_take(
	struct store *store, const char *tenant, const char *code, int64_t now, struct err *err)
{
	char plain[RECOVERY_CHARS + 2];
	size_t len = plain_code(code, plain);
	int64_t id = 0;
	int r = db_tenant_id(store, tenant, &id, err);

	if (r == 0 && len == DIGITS)
		r = take_digits(store, id, plain, now, err);
	else if (r == 0)
		r = len == RECOVERY_CHARS ? take_recovery(store, id, plain, err) : ERR_DENIED;
	explicit_bzero(plain, sizeof(plain));
	return r;
}
