/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Locks between vm2d's workers: flock(2) on files below RUN/locks. A lock is a descriptor; it goes
 * with the process that holds it, however that ends.
 *
 * Their order: a tenant's lock first, then the lock of the rules.
 */
#ifndef VM2_DAEMON_LOCKS_H
#define VM2_DAEMON_LOCKS_H

#include <stdbool.h>

#include "provision/base/config.h"
#include "provision/base/err.h"

/* Names that no tenant can have: they start with a dot. */
#define LOCK_RULES    ".rules" /* shared: a guest's change; exclusive: the table is replaced */
#define LOCK_TEMPLATE ".template" /* one template is made or removed at a time */
#define LOCK_EXPORT   ".export." /* and a name: that guest's files are being read; after its own lock */
#define LOCK_PASSWORD ".password" /* with a number: so many are verified at once; without: seats */

/* Who only looks at a guest, or settles its addresses, has its lock so long at most. */
#define LOCK_LOOK_MS 2000

/*
 * Take a lock, waiting at most timeout_ms (0: not at all). *ret is to be closed; on ERR_BUSY the
 * text says who waits for what.
 */
int lock_take(const struct config *config, const char *name, bool shared, int timeout_ms, int *ret,
	struct err *err);

/*
 * Take a seat in the crowd that waits for a lock or holds it. There are as many as a quarter of
 * daemon.workers; ERR_BUSY when all are taken: so neither a tenant whose guest hangs nor a flood of
 * passwords holds all workers. *ret is to be closed.
 */
int lock_seat(const struct config *config, const char *name, int *ret, struct err *err);

/* Delete the file of a lock that is held, for a tenant that is no more. */
void lock_remove(const struct config *config, const char *name);

/* Make RUN/locks. */
int lock_folder(const struct config *config, struct err *err);

#endif
