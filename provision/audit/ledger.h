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
 * A torn end that a crash left is repaired first. head may be NULL; else it is the head after.
 */
int ledger_append(const char *folder, const char *json, size_t len, struct ledger_head *head,
		  struct err *err);

/* The head, computed from the leaves' hashes. */
int ledger_read_head(const char *folder, struct ledger_head *head, struct err *err);

/* Call fn for each leaf from `first` on until it returns non-zero. */
int ledger_each(const char *folder, uint64_t first,
		int (*fn)(void *data, uint64_t index, const char *json, size_t len), void *data,
		struct err *err);

/* Compute every hash anew from the leaves and compare with what is stored. ERR_FAILED: altered. */
int ledger_verify(const char *folder, struct ledger_head *head, struct err *err);

#endif
