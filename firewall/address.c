/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "provision/base/str.h"

#define INSTANCE_LEN_MAX 8

static const char *family_word(int family)
{
	return family == AF_INET6 ? "IPv6" : "IPv4";
}

/* What no guest may own: the host and its links use these, or nobody does. */
static bool reserved(const struct address *a)
{
	const uint8_t *b = a->bytes;
	static const uint8_t loopback6[16] = { [15] = 1 };
	static const uint8_t zero[16], mapped[12] = { [10] = 0xff, 0xff };

	if (a->family == AF_INET)
		return b[0] == 0 || b[0] == 127 || b[0] >= 224 || (b[0] == 169 && b[1] == 254);
	return !memcmp(b, zero, 16) || !memcmp(b, loopback6, 16) || !memcmp(b, mapped, 12) || b[0] == 0xff ||
		(b[0] == 0xfe && (b[1] & 0xc0) == 0x80);
}

int address_parse(const char *text, int family, struct address *ret, struct err *err)
{
	struct address a = { .family = family, .len = family == AF_INET6 ? 16 : 4 };

	a.prefix = a.len * 8;
	if (!text || !*text)
		a = (struct address){ 0 };
	else if (inet_pton(family, text, a.bytes) != 1)
		return err_set(err, ERR_USAGE, "\"%.64s\" is not an %s address", text,
			family_word(family));
	else if (reserved(&a))
		return err_set(err, ERR_USAGE,
			"%s is not an address a guest can have: it is "
			"unspecified, loopback, link-local, multicast, reserved or IPv4-mapped",
			text);
	*ret = a;
	return 0;
}

int address_next(const char **text, struct address *ret, struct err *err)
{
	const char *from = *text ? *text + strspn(*text, " ") : "";
	size_t len = strcspn(from, " ");
	char word[64];

	if (len == 0)
		return 0;
	snprintf(word, sizeof(word), "%.*s", (int)len, from);
	*text = from + len;
	return address_parse(word, strchr(word, ':') ? AF_INET6 : AF_INET, ret, err) ?: 1;
}

void address_mask(const struct address *a, uint8_t ret[16])
{
	memset(ret, 0, 16);
	for (unsigned int i = 0; i < a->prefix; i++)
		ret[i / 8] |= 0x80 >> (i % 8);
}

bool address_within(const struct address *a, const struct address *of)
{
	uint8_t mask[16];

	if (!of->family || a->family != of->family || a->prefix < of->prefix)
		return false;
	address_mask(of, mask);
	for (int i = 0; i < of->len; i++)
		if ((a->bytes[i] & mask[i]) != of->bytes[i])
			return false;
	return true;
}

static int parse_cidr(const char *text, int family, uint64_t least, struct address *ret, struct err *err)
{
	struct address a = { .family = family, .len = family == AF_INET6 ? 16 : 4 };
	char base[INET6_ADDRSTRLEN];
	uint8_t mask[16];
	const char *slash;
	uint64_t bits;

	if (!text || !*text) {
		*ret = (struct address){ 0 };
		return 0;
	}
	slash = strchr(text, '/');
	if (!slash || (size_t)(slash - text) >= sizeof(base))
		return err_set(err, ERR_USAGE, "\"%.64s\" is not an %s prefix: write ADDRESS/BITS",
			text, family_word(family));
	memcpy(base, text, slash - text);
	base[slash - text] = '\0';
	if (inet_pton(family, base, a.bytes) != 1)
		return err_set(err, ERR_USAGE,
			"\"%.64s\" is not an %s prefix: \"%s\" is no address", text,
			family_word(family), base);
	if (parse_u64(slash + 1, a.len * 8, &bits) < 0 || bits < least)
		return err_set(err, ERR_USAGE,
			"\"%.64s\" is not an %s prefix: the bits must be %u to %d", text,
			family_word(family), (unsigned int)least, a.len * 8);
	a.prefix = bits;
	address_mask(&a, mask);
	for (int i = 0; i < a.len; i++)
		if (a.bytes[i] & ~mask[i])
			return err_set(err, ERR_USAGE,
				"\"%.64s\" is not an %s prefix: bits are set "
				"after the first %u",
				text, family_word(family), a.prefix);
	*ret = a;
	return 0;
}

int address_parse_cidr(const char *text, int family, struct address *ret, struct err *err)
{
	return parse_cidr(text, family, 1, ret, err);
}

int address_parse_pool(const char *text, int family, struct address *ret, struct err *err)
{
	struct address first = { 0 }, last;
	uint8_t mask[16];
	int r = parse_cidr(text, family, 1, &first, err);

	if (r != 0)
		return r;
	last = first;
	address_mask(&first, mask);
	for (int i = 0; i < last.len; i++)
		last.bytes[i] |= (uint8_t)~mask[i];
	if (first.family && (reserved(&first) || reserved(&last)))
		return err_set(err, ERR_USAGE,
			"no guest can have addresses of \"%.64s\": they are unspecified, loopback, link-local, "
			"multicast, reserved or IPv4-mapped",
			text);
	*ret = first;
	return 0;
}

int address_parse_range(const char *text, int family, struct address *ret, struct err *err)
{
	return parse_cidr(text, family, 0, ret, err);
}

int address_check_instance(const char *instance, struct err *err)
{
	size_t len = instance ? strlen(instance) : 0;

	if (len >= 1 && len <= INSTANCE_LEN_MAX && instance[0] >= 'a' && instance[0] <= 'z' &&
		strspn(instance, "abcdefghijklmnopqrstuvwxyz0123456789_") == len)
		return 0;
	return err_set(err, ERR_USAGE,
		"\"%.64s\" cannot name an instance: 1 to %d of a-z, 0-9 and _, "
		"a letter first",
		instance ?: "", INSTANCE_LEN_MAX);
}
