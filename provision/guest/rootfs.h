/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is mounted on a guest's tree: /proc, /sys, /dev, /run; and what is masked there. */
#ifndef VM2_GUEST_ROOTFS_H
#define VM2_GUEST_ROOTFS_H

#include "provision/guest/inside.h"

/*
 * In the guest's namespaces, as its root, with the stage (inside.h) as root and working directory: mount in
 * its "furniture" what all guests have, whatever their files are. docs/GUEST says what for; proc
 * is one of rootfs_proc(). That folder, to be closed by the caller, or negative.
 */
int rootfs_furnish(const struct inside *in, int proc, struct err *err);

/* A proc of the caller's process namespace: a detached mount, or negative. */
int rootfs_proc(struct err *err);

/*
 * In a guest that runs, as its root: have /dev/pts hold so many terminals, and /dev/shm and /run so much as
 * goes with this memory (0: no limit). Best effort: what is fuller by now keeps its size.
 */
void rootfs_limit(uint64_t terminals, uint64_t memory);

/* With the guest's tree as root: move that to its places in there. */
int rootfs_move_in(int furniture, struct err *err);

#endif
