/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is mounted on a guest's tree: /proc, /sys, /dev, /run; and what is masked there. */
#ifndef VM2_GUEST_ROOTFS_H
#define VM2_GUEST_ROOTFS_H

#include "provision/guest/inside.h"

/* In the guest's namespaces, as its root, with its tree as root. docs/GUEST says what for. */
int rootfs_furnish(const struct inside *in, struct err *err);

#endif
