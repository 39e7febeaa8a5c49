/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Archives into a fresh tree: a guest's export, a root file system, a layer of an image. */
#ifndef VM2_GUEST_UNPACK_H
#define VM2_GUEST_UNPACK_H

#include "provision/guest/pack.h"
#include "provision/guest/place.h"

/* What goes into the folder `root`, and within which bounds. */
struct unpack {
	int root;
	uint64_t bytes, entries; /* at most */
	pack_progress_fn progress;
};

/*
 * A guest's export (pack.h) from the descriptor `in`. What is there is good only when this returns
 * 0: manifest, every line and the sum at the end were as they must be. ERR_FAILED says what was not.
 */
int unpack_guest(const struct unpack *u, int in, struct err *err);

/* A tarball of a root file system, however it is compressed. Devices are left out. */
int unpack_tar(const struct unpack *u, int in, struct err *err);

/*
 * A layer of an OCI image (image-spec, layer.md), on top of what is there: first its whiteouts, then
 * what it has. `in` must be a file. *bytes and *entries are what may come, and are counted down.
 */
int unpack_layer(struct unpack *u, int in, struct err *err);

#endif
