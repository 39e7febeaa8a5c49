/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gateway/proof.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "gateway/signature.h"
#include "provision/base/cleanup.h"
#include "provision/base/sshcert.h"

/* RFC 4252, 6. */
#define SSH_MSG_USERAUTH_REQUEST 50

#define SHA256_LEN 32

/*
 * A type of key, the algorithm that a request with it names, and its signatures' name. An authenticator
 * signs with one of the schemes, but not the data itself (PROTOCOL.u2f).
 */
static const struct kind {
	const char *type, *algorithm, *signature, *scheme;
	bool certificate, authenticator;
} kinds[] = {
#define PLAIN(name) { name, name, name, name, false, false }
#define CERTIFIED(name) { name "-cert-v01@openssh.com", name "-cert-v01@openssh.com", name, name, true, false }
#define RSA(name)                                            \
	{ "ssh-rsa", name, name, name, false, false },       \
	{ "ssh-rsa-cert-v01@openssh.com", name "-cert-v01@openssh.com", name, name, true, false }
#define TOUCHED(name, scheme)                                                                      \
	{ name "@openssh.com", name "@openssh.com", name "@openssh.com", scheme, false, true },    \
	{ name "-cert-v01@openssh.com", name "-cert-v01@openssh.com", name "@openssh.com", scheme, \
	  true, true }
	PLAIN("ssh-ed25519"), CERTIFIED("ssh-ed25519"),
	PLAIN("ecdsa-sha2-nistp256"), CERTIFIED("ecdsa-sha2-nistp256"),
	PLAIN("ecdsa-sha2-nistp384"), CERTIFIED("ecdsa-sha2-nistp384"),
	PLAIN("ecdsa-sha2-nistp521"), CERTIFIED("ecdsa-sha2-nistp521"),
	RSA("rsa-sha2-512"), RSA("rsa-sha2-256"),
	TOUCHED("sk-ssh-ed25519", "ssh-ed25519"),
	TOUCHED("sk-ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"),
};

/* A message, read. */
struct proof {
	const char *user;
	unsigned char *key, *session, *signature;
	struct sshwire blob;	    /* the key, whole, */
	struct sshwire type;	    /* its type's name, */
	struct sshwire parts;	    /* and what follows that */
	struct sshwire session_id, raw;
	uint64_t flags, counter;
};

static void proof_free(struct proof *p)
{
	free(p->key);
	free(p->session);
	free(p->signature);
}
#define CLEANUP_PROOF __attribute__((cleanup(proof_free)))

/* A field's base64, of so many bytes. */
static int take_bytes(const struct msg *request, const char *name, size_t least, size_t most,
		      unsigned char **owned, struct sshwire *ret, struct err *err)
{
	const char *text;
	size_t len;
	int n, r = msg_need(request, name, &text, err);

	if (r != 0)
		return r;
	len = strlen(text);
	if (len > (most + 2) / 3 * 4)
		return err_set(err, ERR_USAGE, "%s is too long", name);
	*owned = xcalloc(1, len / 4 * 3 + 1);
	n = sshwire_decode(text, len, *owned);
	if (n < 0 || (size_t)n < least || (size_t)n > most)
		return err_set(err, ERR_USAGE, "%s is none", name);
	*ret = (struct sshwire){ *owned, (size_t)n };
	return 0;
}

/* "TYPE BASE64", where the type within is the same. */
static int take_key(const struct msg *request, struct proof *p, struct err *err)
{
	CLEANUP_MSG struct msg one = { 0 };
	const char *text, *space;
	int r = msg_need(request, "key", &text, err);

	if (r != 0)
		return r;
	space = strchr(text, ' ');
	msg_add(&one, "key", space ? space + 1 : "");
	r = take_bytes(&one, "key", 4, SSHCERT_MAX, &p->key, &p->blob, err);
	p->parts = p->blob;
	if (r == 0 && (!sshwire_string(&p->parts, &p->type) || p->type.left != (size_t)(space - text) ||
		       memcmp(p->type.at, text, p->type.left) != 0))
		r = err_set(err, ERR_USAGE, "the key is of another type than it says");
	return r;
}

static int read_proof(const struct msg *request, struct proof *p, struct err *err)
{
	int r = msg_need(request, "user", &p->user, err);

	if (r == 0)
		r = take_key(request, p, err);
	if (r == 0)
		r = take_bytes(request, "session", PROOF_SESSION_MIN, PROOF_SESSION_MAX, &p->session,
			       &p->session_id, err);
	if (r == 0)
		r = take_bytes(request, "signature", 1, PROOF_SIGNATURE_MAX, &p->signature, &p->raw, err);
	if (r == 0)
		r = msg_get_u64(request, "flags", 0, UINT8_MAX, &p->flags, err);
	if (r == 0)
		r = msg_get_u64(request, "counter", 0, UINT32_MAX, &p->counter, err);
	return r;
}

