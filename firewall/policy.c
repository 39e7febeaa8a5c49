/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/policy.h"

/* Before <linux/in.h>, which yields to it. */
#include <netinet/in.h>

#include <libnftnl/chain.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_arp.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/icmp6.h>
#include <stdlib.h>
#include <string.h>

#include "firewall/expr.h"
#include "firewall/match.h"
#include "provision/base/cleanup.h"

/* nft(8)'s numbers of its types (nftables datatype.h), six bits for each part of a key. */
#define TYPE_IPV4_ADDR	7
#define TYPE_IPV6_ADDR	8
#define TYPE_ETHER_ADDR	9
#define TYPE_INET_PROTO	12
#define TYPE_SERVICE	13
#define TYPE_ICMP6_TYPE 29
#define TYPE_IFINDEX	20
#define TYPE_PAIR(a, b) ((a) << 6 | (b))
#define NFT_HOST_ENDIAN 1 /* its enum byteorder */

/* Those of match.h are the sixth to the ninth. */
#define FIRST_SET_ID	1	  /* of the named sets; rules find theirs by name */
#define FIRST_RULE_ID	100	  /* of the anonymous sets, by which rules of one batch find them */

/* A chain; without a type it is one that others go to. */
struct chain {
	const char *name;
	const char *type;
	uint32_t hook;
	int32_t priority;
};

#define FORWARD "forward"

#define JUDGE	       "judge"	    /* what begins a connection */
#define JUDGE_OUTSIDE  "judge_outside" /* and comes from no guest */
#define JUDGE_TO_GUEST "judge_to_guest"
#define JUDGE_REST     "judge_rest" /* what is of no connection, or tells of one */
/* What a guest sends, or receives, that has a rate. */
#define RATE_SENT_CHAIN	    "rate_sent"
#define RATE_RECEIVED_CHAIN "rate_received"

#define FRAGMENTED "fragmented" /* what a guest sends in parts, before they are put together */

#define ARP	"claimed" /* the only one of table arp */
/* Where what is dropped goes to be counted for the guest that sent it, or would have received it. */
#define DROP_SENT_CHAIN	    "drop_sent"
#define DROP_RECEIVED_CHAIN "drop_received"

