/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/session/environment.h"

#include <ctype.h>
#include <string.h>

/* Root's standard path, as in Debian's /etc/login.defs (ENV_SUPATH). */
#define ROOT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* 18 of our own at most, and what the customer sends. */
#define OWN_MAX 18
#define ACCEPTED_MAX 64
#define VALUE_MAX 4096

bool environment_accepts(const char *entry)
{
	const char *equals = strchr(entry, '=');

	if (!equals || equals == entry || strlen(equals) > VALUE_MAX || isdigit((unsigned char)*entry))
		return false;
	for (const char *p = entry; p < equals; p++)
		if (!isalnum((unsigned char)*p) && *p != '_')
			return false;
	return true;
}

/* Whether a variable is there: what is said first holds, and shells do not agree on that. */
static bool is_set(char *const *env, size_t n, const char *entry)
{
	size_t len = strcspn(entry, "=") + 1;

	for (size_t i = 0; i < n; i++)
		if (strncmp(env[i], entry, len) == 0)
			return true;
	return false;
}

bool environment_address(const char *text, char *ret_addr, size_t cap, const char **ret_port)
{
	const char *colon = text ? strrchr(text, ':') : NULL;
	uint64_t port;
	size_t len;

	if (!colon || parse_u64(colon + 1, 65535, &port) < 0)
		return false;
	len = (size_t)(colon - text);
	if (len > 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (len == 0 || len >= cap || strcspn(text, " \n=") < len)
		return false;
	memcpy(ret_addr, text, len);
	ret_addr[len] = '\0';
	*ret_port = colon + 1;
	return true;
}

/* SSH_CONNECTION and SSH_CLIENT, sshd(8): what programs in the guest ask for where one comes from. */
static size_t add_connection(const struct order *o, char **env, size_t n)
{
	const char *port, *local_port;
	char addr[64], local[64];

	if (!environment_address(o->source, addr, sizeof(addr), &port) ||
	    !environment_address(o->local, local, sizeof(local), &local_port))
		return n;
	env[n++] = xasprintf("SSH_CONNECTION=%s %s %s %s", addr, port, local, local_port);
	env[n++] = xasprintf("SSH_CLIENT=%s %s %s", addr, port, local_port);
	return n;
}

char **environment_make(const struct order *o, const struct passwd_root *root, const char *tty,
			const char *lang)
{
	char **env = xcalloc(OWN_MAX + ACCEPTED_MAX + 1, sizeof(*env));
	const char *entry;
	size_t n = 0, pos = 0;
	bool said = false;

	env[n++] = xasprintf("HOME=%s", root->home);
	env[n++] = xasprintf("SHELL=%s", root->shell);
	env[n++] = xstrdup("USER=root");
	env[n++] = xstrdup("LOGNAME=root");
	env[n++] = xstrdup("PATH=" ROOT_PATH);
	env[n++] = xstrdup("MAIL=/var/mail/root");
	env[n++] = xasprintf("VM2_SESSION=%s", o->session);
	if (o->pty && o->term && *o->term && strlen(o->term) < 128)
		env[n++] = xasprintf("TERM=%s", o->term);
	if (o->original)
		env[n++] = xasprintf("SSH_ORIGINAL_COMMAND=%s", o->original);
	if (o->agent)
		env[n++] = xasprintf("SSH_AUTH_SOCK=%s", o->agent);
	if (o->x11)
		env[n++] = xasprintf("DISPLAY=%s", o->x11);
	n = add_connection(o, env, n);
	if (tty)
		env[n++] = xasprintf("SSH_TTY=%s", tty);
	while (n < OWN_MAX + ACCEPTED_MAX && (entry = msg_next_value(&o->msg, "env", &pos)))
		if (environment_accepts(entry) && !is_set(env, n, entry)) {
			env[n++] = xstrdup(entry);
			said = said || str_starts(entry, "LANG=") || str_starts(entry, "LC_ALL=");
		}
	if (!said && *lang)
		env[n++] = xasprintf("LANG=%s", lang);
	return env;
}
