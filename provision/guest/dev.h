/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest's /dev: nodes that only the host can make. What else is in it the guest makes (rootfs.c). */
#ifndef VM2_GUEST_DEV_H
#define VM2_GUEST_DEV_H

#include <sys/types.h>

#include "provision/base/err.h"

/* Make one that is nobody's yet: a detached mount, to be closed, or negative. */
int dev_make(struct err *err);

/* Make it the guest's whose root is this host uid and gid. */
int dev_give(int dev, uid_t owner, struct err *err);

#endif
