/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The policy: which chains the table has, and what each of their rules does, as nftables
 * messages added to a batch. Computes only; internal to the folder. docs/FIREWALL shows the
 * table as nft(8) prints it.
 */
#ifndef VM2_FIREWALL_POLICY_H
#define VM2_FIREWALL_POLICY_H

#include "firewall/address.h"
#include "firewall/netlink.h"
#include "firewall/rules.h"

struct nftnl_rule;

/*
 * The sets whose elements a guest is, and the maps of published ports. A guest that has a rate is an
 * element that carries it: bytes a second that it sends and receives, and packets.
 */
#define POLICY_GUESTS  "guests"	 /* interface . MAC */
#define POLICY_SOURCE4 "source4" /* interface . MAC . IPv4 address */
#define POLICY_SOURCE6 "source6" /* interface . MAC . IPv6 address */
/* Of table arp: interface . MAC of the frame . MAC and IPv4 address that it claims */
#define POLICY_ARP "claims"
#define POLICY_PUBLISH4 "publish4" /* protocol . port : IPv4 address . port */
#define POLICY_PUBLISH6 "publish6"
/* interface . protocol . port . address of the other side : verdict; ranges */
#define POLICY_IN4   "in4"
#define POLICY_IN6   "in6"
#define POLICY_OUT4  "out4"
#define POLICY_OUT6  "out6"
#define POLICY_PEER4 "peer4"
#define POLICY_PEER6 "peer6"

#define POLICY_SIBLINGS "siblings" /* interface . interface: the one may open connections to the other */

/* Those that are in none of the four below, with what passed. */
#define POLICY_PLAIN_SENT     "plain_sent"
#define POLICY_PLAIN_RECEIVED "plain_received"
#define POLICY_UP	    "up"
#define POLICY_DOWN	    "down"
#define POLICY_PACKETS_UP   "packets_up"
#define POLICY_PACKETS_DOWN "packets_down"
/* Those that the rules add guests to, with what passed and was not counted there. */
#define POLICY_SENT	"sent"
#define POLICY_RECEIVED "received"
/* The same with what was dropped; both tables have one. */
#define POLICY_DROPPED	   "dropped"
#define POLICY_DROPPED_ARP "dropped_arp"

/*
 * Room for one nftables message, and for each element in it: libnftnl checks no bounds, so every
 * message is kept far below (a rule here takes at most 800 bytes, an element 128).
 */
#define POLICY_ROOM	    4096
#define POLICY_ELEMENT_ROOM 160

/* A rate that lets nothing pass: no packet is a byte. */
#define POLICY_LEAST 1

/* Prefixes that no guest reaches: a rule each. */
#define POLICY_PROTECT_MAX 32

/* Further pools. */
#define POLICY_MORE_MAX 64

/* What the table is made from, checked. */
struct policy {
	const char *table;
	char subject[32];     /* "table inet TABLE", for errors */
	char prefix[16];      /* of the names of the guests' interfaces: "INSTANCE-" */
	uint32_t index;	      /* and the base of their indexes (link.h) */
	struct address pool4; /* family 0: none */
	struct address pool6;
	struct address more[POLICY_MORE_MAX]; /* further pools */
	uint32_t n_more;
	struct address protect[POLICY_PROTECT_MAX];
	uint32_t n_protect;
	uint32_t connections, new_connections, fragments; /* of each guest; 0: no bound */
	bool masquerade4, masquerade6;	       /* pool4, pool6: with the host's address where they leave */
	bool publishes; /* there are published ports; policy_make() knows of none */
};

/* Check what a caller gives, make a policy of it; `base->instance` stays theirs. 0 or ERR_USAGE. */
int policy_make(const struct rules_base *base, struct policy *ret, struct err *err);

/* Whether an address, or a whole prefix, is of one of the pools. */
bool policy_has(const struct policy *p, const struct address *a);

/* Linux 6.9; <linux/netfilter/nf_tables.h> may be older. */
#define POLICY_TABLE_OWNER   (1 << 1)
#define POLICY_TABLE_PERSIST (1 << 2)

/*
 * Which of the two tables of one name holds the set of this name: NFPROTO_INET, or NFPROTO_ARP, for a
 * table inet sees no ARP.
 */
uint8_t policy_family(const char *set);

/* Add (type NFT_MSG_NEWTABLE, with these flags) or delete (NFT_MSG_DELTABLE) both tables. */
void policy_put_table(struct netlink *nl, const struct policy *p, uint16_t type, uint32_t flags);

/*
 * Whether the table has chains that translate. Without them the kernel asks no packet whether it is to be
 * translated, which costs more than all the rules.
 */
bool policy_translates(const struct policy *p);

/* Have those chains with their rules, or none of them; there or not there before. */
void policy_put_translation(struct netlink *nl, const struct policy *p, bool on);

/* Whether the table has a chain of this name. */
bool policy_has_chain(const struct policy *p, const char *chain);

/* The tables' sets, empty; its counters, zero; its chains, with all rules. */
void policy_put_contents(struct netlink *nl, const struct policy *p);

/* Ask for each chain, as it is without ports; the replies are for policy_sum_rules. -ENOENT: one is missing. */
void policy_put_chain_queries(struct netlink *nl, const struct policy *p);

/* A reply (mnl_cb_t): add how many rules the chain has, and go to it, to *(uint32_t *)total. */
int policy_sum_rules(const struct nlmsghdr *msg, void *total);

/* Call fn with the name and the meaning of each counter, and the table that has it. */
void policy_each_counter(
	void (*fn)(void *data, uint8_t family, const char *name, const char *meaning), void *data);

/* Call fn with each chain, and with each of its rules in order: as the kernel shall have them. */
void policy_each_rule(const struct policy *p,
	void (*fn)(void *data, const char *chain, struct nftnl_rule *rule), void *data);

/* How many that is for all chains together. */
uint32_t policy_rule_count(const struct policy *p);

#endif
