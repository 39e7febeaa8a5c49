/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a login's signature is worth: of keys of each type, good ones and altered ones. */
#include <criterion/criterion.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <string.h>

#include "gateway/proof.h"
#include "provision/base/cleanup.h"
#include "provision/base/sshwire.h"

#define ALGORITHMS                                                                                     \
	"ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,"        \
	"rsa-sha2-256,sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com"
#define HOST_KEY "c29tZSBob3N0J3Mga2V5" /* any bytes will do */

/* Who signs, and how: what a client with such a key does. */
static const struct way {
	const char *type, *algorithm, *curve, *group;
	const EVP_MD *(*digest)(void);
	bool certificate, authenticator;
} ways[] = {
	{ "ssh-ed25519", "ssh-ed25519", NULL, NULL, NULL, false, false },
	{ "ssh-ed25519-cert-v01@openssh.com", "ssh-ed25519-cert-v01@openssh.com", NULL, NULL, NULL, true, false },
	{ "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", "nistp256", "P-256", EVP_sha256, false, false },
	{ "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384", "nistp384", "P-384", EVP_sha384, false, false },
	{ "ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521", "nistp521", "P-521", EVP_sha512, false, false },
	{ "ecdsa-sha2-nistp384-cert-v01@openssh.com", "ecdsa-sha2-nistp384-cert-v01@openssh.com", "nistp384",
	  "P-384", EVP_sha384, true, false },
	{ "ssh-rsa", "rsa-sha2-256", NULL, NULL, EVP_sha256, false, false },
	{ "ssh-rsa", "rsa-sha2-512", NULL, NULL, EVP_sha512, false, false },
	{ "ssh-rsa-cert-v01@openssh.com", "rsa-sha2-512-cert-v01@openssh.com", NULL, NULL, EVP_sha512, true, false },
	{ "sk-ssh-ed25519@openssh.com", "sk-ssh-ed25519@openssh.com", NULL, NULL, NULL, false, true },
	{ "sk-ssh-ed25519-cert-v01@openssh.com", "sk-ssh-ed25519-cert-v01@openssh.com", NULL, NULL, NULL, true, true },
	{ "sk-ecdsa-sha2-nistp256@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", "nistp256", "P-256",
	  EVP_sha256, false, true },
	{ "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com", "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
	  "nistp256", "P-256", EVP_sha256, true, true },
};

static void put(struct buf *b, const void *data, size_t len)
{
	const unsigned char n[] = { (unsigned char)(len >> 24), (unsigned char)(len >> 16),
				    (unsigned char)(len >> 8), (unsigned char)len };

	buf_add(b, n, 4);
	buf_add(b, data, len);
}

static void put_text(struct buf *b, const char *text)
{
	put(b, text, strlen(text));
}

static void put_number(struct buf *b, const EVP_PKEY *key, const char *name)
{
	unsigned char bytes[1025] = { 0 };
	BIGNUM *n = NULL;

	cr_assert_eq(EVP_PKEY_get_bn_param(key, name, &n), 1);
	put(b, bytes, (size_t)BN_bn2bin(n, bytes + 1) + 1);
	BN_free(n);
}

static EVP_PKEY *make_key(const struct way *w)
{
	if (w->curve)
		return EVP_EC_gen(w->group);
	return w->digest ? EVP_RSA_gen(2048) : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

/* The public key as on the wire. */
static struct buf blob_of(const struct way *w, const EVP_PKEY *key)
{
	unsigned char bytes[200];
	size_t len = sizeof(bytes);
	struct buf b = { 0 };

	put_text(&b, w->type);
	if (w->certificate)
		put_text(&b, "a nonce");
	if (w->curve)
		put_text(&b, w->curve);
	if (w->digest && !w->curve) {
		put_number(&b, key, OSSL_PKEY_PARAM_RSA_E);
		put_number(&b, key, OSSL_PKEY_PARAM_RSA_N);
	} else if (w->curve) {
		cr_assert_eq(EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, bytes,
							     sizeof(bytes), &len), 1);
		put(&b, bytes, len);
	} else {
		cr_assert_eq(EVP_PKEY_get_raw_public_key(key, bytes, &len), 1);
		put(&b, bytes, len);
	}
	if (w->authenticator)
		put_text(&b, "ssh:");
	if (w->certificate)
		put_text(&b, "and what else stands in it");
	return b;
}

/* A login, in all its parts: what is signed, and what is told of it. */
struct login {
	const char *user, *service, *method, *algorithm, *host_key;
	unsigned char session[32];
	unsigned int flags, counter;
	const EVP_MD *digest;
	struct buf blob;
};

