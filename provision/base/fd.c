/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "provision/base/cleanup.h"

int fd_write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

ssize_t fd_read_file(int fd, char *buf, size_t cap)
{
	size_t len = 0;

	for (;;) {
		ssize_t n = read(fd, buf + len, cap - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
		if (len == cap)
			return -EFBIG;
	}
	buf[len] = '\0';
	return (ssize_t)len;
}

ssize_t fd_read_path(int dirfd, const char *path, char *buf, size_t cap)
{
	CLEANUP_CLOSE int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	return fd_read_file(fd, buf, cap);
}

ssize_t fd_read_small(int dirfd, const char *path, char *buf, size_t cap)
{
	CLEANUP_CLOSE int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = read(fd, buf, cap - 1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return n;
}

int fd_proc(void)
{
	CLEANUP_CLOSE int fs = fsopen("proc", FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0 || fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return fd < 0 ? -errno : fd;
}

int fd_write_path(int dirfd, const char *path, const char *text)
{
	CLEANUP_CLOSE int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	size_t len = strlen(text);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = write(fd, text, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

int fd_replace_file(int dirfd, const char *name, const void *data, size_t len, mode_t mode, int sync)
{
	char temporary[NAME_MAX + 1];
	CLEANUP_CLOSE int fd = -1;
	int r;

	snprintf(temporary, sizeof(temporary), ".%.200s.%d.new", name, (int)getpid());
	fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = fd_write_all(fd, data, len);
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r == 0 && sync && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dirfd, temporary, dirfd, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dirfd, temporary, 0);
		return r;
	}
	if (sync && dirfd != AT_FDCWD && fsync(dirfd) < 0)
		return -errno;
	return 0;
}

int fd_mkdirs(const char *path, mode_t mode)
{
	char part[PATH_MAX];
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(part))
		return -ENAMETOOLONG;
	memcpy(part, path, len + 1);
	for (char *p = part + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	if (mkdir(part, mode) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

/*
 * A tree under removal. Each level of folders takes a descriptor, and trees can be as deep as their
 * makers like: what is too deep is moved to the top and removed from there in another round.
 */
struct removal {
	int top;
	dev_t dev;
	unsigned int moved;
};

/* Levels that are gone into. */
#define REMOVE_DEPTH 64

static int remove_below(struct removal *r, int fd, int depth);

static int move_up(struct removal *r, int dirfd, const char *name)
{
	char new[32];
	int tries = 1000; /* names that are there already */

	do {
		snprintf(new, sizeof(new), ".deep.%u", r->moved++);
		if (renameat2(dirfd, name, r->top, new, RENAME_NOREPLACE) == 0)
			return 0;
	} while (errno == EEXIST && --tries > 0);
	return -errno;
}

static int remove_entry(struct removal *r, int dirfd, const char *name, int depth)
{
	CLEANUP_CLOSE int sub = -1;
	struct stat st;
	int code;

	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	sub = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sub < 0 || fstat(sub, &st) < 0)
		return -errno;
	if (st.st_dev != r->dev)
		return -EXDEV;
	if (depth >= REMOVE_DEPTH)
		return move_up(r, dirfd, name);
	code = remove_below(r, steal_fd(&sub), depth + 1);
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT && code == 0)
		code = -errno;
	return code;
}

/* Takes fd. */
static int remove_below(struct removal *r, int fd, int depth)
{
	CLEANUP_CLOSEDIR DIR *dir = fdopendir(fd);
	struct dirent *de;
	int first = 0;

	if (!dir) {
		fd_close(fd);
		return -errno;
	}
	while ((de = readdir(dir))) {
		int code;

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		code = remove_entry(r, dirfd(dir), de->d_name, depth);
		if (code < 0 && first == 0)
			first = code;
	}
	return first;
}

int fd_remove_tree(int dirfd, const char *name)
{
	CLEANUP_CLOSE int top = -1;
	struct removal r = { 0 };
	struct stat st;
	unsigned int before;
	int code;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISDIR(st.st_mode))
		return unlinkat(dirfd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
	top = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (top < 0)
		return -errno;
	r.top = top;
	r.dev = st.st_dev;
	do {
		before = r.moved;
		code = remove_entry(&r, dirfd, name, 0);
	} while (r.moved != before); /* which leaves a top that is not empty */
	return code;
}

int fd_close_from(int from)
{
	return syscall(SYS_close_range, (unsigned int)from, ~0U, 0U) < 0 ? -errno : 0;
}

int fd_nonblock(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int fd_cloexec(int fd, int on)
{
	return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0 ? -errno : 0;
}

int64_t clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* The start time, 0 if gone; the letter of its state and its parent (fields 3 and 4). */
static uint64_t read_stat(pid_t pid, char *ret_state, pid_t *ret_parent)
{
	char path[64], stat[1024];
	char *p;

	*ret_state = '\0';
	*ret_parent = 0;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (fd_read_small(AT_FDCWD, path, stat, sizeof(stat)) < 0)
		return 0;
	/* The name (field 2) may hold anything: count from its closing parenthesis. */
	p = strrchr(stat, ')');
	if (p && p[1] == ' ') {
		*ret_state = p[2];
		*ret_parent = (pid_t)strtol(p + 3, NULL, 10);
	}
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p ? strtoull(p + 1, NULL, 10) : 0;
}

uint64_t process_start_time(pid_t pid)
{
	pid_t parent;
	char state;

	return read_stat(pid, &state, &parent);
}

bool process_lives_under(pid_t pid, uint64_t start_time, pid_t *ret_parent)
{
	char state;

	return read_stat(pid, &state, ret_parent) == start_time && start_time && state != 'Z' &&
	       state != 'X';
}

bool process_lives(pid_t pid, uint64_t start_time)
{
	pid_t parent;

	return process_lives_under(pid, start_time, &parent);
}

int process_open(pid_t pid, uint64_t start_time)
{
	CLEANUP_CLOSE int fd = -1;

	if (pid <= 0)
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return -errno;
	if (process_start_time(pid) != start_time)
		return -ESRCH;
	return steal_fd(&fd);
}

int process_signal(int pidfd, int sig)
{
	return syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) < 0 ? -errno : 0;
}

int process_wait(int pidfd, int timeout_ms)
{
	int64_t deadline = clock_ms() + timeout_ms;

	for (;;) {
		struct pollfd p = { .fd = pidfd, .events = POLLIN };
		int64_t left = deadline - clock_ms();
		int n = poll(&p, 1, left > 0 ? (int)left : 0);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -ETIMEDOUT;
	}
}
