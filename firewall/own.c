/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/own.h"

/* Before <linux/in.h>, which yields to it. */
#include <netinet/in.h>

#include <linux/netfilter.h>
#include <stdlib.h>
#include <string.h>

#include "firewall/link.h"
#include "firewall/special.h"
#include "provision/base/cleanup.h"

enum dimension {
	PROTOCOL,
	PORT,
	ADDRESS,
	DIMENSIONS
};

/* From low to high, both within; numbers of 16 bytes in network order. */
struct range {
	uint8_t low[16], high[16];
};

struct box {
	struct range of[DIMENSIONS];
};

/* What is left of a rule's box, in pieces that do not overlap. */
struct pieces {
	struct box *of;
	size_t n, cap;
	bool too_many;
};

static void free_pieces(struct pieces *p)
{
	free(p->of);
}
#define CLEANUP_PIECES __attribute__((cleanup(free_pieces)))

static void add_piece(struct pieces *p, const struct box *b)
{
	if (p->n == p->cap) {
		p->cap = p->cap ? 2 * p->cap : 8;
		p->of = reallocarray(p->of, p->cap, sizeof(*p->of));
		if (!p->of)
			abort();
	}
	p->of[p->n++] = *b;
}

/* The number after, or before; the caller knows that there is one. */
static void step(uint8_t number[16], int by)
{
	for (int i = 15; i >= 0; i--) {
		number[i] = (uint8_t)(number[i] + by);
		if (number[i] != (by > 0 ? 0 : 0xff))
			return;
	}
}

static bool overlap(const struct box *a, const struct box *b)
{
	for (int d = 0; d < DIMENSIONS; d++)
		if (memcmp(a->of[d].high, b->of[d].low, 16) < 0 ||
			memcmp(b->of[d].high, a->of[d].low, 16) < 0)
			return false;
	return true;
}

