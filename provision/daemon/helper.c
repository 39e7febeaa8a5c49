/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "build.h"
#include "provision/daemon/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

#define LINE_MAX_BYTES 1000
#define RESERVE	       (1ULL << 30)
/* For how long a line is held back: it may be the last one, which says why and is no progress. */
#define HOLD_MS 100

/* Descriptors of the child that are not yet in their places stay clear of them. */
#define HIGH 10

static int high(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD, HIGH);
}

static void __attribute__((noreturn)) become(const struct helper *h, int error, pid_t worker)
{
	static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", lang[] = "LANG=C.UTF-8";
	char *environment[] = { path, lang, NULL };
	int in = high(h->in >= 0 ? h->in : open("/dev/null", O_RDONLY));
	int tree = high(h->tree), said = high(error), out = high(h->out >= 0 ? h->out : error);

	/* Its parent is the worker, which is what must not end before it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != worker)
		_exit(127);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(said, 2) < 0 || (tree >= 0 && dup2(tree, 3) < 0))
		_exit(127);
	fd_close_from(tree >= 0 ? 4 : 3);
	execve(h->argv[0], (char *const *)(uintptr_t)h->argv, environment);
	dprintf(2, "cannot run %s: %s\n", h->argv[0], strerror(errno));
	_exit(127);
}

struct lines {
	const struct helper *h;
	char text[LINE_MAX_BYTES], last[LINE_MAX_BYTES];
	size_t len;
	bool held; /* nobody has been told the last one */
};

static void tell_last(struct lines *l)
{
	if (l->held && l->h->progress)
		l->h->progress(l->h->data, l->last);
	l->held = false;
}

static void end_line(struct lines *l)
{
	l->text[l->len] = '\0';
	if (l->len) {
		tell_last(l);
		memcpy(l->last, l->text, l->len + 1);
		l->held = true;
	}
	l->len = 0;
}

static void take(struct lines *l, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n' || l->len == sizeof(l->text) - 1)
			end_line(l);
		if (data[i] != '\n')
			l->text[l->len++] = data[i];
	}
}

/* Until it says no more; *ret_left: whoever asked hung up before. */
static void relay(struct lines *l, int from, bool *ret_left)
{
	struct pollfd p[2] = { { .fd = from, .events = POLLIN },
		{ .fd = l->h->peer, .events = POLLRDHUP } };
	char data[4096];
	ssize_t n;

	for (;;) {
		int r = poll(p, 2, l->held ? HOLD_MS : -1);

		if (r == 0)
			tell_last(l);
		if (r <= 0)
			continue;
		if (p[1].revents) {
			*ret_left = true;
			return;
		}
		n = read(from, data, sizeof(data));
		if (n <= 0)
			break;
		take(l, data, (size_t)n);
	}
	end_line(l);
}

/* What a helper said last, without the name that it gives itself. */
static int tell_why(const struct lines *l, struct err *err)
{
	const char *slash = strrchr(l->h->argv[0], '/'), *name = slash ? slash + 1 : l->h->argv[0];
	const char *why = l->last;
	size_t len = strlen(name);

	if (!strncmp(why, name, len) && !strncmp(why + len, ": ", 2))
		why += len + 2;
	return err_set(err, ERR_FAILED, "%s", *why ? why : "it failed and does not say why");
}

int helper_run(const struct helper *h, struct err *err)
{
	struct lines lines = { .h = h };
	CLEANUP_CLOSE int out = -1, in = -1;
	int pipes[2], status = 0;
	pid_t pid, worker = getpid();
	bool left = false;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot make a pipe");
	in = pipes[0];
	out = pipes[1];
	pid = fork();
	if (pid < 0)
		return err_sys(err, errno, "cannot fork");
	if (pid == 0)
		become(h, out, worker);
	out = fd_close(out);
	relay(&lines, in, &left);
	if (left)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (left)
		return err_set(err, ERR_FAILED, "whoever asked for it has gone");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		tell_last(&lines);
		return 0;
	}
	if (WIFSIGNALED(status))
		return err_set(err, ERR_FAILED, "%s was ended by signal %d", h->argv[0],
			WTERMSIG(status));
	return tell_why(&lines, err);
}

int helper_room(const char *path, uint64_t *ret, struct err *err)
{
	uint64_t free, reserve;
	struct statvfs fs;

	if (statvfs(path, &fs) < 0)
		return err_sys(err, errno, "cannot look at %s", path);
	free = (uint64_t)fs.f_bavail * fs.f_frsize;
	reserve = (uint64_t)fs.f_blocks * fs.f_frsize / 20;
	if (reserve > RESERVE)
		reserve = RESERVE;
	*ret = free > reserve ? free - reserve : 0;
	return 0;
}
