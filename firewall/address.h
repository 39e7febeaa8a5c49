/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses and names as the firewall takes them: text in, bytes out, nothing believed unchecked.
 * Computes only; internal to the folder.
 */
#ifndef VM2_FIREWALL_ADDRESS_H
#define VM2_FIREWALL_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "provision/base/err.h"

/* An address, or a prefix of one. */
struct address {
	int family;	   /* AF_INET, AF_INET6, or 0 for none */
	uint8_t bytes[16]; /* network order; 4 or 16 of them count */
	uint8_t len;	   /* 4 or 16 */
	uint8_t prefix;	   /* bits; len * 8 for a single address */
};

/*
 * A single address of this family that a guest may have: no prefix length, and neither
 * unspecified, loopback, link-local, multicast, reserved (240.0.0.0/4) nor IPv4-mapped. NULL or "" is
 * none (family 0). 0 or ERR_USAGE.
 */
int address_parse(const char *text, int family, struct address *ret, struct err *err);

/*
 * A prefix in CIDR notation (RFC 4632) of this family, with no bits set after the prefix and at
 * least one bit long. NULL or "" is none (family 0). 0 or ERR_USAGE.
 */
int address_parse_cidr(const char *text, int family, struct address *ret, struct err *err);

/* The same, whose first and last address address_parse() would take. */
int address_parse_pool(const char *text, int family, struct address *ret, struct err *err);

/* As address_parse_cidr(), and all of the family besides: 0.0.0.0/0, ::/0. */
int address_parse_range(const char *text, int family, struct address *ret, struct err *err);

/* The mask of a prefix, in network order. */
void address_mask(const struct address *a, uint8_t ret[16]);

/*
 * The next of the single addresses in *text, which are separated by spaces; *text is moved on. 1, 0 at
 * the end (or NULL), or ERR_USAGE as address_parse().
 */
int address_next(const char **text, struct address *ret, struct err *err);

/* Whether a prefix, or a single address, lies within another prefix; in none (family 0) nothing does. */
bool address_within(const struct address *a, const struct address *of);

/* An instance's name: [a-z] then [a-z0-9_], at most 8 bytes. 0 or ERR_USAGE. */
int address_check_instance(const char *instance, struct err *err);

#endif
