/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/expr.h"

/* Before <linux/in.h>, which yields to it. */
#include <netinet/in.h>

#include <libnftnl/expr.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "firewall/link.h"

/* RFC 826, of Ethernet and IPv4 */
#define ARP_SENDER_MAC	   8
#define ARP_SENDER_ADDRESS 14

/* An interface that began nothing for so long has its whole burst again anyway. */
#define RATE_FORGOTTEN_MS 60000

static struct nftnl_expr *add(struct nftnl_rule *r, const char *name)
{
	struct nftnl_expr *e = nftnl_expr_alloc(name);

	if (!e)
		abort();
	nftnl_rule_add_expr(r, e);
	return e;
}

static void meta_to(struct nftnl_rule *r, uint32_t key, uint32_t reg)
{
	struct nftnl_expr *e = add(r, "meta");

	nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, reg);
}

static void meta(struct nftnl_rule *r, uint32_t key)
{
	meta_to(r, key, NFT_REG_1);
}

static void cmp_of(struct nftnl_rule *r, uint32_t reg, uint32_t op, const void *data, uint32_t len)
{
	struct nftnl_expr *e = add(r, "cmp");

	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, reg);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, op);
	nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, data, len);
}

static void cmp(struct nftnl_rule *r, uint32_t op, const void *data, uint32_t len)
{
	cmp_of(r, NFT_REG_1, op, data, len);
}

static void payload(
	struct nftnl_rule *r, uint32_t base, uint32_t offset, uint32_t len, uint32_t reg)
{
	struct nftnl_expr *e = add(r, "payload");

	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, len);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, reg);
}

static void mask_to(
	struct nftnl_rule *r, uint32_t from, uint32_t to, const void *bits, uint32_t len)
{
	static const uint8_t zero[16];
	struct nftnl_expr *e = add(r, "bitwise");

	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, from);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, to);
	nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, len);
	nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, bits, len);
	nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, zero, len);
}

static void mask(struct nftnl_rule *r, const void *bits, uint32_t len)
{
	mask_to(r, NFT_REG_1, NFT_REG_1, bits, len);
}

static void lookup_or_not(struct nftnl_rule *r, const char *set, uint32_t flags)
{
	struct nftnl_expr *e = add(r, "lookup");

	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, set);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, flags);
}

static void lookup(struct nftnl_rule *r, const char *set)
{
	lookup_or_not(r, set, 0);
}

static void interface_to(struct nftnl_rule *r, bool in, uint32_t reg)
{
	meta_to(r, in ? NFT_META_IIF : NFT_META_OIF, reg);
}

static void interface(struct nftnl_rule *r, bool in)
{
	interface_to(r, in, NFT_REG_1);
}

/* Whether the index in this register is a guest's, or not; the register keeps it. */
static void of_base(struct nftnl_rule *r, uint32_t reg, uint32_t base, bool guests)
{
	static const uint32_t bits = LINK_INDEX_MASK;

	mask_to(r, reg, NFT_REG_4, &bits, sizeof(bits));
	cmp_of(r, NFT_REG_4, guests ? NFT_CMP_EQ : NFT_CMP_NEQ, &base, sizeof(base));
}

/*
 * The key of a link: the index has the first register of four bytes, the MAC the two behind, and what
 * follows begins at AFTER_LINK.
 */
#define AFTER_LINK NFT_REG32_03

static void source_mac(struct nftnl_rule *r)
{
	payload(r, NFT_PAYLOAD_LL_HEADER, offsetof(struct ethhdr, h_source), ETH_ALEN, NFT_REG32_01);
}

static void link_key(struct nftnl_rule *r)
{
	interface(r, true);
	source_mac(r);
}

static uint32_t address_offset(int family, enum expr_side side)
{
	if (family == AF_INET6)
		return side == EXPR_SOURCE ? offsetof(struct ip6_hdr, ip6_src) :
					     offsetof(struct ip6_hdr, ip6_dst);
	return side == EXPR_SOURCE ? offsetof(struct iphdr, saddr) : offsetof(struct iphdr, daddr);
}

