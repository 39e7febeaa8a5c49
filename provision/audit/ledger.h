/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ledger: an append-only Merkle tree (RFC 6962 2.1, SHA-256) of JSON leaves, in one folder.
 * Several processes append at once; each holds the folder's lock for the instant.
 */
#ifndef VM2_AUDIT_LEDGER_H
#define VM2_AUDIT_LEDGER_H

#include <stddef.h>
#include <stdint.h>

#include "provision/base/err.h"

/* The longest leaf, in bytes (C2SP tlog-tiles: an entry's length is a uint16). */
#define LEDGER_LEAF_MAX 65535

/* A point in the tree's history: so many leaves, with this root. */
struct ledger_head {
	uint64_t size;
	unsigned char root[32];
};

/*
 * Append one leaf (JSON text, no newline in it). The folder is made when it is not there (0750).
 * A torn end that a crash left is repaired first: whole leaves stay, half a leaf goes, and if the
 * head had counted leaves that are no longer there (a power cut), a leaf of type "lost" with that
 * head's size and root is put first. head may be NULL; else it is the head after.
 * Errors: ERR_USAGE (a leaf too long, or empty), -errno.
 */
int ledger_append(const char *folder, const char *json, size_t len, struct ledger_head *head,
		  struct err *err);

/* The head, computed from the stored hashes. No such folder is an empty ledger. */
int ledger_read_head(const char *folder, struct ledger_head *head, struct err *err);

/* Call fn for each leaf from `first` on until it returns non-zero. */
int ledger_each(const char *folder, uint64_t first,
		int (*fn)(void *data, uint64_t index, const char *json, size_t len), void *data,
		struct err *err);

/*
 * Make what was appended survive a power cut: fsync of each file that grew since *synced leaves.
 * *synced (0 at first) is moved to the size that is safe now. Appending never does this: what
 * write(2) took is the kernel's and survives any death of processes; vm2d calls this now and then.
 */
int ledger_sync(const char *folder, uint64_t *synced, struct err *err);

/*
 * Compute every hash anew from the leaves and compare with what is stored. ERR_FAILED: altered,
 * with what and where. Appends go on meanwhile: what is verified is the ledger as it was at the start.
 * Whoever has noted an earlier head compares it through ledger_verify_head.
 */
int ledger_verify(const char *folder, struct ledger_head *head, struct err *err);

/*
 * The same, and that the ledger's first known->size leaves have known->root: nothing that was
 * there when `known` was noted has been altered, removed or reordered. ERR_FAILED: it has.
 */
int ledger_verify_head(const char *folder, const struct ledger_head *known,
		       struct ledger_head *head, struct err *err);

#endif
