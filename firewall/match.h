/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a rule of the policy asks of a packet, as expressions. Computes only; internal to the folder. */
#ifndef VM2_FIREWALL_MATCH_H
#define VM2_FIREWALL_MATCH_H

#include <libnftnl/rule.h>
#include <stdbool.h>
#include <stdint.h>

#include "firewall/policy.h"

/* What else a rule asks of the packet. */
enum match {
	NOTHING,
	OWN_SOURCE4, /* its source is its interface's */
	OWN_SOURCE6,
	OWN_WHOLE4, /* the same, and it is no fragment */
	OWN_WHOLE6,
	LOCAL_FRAGMENT,	 /* it is one, from the link-local source that guests have */
	NAMED_OTHERWISE, /* the interface, than guests' are */
	OWN_CLAIM,	 /* ARP: of its interface's MAC and address */
	ROUTER_ADVERT,	 /* what only routers say: RFC 4861 4.2, 4.5 */
	ROUTER_REDIRECT,
	NEIGHBOR_ADVERT, /* for an address that is not its interface's */
	DISCOVERY_LOCAL, /* ND, MLD or echo from the link-local source that guests have */
	DISCOVERY_NONE,	 /* ND or MLD from no source: duplicate detection, RFC 4862 5.4 */
	REPLY,		 /* of a connection that the other side began */
	PUBLISHED,	 /* of a connection that came by a published port */
	NO_SYN, /* of TCP, and not how that begins */
	LOOPBACK4,
	LOOPBACK6,
	HOST_PORT4, /* to an address of the host, and a port that may be published */
	HOST_PORT6,
	INVALID_STATE, /* of no connection, and nothing that could begin one */
	UNTRACKABLE,   /* the same, or what is not tracked at all: discovery */
	FOREIGN_ERROR4, /* an error about a connection that its guest has no part in */
	FOREIGN_ERROR6,
	ICMP4,
	ICMP6,
	TO_SPECIAL,   /* to one of the prefixes that no router forwards to: a rule each */
	TO_PROTECTED, /* to, or from, one of the prefixes: a rule each */
	FROM_PROTECTED,
	MANY_IN,      /* it begins a connection, and the guest it is from, or to, has its share */
	MANY_OUT,
	FAST_IN, /* it begins a connection, and the guest it comes from begins them too fast */
	MANY_FRAGMENTS, /* its guest sends more of them than it may, or more bytes in them */
	LONG_FRAGMENTS,
	RATE_IN, /* its guest sends more than it may */
	PACKETS_IN,
	RATE_OUT, /* receives more */
	PACKETS_OUT,
	ACCOUNT_IN, /* anything: it is counted for the guest */
	ACCOUNT_OUT,
	COUNT_SENT, /* anything: it is counted as dropped */
	COUNT_RECEIVED,
	COUNT_ARP,
	TO_POOL4,
	TO_POOL6,
	TO_MORE, /* to one of the further pools: a rule each */
	FROM_POOL4,
	FROM_POOL6,
	BEGINNING, /* it begins a connection */
	NO_STREAM, /* of no connection, or an error about one */
	/*
	 * Of a connection, and from a guest without a rate to no address of the pool, which is not asked where
	 * there are further pools; or to one, from no guest: counted for the guest.
	 */
	PLAIN_OUT4,
	PLAIN_OUT6,
	PLAIN_IN,
	RATED_IN, /* from, or to, a guest that has a rate */
	RATED_OUT,
	OWN_IN4, /* new: as the guest's own rules say */
	OWN_IN6,
	OWN_OUT4,
	OWN_OUT6,
	OWN_PEER4,
	OWN_PEER6,
	SIBLINGS, /* from a guest to one of the same owner, as both their plans say */
};

/* Have the rule ask it. nth: which of the rules that it comes to; set_id: of its anonymous set. */
void match_put(struct nftnl_rule *r, enum match match, const struct policy *p, uint32_t nth,
	uint32_t set_id);

/* How many rules it comes to: none where the pool, or the bound, that it is about is not there. */
uint32_t match_times(enum match match, const struct policy *p);

/* Whether it is of an address alone, which costs less than an interface's name. */
bool match_is_address(enum match match);

/* The anonymous set that discovery is looked up in: the kernel puts a number in. */
#define MATCH_ICMP_TYPES "__set%d"

/* The sets of bounds, and the numbers by which rules of the same batch find them. */
#define MATCH_CONNECTIONS    "connections" /* of each guest: counted */
#define MATCH_OPENINGS	     "openings"	   /* of each guest: their rate */
#define MATCH_FRAGMENTS	     "fragments"   /* the same of the fragments that it sends, */
#define MATCH_FRAGMENT_BYTES "fragment_bytes" /* and of the bytes in them */
#define MATCH_CONNECTIONS_ID 6
#define MATCH_OPENINGS_ID    7
#define MATCH_FRAGMENTS_ID   8
#define MATCH_FRAGMENT_BYTES_ID 9

#endif
