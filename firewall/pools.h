/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Further pools: prefixes, beside the two that each guest has one address of, whose addresses are given
 * to guests one by one. They are routed to the host, and leave it as they are. Computes only.
 */
#ifndef VM2_FIREWALL_POOLS_H
#define VM2_FIREWALL_POOLS_H

#include <stdint.h>

#include "firewall/rules.h"

/* Room for an address as text (INET6_ADDRSTRLEN). */
#define POOLS_TEXT_MAX 46

/*
 * An address of the further pools, as text in the one form that the kernel writes, too. which: an
 * address, or a prefix within a pool, of which it is the nth usable, from 0: without the first and,
 * of IPv4, the last, where there are more than two. ERR_USAGE: it is neither, or in no further pool;
 * ERR_NOT_FOUND: which has no more than n.
 */
int pools_address(const struct rules_base *base, const char *which, uint64_t n,
	char ret[POOLS_TEXT_MAX], struct err *err);

#endif