static bool same(const struct box *a, const struct box *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/*
 * Add what is left of `from` without `cut`. By protocol first: only what has ports is cut by ports,
 * so that for all else the port is of no matter.
 */
static void subtract(struct pieces *to, struct box from, const struct box *cut)
{
	if (!overlap(&from, cut)) {
		add_piece(to, &from);
		return;
	}
	for (int d = 0; d < DIMENSIONS; d++) {
		struct range *r = &from.of[d];
		struct box rest = from;

		if (memcmp(r->low, cut->of[d].low, 16) < 0) {
			memcpy(rest.of[d].high, cut->of[d].low, 16);
			step(rest.of[d].high, -1);
			add_piece(to, &rest);
			memcpy(r->low, cut->of[d].low, 16);
		}
		rest = from;
		if (memcmp(r->high, cut->of[d].high, 16) > 0) {
			memcpy(rest.of[d].low, cut->of[d].high, 16);
			step(rest.of[d].low, 1);
			add_piece(to, &rest);
			memcpy(r->high, cut->of[d].high, 16);
		}
	}
}

/* --- a rule as a box --- */

static struct range numbers(uint32_t low, uint32_t high)
{
	struct range r = { 0 };

	for (int i = 0; i < 4; i++) {
		r.low[15 - i] = (uint8_t)(low >> 8 * i);
		r.high[15 - i] = (uint8_t)(high >> 8 * i);
	}
	return r;
}

static int family_of(const struct rules_own *rule)
{
	return !rule->prefix ? 0 : strchr(rule->prefix, ':') ? AF_INET6 : AF_INET;
}

/* The addresses right-aligned, so that their last byte is the number's last. */
static struct range addresses(const struct address *a, size_t len)
{
	struct range r = { 0 };
	uint8_t mask[16];

	address_mask(a, mask);
	for (size_t i = 0; i < len; i++) {
		r.low[16 - len + i] = a->bytes[i];
		r.high[16 - len + i] = a->bytes[i] | (uint8_t)~mask[i];
	}
	return r;
}

/* The rule's box of this family; false: it is about the other one. */
static bool box_of(const struct rules_own *rule, int family, struct box *ret)
{
	uint8_t icmp = family == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	uint8_t protocol = rule->protocol == IPPROTO_ICMP ? icmp : rule->protocol;
	struct address a = { .family = family };

	if (family_of(rule) && family_of(rule) != family)
		return false;
	if (rule->prefix && address_parse_range(rule->prefix, family, &a, NULL) != 0)
		return false;
	ret->of[PROTOCOL] = numbers(protocol, protocol ? protocol : UINT8_MAX);
	ret->of[PORT] = rule->last_port ? numbers(rule->first_port, rule->last_port) :
					  numbers(0, UINT16_MAX);
	ret->of[ADDRESS] = addresses(&a, family == AF_INET6 ? 16 : 4);
	return true;
}

/* What is left of rule `nth` of this family. */
static void remains(const struct rules_own *rules, uint32_t nth, int family, struct pieces *ret)
{
	struct box own, before;

	if (!box_of(&rules[nth], family, &own))
		return;
	add_piece(ret, &own);
	for (uint32_t i = 0; i < nth; i++) {
		CLEANUP_PIECES struct pieces was = *ret;

		if (rules[i].direction != rules[nth].direction ||
			!box_of(&rules[i], family, &before)) {
			was = (struct pieces){ 0 };
			continue;
		}
		*ret = (struct pieces){ .too_many = was.too_many || was.n > OWN_ELEMENTS_MAX };
		for (size_t j = 0; j < was.n && ret->n <= OWN_ELEMENTS_MAX; j++)
			subtract(ret, was.of[j], &before);
	}
}

/* --- checks --- */

static int check_form(const struct rules_own *rule, uint32_t number, struct err *err)
{
	bool has_ports = rule->protocol == IPPROTO_TCP || rule->protocol == IPPROTO_UDP;
	struct address a;
	int r = 0;

	if (rule->prefix && address_parse_range(rule->prefix, family_of(rule), &a, err) != 0)
		r = ERR_USAGE;
	else if (!has_ports && rule->protocol != IPPROTO_ICMP && rule->protocol)
		r = err_set(err, ERR_USAGE, "its protocol is none of tcp, udp, icmp and any");
	else if (rule->last_port && !has_ports)
		r = err_set(err, ERR_USAGE, "ports are of tcp or udp alone");
	else if (rule->last_port && (!rule->first_port || rule->first_port > rule->last_port))
		r = err_set(err, ERR_USAGE, "%u-%u are no ports", rule->first_port, rule->last_port);
	return r ? err_wrap(err, "rule %u", number) : 0;
}

/* Whether some of the prefix is guests'. */
static bool meets_pools(const struct policy *p, const struct address *a)
{
	for (uint32_t i = 0; i < p->n_more; i++)
		if (address_within(&p->more[i], a))
			return true;
	return policy_has(p, a) || address_within(&p->pool4, a) || address_within(&p->pool6, a);
}

static const char *direction_word(const struct rules_own *rule)
{
	static const char *const words[] = { "in", "out", "peer" };

	return words[rule->direction];
}

/* A prefix that what the table says before all rules, or which way they are looked at, rules out. */
static int check_reach(
	const struct policy *p, const struct rules_own *rule, uint32_t number, struct err *err)
{
	/* Link-local, loopback, multicast, and an IPv4 address in disguise, which Linux takes from no wire. */
	static const struct address nowhere[] = { { AF_INET, { 169, 254 }, 4, 16 },
		{ AF_INET, { 127 }, 4, 8 }, { AF_INET, { 224 }, 4, 4 }, { AF_INET6, { 0xfe, 0x80 }, 16, 10 },
		{ AF_INET6, { [15] = 1 }, 16, 128 }, { AF_INET6, { 0xff }, 16, 8 },
		{ AF_INET6, { [10] = 0xff, 0xff }, 16, 96 } };
	struct address a;
	bool never;

	if (!rule->prefix)
		return 0;
	if (address_parse_range(rule->prefix, family_of(rule), &a, err) != 0)
		return ERR_USAGE;
	for (uint32_t i = 0; rule->direction != RULES_IN && i < p->n_protect; i++)
		if (address_within(&a, &p->protect[i]))
			return err_set(err, ERR_USAGE,
				"rule %u can never match: network.protect keeps all guests from %s",
				number, rule->prefix);
	never = rule->direction == RULES_OUT && special_has(&a);
	for (size_t i = 0; i < ARRAY_LEN(nowhere); i++)
		never |= address_within(&a, &nowhere[i]);
	if (never)
		return err_set(err, ERR_USAGE,
			"rule %u can never match: nothing is forwarded from or to %s", number,
			rule->prefix);
	if (rule->direction == RULES_PEER && !meets_pools(p, &a))
		return err_set(err, ERR_USAGE,
			"rule %u can never match: no guest has an address in %s", number,
			rule->prefix);
	if (rule->direction != RULES_PEER && policy_has(p, &a))
		return err_set(err, ERR_USAGE,
			"rule %u can never match: %s is guests', whom rules of direction peer are "
			"about",
			number, rule->prefix);
	return 0;
}

/* Two rules with the same box in each family. */
static bool same_match(const struct rules_own *a, const struct rules_own *b)
{
	static const int families[] = { AF_INET, AF_INET6 };
	struct box one, other;

	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		bool has = box_of(a, families[i], &one);

		if (has != box_of(b, families[i], &other) || (has && !same(&one, &other)))
			return false;
	}
	return a->direction == b->direction;
}

