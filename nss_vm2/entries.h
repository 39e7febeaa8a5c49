/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a record of the snapshot to the structs of passwd, group and shadow. All strings are laid
 * into the caller's buffer; nothing is changed in the caller's struct before all has found room.
 */
#ifndef VM2_NSS_ENTRIES_H
#define VM2_NSS_ENTRIES_H

#include <grp.h>
#include <pwd.h>
#include <shadow.h>

#include "nss_vm2/snapshot_read.h"

/* Who was found: a tenant, or a uid of its guest (guest_id 0..65535; -1 for the tenant itself). */
struct found {
	struct snapshot_record tenant;
	int32_t guest_id;
};

/* The host's number for it. */
uint32_t found_number(const struct found *f);

/* Look up a login name, "TENANT" or "TENANT+UID". 0, -ENOENT, -EBADMSG, -errno. */
int found_by_name(const struct snapshot_reader *r, const char *name, struct found *ret);

/* Look up a host uid or gid. */
int found_by_number(const struct snapshot_reader *r, uint32_t number, struct found *ret);

/*
 * Fill an entry. 0, -ERANGE when buf (len bytes) is too small, -EBADMSG, -errno. entry is the NSS struct.
 * An account inside a guest has its name there as gecos, where the snapshot knows it.
 */
int entry_passwd(const struct snapshot_reader *r, const struct found *f, void *entry, char *buf,
		 size_t len);
int entry_group(const struct snapshot_reader *r, const struct found *f, void *entry, char *buf,
		size_t len);
/* Guests' uids have no shadow entry: -ENOENT. */
int entry_shadow(const struct snapshot_reader *r, const struct found *f, void *entry, char *buf,
		 size_t len);

#endif
