/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/special.h"

#include <sys/socket.h>

#include "provision/base/cleanup.h"

/*
 * Not among them are the prefixes for documentation, from which laboratories take theirs, and what is not given
 * out yet of 192.0.0.0/24 and 2001::/23. Shared address space (100.64.0.0/10), private and unique local
 * addresses, benchmarks' and translated ones are to be forwarded.
 */
static const struct address special[] = {
	{ AF_INET, { 0 }, 4, 8 },		/* this network: RFC 791 3.2 */
	{ AF_INET, { 127 }, 4, 8 },		/* loopback: RFC 1122 3.2.1.3 */
	{ AF_INET, { 169, 254 }, 4, 16 },	/* link-local, and clouds' metadata: RFC 3927 */
	{ AF_INET, { 192, 0, 0, 8 }, 4, 32 },	/* dummy address: RFC 7600 */
	{ AF_INET, { 192, 0, 0, 170 }, 4, 31 }, /* discovery of NAT64: RFC 8880, RFC 7050 2.2 */
	{ AF_INET, { 240 }, 4, 4 },   /* reserved: RFC 1112 4; the last is broadcast: RFC 919 7 */
	{ AF_INET6, { 0 }, 16, 128 }, /* unspecified: RFC 4291 2.5.2 */
	{ AF_INET6, { [15] = 1 }, 16, 128 }, /* loopback: RFC 4291 2.5.3 */
	{ AF_INET6,
	  { [10] = 0xff, 0xff },
	  16,
	  96 }, /* an IPv4 address in disguise: RFC 4291 2.5.5.2 */
	{ AF_INET6, { 0x01, [7] = 0x01 }, 16, 64 }, /* dummy prefix: RFC 9780 */
	{ AF_INET6, { 0xfe, 0x80 }, 16, 10 },	    /* link-local: RFC 4291 2.5.6 */
};

const struct address *special_nth(uint32_t n)
{
	return n < ARRAY_LEN(special) ? &special[n] : NULL;
}

bool special_has(const struct address *a)
{
	for (size_t i = 0; i < ARRAY_LEN(special); i++)
		if (address_within(a, &special[i]))
			return true;
	return false;
}