static const struct chain chains[] = {
	{ DROP_SENT_CHAIN, NULL, 0, 0 },
	{ DROP_RECEIVED_CHAIN, NULL, 0, 0 },
	{ JUDGE, NULL, 0, 0 },
	{ JUDGE_OUTSIDE, NULL, 0, 0 },
	{ JUDGE_TO_GUEST, NULL, 0, 0 },
	{ JUDGE_REST, NULL, 0, 0 },
	{ RATE_SENT_CHAIN, NULL, 0, 0 },
	{ RATE_RECEIVED_CHAIN, NULL, 0, 0 },
	{ FRAGMENTED, NULL, 0, 0 },
	{ "antispoof", "filter", NF_INET_PRE_ROUTING, NF_IP_PRI_RAW_BEFORE_DEFRAG },
	{ "published", "nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST },
	{ "published_here", "nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST },
	{ FORWARD, "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER },
	{ "input", "filter", NF_INET_LOCAL_IN, NF_IP_PRI_FILTER },
	{ "postrouting", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC },
	{ ARP, "filter", NF_ARP_IN, NF_IP_PRI_FILTER },
};

/* A set that guests are elements of, or a map of published ports. */
struct set {
	const char *name;
	uint32_t type;
	uint32_t len;
	uint32_t data_type, data_len; /* of a map */
	uint32_t flags, size;	      /* of one that rules add to, or that most packets are looked up in */
	uint8_t fields[4];	      /* of one of ranges: how long the parts of its keys are */
	enum expr_unit unit;	      /* of the rates that its elements carry */
	bool counts;		      /* its elements count what was looked up in it */
};

#define METERS_MAX  65536	  /* more guests than there can be */
/* The kernel looks up faster where it knows how many elements there can be (nft_set_hash.c). */
#define PLAIN_MAX (2 * METERS_MAX)

#define TYPE_LINK TYPE_PAIR(TYPE_IFINDEX, TYPE_ETHER_ADDR)

/* A map of guests' own rules. */
#define TYPE_RULE(address) (TYPE_PAIR(TYPE_IFINDEX, TYPE_INET_PROTO) << 12 | TYPE_PAIR(TYPE_SERVICE, address))
#define RULES_MAP(name, address, len)                                                             \
	{ name, TYPE_RULE(address), 4 + 4 + 4 + (len), NFT_DATA_VERDICT, 0,                      \
		NFT_SET_MAP | NFT_SET_INTERVAL | NFT_SET_CONCAT, 0, { 4, 1, 2, len } }

static const struct set sets[] = {
	{ POLICY_GUESTS, TYPE_LINK, 4 + 8 },
	{ POLICY_SOURCE4, TYPE_LINK << 6 | TYPE_IPV4_ADDR, 4 + 8 + 4 },
	{ POLICY_SOURCE6, TYPE_LINK << 6 | TYPE_IPV6_ADDR, 4 + 8 + 16 },
	{ POLICY_PUBLISH4, TYPE_PAIR(TYPE_INET_PROTO, TYPE_SERVICE), 4 + 4,
	  TYPE_PAIR(TYPE_IPV4_ADDR, TYPE_SERVICE), 4 + 4 },
	{ POLICY_PUBLISH6, TYPE_PAIR(TYPE_INET_PROTO, TYPE_SERVICE), 4 + 4,
	  TYPE_PAIR(TYPE_IPV6_ADDR, TYPE_SERVICE), 16 + 4 },
	{ MATCH_CONNECTIONS, TYPE_IFINDEX, 4, 0, 0, NFT_SET_EVAL, METERS_MAX },
	{ MATCH_OPENINGS, TYPE_IFINDEX, 4, 0, 0, NFT_SET_EVAL | NFT_SET_TIMEOUT, METERS_MAX },
	{ MATCH_FRAGMENTS, TYPE_IFINDEX, 4, 0, 0, NFT_SET_EVAL | NFT_SET_TIMEOUT, METERS_MAX },
	{ MATCH_FRAGMENT_BYTES, TYPE_IFINDEX, 4, 0, 0, NFT_SET_EVAL | NFT_SET_TIMEOUT, METERS_MAX },
	RULES_MAP(POLICY_IN4, TYPE_IPV4_ADDR, 4),
	RULES_MAP(POLICY_IN6, TYPE_IPV6_ADDR, 16),
	RULES_MAP(POLICY_OUT4, TYPE_IPV4_ADDR, 4),
	RULES_MAP(POLICY_OUT6, TYPE_IPV6_ADDR, 16),
	RULES_MAP(POLICY_PEER4, TYPE_IPV4_ADDR, 4),
	RULES_MAP(POLICY_PEER6, TYPE_IPV6_ADDR, 16),
	{ POLICY_PLAIN_SENT, TYPE_IFINDEX, 4, .size = PLAIN_MAX, .counts = true },
	{ POLICY_PLAIN_RECEIVED, TYPE_IFINDEX, 4, .size = PLAIN_MAX, .counts = true },
	{ POLICY_UP, TYPE_IFINDEX, 4, .unit = EXPR_BYTES },
	{ POLICY_DOWN, TYPE_IFINDEX, 4, .unit = EXPR_BYTES },
	{ POLICY_PACKETS_UP, TYPE_IFINDEX, 4, .unit = EXPR_PACKETS },
	{ POLICY_PACKETS_DOWN, TYPE_IFINDEX, 4, .unit = EXPR_PACKETS },
	{ POLICY_SENT, TYPE_IFINDEX, 4, 0, 0, NFT_SET_EVAL, METERS_MAX },
	{ POLICY_RECEIVED, TYPE_IFINDEX, 4, 0, 0, NFT_SET_EVAL, METERS_MAX },
	{ POLICY_DROPPED, TYPE_IFINDEX, 4, 0, 0, NFT_SET_EVAL, METERS_MAX },
	{ POLICY_DROPPED_ARP, TYPE_IFINDEX, 4, 0, 0, NFT_SET_EVAL, METERS_MAX },
	{ POLICY_SIBLINGS, TYPE_PAIR(TYPE_IFINDEX, TYPE_IFINDEX), 4 + 4 },
	{ POLICY_ARP, TYPE_LINK << 12 | TYPE_PAIR(TYPE_ETHER_ADDR, TYPE_IPV4_ADDR), 4 + 8 + 8 + 4 },
};

#define SPOOFED	       "spoofed"
#define GUEST_TO_GUEST "guest_to_guest"
#define GUEST_TO_HOST  "guest_to_host"
#define GUEST_TO_LOCAL "guest_to_local"
#define INVALID	       "invalid"
#define TO_GUEST       "to_guest"
#define TO_NOBODY      "to_nobody"
#define PROTECTED      "protected"
#define TOO_MANY       "too_many"
#define TOO_FAST       "too_fast"
#define TOO_FRAGMENTED "too_fragmented"
#define OVER_RATE      "over_rate"
#define ADVERTISED     "advertised"
#define SPOOFED_ARP    "spoofed_arp"

static const struct {
	const char *name, *meaning;
} counters[] = {
	{ SPOOFED, "sent by a guest with a source, or MAC, that is not its own" },
	{ ADVERTISED, "sent by a guest as a router's, or as another's neighbour advertisement" },
	{ SPOOFED_ARP, "sent by a guest by ARP, with an address or MAC that is not its own" },
	{ GUEST_TO_GUEST, "sent by a guest to another" },
	{ GUEST_TO_HOST, "sent by a guest to the host, and no ICMP" },
	{ GUEST_TO_LOCAL, "sent by a guest to an address that no router forwards to, link-local or such" },
	{ INVALID, "sent by a guest, of no connection that is tracked, or an error about another's" },
	{ TO_GUEST, "sent to a guest from outside, unasked" },
	{ TO_NOBODY, "sent to an address of the pool that has no link" },
	{ PROTECTED, "sent by a guest to a prefix of network.protect" },
	{ TOO_MANY, "of a guest that has network.connections already" },
	{ TOO_FAST, "of a guest that began more than network.new-connections" },
	{ TOO_FRAGMENTED, "sent by a guest in fragments beyond network.fragments" },
	{ OVER_RATE, "of a guest, or to it, beyond its plan's up, down or packets" },
};

/* Which side of the guests' links an interface is on. */
enum where {
	ANY,
	GUEST,
	OTHER
};

enum verdict {
	ACCEPT,
	DROP,
	DROP_SENT,     /* and count it for the guest by whose interface it came */
	DROP_RECEIVED, /* or leaves */
	ALLOW,	       /* go back to FORWARD */
	BE_JUDGED,     /* by JUDGE, which drops or allows */
	BE_COUNTED,    /* go on in FRAGMENTED */
	REST_JUDGED,   /* the same by JUDGE_REST */
	LEAVE_GUESTS,  /* by JUDGE_OUTSIDE in its place */
	JUDGE_ONWARD,  /* by JUDGE_TO_GUEST in its place */
	LIMIT_SENT,    /* go to the chain of this name, and come back if it lets it pass */
	LIMIT_RECEIVED,
	MASQUERADE,
	REDIRECT, /* to the guest that the map of published ports says; none: go on */
	AS_IT_SAYS, /* the map; nothing: go on */
	GO_ON
};

/* A rule: by which interface in, by which out, what else, then count, then this. */
struct rule {
	const char *chain;
	enum where in, out;
	enum match match;
	const char *counter;
	enum verdict verdict;
};

/*
 * All that the table says, in order. Interfaces match by their indexes' base and not by their elements, so
 * that a guest whose elements are missing gets nothing. Packets that are no guest's pass each
 * chain untouched. Discovery never leaves the link: Linux forwards neither of its sources.
 */
static const struct rule rules[] = {
	/*
	 * Before anything is put together: fragments fill memory that all have together until their datagram is
	 * whole, and tracking asks for that before any later chain. Most packets come no further than the first.
	 */
	{ "antispoof", ANY, ANY, OWN_WHOLE4, NULL, ACCEPT },
	{ "antispoof", OTHER, ANY, NAMED_OTHERWISE, NULL, ACCEPT },
	/* One of ours that has another index is nobody's: what it sends would pass for the host's. */
	{ "antispoof", OTHER, ANY, NOTHING, SPOOFED, DROP },
	{ "antispoof", ANY, ANY, OWN_WHOLE6, NULL, ACCEPT },
	{ "antispoof", ANY, ANY, OWN_SOURCE4, NULL, BE_COUNTED },
	{ "antispoof", ANY, ANY, OWN_SOURCE6, NULL, BE_COUNTED },
	{ "antispoof", ANY, ANY, LOCAL_FRAGMENT, NULL, BE_COUNTED },
	{ "antispoof", ANY, ANY, DISCOVERY_LOCAL, NULL, ACCEPT },
	{ "antispoof", ANY, ANY, DISCOVERY_NONE, NULL, ACCEPT },
	{ "antispoof", ANY, ANY, ROUTER_ADVERT, ADVERTISED, DROP_SENT },
	{ "antispoof", ANY, ANY, ROUTER_REDIRECT, ADVERTISED, DROP_SENT },
	{ "antispoof", ANY, ANY, NOTHING, SPOOFED, DROP_SENT },
	{ FRAGMENTED, ANY, ANY, MANY_FRAGMENTS, TOO_FRAGMENTED, DROP_SENT },
	{ FRAGMENTED, ANY, ANY, LONG_FRAGMENTS, TOO_FRAGMENTED, DROP_SENT },

	{ "published", ANY, ANY, HOST_PORT4, NULL, REDIRECT },
	{ "published", ANY, ANY, HOST_PORT6, NULL, REDIRECT },
	/* A connection that was ended does not begin anew by an answer of the host's, as if it were its own. */
	{ "published_here", ANY, GUEST, NO_SYN, NULL, DROP },
	/* What the host's own programs say to each other stays theirs. */
	{ "published_here", ANY, ANY, LOOPBACK4, NULL, ACCEPT },
	{ "published_here", ANY, ANY, LOOPBACK6, NULL, ACCEPT },
	{ "published_here", ANY, ANY, HOST_PORT4, NULL, REDIRECT },
	{ "published_here", ANY, ANY, HOST_PORT6, NULL, REDIRECT },

	/*
	 * What begins is judged. All else is of a connection that was allowed when it began, for what is
	 * allowed no longer is ended, or it is of none, or an error about one. Most are the former, and from
	 * the guests to the world or back, of those without a rate: their way is short.
	 */
	{ FORWARD, ANY, ANY, BEGINNING, NULL, BE_JUDGED },
	{ FORWARD, ANY, ANY, PLAIN_IN, NULL, ACCEPT },
	{ FORWARD, ANY, ANY, PLAIN_OUT4, NULL, ACCEPT },
	{ FORWARD, ANY, ANY, PLAIN_OUT6, NULL, ACCEPT },
	{ FORWARD, ANY, ANY, NO_STREAM, NULL, REST_JUDGED },
	/* Of the pool but without a link, a stopped guest's: nobody upstream may get it. */
	{ FORWARD, ANY, OTHER, TO_POOL4, TO_NOBODY, DROP },
	{ FORWARD, ANY, OTHER, TO_POOL6, TO_NOBODY, DROP },
	{ FORWARD, ANY, OTHER, TO_MORE, TO_NOBODY, DROP },
	/* What is dropped above uses nothing up. */
	{ FORWARD, GUEST, ANY, RATED_IN, NULL, LIMIT_SENT },
	{ FORWARD, ANY, GUEST, RATED_OUT, NULL, LIMIT_RECEIVED },
	{ FORWARD, GUEST, ANY, ACCOUNT_IN, NULL, GO_ON },
	{ FORWARD, ANY, GUEST, ACCOUNT_OUT, NULL, GO_ON },

	{ JUDGE, OTHER, ANY, NOTHING, NULL, LEAVE_GUESTS },
	/* Looked at before all that may let it through; what is dropped is tracked no further. */
	{ JUDGE, ANY, ANY, TO_PROTECTED, PROTECTED, DROP_SENT },
	{ JUDGE, ANY, ANY, FAST_IN, TOO_FAST, DROP_SENT },
	{ JUDGE, ANY, ANY, MANY_IN, TOO_MANY, DROP_SENT },
	{ JUDGE, ANY, GUEST, NOTHING, NULL, JUDGE_ONWARD },
	/* The metadata service of the cloud that the host may run in, and what no router lets pass. */
	{ JUDGE, ANY, ANY, TO_SPECIAL, GUEST_TO_LOCAL, DROP_SENT },
	/* What was ended does not begin anew, the other way round, by what the guest goes on to send. */
	{ JUDGE, ANY, ANY, NO_SYN, INVALID, DROP_SENT },
	/* Last: what they allow gets no further than what everybody may. */
	{ JUDGE, ANY, ANY, OWN_OUT4, NULL, AS_IT_SAYS },
	{ JUDGE, ANY, ANY, OWN_OUT6, NULL, AS_IT_SAYS },

	{ JUDGE_OUTSIDE, ANY, GUEST, NOTHING, NULL, JUDGE_ONWARD },

	{ JUDGE_REST, GUEST, ANY, TO_PROTECTED, PROTECTED, DROP_SENT },
	/* Whoever knows the ends of another's connection could end it so, or have it send little by little. */
	{ JUDGE_REST, GUEST, ANY, FOREIGN_ERROR4, INVALID, DROP_SENT },
	{ JUDGE_REST, GUEST, ANY, FOREIGN_ERROR6, INVALID, DROP_SENT },
	{ JUDGE_REST, ANY, GUEST, NOTHING, NULL, JUDGE_ONWARD },
	{ JUDGE_REST, GUEST, ANY, TO_SPECIAL, GUEST_TO_LOCAL, DROP_SENT },
	/* Not tracked is not translated: it would leave with the guest's inner address. */
	{ JUDGE_REST, GUEST, ANY, UNTRACKABLE, INVALID, DROP_SENT },

	/* As they are kept from it, it is from them: nobody there waits for an answer that does not come. */
	{ JUDGE_TO_GUEST, ANY, ANY, FROM_PROTECTED, PROTECTED, DROP_RECEIVED },
	{ JUDGE_TO_GUEST, ANY, ANY, MANY_OUT, TOO_MANY, DROP_RECEIVED },
	/* A guest's own rules go before what holds for all, and before its published ports. */
	{ JUDGE_TO_GUEST, GUEST, ANY, OWN_PEER4, NULL, AS_IT_SAYS },
	{ JUDGE_TO_GUEST, GUEST, ANY, OWN_PEER6, NULL, AS_IT_SAYS },
	{ JUDGE_TO_GUEST, OTHER, ANY, OWN_IN4, NULL, AS_IT_SAYS },
	{ JUDGE_TO_GUEST, OTHER, ANY, OWN_IN6, NULL, AS_IT_SAYS },
	/* What is published to the world is published to the other guests. */
	{ JUDGE_TO_GUEST, ANY, ANY, PUBLISHED, NULL, ALLOW },
	{ JUDGE_TO_GUEST, ANY, ANY, SIBLINGS, NULL, ALLOW },
	{ JUDGE_TO_GUEST, GUEST, ANY, NOTHING, GUEST_TO_GUEST, DROP_SENT },
	{ JUDGE_TO_GUEST, ANY, ANY, REPLY, NULL, ALLOW },
	{ JUDGE_TO_GUEST, ANY, ANY, NOTHING, TO_GUEST, DROP_RECEIVED },

	{ RATE_SENT_CHAIN, ANY, ANY, RATE_IN, OVER_RATE, DROP_SENT },
	{ RATE_SENT_CHAIN, ANY, ANY, PACKETS_IN, OVER_RATE, DROP_SENT },
	{ RATE_RECEIVED_CHAIN, ANY, ANY, RATE_OUT, OVER_RATE, DROP_RECEIVED },
	{ RATE_RECEIVED_CHAIN, ANY, ANY, PACKETS_OUT, OVER_RATE, DROP_RECEIVED },

	{ "input", OTHER, ANY, NOTHING, NULL, ACCEPT },
	{ "input", ANY, ANY, FOREIGN_ERROR4, INVALID, DROP_SENT },
	{ "input", ANY, ANY, FOREIGN_ERROR6, INVALID, DROP_SENT },
	{ "input", ANY, ANY, REPLY, NULL, ACCEPT },
	{ "input", ANY, ANY, FAST_IN, TOO_FAST, DROP_SENT },
	{ "input", ANY, ANY, MANY_IN, TOO_MANY, DROP_SENT },
	/* Linux believes any error that says what a path takes (icmp_err(), icmpv6_err()). */
	{ "input", ANY, ANY, INVALID_STATE, INVALID, DROP_SENT },
	/* Discovery ends at the host: here it is whole, and has not been believed yet. */
	{ "input", ANY, ANY, ROUTER_ADVERT, ADVERTISED, DROP_SENT },
	{ "input", ANY, ANY, ROUTER_REDIRECT, ADVERTISED, DROP_SENT },
	{ "input", ANY, ANY, NEIGHBOR_ADVERT, ADVERTISED, DROP_SENT },
	{ "input", ANY, ANY, ICMP4, NULL, ACCEPT },
	{ "input", ANY, ANY, ICMP6, NULL, ACCEPT },
	{ "input", ANY, ANY, NOTHING, GUEST_TO_HOST, DROP_SENT },

	/* The answer must come back this way, even to the guest that asked for its own port. */
	{ "postrouting", GUEST, GUEST, PUBLISHED, NULL, MASQUERADE },
	{ "postrouting", ANY, OTHER, FROM_POOL4, NULL, MASQUERADE },
	{ "postrouting", ANY, OTHER, FROM_POOL6, NULL, MASQUERADE },

	/* A rule that counts ends when it cannot: what drops stands behind it, not in it. */
	{ DROP_SENT_CHAIN, ANY, ANY, COUNT_SENT, NULL, GO_ON },
	{ DROP_SENT_CHAIN, ANY, ANY, NOTHING, NULL, DROP },
	{ DROP_RECEIVED_CHAIN, ANY, ANY, COUNT_RECEIVED, NULL, GO_ON },
	{ DROP_RECEIVED_CHAIN, ANY, ANY, NOTHING, NULL, DROP },

	{ ARP, OTHER, ANY, NOTHING, NULL, ACCEPT },
	{ ARP, ANY, ANY, OWN_CLAIM, NULL, ACCEPT },
	{ ARP, ANY, ANY, COUNT_ARP, NULL, GO_ON },
	{ ARP, ANY, ANY, NOTHING, SPOOFED_ARP, DROP },
};

/* What a guest may send beside its own addresses: to its next hop (RFC 4861, 2710, 3810, 4443). */
#define N_ECHO_TYPES 2 /* the first: not from no source, for the answer would go nowhere */
static const uint8_t discovery_types[] = { ICMP6_ECHO_REQUEST, ICMP6_ECHO_REPLY,
	MLD_LISTENER_REPORT, MLD_LISTENER_REDUCTION, ND_ROUTER_SOLICIT, ND_NEIGHBOR_SOLICIT,
	ND_NEIGHBOR_ADVERT, 143 /* MLDv2 report */ };

static void *must(void *p)
{
	return p ?: (abort(), NULL);
}

static struct nlmsghdr *start(
	struct netlink *nl, uint8_t family, uint16_t type, uint16_t flags, const char *what)
{
	return nftnl_nlmsg_build_hdr(
		netlink_room(nl, POLICY_ROOM, what), type, family, flags, nl->next_seq);
}

uint8_t policy_family(const char *set)
{
	return !strcmp(set, POLICY_ARP) || !strcmp(set, POLICY_DROPPED_ARP) ? NFPROTO_ARP :
									      NFPROTO_INET;
}

static uint8_t family_of_chain(const char *chain)
{
	return strcmp(chain, ARP) ? NFPROTO_INET : NFPROTO_ARP;
}

static uint8_t family_of_counter(const char *counter)
{
	return strcmp(counter, SPOOFED_ARP) ? NFPROTO_INET : NFPROTO_ARP;
}

static void put_table(
	struct netlink *nl, const struct policy *p, uint8_t family, uint16_t type, uint32_t flags)
{
	struct nftnl_table *t = must(nftnl_table_alloc());
	bool new = type == NFT_MSG_NEWTABLE;
	struct nlmsghdr *msg;

	nftnl_table_set_str(t, NFTNL_TABLE_NAME, p->table);
	/* Only where there are some: without the attribute an owned table stays as it is. */
	if (flags)
		nftnl_table_set_u32(t, NFTNL_TABLE_FLAGS, flags);
	msg = start(nl, family, type, new ? NLM_F_CREATE : 0, new ? "add it" : "delete it");
	nftnl_table_nlmsg_build_payload(msg, t);
	netlink_commit(nl, msg);
	nftnl_table_free(t);
}

void policy_put_table(struct netlink *nl, const struct policy *p, uint16_t type, uint32_t flags)
{
	put_table(nl, p, NFPROTO_INET, type, flags);
	put_table(nl, p, NFPROTO_ARP, type, flags);
}

/* Have nft(8) print a lone interface name: it takes keys for big-endian if it is not told. */
static void describe_key(struct nftnl_set *s)
{
	struct nftnl_udata_buf *data = must(nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN));

	nftnl_udata_put_u32(data, NFTNL_UDATA_SET_KEYBYTEORDER, NFT_HOST_ENDIAN);
	nftnl_set_set_data(
		s, NFTNL_SET_USERDATA, nftnl_udata_buf_data(data), nftnl_udata_buf_len(data));
	nftnl_udata_buf_free(data);
}

static void put_set(struct netlink *nl, const struct policy *p, const struct set *def)
{
	struct nftnl_set *s = must(nftnl_set_alloc());
	struct nlmsghdr *msg;

	nftnl_set_set_str(s, NFTNL_SET_TABLE, p->table);
	nftnl_set_set_str(s, NFTNL_SET_NAME, def->name);
	nftnl_set_set_u32(s, NFTNL_SET_FAMILY, policy_family(def->name));
	nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, def->type);
	nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, def->len);
	nftnl_set_set_u32(s, NFTNL_SET_ID, FIRST_SET_ID + (def - sets));
	if (def->fields[0])
		nftnl_set_set_data(s, NFTNL_SET_DESC_CONCAT, def->fields, sizeof(def->fields));
	if (def->flags)
		nftnl_set_set_u32(s, NFTNL_SET_FLAGS, def->flags);
	if (def->size)
		nftnl_set_set_u32(s, NFTNL_SET_DESC_SIZE, def->size);
	if (def->data_type)
		nftnl_set_set_u32(s, NFTNL_SET_DATA_TYPE, def->data_type);
	if (def->data_len) {
		nftnl_set_set_u32(s, NFTNL_SET_FLAGS, NFT_SET_MAP);
		nftnl_set_set_u32(s, NFTNL_SET_DATA_LEN, def->data_len);
	}
	if (def->type == TYPE_IFINDEX)
		describe_key(s);
	if (def->unit)
		nftnl_set_add_expr(s, expr_limit(def->unit, POLICY_LEAST));
	if (def->counts)
		nftnl_set_add_expr(s, expr_counter(0, 0));
	msg = start(nl, policy_family(def->name), NFT_MSG_NEWSET, NLM_F_CREATE, "add a set");
	nftnl_set_nlmsg_build_payload(msg, s);
	netlink_commit(nl, msg);
	nftnl_set_free(s);
}

