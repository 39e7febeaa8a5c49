/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each guest has sent and received, and what was dropped: elements of sets that the rules
 * themselves add to, by the guests' numbers. They outlive a guest's link and end with the table. Counted is what was let
 * through between a guest and others, in packets and bytes of IP.
 */
#ifndef VM2_FIREWALL_TRAFFIC_H
#define VM2_FIREWALL_TRAFFIC_H

#include <stddef.h>

#include "firewall/rules.h"

struct traffic_count {
	uint64_t sent_packets, sent_bytes, received_packets, received_bytes;
	uint64_t dropped; /* packets of it, or to it, that were not let through */
};

/* Zeroed is empty; to be freed with traffic_free(). */
struct traffic {
	uint64_t epoch; /* counts of another one began at zero; 0: there is no table */
	struct traffic_count *of; /* by the guests' numbers */
	uint32_t n;
};

void traffic_free(struct traffic *t);
#define CLEANUP_TRAFFIC __attribute__((cleanup(traffic_free)))

/* Read all counts; no table is success. *ret is zeroed, or of an earlier call. 0 or -errno. */
int traffic_read(const struct rules_base *base, struct traffic *ret, struct err *err);

/* Have a guest that is no more count from zero. Not there is success. */
int traffic_forget(const struct rules_base *base, uint32_t number, struct err *err);

#endif
