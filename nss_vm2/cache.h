/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a process has read of the snapshot already. A lookup costs microseconds of system calls and a
 * fraction of one in memory, so the pieces that were read are kept, in anonymous memory: a mapping of
 * the file itself would kill a stranger's process with SIGBUS where the file is cut short. Each use
 * verifies the sums, as a use of the file does.
 *
 * The copy is good for SNAPSHOT_TRUST_NS after a stat(2) has found the very same file (device, inode,
 * length, times) in its place. No descriptor is kept. It is one for the process and used by one thread
 * at a time: another one, a signal's handler, or the child of a fork(2) in the midst of a lookup finds
 * it taken and reads the file instead. Nobody ever waits.
 */
#ifndef VM2_NSS_CACHE_H
#define VM2_NSS_CACHE_H

#include <stdatomic.h>

#include "nss_vm2/snapshot.h"
#include "nss_vm2/snapshot_read.h"

/* What one process keeps at most; with more of it touched it starts afresh. */
#define CACHE_BYTES_MAX (16U << 20)

struct cache {
	atomic_flag taken;
	int64_t checked_ns;
	struct snapshot_kept kept; /* its pages are NULL: nothing is */
	struct snapshot_reader reader;
};

/* One that keeps nothing yet. */
#define CACHE_INIT { .taken = ATOMIC_FLAG_INIT, .kept = { .fd = -1 } }

/*
 * The snapshot at path by the cache, or NULL: it is taken, there is no memory, or the file is not
 * there or no good, which snapshot_open() will say. Not NULL: the caller gives it back.
 */
const struct snapshot_reader *cache_take(struct cache *c, const char *path);

/* keep: false when what was read proved to be broken. */
void cache_give(struct cache *c, bool keep);

/* Forget all: for when the module goes. */
void cache_drop(struct cache *c);

#endif
