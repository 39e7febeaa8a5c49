/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What keeps root in a guest in: no capability that makes no sense there, a list of system calls
 * that are refused (seccomp_gen.c, docs/GUEST), a keyring of its own, no host descriptor. The same
 * for the guest's init and for whoever enters later.
 */
#ifndef VM2_GUEST_CONFINE_H
#define VM2_GUEST_CONFINE_H

#include "provision/base/err.h"

/*
 * For a process that has just entered the guest's namespaces: become its root (uid, gid, no
 * groups), with a new session keyring. Credentials of the host are gone after it.
 */
int confine_become_root(struct err *err);

/* The rest: bounding set and system call filter. The last thing before exec. */
int confine_restrict(struct err *err);

#endif
