/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What guests sent and received, and what of it was dropped: sums since a tenant's first guest, and of each hour. The kernel's
 * counts begin at zero now and then (another epoch); what was seen of them last is kept beside the
 * sums, so that each byte is added once, whoever is killed when. The sum of the month is what quotas
 * are of.
 */
#ifndef VM2_STORE_TRAFFIC_H
#define VM2_STORE_TRAFFIC_H

#include "provision/store/store.h"

struct store_traffic {
	uint64_t sent_packets, sent_bytes, received_packets, received_bytes;
	uint64_t dropped; /* packets */
};

/* What the kernel has counted, by the guests' numbers below n; epoch 0: nothing is known. */
struct store_counts_read {
	uint64_t epoch;
	const struct store_traffic *of;
	uint32_t n;
};

/*
 * Read the kernel's counts by `read` (0 or an error, which ends it) and add what is new to the sums
 * and to the hour of `now`; forget hours that are older than keep_s seconds. One transaction, within
 * which `read` is called: two at once add nothing twice.
 */
int store_traffic_collect(struct store *store,
	int (*read)(void *data, struct store_counts_read *ret, struct err *err), void *data,
	int64_t now, int64_t keep_s, struct err *err);

/* The sums of a tenant, and when they were last added to (0: never). Unknown is all zero. */
int store_traffic_get(struct store *store, const char *tenant, struct store_traffic *ret,
	int64_t *ret_updated, struct err *err);

/* When the month of UTC's began that `now` is in. */
int64_t store_month(int64_t now);

/* Note whether a tenant has used its quota up, and whether the kernel was told so. Unknown is success. */
int store_traffic_beyond(struct store *store, const char *tenant, bool beyond, struct err *err);
int store_traffic_held(struct store *store, const char *tenant, bool beyond, struct err *err);

/* The hours of a tenant from `since` on, oldest first; `hour` is when it began. */
typedef int (*store_hour_fn)(void *data, int64_t hour, const struct store_traffic *t);
int store_traffic_hours(struct store *store, const char *tenant, int64_t since, store_hour_fn fn,
	void *data, struct err *err);

/* A tenant's guest is destroyed: what the kernel counts for its number is another's from now on. */
int store_traffic_forget(struct store *store, const char *tenant, struct err *err);

#endif
