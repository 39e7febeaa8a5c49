/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network addresses and prefixes, as text and compared. */
#ifndef VM2_BASE_PREFIX_H
#define VM2_BASE_PREFIX_H

#include <stdbool.h>

struct prefix {
	int family; /* AF_INET or AF_INET6 */
	unsigned char bytes[16];
	unsigned int bits;
};

/* "192.0.2.1", "192.0.2.0/24", "2001:db8::/32"; an IPv4 address as IPv6 says it is IPv4. */
bool prefix_parse(const char *text, struct prefix *ret);

/* Whether an address (of all its bits) is within a prefix. */
bool prefix_within(const struct prefix *address, const struct prefix *p);

/* Whether an address is within one of the prefixes in a list, separated by spaces or commas. */
bool prefix_listed(const char *list, const char *address);

#endif