void expr_interface(struct nftnl_rule *r, bool in, uint32_t base, bool guests)
{
	static const uint32_t bits = LINK_INDEX_MASK;

	interface(r, in);
	mask(r, &bits, sizeof(bits));
	cmp(r, guests ? NFT_CMP_EQ : NFT_CMP_NEQ, &base, sizeof(base));
}

void expr_named_otherwise(struct nftnl_rule *r, const char *prefix)
{
	meta(r, NFT_META_IIFNAME);
	/* Compared without the NUL, it is a prefix: nft(8) prints "prefix*". */
	cmp(r, NFT_CMP_NEQ, prefix, strlen(prefix));
}

void expr_family(struct nftnl_rule *r, int family)
{
	uint8_t proto = family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4;

	meta(r, NFT_META_NFPROTO);
	cmp(r, NFT_CMP_EQ, &proto, sizeof(proto));
}

static void address(
	struct nftnl_rule *r, uint32_t op, enum expr_side side, const struct address *a)
{
	uint8_t bits[16];

	expr_family(r, a->family);
	payload(r, NFT_PAYLOAD_NETWORK_HEADER, address_offset(a->family, side), a->len, NFT_REG_1);
	if (a->prefix < a->len * 8) {
		address_mask(a, bits);
		mask(r, bits, a->len);
	}
	cmp(r, op, a->bytes, a->len);
}

void expr_address(struct nftnl_rule *r, enum expr_side side, const struct address *a)
{
	address(r, NFT_CMP_EQ, side, a);
}

void expr_no_address(struct nftnl_rule *r, enum expr_side side, const struct address *a)
{
	address(r, NFT_CMP_NEQ, side, a);
}

void expr_known_interface(struct nftnl_rule *r, bool in, const char *set)
{
	interface(r, in);
	lookup(r, set);
}

void expr_unknown_interface(struct nftnl_rule *r, bool in, const char *set)
{
	interface(r, in);
	lookup_or_not(r, set, NFT_LOOKUP_F_INV);
}

/* What is no guest's is not looked up. */
void expr_known_source(struct nftnl_rule *r, int family, uint32_t base, const char *set)
{
	expr_family(r, family);
	interface(r, true);
	of_base(r, NFT_REG_1, base, true);
	source_mac(r);
	payload(r, NFT_PAYLOAD_NETWORK_HEADER, address_offset(family, EXPR_SOURCE),
		family == AF_INET6 ? 16 : 4, AFTER_LINK);
	lookup(r, set);
}

void expr_known_link(struct nftnl_rule *r, const char *set)
{
	link_key(r);
	lookup(r, set);
}

void expr_known_pair(struct nftnl_rule *r, const char *set)
{
	interface(r, true);
	interface_to(r, false, NFT_REG32_01);
	lookup(r, set);
}

void expr_known_claim(struct nftnl_rule *r, const char *set)
{
	link_key(r);
	payload(r, NFT_PAYLOAD_NETWORK_HEADER, ARP_SENDER_MAC, ETH_ALEN, AFTER_LINK);
	/* Behind the MAC's two. */
	payload(r, NFT_PAYLOAD_NETWORK_HEADER, ARP_SENDER_ADDRESS, 4, NFT_REG32_05);
	lookup(r, set);
}

void expr_foreign_target(struct nftnl_rule *r, const struct address *but, const char *set)
{
	payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, offsetof(struct nd_neighbor_advert, nd_na_target),
		but->len, NFT_REG_1);
	cmp(r, NFT_CMP_NEQ, but->bytes, but->len);
	link_key(r);
	payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, offsetof(struct nd_neighbor_advert, nd_na_target),
		but->len, AFTER_LINK);
	lookup_or_not(r, set, NFT_LOOKUP_F_INV);
}

