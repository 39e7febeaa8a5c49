/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/freeze.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/guest/cgroup.h"

/* A process in an uninterruptible wait stops late. */
#define STOP_MS 5000

/* In the cgroup2 tree, alone or beside those of version 1. Its freezer needs no controller. */
static int open_group(const char *instance, const char *name)
{
	const struct cgroup_manager *manager = cgroup_pick(NULL);
	const char *tree = manager ? manager->session_tree(instance, name) : NULL;
	CLEANUP_CLOSE int fd = tree ? cgroup_open(tree, instance, name) : -1;

	return fd >= 0 && faccessat(fd, "cgroup.freeze", W_OK, 0) == 0 ? steal_fd(&fd) : -ENOENT;
}

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int await_frozen(int group)
{
	static const struct timespec pause = { .tv_nsec = 500000 };
	int64_t end = clock_ms() + STOP_MS;
	char text[128];

	do {
		if (fd_read_path(group, "cgroup.events", text, sizeof(text)) > 0 &&
		    strstr(text, "frozen 1"))
			return 0;
		nanosleep(&pause, NULL);
	} while (clock_ms() < end);
	return -ETIMEDOUT;
}

/* In the child: wait for the end of the caller, or of its need, and let the guest go on. */
static _Noreturn void guard(int group, int hold)
{
	char byte;

	setsid();
	signal(SIGTERM, SIG_IGN);
	while (read(hold, &byte, 1) < 0 && errno == EINTR)
		continue;
	_exit(fd_write_path(group, "cgroup.freeze", "0") < 0);
}

static int start_guard(struct freeze *f, int group, struct err *err)
{
	int pair[2];

	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot make a pipe");
	f->guard = fork();
	if (f->guard == 0) {
		close(pair[1]);
		guard(group, pair[0]);
	}
	close(pair[0]);
	f->hold = pair[1];
	if (f->guard < 0) {
		f->hold = fd_close(f->hold);
		return err_sys(err, errno, "cannot fork");
	}
	return 0;
}

static void end(struct storage_pause *pause)
{
	struct freeze *f = (struct freeze *)(void *)pause;

	if (f->hold < 0)
		return;
	f->hold = fd_close(f->hold);
	while (waitpid(f->guard, NULL, 0) < 0 && errno == EINTR)
		continue;
	f->took_us = now_us() - f->since_us;
}

static int begin(struct storage_pause *pause, struct err *err)
{
	struct freeze *f = (struct freeze *)(void *)pause;
	CLEANUP_CLOSE int group = open_group(f->instance, f->name);
	int r;

	if (group < 0)
		return err_set(err, ERR_FAILED,
			       "there is no cgroup2 tree to hold the guest still with: stop it first");
	r = start_guard(f, group, err);
	if (r < 0)
		return r;
	f->since_us = now_us();
	r = fd_write_path(group, "cgroup.freeze", "1");
	if (r == 0)
		r = await_frozen(group);
	if (r == 0)
		return 0;
	end(pause);
	if (r == -ETIMEDOUT)
		return err_set(err, ERR_BUSY, "its processes did not stand still in %d s: try again",
			       STOP_MS / 1000);
	return err_sys(err, -r, "cannot hold the guest still");
}

void freeze_init(struct freeze *f, const char *instance, const char *name)
{
	*f = (struct freeze){ .pause = { begin, end },
			      .instance = instance,
			      .name = name,
			      .hold = -1 };
}

void freeze_forget(const char *instance, const char *name)
{
	CLEANUP_CLOSE int group = open_group(instance, name);

	if (group >= 0)
		fd_write_path(group, "cgroup.freeze", "0");
}