/* An anonymous set belongs to one rule, so this is called before each that uses it. */
static void put_discovery_types(struct netlink *nl, const struct policy *p, bool echo, uint32_t id)
{
	struct nftnl_set *s = must(nftnl_set_alloc());
	struct nlmsghdr *msg;

	nftnl_set_set_str(s, NFTNL_SET_TABLE, p->table);
	nftnl_set_set_str(s, NFTNL_SET_NAME, MATCH_ICMP_TYPES);
	nftnl_set_set_u32(s, NFTNL_SET_FAMILY, NFPROTO_INET);
	nftnl_set_set_u32(s, NFTNL_SET_FLAGS, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT);
	nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, TYPE_ICMP6_TYPE);
	nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, 1);
	nftnl_set_set_u32(s, NFTNL_SET_ID, id);
	msg = start(nl, NFPROTO_INET, NFT_MSG_NEWSET, NLM_F_CREATE, "add a set of ICMPv6 types");
	nftnl_set_nlmsg_build_payload(msg, s);
	netlink_commit(nl, msg);
	for (size_t i = echo ? 0 : N_ECHO_TYPES; i < sizeof(discovery_types); i++) {
		struct nftnl_set_elem *e = must(nftnl_set_elem_alloc());

		nftnl_set_elem_set(e, NFTNL_SET_ELEM_KEY, &discovery_types[i], 1);
		nftnl_set_elem_add(s, e);
	}
	msg = start(nl, NFPROTO_INET, NFT_MSG_NEWSETELEM, NLM_F_CREATE, "add ICMPv6 types");
	nftnl_set_elems_nlmsg_build_payload(msg, s);
	netlink_commit(nl, msg);
	nftnl_set_free(s);
}