void expr_protocol(struct nftnl_rule *r, uint8_t protocol)
{
	meta(r, NFT_META_L4PROTO);
	cmp(r, NFT_CMP_EQ, &protocol, sizeof(protocol));
}

void expr_icmp6(struct nftnl_rule *r, uint8_t type)
{
	expr_family(r, AF_INET6);
	expr_protocol(r, IPPROTO_ICMPV6);
	payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, NFT_REG_1);
	cmp(r, NFT_CMP_EQ, &type, sizeof(type));
}

void expr_icmp_type(struct nftnl_rule *r, const char *set, uint32_t set_id)
{
	struct nftnl_expr *e;

	payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, NFT_REG_1);
	e = add(r, "lookup");
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, set);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SET_ID, set_id);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, 0);
}

static void state(struct nftnl_rule *r, uint32_t states, uint32_t op)
{
	static const uint32_t none;
	struct nftnl_expr *e = add(r, "ct");

	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, NFT_CT_STATE);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, NFT_REG_1);
	mask(r, &states, sizeof(states));
	cmp(r, op, &none, sizeof(none));
}

void expr_state(struct nftnl_rule *r, uint32_t states)
{
	state(r, states, NFT_CMP_NEQ);
}

void expr_state_but(struct nftnl_rule *r, uint32_t states)
{
	state(r, states, NFT_CMP_EQ);
}

void expr_status(struct nftnl_rule *r, uint32_t bits)
{
	static const uint32_t none;
	struct nftnl_expr *e = add(r, "ct");

	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, NFT_CT_STATUS);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, NFT_REG_1);
	mask(r, &bits, sizeof(bits));
	cmp(r, NFT_CMP_NEQ, &none, sizeof(none));
}

void expr_foreign_connection(struct nftnl_rule *r, int family, const char *set)
{
	for (uint8_t dir = IP_CT_DIR_ORIGINAL; dir < IP_CT_DIR_MAX; dir++) {
		struct nftnl_expr *e;

		link_key(r);
		e = add(r, "ct");
		nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, family == AF_INET6 ? NFT_CT_SRC_IP6 : NFT_CT_SRC_IP);
		nftnl_expr_set_u8(e, NFTNL_EXPR_CT_DIR, dir);
		nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, AFTER_LINK);
		lookup_or_not(r, set, NFT_LOOKUP_F_INV);
	}
}

void expr_beginning(struct nftnl_rule *r)
{
	static const uint32_t confirmed = IPS_CONFIRMED, none;
	struct nftnl_expr *e = add(r, "ct");

	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, NFT_CT_STATUS);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, NFT_REG_1);
	mask(r, &confirmed, sizeof(confirmed));
	cmp(r, NFT_CMP_EQ, &none, sizeof(none));
}

void expr_host_port(struct nftnl_rule *r, int family, const char *map)
{
	const uint32_t local = RTN_LOCAL;
	struct nftnl_expr *e;

	expr_family(r, family);
	e = add(r, "fib");
	nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_DREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_DADDR);
	cmp(r, NFT_CMP_EQ, &local, sizeof(local));
	meta(r, NFT_META_L4PROTO);
	payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, NFT_REG32_01);
	e = add(r, "lookup");
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_DREG, NFT_REG_1);
	nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, map);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, 0);
}

/*
 * The address fills whole registers, the port has the one behind. All is said as the kernel says
 * it, so that what is read back compares.
 */
void expr_redirect(struct nftnl_rule *r, int family)
{
	bool six = family == AF_INET6;
	uint32_t port = six ? NFT_REG_2 : NFT_REG32_01;
	struct nftnl_expr *e = add(r, "nat");

	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FAMILY, six ? NFPROTO_IPV6 : NFPROTO_IPV4);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MAX, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_PROTO_MIN, port);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_PROTO_MAX, port);
	nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FLAGS,
		NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED);
}

