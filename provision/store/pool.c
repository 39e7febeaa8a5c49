/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/store/pool.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "provision/base/str.h"

/* Split "address/bits". */
static int split(const char *text, char *address, size_t size, uint64_t max, uint64_t *ret_bits)
{
	const char *slash = strchr(text, '/');

	if (!slash || (size_t)(slash - text) >= size || parse_u64(slash + 1, max, ret_bits) < 0)
		return -1;
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	return 0;
}

int pool4_parse(const char *text, struct pool4 *ret, struct err *err)
{
	char address[INET_ADDRSTRLEN];
	uint64_t bits = 0;
	struct in_addr a;
	uint32_t base, size;

	if (!*text) {
		*ret = (struct pool4){ 0 };
		return 0;
	}
	if (split(text, address, sizeof(address), 30, &bits) < 0 || bits < 8 ||
		inet_pton(AF_INET, address, &a) != 1)
		return err_set(err, ERR_USAGE,
			"network.pool4 = '%s' is no IPv4 prefix from /8 to /30, as 10.82.0.0/16",
			text);
	base = ntohl(a.s_addr);
	size = 1U << (32 - bits);
	if (base & (size - 1))
		return err_set(err, ERR_USAGE,
			"network.pool4 = '%s' has bits set right of its prefix", text);
	*ret = (struct pool4){ .first = base + 2, .count = size - 3 };
	return 0;
}

int pool6_address(const char *text, uint32_t number, char ret[46], struct err *err)
{
	char address[INET6_ADDRSTRLEN];
	uint64_t bits = 0;
	uint32_t last = htonl(number + 1);
	struct in6_addr a;

	if (!*text) {
		*ret = '\0';
		return 0;
	}
	if (split(text, address, sizeof(address), 96, &bits) < 0 || bits < 32 ||
		inet_pton(AF_INET6, address, &a) != 1)
		return err_set(err, ERR_USAGE,
			"network.pool6 = '%s' is no IPv6 prefix from /32 to /96, as fd82::/64",
			text);
	for (size_t i = bits; i < 128; i++)
		if (a.s6_addr[i / 8] & (0x80 >> (i % 8)))
			return err_set(err, ERR_USAGE,
				"network.pool6 = '%s' has bits set right of its prefix", text);
	memcpy(&a.s6_addr[12], &last, sizeof(last));
	inet_ntop(AF_INET6, &a, ret, 46);
	return 0;
}
