/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What libssh has libcrypto sign and verify, and hands to nobody: this program's own functions of the names
 * EVP_DigestSign(3) and EVP_DigestVerify(3) are found first (ld.so(8)), note what passes and call the
 * library's. So the monitor gets the signature that a client made, with an authenticator's flags and counter
 * (PROTOCOL.u2f), and the session's identifier, which is what a host key signs first (RFC 4253, 7.2 and 8),
 * and can have it verified anew. Should a libssh do otherwise, nothing is seen and no key is taken.
 */
#include <dlfcn.h>
#include <openssl/evp.h>
#include <stddef.h>
#include <string.h>

#include "gateway/proof.h"
#include "gateway/wire.h"
#include "provision/base/sshwire.h"

/* What an authenticator signs: a hash, the flags, a counter, a hash; no other signature is so short. */
#define SIGNED_LEN (32 + 1 + 4 + 32)
#define FLAGS_AT   32

typedef int (*verify_fn)(EVP_MD_CTX *, const unsigned char *, size_t, const unsigned char *, size_t);
typedef int (*sign_fn)(EVP_MD_CTX *, unsigned char *, size_t *, const unsigned char *, size_t);

/* Not in struct wire: the functions are called by libssh, which passes nothing of ours. */
static verify_fn verify;
static sign_fn sign;
static struct {
	unsigned char session[PROOF_SESSION_MAX];
	size_t session_len;
	unsigned char signature[PROOF_SIGNATURE_MAX];
	size_t signature_len;
	unsigned char said[5]; /* flags and counter */
	bool authenticator;
} seen;

bool wire_peek_setup(void)
{
	/* As dlopen(3) has it: a function behind a pointer to no function. */
	*(void **)&verify = dlsym(RTLD_NEXT, "EVP_DigestVerify");
	*(void **)&sign = dlsym(RTLD_NEXT, "EVP_DigestSign");
	return verify && sign;
}

void wire_peek_forget(void)
{
	memset(&seen, 0, sizeof(seen));
}

static void add_bytes(struct msg *request, const char *name, const void *bytes, size_t len)
{
	CLEANUP_BUF struct buf text = { 0 };

	sshwire_encode(bytes, len, &text);
	msg_add(request, name, text.data);
}

void wire_peek_session(struct msg *request)
{
	add_bytes(request, "session", seen.session, seen.session_len);
}

void wire_peek_signature(struct msg *request)
{
	const unsigned char *said = seen.said;

	add_bytes(request, "signature", seen.signature, seen.signature_len);
	if (seen.authenticator) {
		msg_add_u64(request, "flags", said[0]);
		msg_add_u64(request, "counter", (uint64_t)said[1] << 24 | (uint64_t)said[2] << 16 |
							(uint64_t)said[3] << 8 | said[4]);
	}
	seen.signature_len = 0;
}

__attribute__((visibility("default"))) int EVP_DigestVerify(EVP_MD_CTX *context,
							    const unsigned char *signature, size_t len,
							    const unsigned char *data, size_t data_len)
{
	int right = verify(context, signature, len, data, data_len);

	seen.signature_len = 0;
	if (right != 1 || len > sizeof(seen.signature))
		return right;
	memcpy(seen.signature, signature, len);
	seen.signature_len = len;
	seen.authenticator = data_len == SIGNED_LEN;
	if (seen.authenticator)
		memcpy(seen.said, data + FLAGS_AT, sizeof(seen.said));
	return right;
}

__attribute__((visibility("default"))) int EVP_DigestSign(EVP_MD_CTX *context, unsigned char *signature,
							  size_t *len, const unsigned char *data,
							  size_t data_len)
{
	if (!seen.session_len && data_len <= sizeof(seen.session)) {
		memcpy(seen.session, data, data_len);
		seen.session_len = data_len;
	}
	return sign(context, signature, len, data, data_len);
}
