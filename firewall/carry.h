/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest without a rate is counted in the very elements that say that it has none (plain_sent,
 * plain_received). When these go, what they counted goes on in `sent` and `received`. Internal to the folder.
 */
#ifndef VM2_FIREWALL_CARRY_H
#define VM2_FIREWALL_CARRY_H

#include <stdint.h>

#include "firewall/elements.h"

/* What the guest sent, then what it received. */
#define CARRY_WAYS 2

/* Zeroed is nothing. */
struct carry {
	struct elements_count of[CARRY_WAYS];
};

/*
 * Read, by the socket that the batch goes by, what the guest's elements have counted, all four; nothing, if it has none without a rate. What passes
 * from here on until carry_put() is in force is not counted. 0 or -errno.
 */
int carry_read(struct netlink *nl, const struct policy *p, uint32_t index, struct carry *ret,
	       struct err *err);

/* Have it go on from there in the batch that deletes those without a rate. */
void carry_put(struct netlink *nl, const struct policy *p, uint32_t index, const struct carry *c);

#endif
