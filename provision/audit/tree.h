/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Merkle tree of RFC 6962 2.1 as plain data: a frontier (the roots of the perfect subtrees
 * that the leaves so far make up, largest first), to which leaves are added one at a time.
 * No input, no output.
 */
#ifndef VM2_AUDIT_TREE_H
#define VM2_AUDIT_TREE_H

#include <stddef.h>
#include <stdint.h>

#define TREE_HASH 32	/* bytes of SHA-256 */
#define TREE_LEVELS 64	/* a 64-bit size has at most so many perfect subtrees */

/* Zeroed is the empty tree. There is one node for each bit that is set in size. */
struct tree {
	uint64_t size;
	unsigned char nodes[TREE_LEVELS][TREE_HASH];
};

/* SHA-256(0x00 || leaf), RFC 6962 2.1. */
void tree_hash_leaf(const void *leaf, size_t len, unsigned char ret[TREE_HASH]);

/*
 * Add a leaf's hash. fn (may be NULL) hears of each perfect subtree that the leaf completes,
 * from the leaf itself (height 0) upwards: `index` counts the subtrees of that height from the left.
 * The first result of fn that is not 0 is returned, else 0; the leaf is added either way.
 */
int tree_add(struct tree *t, const unsigned char hash[TREE_HASH],
	     int (*fn)(void *data, unsigned int height, uint64_t index,
		       const unsigned char hash[TREE_HASH]),
	     void *data);

/* The root, RFC 6962 2.1; of an empty tree SHA-256 of nothing. */
void tree_root(const struct tree *t, unsigned char ret[TREE_HASH]);

/* How many nodes a tree of this size has. */
static inline unsigned int tree_nodes(uint64_t size)
{
	return (unsigned int)__builtin_popcountll(size);
}

#endif
