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

/*
 * A process looks at the file again after so long, not at each lookup: who publishes waits so long
 * before saying that it is done.
 */
#define SNAPSHOT_TRUST_NS 100000

/* One tenant's account. */
struct snapshot_account {
	const char *name;    /* [a-z][a-z0-9-]*, at most 32 bytes */
	uint32_t uid;	     /* host uid, 1000 or above, and gid of the group of the same name */
	uint32_t guest_base; /* first host uid of its guest's range of 65,536; 0: none yet */
	/*
	 * The accounts inside its guest: "ID NAME\n" for each, an ID once, 0 to 65535; NULL for none.
	 * Accounts that have the very same text share what is written of it.
	 * What follows a line of another form is left out, and what is more than 64 lines of 60 bytes.
	 */
	const char *inside;
};

/* What is the same for all. */
struct snapshot_options {
	const char *home;    /* "/var/lib/vm2/empty"; at most 255 bytes, as shell */
	const char *shell;   /* "/usr/bin/vm2-shell" */
	bool unlisted;	     /* getpwent(3) and its like go through no tenants */
	uint32_t generation; /* another one for each file: a piece of an older file is not taken for one of this */
};

/*
 * The whole file for these accounts (in any order, those by name cost least; names and uids must be
 * unique, ranges must not overlap).
 * *ret_data is to be freed with free(3). 0, or -EINVAL / -ENOMEM.
 */
int snapshot_encode(const struct snapshot_account *accounts, uint32_t count,
		    const struct snapshot_options *options, void **ret_data, size_t *ret_len);

#endif
