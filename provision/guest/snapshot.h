/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots of a guest's files: GUESTS/.snapshots/NAME/S, made under another name and renamed, so
 * whole or not there. The caller holds the tenant's lock. Names of snapshots are as those of guests.
 */
#ifndef VM2_GUEST_SNAPSHOT_H
#define VM2_GUEST_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "provision/guest/guest.h"

struct snapshot {
	const char *name;
	int64_t created; /* seconds since the epoch */
	uint64_t bytes;	 /* 0 where not known: shared with the guest */
	bool used;	 /* the guest stands on it: it cannot be removed */
};

typedef int (*snapshot_fn)(void *data, const struct snapshot *snapshot);

/*
 * Make one of the guest's files, running or not; it goes on running. *ret_pause_us (may be NULL):
 * how long its processes stood still. ERR_EXISTS, ERR_NOT_FOUND (the guest has no files).
 */
int snapshot_make(const struct config *config, const struct guest_spec *spec, const char *name,
		  int64_t *ret_pause_us, struct err *err);

/* Call fn for each, oldest first. What fn returns ends the list when it is not 0. */
int snapshot_each(const struct config *config, const struct guest_spec *spec, snapshot_fn fn,
		  void *data, struct err *err);

/* Whether it is there: 0 or ERR_NOT_FOUND. */
int snapshot_find(const struct config *config, const struct guest_spec *spec, const char *name,
		  struct err *err);

/* ERR_NOT_FOUND; ERR_BUSY while the guest stands on it. */
int snapshot_remove(const struct config *config, const struct guest_spec *spec, const char *name,
		    struct err *err);

/* Of a guest that does not run. The snapshot stays; all that changed since is gone. */
int snapshot_restore(const struct config *config, const struct guest_spec *spec, const char *name,
		     struct err *err);

/*
 * One that is no snapshot of anybody's but an export's, of the guest as it is now: *ret_folder is to
 * be freed. There is one at a time; release() deletes it. The lock is needed for both calls only.
 */
int snapshot_hold(const struct config *config, const struct guest_spec *spec, char **ret_folder,
		  struct err *err);
int snapshot_release(const struct config *config, const struct guest_spec *spec, struct err *err);

/* Delete what a crash left half made, and, `exports`, an export's. Best effort. */
void snapshot_tidy(const struct config *config, const struct guest_spec *spec, bool exports);

/* The folder of a snapshot; free(3). */
char *snapshot_path(const struct config *config, const char *guest, const char *name);

#endif
