/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The policy from what a caller gives, checked. */
#include "firewall/policy.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "firewall/link.h"
#include "provision/base/cleanup.h"

/* address_parse_cidr(), address_parse_pool() */
typedef int (*parse_fn)(const char *text, int family, struct address *ret, struct err *err);

/* The next of the prefixes in *text, which is moved on; 1, 0 at the end, or ERR_USAGE. */
static int next_prefix(const char **text, parse_fn parse, struct address *ret, struct err *err)
{
	const char *from = *text + strspn(*text, " \t");
	size_t len = strcspn(from, " \t");
	char word[64];

	if (len == 0)
		return 0;
	snprintf(word, sizeof(word), "%.*s", (int)len, from);
	*text = from + len;
	return parse(word, strchr(word, ':') ? AF_INET6 : AF_INET, ret, err) ?: 1;
}

/* Call take for each prefix of the setting; `word` is as it is written. 0, or the first error. */
static int each_prefix(const char *key, const char *text, parse_fn parse, struct policy *p,
	int (*take)(struct policy *p, const struct address *a, const char *word, struct err *err),
	struct err *err)
{
	int r = 0;

	while (text && r == 0) {
		const char *word = text + strspn(text, " \t");
		struct address a;

		r = next_prefix(&text, parse, &a, err);
		if (r != 1)
			break;
		r = take(p, &a, word, err);
	}
	return r ? err_wrap(err, "network.%s", key) : 0;
}

static int take_protected(
	struct policy *p, const struct address *a, const char *word, struct err *err)
{
	(void)word;
	if (p->n_protect == POLICY_PROTECT_MAX)
		return err_set(
			err, ERR_USAGE, "more than %d prefixes to protect", POLICY_PROTECT_MAX);
	p->protect[p->n_protect++] = *a;
	return 0;
}

bool policy_has(const struct policy *p, const struct address *a)
{
	for (uint32_t i = 0; i < p->n_more; i++)
		if (address_within(a, &p->more[i]))
			return true;
	return address_within(a, &p->pool4) || address_within(a, &p->pool6);
}

bool policy_translates(const struct policy *p)
{
	return p->masquerade4 || p->masquerade6 || p->publishes;
}

static bool overlap(const struct address *a, const struct address *b)
{
	return address_within(a, b) || address_within(b, a);
}

static int take_more(struct policy *p, const struct address *a, const char *word, struct err *err)
{
	bool twice = overlap(a, &p->pool4) || overlap(a, &p->pool6);

	for (uint32_t i = 0; i < p->n_more; i++)
		twice |= overlap(a, &p->more[i]);
	if (twice || p->n_more == POLICY_MORE_MAX)
		return err_set(err, ERR_USAGE,
			twice ? "%.*s overlaps another pool" : "%.*s is one pool too many",
			(int)strcspn(word, " \t"), word);
	p->more[p->n_more++] = *a;
	return 0;
}

static int parse_masquerade(const char *text, struct policy *p, struct err *err)
{
	static const struct {
		const char *word;
		bool four, six;
	} words[] = { { "both", true, true }, { "ipv4", true, false }, { "ipv6", false, true },
		{ "none", false, false } };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (!strcmp(text, words[i].word)) {
			p->masquerade4 = words[i].four && p->pool4.family;
			p->masquerade6 = words[i].six && p->pool6.family;
			return 0;
		}
	return err_set(err, ERR_USAGE, "network.masquerade: '%s' is none of both, ipv4, ipv6, none", text);
}

static int take_pool(
	const char *key, const char *text, int family, struct address *ret, struct err *err)
{
	return address_parse_pool(text, family, ret, err) ? err_wrap(err, "network.%s", key) : 0;
}

int policy_make(const struct rules_base *base, struct policy *ret, struct err *err)
{
	struct policy p = { .table = base->instance,
		.connections = base->connections,
		.new_connections = base->new_connections,
		.fragments = base->fragments };
	int r;

	r = address_check_instance(base->instance, err);
	if (!r)
		r = take_pool("pool4", base->pool4, AF_INET, &p.pool4, err);
	if (!r)
		r = take_pool("pool6", base->pool6, AF_INET6, &p.pool6, err);
	if (!r)
		r = each_prefix("protect", base->protect, address_parse_cidr, &p, take_protected, err);
	if (!r)
		r = each_prefix("pools", base->pools, address_parse_pool, &p, take_more, err);
	if (!r)
		r = parse_masquerade(base->masquerade ?: "both", &p, err);
	if (r)
		return r;
	p.index = link_index_base(base->instance);
	snprintf(p.prefix, sizeof(p.prefix), "%s-", base->instance);
	snprintf(p.subject, sizeof(p.subject), "table inet %s", base->instance);
	*ret = p;
	return 0;
}
