/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/session/login.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <paths.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "provision/base/cleanup.h"

/* As many records of utmp are looked at: more terminals than a guest can open. */
#define RECORDS_MAX 4096
/* Debian rotates wtmp each month; one that nobody rotates ends here. */
#define LOG_MAX (64 << 20)
/* How often, and after how many milliseconds, a lock that somebody holds is asked for again. */
#define LOCK_TRIES 10
#define LOCK_PAUSE_MS 5

void login_record(struct utmp *ret, short type, const struct login *l, time_t now)
{
	const char *slash = strrchr(l->line, '/'), *number = slash ? slash + 1 : l->line;

	memset(ret, 0, sizeof(*ret));
	ret->ut_type = type;
	ret->ut_pid = l->pid;
	ret->ut_tv.tv_sec = (int32_t)now;
	/* utmp(5): these fields have no NUL at their end when they are full. */
	strncpy(ret->ut_line, l->line, sizeof(ret->ut_line));
	memcpy(ret->ut_id, number, strnlen(number, sizeof(ret->ut_id)));
	if (type != USER_PROCESS)
		return;
	strncpy(ret->ut_user, "root", sizeof(ret->ut_user));
	if (!l->host)
		return;
	strncpy(ret->ut_host, l->host, sizeof(ret->ut_host));
	if (inet_pton(AF_INET, l->host, ret->ut_addr_v6) != 1)
		inet_pton(AF_INET6, l->host, ret->ut_addr_v6);
}

/* O_NONBLOCK: neither a FIFO nor a lease (fcntl(2)) in its place may hold us. */
static int open_plain_file(const char *path, int flags)
{
	CLEANUP_CLOSE int fd = open(path, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > LOG_MAX)
		return -1;
	return steal_fd(&fd);
}

static bool lock(int fd)
{
	static const struct timespec pause = { .tv_nsec = LOCK_PAUSE_MS * 1000000L };
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (fcntl(fd, F_OFD_SETLK, &whole) == 0)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

/* The place of the line's record in utmp, or the end; -1 when there is none. */
static off_t find_line(int fd, const struct utmp *record, struct utmp *ret_old)
{
	struct utmp old = { 0 };
	ssize_t n;

	for (int i = 0; i < RECORDS_MAX; i++) {
		n = pread(fd, &old, sizeof(old), (off_t)i * (off_t)sizeof(old));
		if (n < 0)
			return -1;
		if (n < (ssize_t)sizeof(old))
			memset(&old, 0, sizeof(old));
		else if (strncmp(old.ut_line, record->ut_line, sizeof(old.ut_line)) != 0 ||
			 old.ut_type < INIT_PROCESS)
			continue;
		*ret_old = old;
		return (off_t)i * (off_t)sizeof(old);
	}
	return -1;
}

void login_write(const char *utmp, const char *wtmp, const struct utmp *record)
{
	CLEANUP_CLOSE int now = open_plain_file(utmp, O_RDWR);
	CLEANUP_CLOSE int ever = open_plain_file(wtmp, O_WRONLY | O_APPEND);
	struct utmp old = { 0 };
	ssize_t n = 0;
	off_t at = -1;

	if (now >= 0 && lock(now)) {
		at = find_line(now, record, &old);
		/* The terminal is another's by now: that one's login has ended this one. */
		if (record->ut_type == DEAD_PROCESS && old.ut_pid != record->ut_pid)
			return;
	}
	if (at >= 0)
		n = pwrite(now, record, sizeof(*record), at);
	if (ever >= 0)
		n = write(ever, record, sizeof(*record));
	(void)n; /* a full disk costs the record, not the session */
}

static void write_own(short type, const struct login *l)
{
	struct utmp record;

	login_record(&record, type, l, time(NULL));
	login_write(_PATH_UTMP, _PATH_WTMP, &record);
}

void login_begin(const struct login *l)
{
	write_own(USER_PROCESS, l);
}

void login_end(const struct login *l)
{
	write_own(DEAD_PROCESS, l);
}
