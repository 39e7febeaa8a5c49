/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gateway/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"

/* A private key file; RSA with 16,384 bits takes 13 KB. */
#define KEY_FILE_MAX 32768

/* Bytes of a banner; what is longer is not shown. */
#define BANNER_MAX 8192

/* The host's private keys, for the wire, which cannot open a file. */
static int add_hostkeys(const struct config *config, struct msg *settings, struct err *err)
{
	static const char *const types[] = { "ed25519", "ecdsa", "rsa" };
	char text[KEY_FILE_MAX];
	int n = 0;

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		CLEANUP_FREE char *path = xasprintf("%s/ssh_host_%s_key", config->hostkeys, types[i]);
		ssize_t len = fd_read_path(AT_FDCWD, path, text, sizeof(text));

		if (len == -ENOENT)
			continue;
		if (len < 0)
			return err_sys(err, (int)-len, "cannot read the host key %s", path);
		msg_add(settings, "hostkey", text);
		n++;
	}
	explicit_bzero(text, sizeof(text));
	return n ? 0 : err_set(err, ERR_FAILED, "there is no host key in %s; make them: vm2 host setup",
			       config->hostkeys);
}

/* With commas between, as SSH has them. */
static void add_algorithms(struct msg *settings, const char *name, const char *words)
{
	CLEANUP_FREE char *copy = xstrdup(words);
	CLEANUP_BUF struct buf list = { 0 };
	char *rest = copy, *word;

	while ((word = strsep(&rest, " \t,")))
		if (*word)
			buf_printf(&list, "%s%s", list.len ? "," : "", word);
	msg_add(settings, name, list.data);
}

/* What is shown before a login. That it cannot be read keeps nobody out. */
static void add_banner(const struct config *config, struct msg *settings)
{
	char text[BANNER_MAX];
	ssize_t len;

	if (!*config->banner)
		return;
	len = fd_read_path(AT_FDCWD, config->banner, text, sizeof(text));
	if (len >= 0)
		msg_add(settings, "banner", text);
	else
		log_err("cannot read the banner %s: %s", config->banner, strerror((int)-len));
}

int settings_make(const struct config *config, struct msg *settings, struct err *err)
{
	int r = add_hostkeys(config, settings, err);

	msg_add_u64(settings, "max-sessions", config->max_sessions);
	msg_add_u64(settings, "max-forwards", config->max_forwards);
	msg_add(settings, "accept-env", config->accept_env);
	msg_add_u64(settings, "client-alive", config->client_alive);
	add_algorithms(settings, "kex", config->kex);
	add_algorithms(settings, "ciphers", config->ciphers);
	add_algorithms(settings, "macs", config->macs);
	add_algorithms(settings, "host-key-algorithms", config->host_key_algorithms);
	add_algorithms(settings, "public-key-algorithms", config->public_key_algorithms);
	add_banner(config, settings);
	return r;
}
