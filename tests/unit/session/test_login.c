/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/str.h"
#include "provision/session/login.h"

static char folder[] = "/tmp/vm2-login.XXXXXX";
static char *utmp, *wtmp;

static void set_up(void)
{
	cr_assert(mkdtemp(folder));
	utmp = xasprintf("%s/utmp", folder);
	wtmp = xasprintf("%s/wtmp", folder);
	close(open(utmp, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	close(open(wtmp, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
}

static void tear_down(void)
{
	unlink(utmp);
	unlink(wtmp);
	rmdir(folder);
}

TestSuite(login, .init = set_up, .fini = tear_down, .timeout = 60);

static void put(short type, const char *line, pid_t pid, const char *host)
{
	const struct login l = { .pid = pid, .line = line, .host = host };
	struct utmp record;

	login_record(&record, type, &l, 1700000000);
	login_write(utmp, wtmp, &record);
}

/* The records of a file; returns how many. */
static int records(const char *path, struct utmp ret[8])
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, ret, 8 * sizeof(*ret));

	cr_assert_eq(n % (ssize_t)sizeof(*ret), 0);
	return (int)(n / (ssize_t)sizeof(*ret));
}

Test(login, a_record_says_who_where_and_from_where)
{
	const struct login l = { .pid = 42, .line = "pts/123", .host = "192.0.2.7" };
	struct utmp r;

	login_record(&r, USER_PROCESS, &l, 1700000000);
	cr_assert_eq(r.ut_type, USER_PROCESS);
	cr_assert_eq(r.ut_pid, 42);
	cr_assert_str_eq(r.ut_line, "pts/123");
	cr_assert_str_eq(r.ut_user, "root");
	cr_assert_str_eq(r.ut_host, "192.0.2.7");
	cr_assert_arr_eq(r.ut_id, "123", 4);
	cr_assert_eq(r.ut_tv.tv_sec, 1700000000);
	cr_assert_arr_eq(r.ut_addr_v6, "\xc0\x00\x02\x07", 4);
	login_record(&r, DEAD_PROCESS, &l, 1);
	cr_assert_str_empty(r.ut_user);
}

Test(login, a_line_has_one_place_in_utmp_and_all_in_wtmp)
{
	struct utmp r[8];

	put(USER_PROCESS, "pts/0", 10, "192.0.2.1");
	put(USER_PROCESS, "pts/1", 11, NULL);
	put(DEAD_PROCESS, "pts/0", 10, NULL);
	put(USER_PROCESS, "pts/0", 12, "2001:db8::1");
	cr_assert_eq(records(utmp, r), 2);
	cr_assert_eq(r[0].ut_pid, 12);
	cr_assert_eq(r[0].ut_type, USER_PROCESS);
	cr_assert_str_eq(r[1].ut_line, "pts/1");
	cr_assert_eq(records(wtmp, r), 4);
	cr_assert_eq(r[2].ut_type, DEAD_PROCESS);
	cr_assert_str_eq(r[3].ut_host, "2001:db8::1");
}

Test(login, an_end_does_not_touch_who_has_the_line_now)
{
	struct utmp r[8];

	put(USER_PROCESS, "pts/0", 10, NULL);
	put(USER_PROCESS, "pts/0", 11, NULL);
	put(DEAD_PROCESS, "pts/0", 10, NULL);
	cr_assert_eq(records(utmp, r), 1);
	cr_assert_eq(r[0].ut_type, USER_PROCESS);
	cr_assert_eq(r[0].ut_pid, 11);
	cr_assert_eq(records(wtmp, r), 2);
}

Test(login, only_a_plain_file_is_written)
{
	CLEANUP_FREE char *victim = xasprintf("%s/victim", folder);
	struct stat st;

	unlink(utmp);
	unlink(wtmp);
	cr_assert_eq(mkfifo(utmp, 0600), 0);
	cr_assert_eq(symlink("victim", wtmp), 0);
	put(USER_PROCESS, "pts/0", 10, NULL);
	cr_assert_lt(access(victim, F_OK), 0);
	unlink(utmp);
	put(USER_PROCESS, "pts/0", 10, NULL);
	cr_assert_lt(stat(utmp, &st), 0, "a file that was not there is not made");
}

Test(login, a_lock_that_is_held_costs_the_record)
{
	CLEANUP_CLOSE int fd = open(utmp, O_RDWR | O_CLOEXEC);
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct utmp r[8];

	cr_assert_eq(fcntl(fd, F_OFD_SETLK, &whole), 0);
	put(USER_PROCESS, "pts/0", 10, NULL);
	cr_assert_eq(records(utmp, r), 0);
	cr_assert_eq(records(wtmp, r), 1);
}

Test(login, a_file_cut_in_the_middle_is_no_trap)
{
	struct utmp r[8];

	cr_assert_eq(truncate(utmp, 100), 0);
	put(USER_PROCESS, "pts/0", 10, NULL);
	cr_assert_eq(records(utmp, r), 1);
	cr_assert_eq(r[0].ut_pid, 10);
}
