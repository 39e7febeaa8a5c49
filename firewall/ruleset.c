/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/ruleset.h"

/* Before <linux/in.h>, which yields to it. */
#include <netinet/in.h>

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "firewall/link.h"
#include "firewall/own.h"
#include "provision/base/cleanup.h"

/* Each part of a key or of data fills whole registers of 4 bytes. */
#define LINK_PART RULESET_LINK_PART
#define PORT_PART 4
#define MAC_PART  8
#define MAC_LEN	  6
#define VERDICT	  1 /* one byte is enough to compare */

static const struct {
	const char *name;
	uint8_t key_len, data_len;
	bool ranges;
	enum expr_unit unit;
} sets[RULESET_SETS] = {
	[RULESET_SOURCE4] = { POLICY_SOURCE4, LINK_PART + MAC_PART + 4, 0 },
	[RULESET_SOURCE6] = { POLICY_SOURCE6, LINK_PART + MAC_PART + 16, 0 },
	[RULESET_GUESTS] = { POLICY_GUESTS, LINK_PART + MAC_PART, 0 },
	[RULESET_PUBLISH4] = { POLICY_PUBLISH4, 2 * PORT_PART, 4 + PORT_PART },
	[RULESET_PUBLISH6] = { POLICY_PUBLISH6, 2 * PORT_PART, 16 + PORT_PART },
	[RULESET_IN4] = { POLICY_IN4, LINK_PART + 2 * PORT_PART + 4, VERDICT, true },
	[RULESET_IN6] = { POLICY_IN6, LINK_PART + 2 * PORT_PART + 16, VERDICT, true },
	[RULESET_OUT4] = { POLICY_OUT4, LINK_PART + 2 * PORT_PART + 4, VERDICT, true },
	[RULESET_OUT6] = { POLICY_OUT6, LINK_PART + 2 * PORT_PART + 16, VERDICT, true },
	[RULESET_PEER4] = { POLICY_PEER4, LINK_PART + 2 * PORT_PART + 4, VERDICT, true },
	[RULESET_PEER6] = { POLICY_PEER6, LINK_PART + 2 * PORT_PART + 16, VERDICT, true },
	[RULESET_PLAIN_SENT] = { POLICY_PLAIN_SENT, LINK_PART },
	[RULESET_PLAIN_RECEIVED] = { POLICY_PLAIN_RECEIVED, LINK_PART },
	[RULESET_UP] = { POLICY_UP, LINK_PART, .unit = EXPR_BYTES },
	[RULESET_DOWN] = { POLICY_DOWN, LINK_PART, .unit = EXPR_BYTES },
	[RULESET_PACKETS_UP] = { POLICY_PACKETS_UP, LINK_PART, .unit = EXPR_PACKETS },
	[RULESET_PACKETS_DOWN] = { POLICY_PACKETS_DOWN, LINK_PART, .unit = EXPR_PACKETS },
	[RULESET_SIBLINGS] = { POLICY_SIBLINGS, 2 * LINK_PART, 0 },
	[RULESET_ARP] = { POLICY_ARP, LINK_PART + 2 * MAC_PART + 4, 0 },
};

void ruleset_free(struct ruleset *s)
{
	free(s->of);
	*s = (struct ruleset){ 0 };
}

const char *ruleset_name(enum ruleset_set set)
{
	return sets[set].name;
}

size_t ruleset_key_len(enum ruleset_set set)
{
	return sets[set].key_len;
}

size_t ruleset_data_len(enum ruleset_set set)
{
	return sets[set].data_len;
}

bool ruleset_has_ranges(enum ruleset_set set)
{
	return sets[set].ranges;
}

enum expr_unit ruleset_unit(enum ruleset_set set)
{
	return sets[set].unit;
}

struct ruleset_element *ruleset_add(struct ruleset *s, enum ruleset_set set)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 16;
		s->of = reallocarray(s->of, s->cap, sizeof(*s->of));
		if (!s->of)
			abort();
	}
	s->of[s->n] = (struct ruleset_element){ .set = set };
	return &s->of[s->n++];
}

static int parse_addresses(
	const char *text4, const char *text6, struct address *ret4, struct address *ret6, struct err *err)
{
	int r = address_parse(text4, AF_INET, ret4, err);

	return r == 0 ? address_parse(text6, AF_INET6, ret6, err) : r;
}

