/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/publickey.h"

#include <fcntl.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

#define FILE_MAX 65536

/* What is often given instead of a public key (PEM, RFC 4716, PuTTY). */
static int refuse_others(const char *path, const char *text, struct err *err)
{
	if (strstr(text, "PRIVATE KEY-----") || str_starts(text, "PuTTY-User-Key-File"))
		return err_set(err, ERR_USAGE,
			       "%s holds a private key, which nobody should have but its owner: give the"
			       " public one, most likely %s.pub",
			       path, path);
	if (strstr(text, "BEGIN SSH2 PUBLIC KEY") || strstr(text, "BEGIN PUBLIC KEY"))
		return err_set(err, ERR_USAGE,
			       "%s is not in OpenSSH's form: convert it with ssh-keygen -i -f %s", path,
			       path);
	return 0;
}

/* Whether a word is a key type as sshd(8) lists them, and base64 follows it. */
static bool key_at(const char *s)
{
	size_t type = strcspn(s, " \t"), blob;

	if (!str_starts(s, "ssh-") && !str_starts(s, "ecdsa-sha2-") && !str_starts(s, "sk-"))
		return false;
	s += type;
	s += strspn(s, " \t");
	blob = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");
	return blob >= 32 && (!s[blob] || s[blob] == ' ' || s[blob] == '\t');
}

/* Options may stand before the type, with spaces in quotes: what matters is that a key comes. */
static bool line_has_key(const char *line)
{
	for (const char *s = line; *s; s++)
		if ((s == line || s[-1] == ' ' || s[-1] == '\t') && key_at(s))
			return true;
	return false;
}

static char *strip(char *s)
{
	size_t len;

	s += strspn(s, " \t\r");
	for (len = strlen(s); len && strchr(" \t\r", s[len - 1]); len--)
		s[len - 1] = '\0';
	return s;
}

int publickey_parse(const char *path, char *text, void (*add)(void *data, const char *line),
		    void *data, struct err *err)
{
	CLEANUP_FREE char **lines = xcalloc(strlen(text) + 1, sizeof(*lines));
	size_t n = 0;
	int number = 0, r = refuse_others(path, text, err);
	char *line;

	if (r != 0)
		return r;
	while ((line = strsep(&text, "\n"))) {
		number++;
		line = strip(line);
		if (!*line || *line == '#')
			continue;
		if (!line_has_key(line))
			return err_set(err, ERR_USAGE,
				       "%s:%d is no public key: a line like 'ssh-ed25519 AAAA... name' is",
				       path, number);
		lines[n++] = line;
	}
	if (!n)
		return err_set(err, ERR_USAGE, "there is no public key in %s", path);
	for (size_t i = 0; i < n; i++)
		add(data, lines[i]);
	return 0;
}

int publickey_read(const char *path, void (*add)(void *data, const char *line), void *data,
		   struct err *err)
{
	CLEANUP_FREE char *text = xcalloc(1, FILE_MAX);
	const char *name = strcmp(path, "-") ? path : "standard input";
	ssize_t len = strcmp(path, "-") ? fd_read_path(AT_FDCWD, path, text, FILE_MAX) :
					  fd_read_file(STDIN_FILENO, text, FILE_MAX);

	if (len == -EFBIG)
		return err_set(err, ERR_USAGE, "%s is too long for a file of public keys", name);
	if (len < 0)
		return err_sys(err, (int)-len, "cannot read the public key %s", name);
	if (strlen(text) != (size_t)len)
		return err_set(err, ERR_USAGE, "%s is no text, so no public key", name);
	return publickey_parse(name, text, add, data, err);
}
