/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Elements of the table's sets as requests of a batch. Computes only; internal to the folder. */
#ifndef VM2_FIREWALL_ELEMENTS_H
#define VM2_FIREWALL_ELEMENTS_H

#include <stdint.h>

#include "firewall/netlink.h"
#include "firewall/policy.h"
#include "firewall/ruleset.h"

/*
 * Add or delete (type: NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM) elements: a message for each set, and for each
 * so many. What is there already stays as it is; what is deleted must be there.
 */
void elements_put(struct netlink *nl, const struct policy *p, uint16_t type,
		  const struct ruleset *elements);

/* What has been counted already. */
struct elements_count {
	uint64_t packets, bytes;
};

/* The same with one interface in a set that the rules themselves add to; count: that it begins with, or NULL. */
void elements_put_interface(struct netlink *nl, const struct policy *p, uint16_t type,
			    const char *set, uint32_t index, const struct elements_count *count);

#endif
