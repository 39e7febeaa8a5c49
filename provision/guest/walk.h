/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A walk through a file tree that stands still, in an order that the names alone decide. No symbolic
 * link is followed, and no mount is left: the tree may be a hostile guest's.
 */
#ifndef VM2_GUEST_WALK_H
#define VM2_GUEST_WALK_H

#include <sys/stat.h>

#include "provision/base/err.h"
#include "provision/guest/sum.h"

/* Folders in each other: each holds a descriptor open while it is walked through. */
#define WALK_DEPTH_MAX 400

/* An attribute that is kept: xattr_kept(). */
struct walk_xattr {
	char *name;
	void *value;
	size_t len;
};

/* What a callback gets: the node (without content), and how to get at the file. */
struct walk_entry {
	struct node node;
	struct stat st;
	int fd; /* of a regular file, open for reading; -1 for others */
	struct walk_xattr *xattrs;
	size_t n_xattrs;
};

/* 0 to go on; anything else ends the walk and is returned. */
typedef int (*walk_fn)(void *data, struct walk_entry *entry, struct err *err);

/*
 * Call fn for the folder `root` and all below it, a folder before what is in it. Sockets and devices
 * are passed over and counted in *ret_skipped (may be NULL).
 */
int walk_tree(int root, walk_fn fn, void *data, uint64_t *ret_skipped, struct err *err);

/* Read the file of an entry: its data into fn, in order, without holes. */
int walk_content(const struct walk_entry *entry,
		 int (*fn)(void *data, uint64_t at, const void *bytes, size_t len, struct err *err),
		 void *data, struct err *err);

#endif
