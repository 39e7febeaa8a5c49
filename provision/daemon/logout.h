/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The end of a session in its guest's login records. vm2-session cannot write it: what stays outside
 * has no way into the guest any more, and what was inside has ended.
 */
#ifndef VM2_DAEMON_LOGOUT_H
#define VM2_DAEMON_LOGOUT_H

#include <sys/types.h>

#include "provision/base/config.h"

/*
 * Note that the session at /dev/pts/LINE, whose first process had this number in the guest, has
 * ended. A guest that does not run, or does not let it happen within 2 s, has no record of it.
 */
void logout_record(const struct config *config, const char *tenant, unsigned int line, pid_t pid);

#endif
