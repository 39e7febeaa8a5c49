/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's /var/log/wtmp and /var/log/lastlog, for last(1) and lastlog(8) of whoever runs the host:
 * sessions with a terminal that came through the gateway. The other doors (sshd, login) write theirs
 * themselves. The line is the session's id, as `vm2 session show` takes it. A host without one of
 * the files gets no record there.
 */
#ifndef VM2_DAEMON_HOSTLOG_H
#define VM2_DAEMON_HOSTLOG_H

#include "provision/store/store.h"

/*
 * The begin of a session with a terminal (id, tenant, source, via, started and pid are read). uid is
 * that of the tenant's account: lastlog has the place of its number. LASTLOG_UID_MAX of
 * login.defs(5), by which a site keeps that file small, holds here too.
 */
void hostlog_begin(const struct store_session *s, uint64_t uid);

/* The end of such a session, and of its process. One that has no begin there does no harm. */
void hostlog_end(const char *id, pid_t pid);

#endif
