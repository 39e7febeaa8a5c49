/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm2-gateway-certify: reads one certificate that a client offered and verifies its authority's
 * signature. Started by the monitor for each, with a socket as descriptor 3: neither the monitor nor
 * vm2d, who decide, hold what parses the certificate. In the wire process's sandbox: all that it can do
 * is answer. It takes `key` and `source` and answers ca, id, serial, principal*, options, or `error`.
 */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "gateway/launch.h"
#include "gateway/sandbox.h"
#include "provision/api/msg.h"
#include "provision/base/cleanup.h"
#include "provision/base/log.h"
#include "provision/base/sshcert.h"

/* Standard ones, the socket, and some in passing. */
#define FDS_MAX 16

static inline void cleanup_pkey(EVP_PKEY **key)
{
	EVP_PKEY_free(*key);
}
#define CLEANUP_PKEY __attribute__((cleanup(cleanup_pkey)))

/* Which signatures count, of which keys (RFC 5656, RFC 8332, RFC 8709): none with SHA-1. */
static const struct scheme {
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

static EVP_PKEY *ec_key(const struct scheme *s, struct sshwire *w)
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

/* The authority's key, of the type that the scheme is for; NULL when it is none. */
static EVP_PKEY *read_key(const struct scheme *s, struct sshwire ca)
{
	struct sshwire type, part;
	EVP_PKEY *key = NULL;

	if (!sshwire_string(&ca, &type) || !sshwire_is(&type, s->key))
		return NULL;
	if (s->curve)
		key = ec_key(s, &ca);
	else if (s->digest)
		key = rsa_key(&ca);
	else if (sshwire_string(&ca, &part) && part.left == 32)
		key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, part.at, part.left);
	if (!key || !ca.left)
		return key;
	EVP_PKEY_free(key);
	return NULL;
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

static bool verify(const struct scheme *s, const struct sshcert *c, struct sshwire raw)
{
	CLEANUP_PKEY EVP_PKEY *key = read_key(s, c->ca);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	unsigned char *der = NULL;
	bool right = false;
	int len = 0;

	if (s->curve) {
		len = ec_signature(raw, &der);
		raw = (struct sshwire){ der, len > 0 ? (size_t)len : 0 };
	}
	if (key && context && len >= 0 &&
	    EVP_DigestVerifyInit(context, NULL, s->digest ? s->digest() : NULL, NULL, key) == 1)
		right = EVP_DigestVerify(context, raw.at, raw.left, c->tbs.at, c->tbs.left) == 1;
	OPENSSL_free(der);
	EVP_MD_CTX_free(context);
	return right;
}

static int check_signature(const struct sshcert *c, struct err *err)
{
	struct sshwire rest = c->signature, type, raw;

	if (sshwire_string(&rest, &type) && sshwire_string(&rest, &raw) && rest.left == 0)
		for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
			if (sshwire_is(&type, schemes[i].signature) && verify(&schemes[i], c, raw))
				return 0;
	return err_set(err, ERR_DENIED, "the certificate's signature is not its authority's");
}

static int answer(const struct sshcert *c, struct msg *reply, struct err *err)
{
	CLEANUP_BUF struct buf ca = { 0 }, options = { 0 };
	struct sshwire rest = c->ca, type;

	if (!sshwire_string(&rest, &type))
		return err_set(err, ERR_USAGE, "the authority's key has no type");
	buf_printf(&ca, "%.*s ", (int)type.left, (const char *)type.at);
	sshwire_encode(c->ca.at, c->ca.left, &ca);
	keyopts_write(&c->options, &options);
	msg_add(reply, "ca", ca.data);
	msg_add(reply, "id", c->id);
	msg_add_u64(reply, "serial", c->serial);
	msg_add(reply, "options", options.data ? options.data : "");
	for (size_t i = 0; i < c->n_principals; i++)
		msg_add(reply, "principal", c->principals[i]);
	return 0;
}

static int check(const struct msg *request, struct msg *reply, struct err *err)
{
	CLEANUP_FREE unsigned char *blob = xcalloc(1, SSHCERT_MAX);
	CLEANUP_SSHCERT struct sshcert c = { 0 };
	const char *key;
	int r = msg_need(request, "key", &key, err);

	if (r == 0)
		r = sshcert_parse_text(key, blob, &c, err);
	if (r == 0)
		r = sshcert_usable(&c, time(NULL), msg_get(request, "source"), err);
	if (r == 0)
		r = check_signature(&c, err);
	return r == 0 ? answer(&c, reply, err) : r;
}

/* What libcrypto loads when it is first used, it loads before the sandbox closes. */
static void prepare(void)
{
	unsigned char digest[EVP_MAX_MD_SIZE];

	OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL);
	EVP_Digest("", 0, digest, NULL, EVP_sha256(), NULL);
}

int main(void)
{
	CLEANUP_MSG struct msg request = { 0 }, reply = { 0 };
	struct err err = { 0 };
	int r;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prepare();
	r = sandbox_enter(NULL, FDS_MAX, &err);
	if (r == 0)
		r = msg_recv(LAUNCH_FD_FIRST, &request, 0, &err);
	if (r == 0 && check(&request, &reply, &err) != 0) {
		msg_free(&reply);
		msg_add(&reply, "error", err.text);
	}
	if (r == 0)
		r = msg_send(LAUNCH_FD_FIRST, &reply, &err);
	if (r != 0)
		log_err("%s", err.text);
	/* As _exit(2), without what a sanitizer does before it: the sandbox lets that not pass. */
	syscall(SYS_exit_group, r == 0 ? 0 : 1);
	return 1;
}
