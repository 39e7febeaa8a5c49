/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gateway/signature.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "provision/base/cleanup.h"
#include "provision/base/sshcert.h"

/* RFC 8032, 5.1.5. */
#define ED25519_LEN 32

static inline void cleanup_pkey(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}
#define CLEANUP_PKEY __attribute__((cleanup(cleanup_pkey)))

/* Which signatures count, of which keys (RFC 5656, RFC 8332, RFC 8709): none with SHA-1. */
static const struct signature_scheme {
	const char *signature, *key, *curve, *group;
	const EVP_MD *(*digest)(void);
} schemes[] = {
	{ "ssh-ed25519", "ssh-ed25519", NULL, NULL, NULL },
	{ "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", "nistp256", "P-256", EVP_sha256 },
	{ "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384", "nistp384", "P-384", EVP_sha384 },
	{ "ecdsa-sha2-nistp521", "ecdsa-sha2-nistp521", "nistp521", "P-521", EVP_sha512 },
	{ "rsa-sha2-512", "ssh-rsa", NULL, NULL, EVP_sha512 },
	{ "rsa-sha2-256", "ssh-rsa", NULL, NULL, EVP_sha256 },
};

static EVP_PKEY *from_params(const char *type, OSSL_PARAM_BLD *build)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY *key = NULL;

	if (!context || !params || EVP_PKEY_fromdata_init(context) != 1 ||
	    EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	OSSL_PARAM_free(params);
	EVP_PKEY_CTX_free(context);
	return key;
}

static EVP_PKEY *rsa_key(struct sshwire *w)
{
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	BIGNUM *e = NULL, *n = NULL;
	EVP_PKEY *key = NULL;
	struct sshwire part;

	if (sshwire_string(w, &part))
		e = BN_bin2bn(part.at, (int)part.left, NULL);
	if (sshwire_string(w, &part) && sshwire_bits(&part) >= SSHCERT_RSA_MIN)
		n = BN_bin2bn(part.at, (int)part.left, NULL);
	if (build && e && n && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1 &&
	    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1)
		key = from_params("RSA", build);
	OSSL_PARAM_BLD_free(build);
	BN_free(e);
	BN_free(n);
	return key;
}

static EVP_PKEY *ec_key(const struct signature_scheme *s, struct sshwire *w)
{
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	struct sshwire curve, point;
	EVP_PKEY *key = NULL;

	if (build && sshwire_string(w, &curve) && sshwire_is(&curve, s->curve) &&
	    sshwire_string(w, &point) &&
	    OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, s->group, 0) == 1 &&
	    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point.at, point.left) == 1)
		key = from_params("EC", build);
	OSSL_PARAM_BLD_free(build);
	return key;
}

/* The key, of the type that the scheme is for, which is read to its end; NULL when it is none. */
static EVP_PKEY *read_key(const struct signature_scheme *s, struct sshwire *w)
{
	struct sshwire part;

	if (s->curve)
		return ec_key(s, w);
	if (s->digest)
		return rsa_key(w);
	if (!sshwire_string(w, &part) || part.left != ED25519_LEN)
		return NULL;
	return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, part.at, part.left);
}

/* r and s as SSH has them (RFC 5656, 3.1.2), in the form that libcrypto takes. Its length, or -1. */
static int ec_signature(struct sshwire raw, unsigned char **ret)
{
	ECDSA_SIG *signature = ECDSA_SIG_new();
	struct sshwire r, s;
	int len = -1;

	if (signature && sshwire_string(&raw, &r) && sshwire_string(&raw, &s) && raw.left == 0) {
		BIGNUM *br = BN_bin2bn(r.at, (int)r.left, NULL), *bs = BN_bin2bn(s.at, (int)s.left, NULL);

		/* It takes both over, or none. */
		if (br && bs && ECDSA_SIG_set0(signature, br, bs) == 1) {
			len = i2d_ECDSA_SIG(signature, ret);
		} else {
			BN_free(br);
			BN_free(bs);
		}
	}
	ECDSA_SIG_free(signature);
	return len;
}

const struct signature_scheme *signature_find(const struct sshwire *name)
{
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (sshwire_is(name, schemes[i].signature))
			return &schemes[i];
	return NULL;
}

int signature_parts(const struct signature_scheme *s)
{
	return s->digest ? 2 : 1;
}

bool signature_verify(const struct signature_scheme *s, struct sshwire key, struct sshwire raw,
		      struct sshwire data)
{
	CLEANUP_PKEY EVP_PKEY *pkey = read_key(s, &key);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool right = false;

	if (pkey && context && key.left == 0 &&
	    EVP_DigestVerifyInit(context, NULL, s->digest ? s->digest() : NULL, NULL, pkey) == 1)
		right = EVP_DigestVerify(context, raw.at, raw.left, data.at, data.left) == 1;
	EVP_MD_CTX_free(context);
	return right;
}

bool signature_verify_blob(struct sshwire key, struct sshwire signature, struct sshwire data)
{
	const struct signature_scheme *s;
	struct sshwire type, name, raw;
	unsigned char *der = NULL;
	bool right = false;
	int len = 0;

	if (!sshwire_string(&signature, &name) || !sshwire_string(&signature, &raw) || signature.left)
		return false;
	s = signature_find(&name);
	if (!s || !sshwire_string(&key, &type) || !sshwire_is(&type, s->key))
		return false;
	if (s->curve) {
		len = ec_signature(raw, &der);
		raw = (struct sshwire){ der, len > 0 ? (size_t)len : 0 };
	}
	if (len >= 0)
		right = signature_verify(s, key, raw, data);
	OPENSSL_free(der);
	return right;
}
