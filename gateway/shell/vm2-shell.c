/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm2-shell: the login shell of tenants' accounts on the host. Whoever starts it (su, login, a
 * stock sshd), it ends in the tenant's guest and nowhere else. It runs with the tenant's own uid,
 * has no privilege, and takes from its surroundings the terminal, the command and the language.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "build.h"
#include "gateway/shell/ask.h"
#include "provision/api/terminal.h"
#include "provision/base/cleanup.h"
#include "provision/base/config.h"

#define SHELL_PATH VM2_BINDIR "/vm2-shell"

extern char **environ;

static int fail(const struct err *err)
{
	dprintf(STDERR_FILENO, "vm2-shell: %s\n", err->text);
	return err_exit_status(err->code);
}

/* Descriptors 0, 1 and 2 are there, whatever the caller left closed (POSIX exec, 2.5). */
static int open_standard(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			return -errno;
	} while (fd <= STDERR_FILENO);
	close(fd);
	return 0;
}

/* The tenant whose account this process runs as: by its real uid, never by a name it was told. */
static int find_tenant(const struct config *config, char tenant[NAME_LEN_MAX + 1], struct err *err)
{
	uid_t uid = getuid();
	const struct passwd *pw;

	errno = 0;
	pw = getpwuid(uid);
	if (!pw && errno != 0 && errno != ENOENT)
		return err_sys(err, errno, "cannot find out whose uid %u is", (unsigned int)uid);
	if (!pw || uid != geteuid() || uid < config->account_base ||
	    uid - config->account_base >= config->account_count ||
	    strcmp(pw->pw_shell, SHELL_PATH) || !name_valid(pw->pw_name))
		return err_set(err, ERR_DENIED,
			       "uid %u is no tenant's account: this shell is for tenants only, staff "
			       "use: vm2 guest shell TENANT",
			       (unsigned int)uid);
	memcpy(tenant, pw->pw_name, strlen(pw->pw_name) + 1);
	return 0;
}

int main(int argc, char **argv)
{
	CLEANUP_CONFIG const struct config *config = NULL;
	CLEANUP_MSG struct msg request = { 0 };
	char tenant[NAME_LEN_MAX + 1];
	struct err err = { 0 };
	int status = 0;

	if (open_standard() < 0)
		return err_exit_status(ERR_FAILED);
	if (config_load(NULL, &config, &err) != 0 || find_tenant(config, tenant, &err) != 0 ||
	    ask_fill(&request, tenant, argv, environ, isatty(STDOUT_FILENO), &err) != 0 ||
	    terminal_session(config->socket, &request, &status, &err) != 0)
		return fail(&err);
	return status;
}
