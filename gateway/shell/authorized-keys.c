/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * authorized-keys: what a stock sshd asks whose key that is. sshd_config(5):
 *	AuthorizedKeysCommand /usr/libexec/vm2/authorized-keys %u %t %k
 *	AuthorizedKeysCommandUser vm2-gateway
 * vm2d is asked for this one key, which is printed when it is the tenant's, with all forwarding
 * off: it would leave from the host, whatever else sshd is told. Nothing printed means no, and sshd
 * goes on as it would without us; so accounts that are no tenants' are left alone. For a certificate
 * its authority is printed, with the names that count: sshd verifies it, and keeps what it says.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "provision/api/client.h"
#include "provision/base/cleanup.h"
#include "provision/base/config.h"
#include "provision/base/log.h"
#include "provision/base/sshcert.h"

/* Of the key in base64: more than vm2d takes. */
#define KEY_LEN_MAX 32768
/* How long sshd, and the client behind it, are kept waiting. */
#define ANSWER_MS 5000
/* Last, since the last word counts (sshd(8), AUTHORIZED_KEYS FILE FORMAT). */
#define NO_FORWARDING "no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc"

static int usage(void)
{
	dprintf(STDERR_FILENO, "usage: authorized-keys USER TYPE BASE64 (sshd_config: "
			       "AuthorizedKeysCommand %%u %%t %%k)\n");
	return ERR_USAGE;
}

/* The line about a key: its options, and the key. */
static int ask_key(const struct config *config, const char *user, const char *key, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 }, reply = { 0 };
	const char *options;
	int r;

	msg_add(&request, "op", "auth.key");
	msg_add(&request, "tenant", user);
	msg_add(&request, "key", key);
	msg_add(&request, "source", "sshd");
	r = client_call(config->socket, &request, ANSWER_MS, NULL, &reply, err);
	if (r != 0)
		return r;
	options = msg_get(&reply, "options");
	printf("%s%s" NO_FORWARDING " %s\n", options ? options : "", options && *options ? "," : "", key);
	return 0;
}

/* The line about a certificate's authority: the names that let in, and its key. */
static int ask_authority(const struct config *config, const char *user, const char *key,
			 struct err *err)
{
	CLEANUP_FREE unsigned char *blob = xcalloc(1, SSHCERT_MAX);
	CLEANUP_SSHCERT struct sshcert c = { 0 };
	CLEANUP_MSG struct msg request = { 0 }, reply = { 0 };
	CLEANUP_BUF struct buf ca = { 0 };
	struct sshwire rest, type;
	int r = sshcert_parse_text(key, blob, &c, err);

	rest = c.ca;
	if (r != 0 || !sshwire_string(&rest, &type))
		return ERR_DENIED;
	buf_printf(&ca, "%.*s ", (int)type.left, (const char *)type.at);
	sshwire_encode(c.ca.at, c.ca.left, &ca);
	msg_add(&request, "op", "auth.ca");
	msg_add(&request, "tenant", user);
	msg_add(&request, "key", ca.data);
	for (size_t i = 0; i < c.n_principals; i++)
		msg_add(&request, "principal", c.principals[i]);
	msg_add(&request, "source", "sshd");
	r = client_call(config->socket, &request, ANSWER_MS, NULL, &reply, err);
	if (r == 0)
		printf("cert-authority,principals=\"%s\"," NO_FORWARDING " %s\n",
		       msg_get(&reply, "principals"), ca.data);
	return r;
}

int main(int argc, char **argv)
{
	CLEANUP_CONFIG const struct config *config = NULL;
	CLEANUP_FREE char *key = NULL;
	struct err err = { 0 };
	int r;

	if (argc != 4 || strlen(argv[2]) > NAME_LEN_MAX * 2 || strlen(argv[3]) > KEY_LEN_MAX)
		return usage();
	/* No tenant can have such a name: no question. */
	if (!name_valid(argv[1]))
		return 0;
	key = xasprintf("%s %s", argv[2], argv[3]);
	r = config_load(NULL, &config, &err);
	if (r == 0)
		r = sshcert_type(key) ? ask_authority(config, argv[1], key, &err) :
					ask_key(config, argv[1], key, &err);
	if (r != 0 && r != ERR_DENIED)
		log_err("%s", err.text);
	return r == 0 || r == ERR_DENIED ? 0 : err_exit_status(r);
}
