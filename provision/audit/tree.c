/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/audit/tree.h"

#include <nettle/sha2.h>
#include <string.h>

static void hash_parts(unsigned char prefix, const void *a, size_t a_len, const void *b,
		       size_t b_len, unsigned char ret[TREE_HASH])
{
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, 1, &prefix);
	sha256_update(&ctx, a_len, a);
	sha256_update(&ctx, b_len, b);
	sha256_digest(&ctx, TREE_HASH, ret);
}

void tree_hash_leaf(const void *leaf, size_t len, unsigned char ret[TREE_HASH])
{
	hash_parts(0, leaf, len, "", 0, ret);
}

int tree_add(struct tree *t, const unsigned char hash[TREE_HASH],
	     int (*fn)(void *data, unsigned int height, uint64_t index,
		       const unsigned char hash[TREE_HASH]),
	     void *data)
{
	unsigned char node[TREE_HASH];
	unsigned int n = tree_nodes(t->size);
	uint64_t index = t->size;
	int r = fn ? fn(data, 0, index, hash) : 0;

	memcpy(node, hash, sizeof(node));
	/* Each trailing 1 of the size is a perfect subtree of that height, waiting for its pair. */
	for (unsigned int height = 0; t->size >> height & 1; height++) {
		hash_parts(1, t->nodes[--n], TREE_HASH, node, TREE_HASH, node);
		index >>= 1;
		if (fn && r == 0)
			r = fn(data, height + 1, index, node);
	}
	memcpy(t->nodes[n], node, sizeof(node));
	t->size++;
	return r;
}

void tree_root(const struct tree *t, unsigned char ret[TREE_HASH])
{
	unsigned int n = tree_nodes(t->size);
	struct sha256_ctx ctx;

	if (n == 0) {
		sha256_init(&ctx);
		sha256_digest(&ctx, TREE_HASH, ret);
		return;
	}
	memcpy(ret, t->nodes[--n], TREE_HASH);
	while (n > 0)
		hash_parts(1, t->nodes[--n], TREE_HASH, ret, TREE_HASH, ret);
}