static void put_u32(struct buf *b, uint32_t n)
{
	const unsigned char bytes[] = { (unsigned char)(n >> 24), (unsigned char)(n >> 16),
					(unsigned char)(n >> 8), (unsigned char)n };

	buf_add(b, bytes, sizeof(bytes));
}

static void put_string(struct buf *b, const void *data, size_t len)
{
	put_u32(b, (uint32_t)len);
	buf_add(b, data, len);
}

static void put_text(struct buf *b, const char *text)
{
	put_string(b, text, strlen(text));
}

/*
 * What a client signs (RFC 4252, 7); with a host key the same bound to that host (OpenSSH's PROTOCOL,
 * publickey-hostbound-v00@openssh.com; libssh has it since 0.12).
 */
static void build(const struct proof *p, const struct kind *k, const struct sshwire *host_key, struct buf *b)
{
	static const unsigned char request = SSH_MSG_USERAUTH_REQUEST, yes = 1;

	put_string(b, p->session_id.at, p->session_id.left);
	buf_add(b, &request, 1);
	put_text(b, p->user);
	put_text(b, "ssh-connection");
	put_text(b, host_key ? "publickey-hostbound-v00@openssh.com" : "publickey");
	buf_add(b, &yes, 1);
	put_text(b, k->algorithm);
	put_string(b, p->blob.at, p->blob.left);
	if (host_key)
		put_string(b, host_key->at, host_key->left);
}

static bool put_hash(struct buf *b, const void *data, size_t len)
{
	unsigned char hash[SHA256_LEN];

	if (EVP_Digest(data, len, hash, NULL, EVP_sha256(), NULL) != 1)
		return false;
	buf_add(b, hash, sizeof(hash));
	return true;
}

/* In place of the data an authenticator signs hashes, its flags and its counter (PROTOCOL.u2f). */
static bool wrap(const struct proof *p, const struct sshwire *application, struct buf *b)
{
	const unsigned char flags = (unsigned char)p->flags;
	struct buf data = *b;
	bool done;

	*b = (struct buf){ 0 };
	done = put_hash(b, application->at, application->left);
	buf_add(b, &flags, 1);
	put_u32(b, (uint32_t)p->counter);
	done = put_hash(b, data.data, data.len) && done;
	buf_free(&data);
	return done;
}

/* The bytes of the key that its scheme reads, and an authenticator's application, behind them. */
static bool find_parts(const struct proof *p, const struct kind *k, const struct signature_scheme *s,
		       struct sshwire *ret_key, struct sshwire *ret_application)
{
	struct sshwire w = p->parts, part;

	if (k->certificate && !sshwire_string(&w, &part)) /* the nonce */
		return false;
	*ret_key = w;
	for (int i = signature_parts(s); i > 0; i--)
		if (!sshwire_string(&w, &part))
			return false;
	ret_key->left = (size_t)(w.at - ret_key->at);
	if (k->authenticator && !sshwire_string(&w, ret_application))
		return false;
	/* What else a certificate says was read when it was offered. */
	return k->certificate || w.left == 0;
}

static bool signed_by(const struct proof *p, const struct kind *k, const struct sshwire *host_key)
{
	const struct sshwire name = { (const unsigned char *)k->scheme, strlen(k->scheme) };
	const struct signature_scheme *s = signature_find(&name);
	struct sshwire key, application = { 0 };
	CLEANUP_BUF struct buf data = { 0 };

	if (!s || !find_parts(p, k, s, &key, &application))
		return false;
	build(p, k, host_key, &data);
	if (k->authenticator && !wrap(p, &application, &data))
		return false;
	return signature_verify(s, key, p->raw,
				(struct sshwire){ (const unsigned char *)data.data, data.len });
}

/* Whether a list with commas between has a name. */
static bool listed(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
		if (!strncmp(at, name, len) && (at[len] == ',' || !at[len]))
			return true;
	return false;
}

/* Bound to no host, or to this one by any of its keys: which of them it was the client says to libssh. */
static bool signed_for(const struct proof *p, const struct kind *k, const struct proof_host *host)
{
	bool right = signed_by(p, k, NULL);

	for (size_t i = 0; i < host->n_keys && !right; i++) {
		size_t len = strlen(host->keys[i]);
		CLEANUP_FREE unsigned char *bytes = xcalloc(1, len / 4 * 3 + 1);
		int n = sshwire_decode(host->keys[i], len, bytes);

		right = n > 0 && signed_by(p, k, &(struct sshwire){ bytes, (size_t)n });
	}
	return right;
}

int proof_check(const struct msg *request, const struct proof_host *host, struct err *err)
{
	CLEANUP_PROOF struct proof p = { 0 };
	int r = read_proof(request, &p, err);

	if (r != 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (sshwire_is(&p.type, kinds[i].type) && listed(host->algorithms, kinds[i].signature) &&
		    signed_for(&p, &kinds[i], host))
			return 0;
	return err_set(err, ERR_DENIED, "the key did not sign this login");
}