static void put_counter(struct netlink *nl, const struct policy *p, const char *name)
{
	struct nftnl_obj *o = must(nftnl_obj_alloc());
	struct nlmsghdr *msg;

	nftnl_obj_set_str(o, NFTNL_OBJ_TABLE, p->table);
	nftnl_obj_set_str(o, NFTNL_OBJ_NAME, name);
	nftnl_obj_set_u32(o, NFTNL_OBJ_TYPE, NFT_OBJECT_COUNTER);
	msg = start(nl, family_of_counter(name), NFT_MSG_NEWOBJ, NLM_F_CREATE, "add a counter");
	nftnl_obj_nlmsg_build_payload(msg, o);
	netlink_commit(nl, msg);
	nftnl_obj_free(o);
}

static void put_chain(struct netlink *nl, const struct policy *p, const struct chain *def)
{
	struct nftnl_chain *c = must(nftnl_chain_alloc());
	struct nlmsghdr *msg;

	nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, p->table);
	nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, def->name);
	if (def->type) {
		nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, def->type);
		nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, def->hook);
		nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, def->priority);
		nftnl_chain_set_u32(c, NFTNL_CHAIN_POLICY, NF_ACCEPT);
	}
	msg = start(nl, family_of_chain(def->name), NFT_MSG_NEWCHAIN, NLM_F_CREATE, "add a chain");
	nftnl_chain_nlmsg_build_payload(msg, c);
	netlink_commit(nl, msg);
	nftnl_chain_free(c);
}

