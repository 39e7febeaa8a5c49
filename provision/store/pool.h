/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pools of addresses: what a prefix in CIDR form holds for guests. Computes only. */
#ifndef VM2_STORE_POOL_H
#define VM2_STORE_POOL_H

#include <stdint.h>

#include "provision/base/err.h"

/* IPv4: the addresses for guests are first .. first + count - 1, in host byte order. */
struct pool4 {
	uint32_t first;
	uint32_t count;
};

/*
 * Parse "10.82.0.0/16" (/8 to /30). The network's, the broadcast and the first address are left
 * out. "" is an empty pool. ERR_USAGE: no such prefix, or bits set right of it.
 */
int pool4_parse(const char *text, struct pool4 *ret, struct err *err);

/*
 * The address of guest `number` in "fd82::/64" (/32 to /96): the prefix, and number + 1 as its last
 * 32 bits. "" gives "". ERR_USAGE as above.
 */
int pool6_address(const char *text, uint32_t number, char ret[46], struct err *err);

#endif
