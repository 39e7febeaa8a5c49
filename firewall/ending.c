/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which connections end when less is allowed than before, or a guest goes. */
#include <string.h>

#include "firewall/conntrack.h"
#include "firewall/own.h"

static bool same_address(const struct address *a, const struct address *b)
{
	return a->family && a->family == b->family && !memcmp(a->bytes, b->bytes, a->len);
}

/* --- published ports --- */

struct published {
	const struct rules_port *ports;
	uint32_t count;
};

static bool came_by(const void *data, const struct conntrack_flow *flow)
{
	const struct published *p = data;
	int family = flow->answers.address.family;

	for (uint32_t i = 0; i < p->count; i++) {
		const struct rules_port *port = &p->ports[i];
		const char *text = family == AF_INET ? port->address4 : port->address6;
		struct address guest = { 0 };

		if (flow->protocol == port->protocol && flow->asked_port == port->host_port &&
			flow->answers.port == port->guest_port &&
			address_parse(text, family, &guest, NULL) == 0 &&
			same_address(&guest, &flow->answers.address))
			return true;
	}
	return false;
}

int rules_end_published(const struct rules_port *ports, uint32_t count, struct err *err)
{
	const struct published p = { ports, count };

	return count ? conntrack_end_those(came_by, &p, err) : 0;
}

/* --- a guest's --- */

struct guest_end {
	const struct policy *policy;
	struct address four, six;
	const char *more; /* further addresses */
	bool all;
	const struct rules_own *from, *to;
	uint32_t n_from, n_to;
};

static bool is_guest(const struct guest_end *g, const struct address *a)
{
	const char *more = g->more;
	struct address other;

	while (address_next(&more, &other, NULL) == 1)
		if (same_address(a, &other))
			return true;
	return same_address(a, &g->four) || same_address(a, &g->six);
}

/* What holds where no rule says anything. */
static bool allowed(int verdict, enum rules_direction direction, const struct conntrack_flow *flow)
{
	return verdict >= 0 ? verdict : direction == RULES_OUT || flow->redirected;
}

/* Only what was allowed by the rules before, and is not by those that there are now. */
static bool is_over(const void *data, const struct conntrack_flow *flow)
{
	const struct guest_end *g = data;
	bool began = is_guest(g, &flow->began.address);
	const struct address *other = began ? &flow->answers.address : &flow->began.address;
	enum rules_direction direction = !began		  ? RULES_IN :
		policy_has(g->policy, other)		  ? RULES_PEER :
							    RULES_OUT;
	uint16_t port = flow->answers.port;

	if (!began && !is_guest(g, &flow->answers.address))
		return false;
	if (g->all)
		return true;
	/* What another guest began is under that one's rules. */
	if (!other->family || (!began && policy_has(g->policy, other)))
		return false;
	return allowed(own_verdict(g->from, g->n_from, direction, flow->protocol, port, other),
		       direction, flow) &&
		!allowed(own_verdict(g->to, g->n_to, direction, flow->protocol, port, other),
			direction, flow);
}

static int prepare(const struct rules_base *base, const struct rules_guest *guest,
	struct policy *policy, struct guest_end *ret, struct err *err)
{
	int r = policy_make(base, policy, err);

	ret->policy = policy;
	ret->more = guest->more;
	if (r == 0)
		r = address_parse(guest->address4, AF_INET, &ret->four, err);
	return r ? r : address_parse(guest->address6, AF_INET6, &ret->six, err);
}

int rules_end_disallowed(const struct rules_base *base, const struct rules_guest *guest,
	const struct rules_own *from, uint32_t n_from, const struct rules_own *to, uint32_t n_to,
	struct err *err)
{
	struct guest_end g = { .from = from, .n_from = n_from, .to = to, .n_to = n_to };
	struct policy policy;
	int r = prepare(base, guest, &policy, &g, err);

	return r ? r : conntrack_end_those(is_over, &g, err);
}

struct two_guests {
	struct guest_end of[2];
	const struct rules_own *own[2];
	uint32_t n_own[2];
};

/* Between the two, either way, and not by a published port or a rule of who began it. */
static bool is_between(const void *data, const struct conntrack_flow *flow)
{
	const struct two_guests *g = data;

	for (int i = 0; i < 2; i++)
		if (is_guest(&g->of[i], &flow->began.address) &&
			is_guest(&g->of[1 - i], &flow->answers.address))
			return !flow->redirected &&
				own_verdict(g->own[i], g->n_own[i], RULES_PEER, flow->protocol,
					flow->answers.port, &flow->answers.address) != 1;
	return false;
}

int rules_end_between(const struct rules_base *base, const struct rules_guest guests[2],
	const struct rules_own *const own[2], const uint32_t n_own[2], struct err *err)
{
	struct two_guests g = { .own = { own[0], own[1] }, .n_own = { n_own[0], n_own[1] } };
	struct policy policy;
	int r = prepare(base, &guests[0], &policy, &g.of[0], err);

	if (r == 0)
		r = prepare(base, &guests[1], &policy, &g.of[1], err);
	return r ? r : conntrack_end_those(is_between, &g, err);
}

int rules_end_guest(
	const struct rules_base *base, const struct rules_guest *guest, struct err *err)
{
	struct guest_end g = { .all = true };
	struct policy policy;
	int r = prepare(base, guest, &policy, &g, err);

	return r ? r : conntrack_end_those(is_over, &g, err);
}