int ruleset_index(const struct policy *p, uint32_t number, uint32_t *ret, struct err *err)
{
	*ret = p->index | number;
	if (number > LINK_NUMBER_MAX)
		return err_set(err, ERR_USAGE, "a guest's number is at most %u", LINK_NUMBER_MAX);
	return 0;
}

static void add_rate(struct ruleset *s, enum ruleset_set set, uint32_t index,
	const struct rules_guest *g, uint64_t rate)
{
	struct ruleset_element *e = ruleset_add(s, set);

	memcpy(e->key, &index, sizeof(index));
	e->optional = g->optional;
	e->rate = rate;
}

static void add_plain(struct ruleset *s, uint32_t index, const struct rules_guest *g)
{
	add_rate(s, RULESET_PLAIN_SENT, index, g, 0);
	add_rate(s, RULESET_PLAIN_RECEIVED, index, g, 0);
}

bool ruleset_is_plain(const struct rules_guest *g)
{
	return !g->up && !g->down && !g->packets;
}

int ruleset_add_rates(struct ruleset *s, const struct policy *p, const struct rules_guest *g,
		      bool plain, struct err *err)
{
	uint32_t index;
	int r = ruleset_index(p, g->number, &index, err);

	for (int set = 0; r == 0 && set < RULESET_SETS; set++)
		if (sets[set].unit)
			add_rate(s, set, index, g, POLICY_LEAST);
	if (r == 0 && plain)
		add_plain(s, index, g);
	return r;
}

/* What a guest is known by. */
struct guest_link {
	uint32_t index; /* in the byte order of this host, as the kernel has it */
	uint8_t mac[MAC_LEN];
	bool optional;
};

static int find_link(const struct policy *p, uint32_t number, bool optional, struct guest_link *ret,
	struct err *err)
{
	*ret = (struct guest_link){ .optional = optional };
	link_mac(number, true, ret->mac);
	return ruleset_index(p, number, &ret->index, err);
}

static struct ruleset_element *add_link(
	struct ruleset *s, enum ruleset_set set, const struct guest_link *l)
{
	struct ruleset_element *e = ruleset_add(s, set);

	memcpy(e->key, &l->index, sizeof(l->index));
	memcpy(e->key + LINK_PART, l->mac, MAC_LEN);
	e->optional = l->optional;
	return e;
}

/* Of IPv4, ARP names it too. */
static void add_source(struct ruleset *s, const struct guest_link *l, const struct address *a)
{
	bool four = a->family == AF_INET;
	struct ruleset_element *e = add_link(s, four ? RULESET_SOURCE4 : RULESET_SOURCE6, l);

	memcpy(e->key + LINK_PART + MAC_PART, a->bytes, a->len);
	if (!four)
		return;
	e = add_link(s, RULESET_ARP, l);
	memcpy(e->key + LINK_PART + MAC_PART, l->mac, MAC_LEN);
	memcpy(e->key + LINK_PART + 2 * MAC_PART, a->bytes, a->len);
}

int ruleset_add_address(struct ruleset *s, const struct policy *p, uint32_t number,
	const char *address, struct err *err)
{
	struct guest_link l;
	struct address a;
	int r = find_link(p, number, false, &l, err);

	if (r == 0)
		r = address_parse(address, strchr(address, ':') ? AF_INET6 : AF_INET, &a, err);
	if (r == 0)
		add_source(s, &l, &a);
	return r;
}

static int add_identity(struct ruleset *s, const struct policy *p, const struct rules_guest *g,
	struct guest_link *ret, struct err *err)
{
	struct address four = { 0 }, six = { 0 }, other;
	const char *more = g->more;
	int r = parse_addresses(g->address4, g->address6, &four, &six, err);

	if (r == 0)
		r = find_link(p, g->number, g->optional, ret, err);
	if (r != 0)
		return r;
	if (four.family)
		add_source(s, ret, &four);
	if (six.family)
		add_source(s, ret, &six);
	while ((r = address_next(&more, &other, err)) == 1)
		add_source(s, ret, &other);
	if (r == 0)
		add_link(s, RULESET_GUESTS, ret);
	return r;
}

int ruleset_add_identity(
	struct ruleset *s, const struct policy *p, const struct rules_guest *g, struct err *err)
{
	struct guest_link l;

	return add_identity(s, p, g, &l, err);
}

