/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files of /proc and /sys that show a guest its own limits instead of the host's: lxcfs(1) makes
 * them, in RUN/lxcfs, and they are mounted over the kernel's. It is one process for all guests and
 * it may crash: a guest starts without it too, and what is left of a crashed one is taken away by
 * the next session, so that the kernel's own files are to be seen again.
 */
#ifndef VM2_GUEST_LXCFS_H
#define VM2_GUEST_LXCFS_H

#include <stdint.h>

#include "provision/base/config.h"

#define LXCFS_FILES 5
/* Their paths, in the guest and below RUN/lxcfs. */
extern const char *const lxcfs_files[LXCFS_FILES];

/*
 * On the host: detached mounts of the files, -1 for each that is not there; to be closed by the
 * caller. Fails never: without lxcfs a guest shows the host's numbers.
 */
void lxcfs_open(const struct config *config, int ret[LXCFS_FILES]);

/* On the host: tells this run of lxcfs from any other, without asking it. 0 when it does not run. */
uint64_t lxcfs_device(const struct config *config);

/*
 * In the guest, as its root: unmount what is left of another run than `device` if that one is dead.
 * What the guest itself mounted in those places stays.
 */
void lxcfs_drop_dead(uint64_t device);

#endif
