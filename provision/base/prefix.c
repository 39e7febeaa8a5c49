/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/prefix.h"

#include <arpa/inet.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/str.h"

bool prefix_parse(const char *text, struct prefix *ret)
{
	char address[INET6_ADDRSTRLEN + 1];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	struct prefix p = { .family = AF_INET, .bits = 32 };
	uint64_t bits;

	if (len >= sizeof(address))
		return false;
	memcpy(address, text, len);
	address[len] = '\0';
	if (inet_pton(AF_INET, address, p.bytes) != 1) {
		p.family = AF_INET6;
		p.bits = 128;
		if (inet_pton(AF_INET6, address, p.bytes) != 1)
			return false;
	}
	if (slash) {
		if (parse_u64(slash + 1, p.bits, &bits) < 0)
			return false;
		p.bits = (unsigned int)bits;
	} else if (p.family == AF_INET6 && !memcmp(p.bytes, "\0\0\0\0\0\0\0\0\0\0\377\377", 12)) {
		memmove(p.bytes, p.bytes + 12, 4);
		p.family = AF_INET;
		p.bits = 32;
	}
	*ret = p;
	return true;
}

bool prefix_within(const struct prefix *address, const struct prefix *p)
{
	unsigned int whole = p->bits / 8, rest = p->bits % 8;
	unsigned char mask = (unsigned char)(0xff00 >> rest);

	return address->family == p->family && !memcmp(address->bytes, p->bytes, whole) &&
	       (!rest || !((address->bytes[whole] ^ p->bytes[whole]) & mask));
}

bool prefix_listed(const char *list, const char *address)
{
	CLEANUP_FREE char *copy = xstrdup(list);
	char *rest = copy, *word;
	struct prefix a, p;

	if (!prefix_parse(address, &a))
		return false;
	while ((word = strsep(&rest, " ,")))
		if (*word && prefix_parse(word, &p) && prefix_within(&a, &p))
			return true;
	return false;
}