static struct login login_of(const struct way *w, const EVP_PKEY *key)
{
	struct login l = { "acme", "ssh-connection", "publickey", w->algorithm, NULL, { 0 },
			   w->authenticator ? 5 : 0, w->authenticator ? 77 : 0,
			   w->digest ? w->digest() : NULL, blob_of(w, key) };

	memset(l.session, 'S', sizeof(l.session));
	return l;
}

static void put_hash(struct buf *b, const void *data, size_t len)
{
	unsigned char hash[32];

	EVP_Digest(data, len, hash, NULL, EVP_sha256(), NULL);
	buf_add(b, hash, 32);
}

static struct buf sign(const struct way *w, EVP_PKEY *key, const struct login *l)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	struct buf data = { 0 }, hashed = { 0 }, signature = { 0 };
	unsigned char bytes[1024], said[5] = { (unsigned char)l->flags, 0, 0, 0, (unsigned char)l->counter };
	size_t len = sizeof(bytes);

	put(&data, l->session, sizeof(l->session));
	buf_add(&data, "\x32", 1);
	put_text(&data, l->user);
	put_text(&data, l->service);
	put_text(&data, l->method);
	buf_add(&data, "\x01", 1);
	put_text(&data, l->algorithm);
	put(&data, l->blob.data, l->blob.len);
	if (l->host_key)
		put_text(&data, l->host_key);
	if (w->authenticator) {
		put_hash(&hashed, "ssh:", 4);
		buf_add(&hashed, said, sizeof(said));
		put_hash(&hashed, data.data, data.len);
		buf_free(&data);
		data = hashed;
	}
	cr_assert_eq(EVP_DigestSignInit(context, NULL, l->digest, NULL, key), 1);
	cr_assert_eq(EVP_DigestSign(context, bytes, &len, (unsigned char *)data.data, data.len), 1);
	buf_add(&signature, bytes, len);
	EVP_MD_CTX_free(context);
	buf_free(&data);
	return signature;
}

static void add_bytes(struct msg *m, const char *name, const void *bytes, size_t len)
{
	CLEANUP_BUF struct buf text = { 0 };

	sshwire_encode(bytes, len, &text);
	msg_add(m, name, text.data ?: "");
}

static struct err why;

static int check(const struct way *w, const struct login *l, const struct buf *signature, const char *algorithms)
{
	static const char *const keys[] = { "b3RoZXI=", HOST_KEY };
	const struct proof_host host = { algorithms, keys, 2 };
	CLEANUP_MSG struct msg m = { 0 };
	CLEANUP_BUF struct buf key = { 0 };

	buf_printf(&key, "%s ", w->type);
	sshwire_encode(l->blob.data, l->blob.len, &key);
	msg_add(&m, "user", l->user);
	msg_add(&m, "key", key.data);
	add_bytes(&m, "session", l->session, sizeof(l->session));
	add_bytes(&m, "signature", signature->data, signature->len);
	msg_add_u64(&m, "flags", l->flags);
	msg_add_u64(&m, "counter", l->counter);
	why = (struct err){ 0 };
	return proof_check(&m, &host, &why);
}

static void expect_refusal(const struct way *w, const struct login *l, const struct buf *signature, const char *what)
{
	int r = check(w, l, signature, ALGORITHMS);

	cr_expect_eq(r, ERR_DENIED, "%s, %s: %d %s", w->algorithm, what, r, why.text);
}

/* What was signed is one thing, what is told another: in one part each. */
static void alter_login(const struct way *w, const struct login *l, const struct buf *signature)
{
	EVP_PKEY *other = make_key(w);
	struct login altered = *l;

	altered.user = "acmf";
	expect_refusal(w, &altered, signature, "another user");
	altered = *l;
	altered.session[31] ^= 1;
	expect_refusal(w, &altered, signature, "another session");
	altered = *l;
	altered.blob = blob_of(w, other);
	expect_refusal(w, &altered, signature, "another key");
	buf_free(&altered.blob);
	altered = *l;
	altered.flags ^= 4;
	if (w->authenticator)
		expect_refusal(w, &altered, signature, "other flags");
	altered = *l;
	altered.counter++;
	if (w->authenticator)
		expect_refusal(w, &altered, signature, "another counter");
	EVP_PKEY_free(other);
}

