/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether an authenticator was touched. Its signature has a byte of flags that says so (PROTOCOL.u2f);
 * libssh verifies the signature over that byte, looks at none of its bits, and hands it to nobody. So
 * libcrypto's EVP_DigestVerify(3), which it verifies with, is looked over the shoulder: this program's
 * own function of the name is found first (ld.so(8)), notes the byte and calls the library's. Should a
 * libssh verify otherwise, no flags are seen and no such key is taken.
 */
#include <dlfcn.h>
#include <openssl/evp.h>
#include <stddef.h>

#include "gateway/wire.h"

/* What an authenticator signs: a hash, the flags, a counter, a hash; no other signature is so short. */
#define SIGNED_LEN (32 + 1 + 4 + 32)
#define FLAGS_AT   32

typedef int (*verify_fn)(EVP_MD_CTX *, const unsigned char *, size_t, const unsigned char *, size_t);

/* Not in struct wire: the function is called by libssh, which passes nothing of ours. */
static verify_fn verify;
static int seen = -1;

bool wire_touch_setup(void)
{
	/* As dlopen(3) has it: a function behind a pointer to no function. */
	*(void **)&verify = dlsym(RTLD_NEXT, "EVP_DigestVerify");
	return verify;
}

int wire_touch_take(void)
{
	int flags = seen;

	seen = -1;
	return flags;
}

__attribute__((visibility("default"))) int EVP_DigestVerify(EVP_MD_CTX *context,
							    const unsigned char *signature, size_t len,
							    const unsigned char *data, size_t data_len)
{
	int right = verify(context, signature, len, data, data_len);

	seen = right == 1 && data_len == SIGNED_LEN ? data[FLAGS_AT] : -1;
	return right;
}