static bool is_translation(const struct chain *def)
{
	return def->type && !strcmp(def->type, "nat");
}

bool policy_has_chain(const struct policy *p, const char *chain)
{
	for (size_t i = 0; i < ARRAY_LEN(chains); i++)
		if (!strcmp(chains[i].name, chain))
			return !is_translation(&chains[i]) || policy_translates(p);
	return false;
}

/* A message that says no more of a chain than its name. */
static void put_chain_name(struct netlink *nl, const struct policy *p, const struct chain *def,
	uint16_t type, uint16_t flags, const char *what)
{
	struct nftnl_chain *c = must(nftnl_chain_alloc());
	struct nlmsghdr *msg;

	nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, p->table);
	nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, def->name);
	msg = start(nl, family_of_chain(def->name), type, flags, what);
	nftnl_chain_nlmsg_build_payload(msg, c);
	netlink_commit(nl, msg);
	nftnl_chain_free(c);
}

/* Delete all rules of a chain. */
static void put_empty(struct netlink *nl, const struct policy *p, const struct chain *def)
{
	struct nftnl_rule *r = must(nftnl_rule_alloc());
	struct nlmsghdr *msg;

	nftnl_rule_set_str(r, NFTNL_RULE_TABLE, p->table);
	nftnl_rule_set_str(r, NFTNL_RULE_CHAIN, def->name);
	msg = start(nl, family_of_chain(def->name), NFT_MSG_DELRULE, 0, "delete a chain's rules");
	nftnl_rule_nlmsg_build_payload(msg, r);
	netlink_commit(nl, msg);
	nftnl_rule_free(r);
}

