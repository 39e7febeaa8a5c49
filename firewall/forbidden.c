/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which of all connections end when the whole table has been put in: those that it would not let begin.
 * They are of a time when it said something else, or was not there.
 */
/* Before <linux/in.h>, which yields to it. */
#include <netinet/in.h>

#include <errno.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>

#include "firewall/conntrack.h"
#include "firewall/own.h"
#include "firewall/special.h"
#include "provision/base/cleanup.h"
#include "provision/base/str.h"

/* An address, and the number of the guest that has it; 0: the host. */
struct holder {
	struct address address;
	uint32_t number;
};

struct holders {
	struct holder *of;
	size_t n, cap;
};

/* Where a guest's own rules are among all. */
struct own_group {
	uint32_t number, first, n;
};

/* What the table means, so that each connection is looked up in it. */
struct meaning {
	const struct policy *policy;
	const struct rules_state *state;
	struct holders holders; /* sorted, as are the groups */
	struct own_group *groups;
	uint32_t n_groups;
};

static void free_meaning(struct meaning *m)
{
	free(m->holders.of);
	free(m->groups);
}
#define CLEANUP_MEANING __attribute__((cleanup(free_meaning)))

static void hold(struct holders *h, const struct address *a, uint32_t number)
{
	if (!a->family)
		return;
	if (h->n == h->cap) {
		h->cap = h->cap ? 2 * h->cap : 64;
		h->of = reallocarray(h->of, h->cap, sizeof(*h->of));
		if (!h->of)
			abort();
	}
	h->of[h->n++] = (struct holder){ *a, number };
}

static int compare_holders(const void *a, const void *b)
{
	const struct address *x = &((const struct holder *)a)->address;
	const struct address *y = &((const struct holder *)b)->address;

	return x->family != y->family ? x->family - y->family :
					memcmp(x->bytes, y->bytes, sizeof(x->bytes));
}

static const struct holder *find_holder(const struct meaning *m, const struct address *a)
{
	const struct holder key = { .address = *a };

	return m->holders.n ? bsearch(&key, m->holders.of, m->holders.n, sizeof(key),
				      compare_holders) :
			      NULL;
}

static int hold_guest(struct holders *h, const struct rules_guest *g, struct err *err)
{
	struct address a = { 0 };
	const char *more = g->more;
	int r = address_parse(g->address4, AF_INET, &a, err);

	if (r != 0)
		return r;
	hold(h, &a, g->number);
	a = (struct address){ 0 };
	r = address_parse(g->address6, AF_INET6, &a, err);
	if (r != 0)
		return r;
	hold(h, &a, g->number);
	while ((r = address_next(&more, &a, err)) == 1)
		hold(h, &a, g->number);
	return r;
}

static int hold_host(struct holders *h, struct err *err)
{
	struct ifaddrs *all;

	if (getifaddrs(&all) < 0)
		return err_sys(err, errno, "cannot list the host's addresses");
	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		struct address a = { .family = i->ifa_addr ? i->ifa_addr->sa_family : 0 };

		if (a.family == AF_INET) {
			a.len = 4;
			memcpy(a.bytes, &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr, 4);
		} else if (a.family == AF_INET6) {
			a.len = 16;
			memcpy(a.bytes, &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr,
				16);
		} else {
			continue;
		}
		a.prefix = (uint8_t)(8 * a.len);
		hold(h, &a, 0);
	}
	freeifaddrs(all);
	return 0;
}

static int compare_groups(const void *a, const void *b)
{
	uint32_t x = ((const struct own_group *)a)->number, y = ((const struct own_group *)b)->number;

	return (x > y) - (x < y);
}

