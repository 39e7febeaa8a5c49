/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/run.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

/* From the fork of a vm2-guest to its first line. */
#define HOLDER_MS 5000

int run_open(const struct config *config, const char *name, bool make)
{
	CLEANUP_FREE char *path = xasprintf("%s/guests/%s", config->run, name);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int r;

	if (fd >= 0)
		return fd;
	if (errno != ENOENT || !make)
		return -errno;
	/* RUN itself is searchable (the socket is in there); guests/ and below are not. */
	r = fd_mkdirs(config->run, 0755);
	if (r >= 0)
		r = fd_mkdirs(path, 0700);
	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/* The next line of a state, which is this one: "KEY=number". */
static bool next_number(const char **text, const char *key, int64_t *ret)
{
	size_t len = strlen(key);
	char *end;

	if (strncmp(*text, key, len) != 0 || (*text)[len] != '=')
		return false;
	*ret = strtoll(*text + len + 1, &end, 10);
	*text = end + 1;
	return *end == '\n';
}

static int parse_state(const char *text, struct run_state *ret)
{
	int64_t init, init_start, supervisor, supervisor_start, since;

	if (!next_number(&text, "init_pid", &init) || !next_number(&text, "init_start", &init_start) ||
	    !next_number(&text, "supervisor_pid", &supervisor) ||
	    !next_number(&text, "supervisor_start", &supervisor_start) ||
	    !next_number(&text, "since", &since) || init <= 1 || init > INT_MAX || supervisor <= 1 ||
	    supervisor > INT_MAX)
		return -EBADMSG;
	*ret = (struct run_state){ (pid_t)init, (pid_t)supervisor, (uint64_t)init_start,
				   (uint64_t)supervisor_start, since };
	return 0;
}

static int read_state(int dirfd, const char *path, struct run_state *ret)
{
	char text[512];
	ssize_t n = fd_read_small(dirfd, path, text, sizeof(text));

	return n < 0 ? (int)n : parse_state(text, ret);
}

int run_read(int dirfd, struct run_state *ret)
{
	return read_state(dirfd, "state", ret);
}

int run_look(const struct config *config, const char *name, struct run_state *ret)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/guests/%s/state", config->run, name);
	return read_state(AT_FDCWD, path, ret);
}

int run_look_in(int guests, const char *name, struct run_state *ret)
{
	char path[NAME_MAX + sizeof("/state")];

	snprintf(path, sizeof(path), "%s/state", name);
	return read_state(guests, path, ret);
}

bool run_lives(const struct run_state *state)
{
	pid_t parent;

	return process_lives_under(state->init_pid, state->init_start, &parent) &&
	       parent == state->supervisor_pid;
}

int run_write(int dirfd, const struct run_state *state)
{
	char text[512];
	int n = snprintf(text, sizeof(text),
			 "init_pid=%d\ninit_start=%" PRIu64
			 "\nsupervisor_pid=%d\nsupervisor_start=%" PRIu64 "\nsince=%" PRId64 "\n",
			 state->init_pid, state->init_start, state->supervisor_pid,
			 state->supervisor_start, state->since);

	return fd_replace_file(dirfd, "state", text, (size_t)n, 0600, 0);
}

int run_write_own(int dirfd, pid_t init_pid)
{
	const struct run_state state = {
		.init_pid = init_pid,
		.init_start = process_start_time(init_pid),
		.supervisor_pid = getpid(),
		.supervisor_start = process_start_time(getpid()),
		.since = time(NULL),
	};

	return run_write(dirfd, &state);
}

int run_signals(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int run_write_limits(int dirfd, const struct limits *limits)
{
	CLEANUP_BUF struct buf text = { 0 };
	struct limits_part all;

	limits_whole(limits, &all);
	limits_write(&all, &text);
	return fd_replace_file(dirfd, "limits", text.data, text.len, 0600, 0);
}

int run_read_limits(int dirfd, struct limits *ret)
{
	char text[2048];
	struct limits_part part;
	ssize_t n = fd_read_path(dirfd, "limits", text, sizeof(text));

	if (n < 0)
		return (int)n;
	limits_read(text, &part);
	limits_default(ret);
	limits_apply(ret, &part);
	return 0;
}

int run_lock(int dirfd)
{
	CLEANUP_CLOSE int fd =
		openat(dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 || ftruncate(fd, 0) < 0)
		return -errno;
	return steal_fd(&fd);
}

int run_note(int lock)
{
	char text[64];

	snprintf(text, sizeof(text), "%d %" PRIu64 "\n", getpid(), process_start_time(getpid()));
	return pwrite(lock, text, strlen(text), 0) < 0 ? -errno : 0;
}

/* One look: a pidfd, -ESRCH when the lock is free, -EAGAIN when its holder has not noted itself. */
static int look_for_holder(int dirfd)
{
	char text[64];
	uint64_t start;
	pid_t pid;
	int r;
	CLEANUP_CLOSE int fd = openat(dirfd, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -ESRCH;
	if (flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		return -ESRCH;
	if (fd_read_file(fd, text, sizeof(text)) < 0 ||
	    sscanf(text, "%d %" SCNu64, &pid, &start) != 2 || pid <= 1)
		return -EAGAIN;
	r = process_open(pid, start);
	return r == -ESRCH ? -EAGAIN : r;
}

int run_holder(int dirfd)
{
	int64_t end = clock_ms() + HOLDER_MS;
	int r;

	while ((r = look_for_holder(dirfd)) == -EAGAIN && clock_ms() < end)
		usleep(2000);
	return r == -EAGAIN ? -ESRCH : r;
}

bool run_held_by(int dirfd, pid_t pid, uint64_t start)
{
	CLEANUP_CLOSE int holder = run_holder(dirfd);
	char text[64], its[64];

	snprintf(its, sizeof(its), "%d %" PRIu64 "\n", pid, start);
	return holder >= 0 && fd_read_path(dirfd, "lock", text, sizeof(text)) > 0 &&
	       !strcmp(text, its);
}

int run_remove(const struct config *config, const char *name)
{
	CLEANUP_FREE char *path = xasprintf("%s/guests", config->run);
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return fd_remove_tree(fd, name);
}