int ruleset_add_guest(
	struct ruleset *s, const struct policy *p, const struct rules_guest *g, struct err *err)
{
	const uint64_t rates[RULESET_SETS] = { [RULESET_UP] = g->up,
		[RULESET_DOWN] = g->down,
		[RULESET_PACKETS_UP] = g->packets,
		[RULESET_PACKETS_DOWN] = g->packets };
	struct guest_link l;
	int r = add_identity(s, p, g, &l, err);

	if (r != 0)
		return r;
	if (ruleset_is_plain(g))
		add_plain(s, l.index, g);
	for (int set = 0; set < RULESET_SETS; set++)
		if (rates[set])
			add_rate(s, set, l.index, g, rates[set]);
	return 0;
}

int ruleset_add_pair(
	struct ruleset *s, const struct policy *p, const struct rules_pair *pair, struct err *err)
{
	struct ruleset_element *e;
	uint32_t from, to;
	int r = ruleset_index(p, pair->from, &from, err);

	if (r == 0)
		r = ruleset_index(p, pair->to, &to, err);
	if (r != 0)
		return r;
	e = ruleset_add(s, RULESET_SIBLINGS);
	memcpy(e->key, &from, sizeof(from));
	memcpy(e->key + LINK_PART, &to, sizeof(to));
	return 0;
}

static void add_port(struct ruleset *s, const struct rules_port *port, const struct address *a)
{
	struct ruleset_element *e =
		ruleset_add(s, a->family == AF_INET ? RULESET_PUBLISH4 : RULESET_PUBLISH6);
	uint16_t outer = htons(port->host_port), inner = htons(port->guest_port);

	e->key[0] = port->protocol;
	memcpy(e->key + PORT_PART, &outer, sizeof(outer));
	memcpy(e->data, a->bytes, a->len);
	memcpy(e->data + a->len, &inner, sizeof(inner));
}

int ruleset_add_port(struct ruleset *s, const struct rules_port *port, struct err *err)
{
	struct address four = { 0 }, six = { 0 };
	int r = parse_addresses(port->address4, port->address6, &four, &six, err);

	if (r != 0)
		return r;
	if (port->protocol != IPPROTO_TCP && port->protocol != IPPROTO_UDP)
		return err_set(err, ERR_USAGE, "only ports of tcp and udp can be published");
	if (!port->host_port || !port->guest_port)
		return err_set(err, ERR_USAGE, "a port is 1 to 65535");
	if (four.family)
		add_port(s, port, &four);
	if (six.family)
		add_port(s, port, &six);
	return 0;
}

int ruleset_make(struct ruleset *s, const struct policy *p, const struct rules_state *state,
	struct err *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < state->n_guests; i++)
		r = ruleset_add_guest(s, p, &state->guests[i], err);
	for (uint32_t i = 0; r == 0 && i < state->n_ports; i++)
		r = ruleset_add_port(s, &state->ports[i], err);
	for (uint32_t i = 0; r == 0 && i < state->n_pairs; i++)
		r = ruleset_add_pair(s, p, &state->pairs[i], err);
	for (uint32_t i = 0, n; r == 0 && i < state->n_own; i += n) {
		/* One guest's after the other's. */
		for (n = 1; i + n < state->n_own && state->own[i + n].number == state->own[i].number;)
			n++;
		r = own_add(s, p, &state->own[i], n, err);
	}
	return r;
}

bool ruleset_publishes(const struct ruleset *s)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->of[i].set == RULESET_PUBLISH4 || s->of[i].set == RULESET_PUBLISH6)
			return true;
	return false;
}

int ruleset_compare(const struct ruleset_element *a, const struct ruleset_element *b)
{
	int r;

	if (a->set != b->set)
		return a->set < b->set ? -1 : 1;
	r = memcmp(a->key, b->key, sizeof(a->key));
	if (r == 0)
		r = memcmp(a->key_end, b->key_end, sizeof(a->key_end));
	if (r == 0)
		r = memcmp(a->data, b->data, sizeof(a->data));
	return r ? r : (a->rate > b->rate) - (a->rate < b->rate);
}

static int compare(const void *a, const void *b)
{
	return ruleset_compare(a, b);
}

void ruleset_sort(struct ruleset *s)
{
	if (s->n)
		qsort(s->of, s->n, sizeof(*s->of), compare);
}

/* --- words --- */

static void put_address(struct buf *b, int family, const uint8_t *bytes)
{
	char text[INET6_ADDRSTRLEN];

	inet_ntop(family, bytes, text, sizeof(text));
	buf_puts(b, text);
}