static void group_rules(struct meaning *m)
{
	const struct rules_own *own = m->state->own;

	m->groups = xcalloc(m->state->n_own + 1, sizeof(*m->groups));
	for (uint32_t i = 0; i < m->state->n_own; i++) {
		if (i == 0 || own[i].number != own[i - 1].number)
			m->groups[m->n_groups++] = (struct own_group){ own[i].number, i, 0 };
		m->groups[m->n_groups - 1].n++;
	}
	if (m->n_groups)
		qsort(m->groups, m->n_groups, sizeof(*m->groups), compare_groups);
}

static int prepare(struct meaning *m, struct err *err)
{
	int r = hold_host(&m->holders, err);

	for (uint32_t i = 0; r == 0 && i < m->state->n_guests; i++)
		r = hold_guest(&m->holders, &m->state->guests[i], err);
	if (m->holders.n)
		qsort(m->holders.of, m->holders.n, sizeof(*m->holders.of), compare_holders);
	group_rules(m);
	return r;
}

/* What a guest's own rules say: as own_verdict(). */
static int verdict(const struct meaning *m, uint32_t number, enum rules_direction direction,
	const struct conntrack_flow *flow, const struct address *other)
{
	const struct own_group key = { .number = number }, *group = NULL;

	if (m->n_groups)
		group = bsearch(&key, m->groups, m->n_groups, sizeof(key), compare_groups);
	return group ? own_verdict(m->state->own + group->first, group->n, direction, flow->protocol,
			       flow->answers.port, other) :
		       -1;
}

static bool are_siblings(const struct meaning *m, uint32_t from, uint32_t to)
{
	for (uint32_t i = 0; i < m->state->n_pairs; i++)
		if (m->state->pairs[i].from == from && m->state->pairs[i].to == to)
			return true;
	return false;
}

static bool is_protected(const struct meaning *m, const struct address *a)
{
	for (uint32_t i = 0; i < m->policy->n_protect; i++)
		if (address_within(a, &m->policy->protect[i]))
			return true;
	return false;
}

/* To a guest, by another, by the host, or from outside. */
static bool may_come(const struct meaning *m, const struct conntrack_flow *flow, bool from_pool,
	const struct holder *from, const struct holder *to)
{
	int says;

	if (from_pool) {
		says = from ? verdict(m, from->number, RULES_PEER, flow, &to->address) : 0;
		return says >= 0 ? says : flow->redirected || are_siblings(m, from->number, to->number);
	}
	if (from)
		return true;
	says = verdict(m, to->number, RULES_IN, flow, &flow->began.address);
	return says >= 0 ? says : flow->redirected;
}

/* From a guest, to the host or the world. */
static bool may_go(const struct meaning *m, const struct conntrack_flow *flow,
	const struct holder *from, const struct holder *host)
{
	const struct address *to = &flow->answers.address;

	if (!from)
		return false;
	if (host)
		return flow->protocol == IPPROTO_ICMP || flow->protocol == IPPROTO_ICMPV6;
	return !special_has(to) && verdict(m, from->number, RULES_OUT, flow, to) != 0;
}

static bool is_forbidden(const void *data, const struct conntrack_flow *flow)
{
	const struct address *a = &flow->began.address, *b = &flow->answers.address;
	const struct meaning *m = data;
	bool from_pool = policy_has(m->policy, a), to_pool = policy_has(m->policy, b);
	const struct holder *from = find_holder(m, a), *to = find_holder(m, b);

	if (!from_pool && !to_pool)
		return false;
	if (is_protected(m, from_pool ? b : a))
		return true;
	if (!to_pool)
		return !may_go(m, flow, from, to);
	return !to || !may_come(m, flow, from_pool, from, to);
}

int rules_end_forbidden(
	const struct rules_base *base, const struct rules_state *state, struct err *err)
{
	struct policy policy;
	CLEANUP_MEANING struct meaning m = { .policy = &policy, .state = state };
	int r = policy_make(base, &policy, err);

	if (r == 0)
		r = prepare(&m, err);
	return r == 0 ? conntrack_end_those(is_forbidden, &m, err) : r;
}
