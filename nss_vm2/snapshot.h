/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The snapshot of accounts: a read-only indexed file, world-readable, without secrets, replaced by
 * rename. Written by provision/store, read by libnss_vm2.so.2. docs/SNAPSHOT describes the format.
 * libc only. The reading half is nss_vm2/snapshot_read.h.
 */
#ifndef VM2_NSS_SNAPSHOT_H
#define VM2_NSS_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where libnss_vm2 looks; the same as the config's default for paths.accounts. */
#define SNAPSHOT_PATH "/run/vm2/accounts.snap"

/* One tenant's account. */
struct snapshot_account {
	const char *name;    /* [a-z][a-z0-9-]*, at most 32 bytes */
	uint32_t uid;	     /* host uid, 1000 or above, and gid of the group of the same name */
	uint32_t guest_base; /* first host uid of its guest's range of 65,536; 0: none yet */
};

/*
 * The whole file for these accounts (in any order; names and uids must be unique, ranges must not
 * overlap).
 * home and shell are the same for all ("/var/lib/vm2/empty" and "/usr/bin/vm2-shell").
 * listed: whether getpwent(3) and its like go through the tenants.
 * *ret_data is to be freed with free(3). 0, or -EINVAL / -ENOMEM.
 */
int snapshot_encode(const struct snapshot_account *accounts, uint32_t count, const char *home,
		    const char *shell, bool listed, void **ret_data, size_t *ret_len);

#endif
