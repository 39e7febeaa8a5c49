/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A terminal of the guest's own devpts: opened by the child inside, handed out to the relay.
 * Inside, the host's names mean nothing; outside, what comes is checked before it is used.
 */
#ifndef VM2_SESSION_PTY_H
#define VM2_SESSION_PTY_H

#include <sys/types.h>

#include "provision/base/err.h"
#include "provision/session/order.h"

/*
 * In the guest: a new terminal. The slave is had from the master itself (TIOCGPTPEER), never by a
 * name that the guest could put something else under. Both are close-on-exec. name: "/dev/pts/N".
 */
int pty_open(int *ret_master, int *ret_slave, char name[32], struct err *err);

/* In the guest, after setsid(2): make the slave the controlling terminal, with this size and these modes. */
int pty_adopt(int slave, const struct order *o, struct err *err);

/*
 * Outside: is this really the master of a terminal in a devpts? Anything else that the guest
 * might hand out could block the relay, or be a file whose meaning the guest changes.
 * *ret_number: of its other side, /dev/pts/NUMBER.
 */
int pty_check_master(int fd, int *ret_number, struct err *err);

/* Tell the kernel a new size; it sends SIGWINCH. 0 or -errno. */
int pty_resize(int master, unsigned int cols, unsigned int rows, unsigned int xpixel,
	       unsigned int ypixel);

/*
 * Send a signal to the foreground process group; `leader` (our own child, not yet reaped) is the
 * session's leader, and its group gets the signal when there is no other.
 */
void pty_signal(int master, pid_t leader, int sig);

#endif
