/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/locks.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

static int lock_path(const struct config *config, const char *name, char *ret)
{
	return snprintf(ret, PATH_MAX, "%s/locks/%s", config->run, name) < PATH_MAX ? 0 :
										      -ENAMETOOLONG;
}

int lock_folder(const struct config *config, struct err *err)
{
	char path[PATH_MAX];
	int r = lock_path(config, "", path);

	if (r == 0)
		r = fd_mkdirs(path, 0700);
	return r == -EEXIST || r == 0 ? 0 : err_sys(err, -r, "cannot make the folder %s", path);
}

/* 0: held; -EAGAIN: another holds it, or the file was deleted while we waited. */
static int try_lock(const char *path, bool shared, int *ret)
{
	CLEANUP_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct stat held, there;

	if (fd < 0)
		return -errno;
	if (flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
		return errno == EWOULDBLOCK || errno == EINTR ? -EAGAIN : -errno;
	if (fstat(fd, &held) < 0 || stat(path, &there) < 0 || held.st_ino != there.st_ino)
		return -EAGAIN;
	*ret = steal_fd(&fd);
	return 0;
}

int lock_take(const struct config *config, const char *name, bool shared, int timeout_ms, int *ret,
	struct err *err)
{
	int64_t deadline = clock_ms() + timeout_ms;
	struct timespec pause = { .tv_nsec = 2000000 };
	char path[PATH_MAX];
	int r = lock_path(config, name, path);

	if (r == 0)
		r = try_lock(path, shared, ret);
	while (r == -EAGAIN && clock_ms() < deadline) {
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < 20000000)
			pause.tv_nsec += 2000000;
		r = try_lock(path, shared, ret);
	}
	if (r == -EAGAIN)
		return err_set(err, ERR_BUSY,
			"'%s' is being worked on by another request; try again", name);
	return r < 0 ? err_sys(err, -r, "cannot lock %s", path) : 0;
}

/*
 * A seat is a byte of the lock's file, locked as fcntl(2) says ("open file description locks"):
 * that and the flock(2) of the file itself know nothing of each other.
 */
static int take_seat(const char *path, uint64_t seats, int *ret)
{
	CLEANUP_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return -errno;
	for (uint64_t i = 0; i < seats; i++) {
		struct flock seat = { .l_type = F_WRLCK, .l_start = (off_t)i, .l_len = 1 };

		if (fcntl(fd, F_OFD_SETLK, &seat) == 0) {
			*ret = steal_fd(&fd);
			return 0;
		}
		if (errno != EAGAIN && errno != EACCES)
			return -errno;
	}
	return -EAGAIN;
}

int lock_seat(const struct config *config, const char *name, int *ret, struct err *err)
{
	char path[PATH_MAX];
	int r = lock_path(config, name, path);

	if (r == 0)
		r = take_seat(path, (config->workers + 3) / 4, ret);
	if (r == -EAGAIN)
		return err_set(err, ERR_BUSY, "too many requests about '%s' at once; try again",
			name[0] == '.' ? name + 1 : name);
	return r < 0 ? err_sys(err, -r, "cannot lock %s", path) : 0;
}

void lock_remove(const struct config *config, const char *name)
{
	char path[PATH_MAX];

	if (lock_path(config, name, path) == 0)
		unlink(path);
}