void expr_fragment4(struct nftnl_rule *r, bool is)
{
	/* With what is before it: the kernel masks four bytes fastest (nft_bitwise.c). */
	const uint32_t bits = htonl(IP_MF | IP_OFFMASK), none = 0;

	payload(r, NFT_PAYLOAD_NETWORK_HEADER, offsetof(struct iphdr, id), sizeof(bits), NFT_REG_1);
	mask(r, &bits, sizeof(bits));
	cmp(r, is ? NFT_CMP_NEQ : NFT_CMP_EQ, &none, sizeof(none));
}

void expr_fragment6(struct nftnl_rule *r, bool is)
{
	const uint8_t there = is;
	struct nftnl_expr *e;

	e = add(r, "exthdr");
	nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_DREG, NFT_REG_1);
	nftnl_expr_set_u8(e, NFTNL_EXPR_EXTHDR_TYPE, IPPROTO_FRAGMENT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_OP, NFT_EXTHDR_OP_IPV6);
	nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_OFFSET, 0);
	nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_LEN, 1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_EXTHDR_FLAGS, NFT_EXTHDR_F_PRESENT);
	cmp(r, NFT_CMP_EQ, &there, sizeof(there));
}

void expr_no_syn(struct nftnl_rule *r)
{
	static const uint8_t flags = TH_FIN | TH_SYN | TH_RST | TH_ACK, syn = TH_SYN;

	expr_protocol(r, IPPROTO_TCP);
	payload(r, NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1, NFT_REG_1); /* RFC 9293 3.1 */
	mask(r, &flags, sizeof(flags));
	cmp(r, NFT_CMP_NEQ, &syn, sizeof(syn));
}

/* An ICMP connection has something for a port, too: no key is ever incomplete. */
void expr_own_verdict(struct nftnl_rule *r, int family, bool sent, const char *map)
{
	bool six = family == AF_INET6;
	struct nftnl_expr *e;

	interface(r, sent);
	meta_to(r, NFT_META_L4PROTO, NFT_REG32_01);
	e = add(r, "ct");
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, NFT_CT_PROTO_SRC);
	nftnl_expr_set_u8(e, NFTNL_EXPR_CT_DIR, IP_CT_DIR_REPLY);
	nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, NFT_REG32_02);
	payload(r, NFT_PAYLOAD_NETWORK_HEADER,
		address_offset(family, sent ? EXPR_DESTINATION : EXPR_SOURCE), six ? 16 : 4,
		NFT_REG32_03);
	e = add(r, "lookup");
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, map);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, 0);
}

static struct nftnl_expr *alloc(const char *name)
{
	struct nftnl_expr *e = nftnl_expr_alloc(name);

	if (!e)
		abort();
	return e;
}

/* Have the dynamic set hold what is in NFT_REG_1, with `state` of its own; the rule asks `state`. */
static void dynset(struct nftnl_rule *r, uint32_t op, const char *set, uint32_t set_id,
	uint64_t timeout_ms, struct nftnl_expr *state)
{
	struct nftnl_expr *e = add(r, "dynset");

	nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_OP, op);
	nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SREG_KEY, NFT_REG_1);
	nftnl_expr_set_str(e, NFTNL_EXPR_DYNSET_SET_NAME, set);
	nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SET_ID, set_id);
	if (timeout_ms)
		nftnl_expr_set_u64(e, NFTNL_EXPR_DYNSET_TIMEOUT, timeout_ms);
	nftnl_expr_set(e, NFTNL_EXPR_DYNSET_EXPR, state, 0);
}

void expr_connections_over(
	struct nftnl_rule *r, bool in, const char *set, uint32_t set_id, uint32_t count)
{
	struct nftnl_expr *state = alloc("connlimit");

	interface(r, in);
	nftnl_expr_set_u32(state, NFTNL_EXPR_CONNLIMIT_COUNT, count);
	nftnl_expr_set_u32(state, NFTNL_EXPR_CONNLIMIT_FLAGS, NFT_CONNLIMIT_F_INV);
	dynset(r, NFT_DYNSET_OP_ADD, set, set_id, 0, state);
}

