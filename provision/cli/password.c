/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/password.h"

#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <termios.h>

#include "provision/base/cleanup.h"

/* One line, byte by byte: what follows it on standard input is not ours. */
static int read_line(char line[PASSWORD_MAX], struct err *err)
{
	size_t len = 0;

	for (;;) {
		char c;
		ssize_t n = read(STDIN_FILENO, &c, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, errno, "cannot read the password");
		if (n == 0 || c == '\n')
			break;
		if (c == '\0' || len + 1 >= PASSWORD_MAX)
			return err_set(err, ERR_USAGE, "a password has at most %d bytes, none of them NUL",
				       PASSWORD_MAX - 1);
		line[len++] = c;
	}
	line[len] = '\0';
	if (!len)
		return err_set(err, ERR_USAGE, "an empty password is none; see vm2 tenant passwd --help");
	return 0;
}

static int ask(const char *prompt, const char *whose, char line[PASSWORD_MAX], struct err *err)
{
	int r;

	fprintf(stderr, "%s %s: ", prompt, whose);
	r = read_line(line, err);
	fputc('\n', stderr);
	return r;
}

int password_read(const char *whose, char ret[PASSWORD_MAX], struct err *err)
{
	char again[PASSWORD_MAX] = "";
	struct termios old, quiet;
	sigset_t keys, mask;
	int r;

	if (tcgetattr(STDIN_FILENO, &old) < 0)
		return read_line(ret, err);
	/* An interrupt waits until the echo is back. */
	sigemptyset(&keys);
	sigaddset(&keys, SIGINT);
	sigaddset(&keys, SIGTERM);
	sigaddset(&keys, SIGTSTP);
	sigprocmask(SIG_BLOCK, &keys, &mask);
	quiet = old;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	r = ask("New password for", whose, ret, err);
	if (r == 0)
		r = ask("Again, for", whose, again, err);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	if (r == 0 && strcmp(ret, again))
		r = err_set(err, ERR_USAGE, "the two passwords differ; nothing was changed");
	explicit_bzero(again, sizeof(again));
	return r;
}
