/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a file tree is, as text and as a number: a line for each entry, with all that is kept of it,
 * and SHA-256 over lines. The same tree has the same sum on every file system: holes are not told
 * from zeros.
 */
#ifndef VM2_GUEST_SUM_H
#define VM2_GUEST_SUM_H

#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "provision/base/str.h"

#define SUM_PAGE 4096
#define SUM_TEXT_SIZE (sizeof("sha256:") + 2 * SHA256_DIGEST_SIZE)

/* A file's content, given in order and with gaps. Zeroed is empty. */
struct content {
	struct sha256_ctx hash;
	bool begun;
	uint64_t page; /* which one is being filled */
	size_t filled;
	uint8_t data[SUM_PAGE];
};

/* Add bytes at an offset that is not below the end of what was added before. */
void content_add(struct content *c, uint64_t at, const void *data, size_t len);
/* The sum: SHA-256 over number (8 bytes, big-endian) and bytes of each page that is not all zero. */
void content_end(struct content *c, uint8_t ret[SHA256_DIGEST_SIZE]);

/* One entry. Strings belong to the caller. */
struct node {
	char type;	    /* f file, d folder, l symbolic link, p FIFO, h another name of a file */
	const char *path;   /* below the tree's root, "" for the root itself */
	const char *target; /* of l and h, or NULL */
	mode_t mode;	    /* 07777 */
	uint32_t uid, gid;
	int64_t mtime;
	uint32_t mtime_ns;
	uint64_t size; /* of a file */
	uint8_t content[SHA256_DIGEST_SIZE];
	struct buf xattrs; /* node_xattr() */
};

/*
 * Whether an attribute of that name is kept. user.* is, save overlayfs's own (user.overlay.*), which
 * would mean something to the driver; POSIX ACLs are; and of security.* file capabilities alone: root
 * in a guest can set these, and they are as good as the setuid bit, which is kept.
 */
bool xattr_kept(const char *name, const void *value, size_t len);

/* Add an attribute; they are to be added in the order of their names (strcmp(3)). */
void node_xattr(struct node *n, const char *name, const void *value, size_t len);

/* Add the entry's line, with its newline. Bytes of names that could be taken for others are escaped. */
void node_line(const struct node *n, struct buf *out);

/* "sha256:" and 64 digits. Ends the hash. */
void sum_text(struct sha256_ctx *hash, char ret[SUM_TEXT_SIZE]);

#endif
