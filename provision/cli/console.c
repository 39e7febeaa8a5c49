/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/console.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

#define PAUSE_MS 300

/* The guest writes it: on a terminal each line's control characters are spelled out. */
static void print_safely(char *text, size_t len)
{
	CLEANUP_BUF struct buf b = { 0 };

	for (size_t i = 0; i < len; i++)
		if (!text[i] || text[i] == '\r')
			text[i] = ' ';
	text[len] = '\0';
	for (char *line; (line = strsep(&text, "\n"));) {
		text_escape(&b, line);
		if (text)
			buf_puts(&b, "\n");
	}
	fwrite(b.data, 1, b.len, stdout);
}

static int copy(int fd, struct err *err)
{
	bool terminal = isatty(STDOUT_FILENO);
	char text[4096];
	ssize_t n;

	while ((n = read(fd, text, sizeof(text) - 1)) > 0)
		if (terminal)
			print_safely(text, (size_t)n);
		else
			fwrite(text, 1, (size_t)n, stdout);
	if (n < 0)
		return err_sys(err, errno, "cannot read the console");
	return fflush(stdout) == 0 ? 0 : err_sys(err, errno, "cannot write it");
}

/* What is there: the older half and the current one; -1 for each that is not. */
static int ask(struct cli *cli, int *ret_old, int *ret_now, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 }, reply = { 0 };
	int r;

	command_fill(cli, &request);
	r = command_call(cli, &request, NULL, NULL, &reply, err);
	if (r != 0)
		return r;
	*ret_old = reply.n_fds > 1 ? msg_take_fd(&reply, 0) : -1;
	*ret_now = reply.n_fds > 0 ? msg_take_fd(&reply, reply.n_fds - 1) : -1;
	return 0;
}

static bool same(int a, int b)
{
	struct stat x, y;

	return a >= 0 && b >= 0 && fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* Once more: what has come in the file that is being read; and in the one that has taken its place. */
static int again(struct cli *cli, int *now, struct err *err)
{
	CLEANUP_CLOSE int old = -1, next = -1;
	int r = ask(cli, &old, &next, err);

	if (r == 0 && *now >= 0)
		r = copy(*now, err);
	if (r != 0 || next < 0 || same(*now, next))
		return r;
	fd_close(*now);
	*now = steal_fd(&next);
	return copy(*now, err);
}

int console_show(struct cli *cli, struct err *err)
{
	CLEANUP_CLOSE int old = -1, now = -1;
	int r = ask(cli, &old, &now, err);

	if (r == 0 && old >= 0)
		r = copy(old, err);
	if (r == 0 && now >= 0)
		r = copy(now, err);
	while (r == 0 && command_option(cli, "follow")) {
		poll(NULL, 0, PAUSE_MS);
		r = again(cli, &now, err);
	}
	return r;
}
