/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gateway/shell/ask.h"

#include <string.h>

#include "provision/base/cleanup.h"

/* Longer ones, or more of them, are nobody's language. */
#define ENTRY_MAX 256
#define ENTRIES_MAX 64

/* Language settings only; all else of the host's environment is no business of the guest. */
static void add_environment(struct msg *request, char *const env[])
{
	int n = 0;

	for (char *const *e = env; e && *e && n < ENTRIES_MAX; e++)
		if ((str_starts(*e, "LANG=") || str_starts(*e, "LANGUAGE=") ||
		     str_starts(*e, "LC_")) &&
		    strnlen(*e, ENTRY_MAX) < ENTRY_MAX && (*e)[strcspn(*e, "=")] == '=' &&
		    strspn(*e, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == strcspn(*e, "=")) {
			msg_add(request, "env", *e);
			n++;
		}
}

/*
 * What a stock sshd has a login shell run for its `Subsystem sftp`, where distributions keep it. In a
 * guest that has no such program ours is brought in, as at the front door. With options it is left to
 * the guest's: they may forbid things.
 */
static bool is_sftp(const char *command)
{
	static const char *const places[] = { "/usr/lib/openssh/sftp-server",
					      "/usr/libexec/openssh/sftp-server",
					      "/usr/lib/ssh/sftp-server", "/usr/lib/sftp-server",
					      "/usr/libexec/sftp-server" };

	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (!strcmp(command, places[i]))
			return true;
	return false;
}

int ask_fill(struct msg *request, const char *tenant, char *const argv[], char *const env[],
	     bool terminal, struct err *err)
{
	bool exec, sftp;
	int argc = 0;

	/* execve(2) lets a caller leave out even the name. */
	while (argv[argc] && argc < 4)
		argc++;
	exec = argc == 3 && !strcmp(argv[1], "-c");
	if (argc > 1 && !exec && !(argc == 2 && !strcmp(argv[1], "-l")))
		return err_set(err, ERR_USAGE, "usage: vm2-shell [-l | -c COMMAND]");
	msg_add(request, "op", "session.open");
	msg_add(request, "tenant", tenant);
	sftp = exec && !terminal && is_sftp(argv[2]);
	msg_add(request, "kind", sftp ? "subsystem" : exec ? "exec" : "shell");
	msg_add(request, "command", sftp ? "sftp" : exec ? argv[2] : NULL);
	msg_add(request, "via", "shell");
	/* A command whose output goes into a file or pipe must not have a terminal's line ends in it. */
	if (exec && !terminal)
		msg_add(request, "pty", "0");
	add_environment(request, env);
	return 0;
}