/*
 * How many rules of the kernel's one of ours comes to: none where the chain, the pool, or the bound, that
 * it is about is not there.
 */
static uint32_t rule_times(const struct rule *def, const struct policy *p)
{
	return policy_has_chain(p, def->chain) ? match_times(def->match, p) : 0;
}

/* The chain that a verdict leads to, or NULL. */
static const char *chain_of(enum verdict verdict)
{
	switch (verdict) {
	case DROP_SENT:
		return DROP_SENT_CHAIN;
	case DROP_RECEIVED:
		return DROP_RECEIVED_CHAIN;
	case BE_JUDGED:
		return JUDGE;
	case BE_COUNTED:
		return FRAGMENTED;
	case REST_JUDGED:
		return JUDGE_REST;
	case LEAVE_GUESTS:
		return JUDGE_OUTSIDE;
	case JUDGE_ONWARD:
		return JUDGE_TO_GUEST;
	case LIMIT_SENT:
		return RATE_SENT_CHAIN;
	case LIMIT_RECEIVED:
		return RATE_RECEIVED_CHAIN;
	default:
		return NULL;
	}
}

/* Who was not dropped there comes back. */
static bool is_jump(enum verdict verdict)
{
	return verdict == BE_JUDGED || verdict == REST_JUDGED || verdict == LIMIT_SENT ||
		verdict == LIMIT_RECEIVED;
}

