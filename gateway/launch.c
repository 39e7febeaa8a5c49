/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gateway/launch.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>

#include "provision/base/cleanup.h"

static int launch_with(char *const argv[], posix_spawn_file_actions_t *actions, pid_t *ret_pid)
{
	char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	char *environment[] = { path, NULL };
	posix_spawnattr_t attributes;
	sigset_t all, none;
	int r;

	sigfillset(&all);
	sigemptyset(&none);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	r = posix_spawn(ret_pid, argv[0], actions, &attributes, argv, environment);
	posix_spawnattr_destroy(&attributes);
	return r;
}

int launch_program(char *const argv[], const int *fds, int n_fds, pid_t *ret_pid, struct err *err)
{
	/* Above the targets first, so that no dup2 overwrites what a later one still needs. */
	int high[LAUNCH_FDS_MAX], n = 0, r = 0;
	posix_spawn_file_actions_t actions;

	if (n_fds > LAUNCH_FDS_MAX)
		return err_set(err, -E2BIG, "cannot start %s: too many descriptors", argv[0]);
	posix_spawn_file_actions_init(&actions);
	for (int i = 0; i < n_fds && r == 0; i++) {
		high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, LAUNCH_FD_FIRST + LAUNCH_FDS_MAX);
		if (high[i] < 0)
			r = errno;
		else
			n++;
	}
	for (int i = 0; i < n && r == 0; i++)
		r = posix_spawn_file_actions_adddup2(&actions, high[i], LAUNCH_FD_FIRST + i);
	if (r == 0)
		r = launch_with(argv, &actions, ret_pid);
	posix_spawn_file_actions_destroy(&actions);
	for (int i = 0; i < n; i++)
		fd_close(high[i]);
	return r == 0 ? 0 : err_sys(err, r, "cannot start %s", argv[0]);
}
