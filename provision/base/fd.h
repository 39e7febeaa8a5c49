/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors: whole reads and writes, small files, folders, and processes held by descriptor. */
#ifndef VM2_BASE_FD_H
#define VM2_BASE_FD_H

#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Write all of len bytes to a blocking descriptor. 0, or -errno. */
int fd_write_all(int fd, const void *data, size_t len);

/*
 * Read until the end of the file into buf (cap bytes, NUL added, so cap - 1 bytes at most).
 * Returns the length, or -errno; -EFBIG when the file is longer.
 */
ssize_t fd_read_file(int fd, char *buf, size_t cap);

/* The same for a path relative to dirfd (AT_FDCWD for the working directory); opened O_CLOEXEC. */
ssize_t fd_read_path(int dirfd, const char *path, char *buf, size_t cap);

/*
 * The same by one read(2): for files of less than a page that come whole, those of proc and cgroup
 * file systems and regular ones of our own.
 */
ssize_t fd_read_small(int dirfd, const char *path, char *buf, size_t cap);

/*
 * A proc of the caller's own, mounted nowhere; takes CAP_SYS_ADMIN. -errno. To be used instead of /proc
 * for what is below sys/net, where that is another network namespace's: the kernel keeps one list for each
 * such path of one proc, of all namespaces in which it was looked at, and searches it from the front.
 */
int fd_proc(void);

/* Write text to an existing file (a sysctl, a cgroup attribute), in one write(2). 0 or -errno. */
int fd_write_path(int dirfd, const char *path, const char *text);

/*
 * Replace dirfd/name by a file of these bytes and mode, so that at any instant the old or the
 * new one is there: temporary file, fsync, rename, fsync of the folder. sync = 0 leaves out
 * both fsyncs (for /run). 0 or -errno; on error the old file is untouched.
 */
int fd_replace_file(int dirfd, const char *name, const void *data, size_t len, mode_t mode, int sync);

/* Make a folder and those above it (mode for each that is made). 0 or -errno. */
int fd_mkdirs(const char *path, mode_t mode);

/*
 * Remove a tree below dirfd/name, never following a symlink, never leaving its file system.
 * 0 (also when it was not there) or -errno of the first failure.
 */
int fd_remove_tree(int dirfd, const char *name);

/* Close every descriptor from `from` on (close_range(2)). 0 or -errno. */
int fd_close_from(int from);

/* Set or clear O_NONBLOCK; set or clear FD_CLOEXEC. 0 or -errno. */
int fd_nonblock(int fd, int on);
int fd_cloexec(int fd, int on);

/*
 * Milliseconds of CLOCK_MONOTONIC. Deadlines are absolute values of this clock.
 */
int64_t clock_ms(void);

/* The start time of a process in clock ticks since boot (proc_pid_stat(5) field 22), 0 if gone. */
uint64_t process_start_time(pid_t pid);

/* Whether the process that had this start time lives: neither gone nor waiting to be reaped. */
bool process_lives(pid_t pid, uint64_t start_time);

/* The same, and which process is its parent by now. */
bool process_lives_under(pid_t pid, uint64_t start_time, pid_t *ret_parent);

/*
 * A pidfd for the process that had this start time, or -ESRCH when it is gone or its number is
 * another's now. Race-free: the start time is read after the pidfd is held.
 */
int process_open(pid_t pid, uint64_t start_time);

/* Send a signal by pidfd. 0 or -errno. */
int process_signal(int pidfd, int sig);

/* Wait until the pidfd's process has ended: 0, -ETIMEDOUT after timeout_ms, or -errno. */
int process_wait(int pidfd, int timeout_ms);

#endif