static struct nftnl_rule *make_rule(
	const struct policy *p, const struct rule *def, uint32_t nth, uint32_t set_id)
{
	struct nftnl_rule *r = must(nftnl_rule_alloc());

	nftnl_rule_set_str(r, NFTNL_RULE_TABLE, p->table);
	nftnl_rule_set_str(r, NFTNL_RULE_CHAIN, def->chain);
	nftnl_rule_set_u32(r, NFTNL_RULE_FAMILY, family_of_chain(def->chain));
	/* First what fails soonest and cheapest: an interface costs more than an address. */
	if (match_is_address(def->match))
		match_put(r, def->match, p, nth, set_id);
	if (def->in != ANY)
		expr_interface(r, true, p->index, def->in == GUEST);
	if (def->out != ANY)
		expr_interface(r, false, p->index, def->out == GUEST);
	if (!match_is_address(def->match))
		match_put(r, def->match, p, nth, set_id);
	if (def->counter)
		expr_count(r, def->counter);
	if (def->verdict == MASQUERADE)
		expr_masquerade(r);
	else if (def->verdict == REDIRECT)
		expr_redirect(r, def->match == HOST_PORT6 ? AF_INET6 : AF_INET);
	else if (chain_of(def->verdict))
		expr_go(r, is_jump(def->verdict), chain_of(def->verdict));
	else if (def->verdict == ALLOW)
		expr_verdict(r, NFT_RETURN);
	else if (def->verdict != AS_IT_SAYS && def->verdict != GO_ON)
		expr_verdict(r, def->verdict == ACCEPT ? NF_ACCEPT : NF_DROP);
	return r;
}

