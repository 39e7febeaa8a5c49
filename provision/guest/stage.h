/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The mount namespace that a guest's own is a copy of. No mount of the host is in it, not even for an
 * instant, so none is to be let go of: umount(2) waits for all processors. What is in it is an empty
 * folder of the guest's /dev, read-only, on which the guest is put together (inside.h).
 */
#ifndef VM2_GUEST_STAGE_H
#define VM2_GUEST_STAGE_H

#include "provision/base/err.h"

struct stage {
	int mounts, host; /* it, and the caller's own; mount namespaces */
};

/*
 * proc is a proc, *dev a detached mount of what becomes the guest's /dev; it may be another one after this.
 * What *ret has afterwards, also on failure, is to be closed.
 */
int stage_make(struct stage *ret, int proc, int *dev, struct err *err);

/* Back among the host's mounts. r, or that it failed. */
int stage_leave(const struct stage *stage, int r, struct err *err);

#endif