static void alter_signature(const struct way *w, const struct login *l, const struct buf *signature)
{
	struct buf copy = { 0 };

	buf_add(&copy, signature->data, signature->len);
	for (size_t i = 0; i < copy.len; i += 7) {
		copy.data[i] ^= 0x10;
		expect_refusal(w, l, &copy, "a byte of the signature");
		copy.data[i] ^= 0x10;
	}
	copy.len--;
	expect_refusal(w, l, &copy, "a signature cut short");
	buf_free(&copy);
}

/* The wire tells none of these: they are what else a key signs for. */
static void sign_something_else(const struct way *w, EVP_PKEY *key, const struct login *l)
{
	struct login others[] = { *l, *l, *l, *l };

	others[0].service = "ssh-userauth";
	others[1].method = "hostbased";
	others[2].algorithm = "ssh-dss";
	others[3].method = "publickey-hostbound-v00@openssh.com";
	others[3].host_key = "another host's key";
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		struct buf signature = sign(w, key, &others[i]);

		expect_refusal(w, l, &signature, others[i].host_key ?: others[i].algorithm);
		buf_free(&signature);
	}
}

Test(proof, takes_what_the_key_signed_and_nothing_else, .timeout = 60)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		const struct way *w = &ways[i];
		EVP_PKEY *key = make_key(w);
		struct login l = login_of(w, key);
		struct buf signature = sign(w, key, &l);

		cr_expect_eq(check(w, &l, &signature, ALGORITHMS), 0, "%s: %s", w->algorithm, why.text);
		alter_login(w, &l, &signature);
		alter_signature(w, &l, &signature);
		sign_something_else(w, key, &l);
		buf_free(&signature);
		buf_free(&l.blob);
		EVP_PKEY_free(key);
	}
}

Test(proof, takes_what_is_bound_to_this_host)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i += 6) {
		EVP_PKEY *key = make_key(&ways[i]);
		struct login l = login_of(&ways[i], key);
		struct buf signature;

		l.method = "publickey-hostbound-v00@openssh.com";
		l.host_key = "some host's key";
		signature = sign(&ways[i], key, &l);
		cr_expect_eq(check(&ways[i], &l, &signature, ALGORITHMS), 0, "%s: %s", l.algorithm, why.text);
		buf_free(&signature);
		buf_free(&l.blob);
		EVP_PKEY_free(key);
	}
}

Test(proof, takes_no_algorithm_that_is_not_to_be)
{
	const struct way *rsa = &ways[7];
	EVP_PKEY *key = make_key(rsa);
	struct login l = login_of(rsa, key);
	struct buf signature = sign(rsa, key, &l);

	cr_expect_eq(check(rsa, &l, &signature, "ssh-ed25519,rsa-sha2-512"), 0);
	cr_expect_eq(check(rsa, &l, &signature, "ssh-ed25519,rsa-sha2-256"), ERR_DENIED);
	cr_expect_eq(check(rsa, &l, &signature, "rsa-sha2-512x,rsa-sha2-5"), ERR_DENIED);
	buf_free(&signature);
	l.algorithm = "ssh-rsa";
	l.digest = EVP_sha1();
	signature = sign(rsa, key, &l);
	cr_expect_eq(check(rsa, &l, &signature, ALGORITHMS ",ssh-rsa"), ERR_DENIED, "SHA-1");
	buf_free(&signature);
	buf_free(&l.blob);
	EVP_PKEY_free(key);
}

Test(proof, says_what_is_missing_or_none)
{
	static const char *const bad[][2] = {
		{ "session", "AAAA" },	    /* too short */
		{ "session", "*" },
		{ "signature", "" },
		{ "signature", "AAA" },
		{ "key", "ssh-ed25519" },   /* no base64 */
		{ "key", "ssh-ed25519 AAAAB3NzaC1yc2E=" }, /* of another type */
		{ "flags", "256" },
		{ "counter", "4294967296" },
	};
	static const char *const good[][2] = {
		{ "user", "acme" },
		{ "key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" },
		{ "session", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" },
		{ "signature", "AAAA" },
		{ "flags", "0" },
		{ "counter", "0" },
	};
	const struct proof_host host = { ALGORITHMS, NULL, 0 };

	for (size_t i = 0; i < ARRAY_LEN(bad) + 4; i++) {
		CLEANUP_MSG struct msg m = { 0 };

		for (size_t j = 0; j < ARRAY_LEN(good); j++)
			if (i < 4 ? i != j : strcmp(good[j][0], bad[i - 4][0]) != 0)
				msg_add(&m, good[j][0], good[j][1]);
		if (i >= 4)
			msg_add(&m, bad[i - 4][0], bad[i - 4][1]);
		cr_expect_eq(proof_check(&m, &host, NULL), ERR_USAGE, "case %zu", i);
	}
}
