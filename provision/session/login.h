/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What who(1) and last(1) read: records of logins in a guest's /run/utmp and /var/log/wtmp
 * (utmp(5)). All of it runs inside the guest, as its root, and believes nothing there: a file that
 * is no plain file, is too large, is locked or leased for long, or is not there gets no record.
 * Nobody is told, since a session must not depend on it.
 */
#ifndef VM2_SESSION_LOGIN_H
#define VM2_SESSION_LOGIN_H

#include <sys/types.h>
#include <utmp.h>

struct login {
	pid_t pid;	  /* of the session's first process, as the guest numbers it */
	const char *line; /* its terminal, below /dev */
	const char *host; /* where it comes from, an address; NULL when not known */
};

/* The record of a login (USER_PROCESS) or of its end (DEAD_PROCESS) at this time. */
void login_record(struct utmp *ret, short type, const struct login *l, time_t now);

/* Write it to these files. utmp has one record for each line; wtmp is a log. */
void login_write(const char *utmp, const char *wtmp, const struct utmp *record);

/* Both, with the guest's own files. */
void login_begin(const struct login *l);
void login_end(const struct login *l);

#endif
