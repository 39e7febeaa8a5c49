/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guests' pool: a btrfs file system in one sparse file, for hosts whose state directory is on
 * another one. STATE/pool.btrfs, mounted at paths.guests through a loop device that goes when the
 * mount does. `vm2 host setup --pool` makes the file; it is mounted there and by every start of vm2d.
 */
#ifndef VM2_BASE_POOL_H
#define VM2_BASE_POOL_H

#include "provision/base/config.h"
#include "provision/base/err.h"

/* STATE/pool.btrfs; free(3). */
char *pool_path(const struct config *config);

/*
 * Have the pool mounted when there is one. 1: this call did it; 0: there is none, or it was; -errno
 * with a text. Takes root. Never to be passed over: guests made beside the pool would vanish under it.
 */
int pool_mount(const struct config *config, struct err *err);

/* Take the mount away; 1, or 0 when there was none. */
int pool_unmount(const struct config *config, struct err *err);

#endif
