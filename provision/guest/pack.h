/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest as one file: zstd, and in it a pax tar (POSIX.1-2001), which stock tar reads, too:
 *   vm2-guest.json     the manifest: format and facts (struct pack_facts)
 *   rootfs/…           the guest's files, a folder before what is in it
 *   vm2-guest.sha256   "sha256:… ENTRIES": the sum over manifest and all lines (sum.h) in this order
 */
#ifndef VM2_GUEST_PACK_H
#define VM2_GUEST_PACK_H

#include <stdint.h>

#include "provision/base/err.h"

#define PACK_FORMAT	  1
#define PACK_MANIFEST	  "vm2-guest.json"
#define PACK_TREE	  "rootfs"
#define PACK_SUM	  "vm2-guest.sha256"
#define PACK_MANIFEST_MAX 65536

/* What the manifest says of the guest beside its files. */
struct pack_facts {
	const char *name;     /* of the tenant */
	const char *template; /* that it was made from, or "" */
	const char *digest;   /* of that template, or "" */
	const char *driver;   /* of its storage */
	const char *plan;
	const char *version; /* of the VM2 that wrote it */
};

/* A line about how far it is; called every few seconds. */
typedef void (*pack_progress_fn)(const char *text);

/* Write the tree at `root` (which stands still) to the descriptor `out`. */
int pack_guest(int root, int out, const struct pack_facts *facts, pack_progress_fn progress,
	       struct err *err);

#endif
