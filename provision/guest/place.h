/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files into a fresh tree, from a source that is not to be trusted. No path leads out of the tree
 * (openat2(2); vm2-archive has the tree as its root besides), no device is made, owners are
 * 0..65535, attributes only those of xattr_kept(), and there is a limit to what is written.
 */
#ifndef VM2_GUEST_PLACE_H
#define VM2_GUEST_PLACE_H

#include <stdbool.h>

#include "provision/base/err.h"
#include "provision/guest/sum.h"

struct place;

struct place_limits {
	uint64_t bytes, entries;
	/*
	 * For what we wrote ourselves: no path is there twice or leads through a symbolic link, and a
	 * folder comes before what is in it. Else, as tar(1) does: a later entry replaces an earlier.
	 */
	bool strict;
};

/* The folder `root` must outlive it. Free with place_free(). */
struct place *place_new(int root, const struct place_limits *limits);
struct place *place_free(struct place *p);
static inline void cleanup_place(struct place **p)
{
	place_free(*p);
}
#define CLEANUP_PLACE __attribute__((cleanup(cleanup_place)))

/*
 * Turn a path of an archive into one below the tree, "" for its root: "./" and, unless strict, "/"
 * in front go. ERR_USAGE for one that leads out, or is too long. *ret is to be freed.
 */
int place_path(const struct place *p, const char *path, char **ret, struct err *err);

/*
 * Make the entry (its strings are from place_path()). For a file, place_data() then takes what is in
 * it, and place_end() ends it; for all others place_end() must be called, too. Attributes (before
 * place_end()) by place_xattr(), those that are not kept are left out without a word.
 */
int place_begin(struct place *p, struct node *n, struct err *err);
int place_data(struct place *p, uint64_t at, const void *data, size_t len, struct err *err);
int place_xattr(struct place *p, const char *name, const void *value, size_t len, struct err *err);
int place_end(struct place *p, struct err *err);

/* Remove what is at a path, or all that is in the folder there. Not there is success. */
int place_remove(struct place *p, const char *path, struct err *err);
int place_clear(struct place *p, const char *path, struct err *err);

/* At the end: times and attributes of folders, which all else would have changed. */
int place_finish(struct place *p, struct err *err);

/* How much there was so far. */
uint64_t place_bytes(const struct place *p);
uint64_t place_entries(const struct place *p);

#endif
