/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The AppArmor profile of guests: the third fence, behind namespaces and the system call list. */
#ifndef VM2_CLI_APPARMOR_H
#define VM2_CLI_APPARMOR_H

#include "provision/base/str.h"

/*
 * Write it as apparmor.d(5) has it. A guest is a whole system, so all is allowed that namespaces
 * and capabilities allow, but for what no guest has a use for, whatever hole led there.
 */
void apparmor_profile(struct buf *out);

#endif
