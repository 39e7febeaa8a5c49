/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/transfer.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "provision/base/cleanup.h"

/* Standard input or output, where a terminal would be a mistake. 0 or ERR_USAGE. */
static int check_standard(int fd, struct err *err)
{
	return isatty(fd) ? err_set(err, ERR_USAGE,
				    "an export does not go to or from a terminal: name a file") :
			    0;
}

/* The path stays here: vm2d gets what it leads to. */
static int ask(struct cli *cli, int fd, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };
	int r;

	msg_add(&request, "op", cli->verb->op);
	msg_add(&request, "name", cli->words[0]);
	r = msg_add_fd(&request, fd);
	return r < 0 ? err_sys(err, -r, "cannot hand %s to vm2d", cli->words[1]) :
		       command_call(cli, &request, NULL, NULL, NULL, err);
}

/* Mode 0600: it holds all that the guest has. */
static int __attribute__((nonnull(2))) export_to(struct cli *cli, const char *path, struct err *err)
{
	CLEANUP_FREE char *part = xasprintf("%s.part", path);
	CLEANUP_CLOSE int fd = -1;
	int r;

	if (access(path, F_OK) == 0)
		return err_set(err, ERR_EXISTS, "%s is there already", path);
	fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(err, errno, "cannot make %s", part);
	r = ask(cli, fd, err);
	if (r == 0 && (fsync(fd) < 0 || rename(part, path) < 0))
		r = err_sys(err, errno, "cannot keep %s", path);
	if (r != 0)
		unlink(part);
	return r;
}

int transfer_export(struct cli *cli, struct err *err)
{
	const char *path = cli->words[1];
	struct stat st;
	int r;

	if (!strcmp(path, "-")) {
		r = check_standard(STDOUT_FILENO, err);
		return r == 0 ? ask(cli, STDOUT_FILENO, err) : r;
	}
	r = export_to(cli, path, err);
	if (r == 0 && cli->json && stat(path, &st) == 0)
		printf("{\"bytes\": %lld}\n", (long long)st.st_size);
	return r;
}

int transfer_import(struct cli *cli, struct err *err)
{
	const char *path = cli->words[1];
	bool standard = !strcmp(path, "-");
	CLEANUP_CLOSE int file = standard ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	int r = standard ? check_standard(STDIN_FILENO, err) : 0;

	if (!standard && file < 0)
		return err_sys(err, errno, "cannot open %s", path);
	if (r == 0)
		r = ask(cli, standard ? STDIN_FILENO : file, err);
	if (r == 0)
		command_done(cli);
	return r;
}