static void put_rule(struct netlink *nl, const struct policy *p, const struct rule *def,
	uint32_t nth, uint32_t set_id)
{
	struct nftnl_rule *r;
	struct nlmsghdr *msg;

	if (def->match == DISCOVERY_LOCAL || def->match == DISCOVERY_NONE)
		put_discovery_types(nl, p, def->match == DISCOVERY_LOCAL, set_id);
	r = make_rule(p, def, nth, set_id);
	msg = start(nl, family_of_chain(def->chain), NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, "add a rule");
	nftnl_rule_nlmsg_build_payload(msg, r);
	netlink_commit(nl, msg);
	nftnl_rule_free(r);
}

void policy_each_rule(const struct policy *p,
	void (*fn)(void *data, const char *chain, struct nftnl_rule *rule), void *data)
{
	for (size_t c = 0; c < ARRAY_LEN(chains); c++)
		for (size_t i = 0; i < ARRAY_LEN(rules); i++)
			for (uint32_t n = 0; n < rule_times(&rules[i], p); n++) {
				struct nftnl_rule *r;

				if (strcmp(rules[i].chain, chains[c].name))
					continue;
				r = make_rule(p, &rules[i], n, 0);
				fn(data, chains[c].name, r);
				nftnl_rule_free(r);
			}
}

void policy_each_counter(
	void (*fn)(void *data, uint8_t family, const char *name, const char *meaning), void *data)
{
	for (size_t i = 0; i < ARRAY_LEN(counters); i++)
		fn(data, family_of_counter(counters[i].name), counters[i].name,
			counters[i].meaning);
}

void policy_put_chain_queries(struct netlink *nl, const struct policy *p)
{
	for (size_t i = 0; i < ARRAY_LEN(chains); i++)
		if (policy_has_chain(p, chains[i].name))
			put_chain_name(nl, p, &chains[i], NFT_MSG_GETCHAIN, NLM_F_ACK, "look for a chain");
}

int policy_sum_rules(const struct nlmsghdr *msg, void *total)
{
	struct nftnl_chain *c = must(nftnl_chain_alloc());

	if (nftnl_chain_nlmsg_parse(msg, c) == 0)
		*(uint32_t *)total += nftnl_chain_get_u32(c, NFTNL_CHAIN_USE);
	nftnl_chain_free(c);
	return MNL_CB_OK;
}

uint32_t policy_rule_count(const struct policy *p)
{
	uint32_t count = 0;

	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		count += rule_times(&rules[i], p) * (chain_of(rules[i].verdict) ? 2 : 1);
	return count;
}

void policy_put_contents(struct netlink *nl, const struct policy *p)
{
	for (size_t i = 0; i < ARRAY_LEN(sets); i++)
		put_set(nl, p, &sets[i]);
	for (size_t i = 0; i < ARRAY_LEN(counters); i++)
		put_counter(nl, p, counters[i].name);
	for (size_t i = 0; i < ARRAY_LEN(chains); i++)
		if (policy_has_chain(p, chains[i].name))
			put_chain(nl, p, &chains[i]);
	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		for (uint32_t n = 0; n < rule_times(&rules[i], p); n++)
			put_rule(nl, p, &rules[i], n, FIRST_RULE_ID + i);
}

void policy_put_translation(struct netlink *nl, const struct policy *p, bool on)
{
	for (size_t i = 0; i < ARRAY_LEN(chains); i++) {
		if (!is_translation(&chains[i]))
			continue;
		/* Added and emptied first, whether it is there or not. */
		put_chain(nl, p, &chains[i]);
		put_empty(nl, p, &chains[i]);
		if (!on)
			put_chain_name(nl, p, &chains[i], NFT_MSG_DELCHAIN, 0, "delete a chain");
		for (size_t k = 0; on && k < ARRAY_LEN(rules); k++)
			for (uint32_t n = 0; n < rule_times(&rules[k], p); n++)
				if (!strcmp(rules[k].chain, chains[i].name))
					put_rule(nl, p, &rules[k], n, FIRST_RULE_ID + k);
	}
}
