/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/pools.h"

#include <arpa/inet.h>
#include <string.h>

#include "firewall/policy.h"

static int check_within(
	const struct policy *p, const struct address *a, const char *which, struct err *err)
{
	for (uint32_t i = 0; i < p->n_more; i++)
		if (address_within(a, &p->more[i]))
			return 0;
	if (address_within(a, &p->pool4) || address_within(a, &p->pool6))
		return err_set(err, ERR_USAGE,
			"%s is of the pool that each guest has one address of already: add a pool to "
			"network.pools in vm2.conf",
			which);
	return err_set(err, ERR_USAGE, "%s is in no pool: add its prefix to network.pools in vm2.conf",
		which);
}

/* Add n to the number; false where it leaves the prefix. */
static bool advance(struct address *a, uint64_t n)
{
	struct address was = *a;

	for (int i = a->len - 1; i >= 0 && n; i--) {
		n += a->bytes[i];
		a->bytes[i] = (uint8_t)n;
		n >>= 8;
	}
	a->prefix = a->len * 8;
	return n == 0 && address_within(a, &was);
}

/* Whether all bits after the prefix are set. */
static bool is_last(const struct address *a, const struct address *prefix)
{
	uint8_t mask[16];

	address_mask(prefix, mask);
	for (int i = 0; i < a->len; i++)
		if ((a->bytes[i] | mask[i]) != 0xff)
			return false;
	return true;
}

static int nth_of(const struct address *prefix, uint64_t n, struct address *ret)
{
	unsigned int bits = prefix->len * 8U - prefix->prefix;

	*ret = *prefix;
	if (!advance(ret, bits > 1 ? n + 1 : n) ||
		(bits > 1 && prefix->family == AF_INET && is_last(ret, prefix)))
		return ERR_NOT_FOUND;
	return 0;
}

int pools_address(const struct rules_base *base, const char *which, uint64_t n,
	char ret[POOLS_TEXT_MAX], struct err *err)
{
	int family = strchr(which, ':') ? AF_INET6 : AF_INET;
	bool single = !strchr(which, '/');
	struct address a, found;
	struct policy p;
	int r = policy_make(base, &p, err);

	if (r == 0)
		r = single ? address_parse(which, family, &a, err) :
			     address_parse_cidr(which, family, &a, err);
	if (r == 0 && !a.family)
		r = err_set(err, ERR_USAGE, "'' is no address");
	if (r == 0)
		r = check_within(&p, &a, which, err);
	if (r == 0)
		r = nth_of(&a, n, &found);
	if (r == 0)
		inet_ntop(family, found.bytes, ret, POOLS_TEXT_MAX);
	return r;
}