static int check_order(const struct rules_own *rules, uint32_t nth, struct err *err)
{
	CLEANUP_PIECES struct pieces four = { 0 }, six = { 0 };

	remains(rules, nth, AF_INET, &four);
	remains(rules, nth, AF_INET6, &six);
	if (four.n || six.n)
		return 0;
	for (uint32_t i = 0; i < nth; i++)
		if (same_match(&rules[i], &rules[nth]) && rules[i].allow == rules[nth].allow)
			return err_set(err, ERR_EXISTS, "rule %u is there already: it is rule %u",
				nth + 1, i + 1);
	return err_set(err, ERR_USAGE,
		"rule %u (%s, %s) can never match: rules before it decide all that it is about",
		nth + 1, direction_word(&rules[nth]), rules[nth].allow ? "allow" : "deny");
}

int own_check(const struct policy *p, const struct rules_own *rules, uint32_t n, struct err *err)
{
	CLEANUP_RULESET struct ruleset s = { 0 };
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < n; i++)
		r = check_form(&rules[i], i + 1, err);
	for (uint32_t i = 0; r == 0 && i < n; i++)
		r = check_reach(p, &rules[i], i + 1, err);
	for (uint32_t i = 0; r == 0 && i < n; i++)
		r = check_order(rules, i, err);
	return r ? r : own_add(&s, p, rules, n, err);
}

/* --- elements --- */

static void add_element(struct ruleset *s, uint32_t index, const struct rules_own *rule,
	int family, const struct box *b)
{
	size_t len = family == AF_INET6 ? 16 : 4;
	struct ruleset_element *e = ruleset_add(
		s, RULESET_IN4 + 2 * rule->direction + (family == AF_INET6));
	uint8_t *keys[] = { e->key, e->key_end };

	for (int i = 0; i < 2; i++) {
		const uint8_t *protocol = i ? b->of[PROTOCOL].high : b->of[PROTOCOL].low;
		const uint8_t *port = i ? b->of[PORT].high : b->of[PORT].low;
		const uint8_t *address = i ? b->of[ADDRESS].high : b->of[ADDRESS].low;

		/* Each part begins a register of 4 bytes. */
		memcpy(keys[i], &index, sizeof(index));
		keys[i][RULESET_LINK_PART] = protocol[15];
		memcpy(keys[i] + RULESET_LINK_PART + 4, port + 14, 2);
		memcpy(keys[i] + RULESET_LINK_PART + 8, address + 16 - len, len);
	}
	e->data[0] = rule->allow ? NF_ACCEPT : NF_DROP;
}

int own_add(struct ruleset *s, const struct policy *p, const struct rules_own *rules, uint32_t n,
	struct err *err)
{
	static const int families[] = { AF_INET, AF_INET6 };
	uint32_t index;
	size_t before = s->n;
	bool too_many = false;

	for (uint32_t i = 0; i < n; i++) {
		int r = check_form(&rules[i], i + 1, err);

		if (r == 0)
			r = ruleset_index(p, rules[i].number, &index, err);
		for (size_t f = 0; r == 0 && f < ARRAY_LEN(families); f++) {
			CLEANUP_PIECES struct pieces left = { 0 };

			remains(rules, i, families[f], &left);
			too_many |= left.too_many;
			for (size_t j = 0; j < left.n && s->n - before <= OWN_ELEMENTS_MAX; j++)
				add_element(s, index, &rules[i], families[f], &left.of[j]);
		}
		if (r == 0 && (too_many || s->n - before > OWN_ELEMENTS_MAX))
			r = err_set(err, ERR_USAGE,
				"rule %u overlaps too many before it: together they come to more "
				"than %d elements",
				i + 1, OWN_ELEMENTS_MAX);
		if (r != 0)
			return r;
	}
	return 0;
}

int own_verdict(const struct rules_own *rules, uint32_t n, enum rules_direction direction,
	uint8_t protocol, uint16_t port, const struct address *other)
{
	struct box b, point = { { numbers(protocol, protocol), numbers(port, port),
		addresses(other, other->len) } };

	for (uint32_t i = 0; i < n; i++)
		if (rules[i].direction == direction && box_of(&rules[i], other->family, &b) &&
			overlap(&b, &point))
			return rules[i].allow;
	return -1;
}
