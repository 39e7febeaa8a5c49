/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the writing and the reading half of the ledger know of its folder. docs/AUDIT shows it. */
#ifndef VM2_AUDIT_LEDGER_FILES_H
#define VM2_AUDIT_LEDGER_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "provision/audit/ledger.h"
#include "provision/audit/tree.h"

/* C2SP tlog-tiles: 256 hashes a tile, 256 entries a bundle; a bundle's level is written "entries". */
#define LEDGER_TILE 256
#define LEDGER_ENTRIES (-1)
/* A full bundle: 256 entries of a uint16 length and at most 65,535 bytes. */
#define LEDGER_BUNDLE_MAX (LEDGER_TILE * (2 + (size_t)LEDGER_LEAF_MAX))
#define LEDGER_PATH_MAX 64
#define LEDGER_LEVELS 8 /* 256^8 leaves: all that 64 bits count */

/*
 * The file "head": LEDGER_MAGIC, size and bundle_bytes (64 bits, big endian), the tree's frontier,
 * and the first LEDGER_HEAD_CHECK bytes of the leaf hash of all that.
 */
#define LEDGER_HEAD "head"
#define LEDGER_MAGIC "VM2LEDG1"
#define LEDGER_HEAD_FIXED 24
#define LEDGER_HEAD_CHECK 8
#define LEDGER_HEAD_MAX (LEDGER_HEAD_FIXED + TREE_LEVELS * TREE_HASH + LEDGER_HEAD_CHECK)

/* The state after the last append: file "head". bundle_bytes: length of the bundle it stopped in. */
struct ledger_state {
	struct tree tree;
	uint64_t bundle_bytes;
};

/* Hold the folder's lock, shared or exclusive (flock(2)). 0 or -errno. */
int ledger_lock(int folder_fd, int operation);

/* "tile/0/x001/067": tile number n of a level (or LEDGER_ENTRIES). */
void ledger_path(int level, uint64_t n, char ret[LEDGER_PATH_MAX]);

/* Read "head": 0; -ENOENT when it is not there, -EBADMSG when it is damaged, or -errno. */
int ledger_state_read(int folder_fd, struct ledger_state *ret);

/*
 * Read a whole tile or bundle, at most cap bytes, into buf. The length; 0 when it is not there;
 * -EFBIG when it is longer; -errno.
 */
int64_t ledger_tile_read(int folder_fd, int level, uint64_t n, void *buf, size_t cap);

/* The next entry of a bundle: *pos moves past it. 0; 1 at the end; -EBADMSG in a torn one. */
int ledger_entry_next(const unsigned char *bundle, size_t len, size_t *pos, const char **ret_leaf,
		      size_t *ret_len);

#endif