/* Packets have a burst of their own; bytes have a second's in any case (nft_limit.c). */
struct nftnl_expr *expr_limit(enum expr_unit unit, uint64_t a_second)
{
	struct nftnl_expr *e = alloc("limit");
	bool packets = unit == EXPR_PACKETS;

	nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_RATE, a_second);
	nftnl_expr_set_u64(e, NFTNL_EXPR_LIMIT_UNIT, 1);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_BURST, packets ? (uint32_t)a_second : 0);
	nftnl_expr_set_u32(
		e, NFTNL_EXPR_LIMIT_TYPE, packets ? NFT_LIMIT_PKTS : NFT_LIMIT_PKT_BYTES);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LIMIT_FLAGS, NFT_LIMIT_F_INV);
	return e;
}

struct nftnl_expr *expr_counter(uint64_t packets, uint64_t bytes)
{
	struct nftnl_expr *e = alloc("counter");

	nftnl_expr_set_u64(e, NFTNL_EXPR_CTR_PACKETS, packets);
	nftnl_expr_set_u64(e, NFTNL_EXPR_CTR_BYTES, bytes);
	return e;
}

uint64_t expr_limit_of(const struct nftnl_expr *e)
{
	const char *name = nftnl_expr_get_str(e, NFTNL_EXPR_NAME);

	return name && !strcmp(name, "limit") ? nftnl_expr_get_u64(e, NFTNL_EXPR_LIMIT_RATE) : 0;
}

/* Bytes have a second's and the burst at once (nft_limit.c). */
void expr_rate_over(struct nftnl_rule *r, const char *set, uint32_t set_id, enum expr_unit unit,
	uint64_t a_second)
{
	struct nftnl_expr *state = alloc("limit");
	bool packets = unit == EXPR_PACKETS;

	interface(r, true);
	nftnl_expr_set_u64(state, NFTNL_EXPR_LIMIT_RATE, a_second);
	nftnl_expr_set_u64(state, NFTNL_EXPR_LIMIT_UNIT, 1);
	nftnl_expr_set_u32(
		state, NFTNL_EXPR_LIMIT_BURST, (uint32_t)(packets ? 2 * a_second : a_second));
	nftnl_expr_set_u32(
		state, NFTNL_EXPR_LIMIT_TYPE, packets ? NFT_LIMIT_PKTS : NFT_LIMIT_PKT_BYTES);
	nftnl_expr_set_u32(state, NFTNL_EXPR_LIMIT_FLAGS, NFT_LIMIT_F_INV);
	dynset(r, NFT_DYNSET_OP_UPDATE, set, set_id, RATE_FORGOTTEN_MS, state);
}

void expr_account(struct nftnl_rule *r, bool in, const char *set)
{
	interface(r, in);
	dynset(r, NFT_DYNSET_OP_ADD, set, 0, 0, expr_counter(0, 0));
}

void expr_count(struct nftnl_rule *r, const char *counter)
{
	struct nftnl_expr *e = add(r, "objref");

	nftnl_expr_set_u32(e, NFTNL_EXPR_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
	nftnl_expr_set_str(e, NFTNL_EXPR_OBJREF_IMM_NAME, counter);
}

void expr_go(struct nftnl_rule *r, bool back, const char *chain)
{
	struct nftnl_expr *e = add(r, "immediate");

	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, (uint32_t)(back ? NFT_JUMP : NFT_GOTO));
	nftnl_expr_set_str(e, NFTNL_EXPR_IMM_CHAIN, chain);
}

void expr_verdict(struct nftnl_rule *r, int verdict)
{
	struct nftnl_expr *e = add(r, "immediate");

	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, verdict);
}

void expr_masquerade(struct nftnl_rule *r)
{
	add(r, "masq");
}
