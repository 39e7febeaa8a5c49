/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copies of trees, whole: owners, modes, times, extended attributes, hard links, holes, overlayfs's
 * whiteouts. Data is shared where the file system can (FICLONE). A tree in use is copied twice: once
 * while it changes, and then, while nothing changes it, what has changed since.
 */
#ifndef VM2_GUEST_COPY_H
#define VM2_GUEST_COPY_H

#include <stdint.h>

#include "provision/base/err.h"

struct copy;

/*
 * A copy of the folder `from` to the existing folder `to`, both descriptors that must outlive it.
 * Free with copy_free().
 */
struct copy *copy_new(int from, int to);
struct copy *copy_free(struct copy *c);
static inline void cleanup_copy(struct copy **c)
{
	copy_free(*c);
}
#define CLEANUP_COPY __attribute__((cleanup(cleanup_copy)))

/* The first time: all. What vanishes meanwhile is left out. 0 or -errno with a text. */
int copy_all(struct copy *c, struct err *err);

/*
 * The second time, of a tree that stands still: what has changed since copy_all() began, which goes
 * by the kernel's own time of change (ctime).
 */
int copy_changes(struct copy *c, struct err *err);

/*
 * Put the overlay layer `from` below the layer `to`: what `to` has or hides is not taken. Afterwards
 * `to` alone shows what both together did.
 */
int copy_below(struct copy *c, struct err *err);

/* Bytes on disk of all that was copied; a count, not a measure, where data is shared. */
uint64_t copy_bytes(const struct copy *c);

#endif
