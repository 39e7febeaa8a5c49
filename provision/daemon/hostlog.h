/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host's /var/log/wtmp, for last(1) of whoever runs the host: sessions with a terminal that came
 * through the gateway. The other doors (sshd, login) write theirs themselves. The line is the
 * session's id, as `vm2 session show` takes it. A host without the file gets no record.
 */
#ifndef VM2_DAEMON_HOSTLOG_H
#define VM2_DAEMON_HOSTLOG_H

#include "provision/store/store.h"

/* The begin of a session with a terminal (id, tenant, source, via and pid are read). */
void hostlog_begin(const struct store_session *s);

/* The end of such a session, and of its process. One that has no begin there does no harm. */
void hostlog_end(const char *id, pid_t pid);

#endif
