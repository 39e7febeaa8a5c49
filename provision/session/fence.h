/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The last fence around the half of a session that stays outside: it is uid 0, and who takes it
 * over by what a guest prints must not have the files of that uid. Landlock leaves it the ledger and
 * the session's folder, a list of system calls keeps it from becoming anything else.
 */
#ifndef VM2_SESSION_FENCE_H
#define VM2_SESSION_FENCE_H

#include "provision/base/err.h"

/*
 * For the caller, for good, and after no_new_privs. Of all files it may from here on open those in
 * the folder `ledger` (made when it is not there) and in the open folder `recordings`, -1 for none;
 * what is open stays so. Sockets of other kinds than AF_UNIX, programs, namespaces, mounts and other
 * processes' memory are refused. A kernel without Landlock: the list alone. 0 or -errno.
 */
int fence_raise(const char *ledger, int recordings, struct err *err);

#endif