/* Of what is read back, it may be nobody's. */
static void put_link(struct buf *b, const struct policy *p, const uint8_t *key)
{
	uint32_t index, number;

	memcpy(&index, key, sizeof(index));
	if (link_number(p->index, index, &number))
		buf_printf(b, "\"%s%u\"", p->prefix, number);
	else
		buf_printf(b, "%u", index);
}

static void put_mac(struct buf *b, const uint8_t *m)
{
	buf_printf(b, " . %02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static uint16_t port_at(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static void put_range(struct buf *b, unsigned int low, unsigned int high)
{
	buf_printf(b, low == high ? " . %u" : " . %u-%u", low, high);
}

static void put_protocol(struct buf *b, uint8_t low, uint8_t high)
{
	static const struct {
		uint8_t number;
		const char *name;
	} names[] = { { IPPROTO_ICMP, "icmp" }, { IPPROTO_TCP, "tcp" }, { IPPROTO_UDP, "udp" },
		{ IPPROTO_ICMPV6, "ipv6-icmp" } };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (low == high && low == names[i].number) {
			buf_printf(b, " . %s", names[i].name);
			return;
		}
	put_range(b, low, high);
}

static void put_own(
	const struct ruleset_element *e, const struct policy *p, bool six, struct buf *b)
{
	size_t protocol = LINK_PART, port = protocol + PORT_PART, address = port + PORT_PART;
	int family = six ? AF_INET6 : AF_INET;

	put_link(b, p, e->key);
	put_protocol(b, e->key[protocol], e->key_end[protocol]);
	put_range(b, port_at(e->key + port), port_at(e->key_end + port));
	buf_puts(b, " . ");
	put_address(b, family, e->key + address);
	if (memcmp(e->key + address, e->key_end + address, six ? 16 : 4) != 0) {
		buf_puts(b, "-");
		put_address(b, family, e->key_end + address);
	}
	buf_puts(b, e->data[0] == NF_ACCEPT ? " : return" : " : drop");
}

void ruleset_words(const struct ruleset_element *e, const struct policy *p, struct buf *b)
{
	bool six = e->set == RULESET_SOURCE6 || e->set == RULESET_PUBLISH6;
	size_t len = six ? 16 : 4;

	buf_printf(b, "%s { ", sets[e->set].name);
	switch ((enum ruleset_set)e->set) {
	case RULESET_GUESTS:
		put_link(b, p, e->key);
		put_mac(b, e->key + LINK_PART);
		break;
	case RULESET_SIBLINGS:
		put_link(b, p, e->key);
		buf_puts(b, " . ");
		put_link(b, p, e->key + LINK_PART);
		break;
	case RULESET_ARP:
		put_link(b, p, e->key);
		put_mac(b, e->key + LINK_PART);
		put_mac(b, e->key + LINK_PART + MAC_PART);
		buf_puts(b, " . ");
		put_address(b, AF_INET, e->key + LINK_PART + 2 * MAC_PART);
		break;
	case RULESET_SOURCE4:
	case RULESET_SOURCE6:
		put_link(b, p, e->key);
		put_mac(b, e->key + LINK_PART);
		buf_puts(b, " . ");
		put_address(b, six ? AF_INET6 : AF_INET, e->key + LINK_PART + MAC_PART);
		break;
	case RULESET_PUBLISH4:
	case RULESET_PUBLISH6:
		buf_printf(b, "%s . %u : ", e->key[0] == IPPROTO_UDP ? "udp" : "tcp",
			port_at(e->key + PORT_PART));
		put_address(b, six ? AF_INET6 : AF_INET, e->data);
		buf_printf(b, " . %u", port_at(e->data + len));
		break;
	case RULESET_IN4:
	case RULESET_OUT4:
	case RULESET_PEER4:
		put_own(e, p, false, b);
		break;
	case RULESET_IN6:
	case RULESET_OUT6:
	case RULESET_PEER6:
		put_own(e, p, true, b);
		break;
	case RULESET_PLAIN_SENT:
	case RULESET_PLAIN_RECEIVED:
		put_link(b, p, e->key);
		break;
	case RULESET_UP:
	case RULESET_DOWN:
	case RULESET_PACKETS_UP:
	case RULESET_PACKETS_DOWN:
		put_link(b, p, e->key);
		buf_printf(b, " limit rate over %" PRIu64 " %s/second", e->rate,
			sets[e->set].unit == EXPR_BYTES ? "bytes" : "packets");
		break;
	case RULESET_SETS:
		break;
	}
	buf_puts(b, " }");
}
