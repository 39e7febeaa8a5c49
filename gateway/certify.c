/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm2-gateway-certify: reads one certificate that a client offered and verifies its authority's
 * signature. Started by the monitor for each, with a socket as descriptor 3: neither the monitor nor
 * vm2d, who decide, hold what parses the certificate. In the wire process's sandbox: all that it can do
 * is answer. It takes `key` and `source` and answers ca, id, serial, principal*, options, or `error`.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "gateway/launch.h"
#include "gateway/sandbox.h"
#include "gateway/signature.h"
#include "provision/api/msg.h"
#include "provision/base/cleanup.h"
#include "provision/base/log.h"
#include "provision/base/sshcert.h"

/* Standard ones, the socket, and some in passing. */
#define FDS_MAX 16

static int check_signature(const struct sshcert *c, struct err *err)
{
	if (signature_verify_blob(c->ca, c->signature, c->tbs))
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
