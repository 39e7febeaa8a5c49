/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Addresses that no router forwards to, whatever routes it has: those of IANA's registries of special-purpose
 * addresses (RFC 6890, as they stood in 2025) that are no destination, or not to be forwarded. Computes only;
 * internal to the folder.
 */
#ifndef VM2_FIREWALL_SPECIAL_H
#define VM2_FIREWALL_SPECIAL_H

#include "firewall/address.h"

/* The nth of these prefixes, from 0; NULL: there are no more. */
const struct address *special_nth(uint32_t n);

/* Whether an address, or a whole prefix, is of one of them. */
bool special_has(const struct address *a);

#endif
