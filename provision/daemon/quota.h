/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The monthly quota: how much a tenant's guest may send and receive in a month of UTC's, and what
 * becomes of one that has used it up. Looked at after each collection of the kernel's counts, so at
 * most some 15 s late; a new month, or another quota, lifts it.
 */
#ifndef VM2_DAEMON_QUOTA_H
#define VM2_DAEMON_QUOTA_H

#include "provision/store/store.h"

/* Bytes used in the month of `now`. Computes only. */
uint64_t quota_used(const struct store_tenant *t, int64_t now);

/* Bits a second that its guest may send and receive, as its plan and its quota say; 0: all. */
void quota_rates(const struct store_tenant *t, uint64_t *ret_up, uint64_t *ret_down);

/* "within", or what has become of it: "log", "throttle", "block"; "" without a quota. */
const char *quota_state(const struct store_tenant *t);

/*
 * Find out whether a tenant is beyond its quota, and note it where that is new: in the ledger first,
 * then in the database. The kernel is told by life_limit().
 */
int quota_decide(const struct config *config, struct store *store, const struct store_tenant *t,
	struct err *err);

/* The same for all, and the kernel is told: for the keeper. What fails is logged. */
void quota_keep(const struct config *config, struct store *store);

#endif
