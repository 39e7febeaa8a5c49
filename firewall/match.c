/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/match.h"

/* Before <linux/in.h>, which yields to it. */
#include <netinet/in.h>

#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <netinet/icmp6.h>
#include <stdlib.h>

#include "firewall/expr.h"
#include "firewall/special.h"

/*
 * Of each that a guest may send, as many as Ethernet's frames take: what fills the host's memory are both, how
 * many there are and how long; and a guest can write one that says that it is to be cut up (GSO), of 64 KiB.
 */
#define FRAGMENT_BYTES 1500

static const struct address loopback4 = { AF_INET, { 127 }, 4, 8 };
static const struct address loopback6 = { AF_INET6, { [15] = 1 }, 16, 128 };
/* LINK_GUEST6 */
static const struct address link_local6 = { AF_INET6, { 0xfe, 0x80, [15] = 2 }, 16, 128 };
static const struct address unspecified6 = { AF_INET6, { 0 }, 16, 128 };

/* What is of a connection. An ICMP error about one is related to it, whatever that one's status. */
#define STREAM (NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_NEW))

/* A map that allows is asked for as long as there is no answer. */
static void own_rule(struct nftnl_rule *r, int family, bool sent, const char *map)
{
	expr_family(r, family);
	expr_state(r, NF_CT_STATE_BIT(IP_CT_NEW));
	expr_own_verdict(r, family, sent, map);
}

/* The source, or what ARP and neighbour discovery say, is the guest's own. */
static bool put_whose(struct nftnl_rule *r, enum match match, const struct policy *p,
	uint32_t nth, uint32_t set_id)
{
	switch (match) {
	case OWN_SOURCE4:
		expr_known_source(r, AF_INET, p->index, POLICY_SOURCE4);
		return true;
	case OWN_SOURCE6:
		expr_known_source(r, AF_INET6, p->index, POLICY_SOURCE6);
		return true;
	case OWN_WHOLE4:
		expr_known_source(r, AF_INET, p->index, POLICY_SOURCE4);
		expr_fragment4(r, false);
		return true;
	case OWN_WHOLE6:
		expr_known_source(r, AF_INET6, p->index, POLICY_SOURCE6);
		expr_fragment6(r, false);
		return true;
	case LOCAL_FRAGMENT:
		expr_known_link(r, POLICY_GUESTS);
		expr_address(r, EXPR_SOURCE, &link_local6);
		expr_fragment6(r, true);
		return true;
	case NAMED_OTHERWISE:
		expr_named_otherwise(r, p->prefix);
		return true;
	case OWN_CLAIM:
		expr_known_claim(r, POLICY_ARP);
		return true;
	case ROUTER_ADVERT:
		expr_icmp6(r, ND_ROUTER_ADVERT);
		return true;
	case ROUTER_REDIRECT:
		expr_icmp6(r, ND_REDIRECT);
		return true;
	case NEIGHBOR_ADVERT:
		expr_icmp6(r, ND_NEIGHBOR_ADVERT);
		expr_foreign_target(r, &link_local6, POLICY_SOURCE6);
		return true;
	case DISCOVERY_LOCAL:
	case DISCOVERY_NONE:
		expr_known_link(r, POLICY_GUESTS);
		expr_address(r, EXPR_SOURCE,
			match == DISCOVERY_LOCAL ? &link_local6 : &unspecified6);
		expr_fragment6(r, false);
		expr_protocol(r, IPPROTO_ICMPV6);
		expr_icmp_type(r, MATCH_ICMP_TYPES, set_id);
		return true;
	default:
		return false;
	}
}

/* What the kernel knows of its connection, and how TCP begins one. */
static bool put_connection(struct nftnl_rule *r, enum match match, const struct policy *p,
	uint32_t nth, uint32_t set_id)
{
	switch (match) {
	case REPLY:
		expr_state(
			r, NF_CT_STATE_BIT(IP_CT_ESTABLISHED) | NF_CT_STATE_BIT(IP_CT_RELATED));
		return true;
	case PUBLISHED:
		expr_status(r, IPS_DST_NAT);
		return true;
	case NO_SYN:
		expr_no_syn(r);
		return true;
	case INVALID_STATE:
		expr_state(r, NF_CT_STATE_INVALID_BIT);
		return true;
	case UNTRACKABLE:
		expr_state(r, NF_CT_STATE_INVALID_BIT | NF_CT_STATE_UNTRACKED_BIT);
		return true;
	case FOREIGN_ERROR4:
	case FOREIGN_ERROR6:
		expr_state(r, NF_CT_STATE_BIT(IP_CT_RELATED));
		expr_foreign_connection(r, match == FOREIGN_ERROR4 ? AF_INET : AF_INET6,
			match == FOREIGN_ERROR4 ? POLICY_SOURCE4 : POLICY_SOURCE6);
		return true;
	case BEGINNING:
		expr_beginning(r);
		return true;
	case NO_STREAM:
		expr_state_but(r, STREAM);
		return true;
	default:
		return false;
	}
}

/* Where it comes from, or goes to, and by which protocol. */
static bool put_address(struct nftnl_rule *r, enum match match, const struct policy *p,
	uint32_t nth, uint32_t set_id)
{
	switch (match) {
	case LOOPBACK4:
		expr_address(r, EXPR_DESTINATION, &loopback4);
		return true;
	case LOOPBACK6:
		expr_address(r, EXPR_DESTINATION, &loopback6);
		return true;
	case HOST_PORT4:
		expr_host_port(r, AF_INET, POLICY_PUBLISH4);
		return true;
	case HOST_PORT6:
		expr_host_port(r, AF_INET6, POLICY_PUBLISH6);
		return true;
	case ICMP4:
		expr_family(r, AF_INET);
		expr_protocol(r, IPPROTO_ICMP);
		return true;
	case ICMP6:
		expr_family(r, AF_INET6);
		expr_protocol(r, IPPROTO_ICMPV6);
		return true;
	case TO_SPECIAL:
		expr_address(r, EXPR_DESTINATION, special_nth(nth));
		return true;
	case TO_PROTECTED:
		expr_address(r, EXPR_DESTINATION, &p->protect[nth]);
		return true;
	case FROM_PROTECTED:
		expr_address(r, EXPR_SOURCE, &p->protect[nth]);
		return true;
	case TO_POOL4:
		expr_address(r, EXPR_DESTINATION, &p->pool4);
		return true;
	case TO_POOL6:
		expr_address(r, EXPR_DESTINATION, &p->pool6);
		return true;
	case TO_MORE:
		expr_address(r, EXPR_DESTINATION, &p->more[nth]);
		return true;
	case FROM_POOL4:
		expr_address(r, EXPR_SOURCE, &p->pool4);
		return true;
	case FROM_POOL6:
		expr_address(r, EXPR_SOURCE, &p->pool6);
		return true;
	default:
		return false;
	}
}

/* How much of it the guest has had: bounds, rates and counts. */
static bool put_share(struct nftnl_rule *r, enum match match, const struct policy *p,
	uint32_t nth, uint32_t set_id)
{
	switch (match) {
	case MANY_IN:
	case MANY_OUT:
		expr_beginning(r);
		expr_connections_over(
			r, match == MANY_IN, MATCH_CONNECTIONS, MATCH_CONNECTIONS_ID, p->connections);
		return true;
	case FAST_IN:
		expr_beginning(r);
		expr_rate_over(r, MATCH_OPENINGS, MATCH_OPENINGS_ID, EXPR_PACKETS, p->new_connections);
		return true;
	case MANY_FRAGMENTS:
		expr_rate_over(r, MATCH_FRAGMENTS, MATCH_FRAGMENTS_ID, EXPR_PACKETS, p->fragments);
		return true;
	case LONG_FRAGMENTS:
		expr_rate_over(r, MATCH_FRAGMENT_BYTES, MATCH_FRAGMENT_BYTES_ID, EXPR_BYTES,
			(uint64_t)p->fragments * FRAGMENT_BYTES);
		return true;
	case RATE_IN:
		expr_known_interface(r, true, POLICY_UP);
		return true;
	case PACKETS_IN:
		expr_known_interface(r, true, POLICY_PACKETS_UP);
		return true;
	case RATE_OUT:
		expr_known_interface(r, false, POLICY_DOWN);
		return true;
	case PACKETS_OUT:
		expr_known_interface(r, false, POLICY_PACKETS_DOWN);
		return true;
	case ACCOUNT_IN:
		expr_account(r, true, POLICY_SENT);
		return true;
	case ACCOUNT_OUT:
		expr_account(r, false, POLICY_RECEIVED);
		return true;
	case COUNT_SENT:
		expr_account(r, true, POLICY_DROPPED);
		return true;
	case COUNT_RECEIVED:
		expr_account(r, false, POLICY_DROPPED);
		return true;
	case COUNT_ARP:
		expr_account(r, true, POLICY_DROPPED_ARP);
		return true;
	case PLAIN_OUT4:
	case PLAIN_OUT6:
		expr_no_address(r, EXPR_DESTINATION,
			match == PLAIN_OUT4 ? &p->pool4 : &p->pool6);
		expr_state(r, STREAM);
		expr_known_interface(r, true, POLICY_PLAIN_SENT);
		return true;
	case PLAIN_IN:
		expr_interface(r, true, p->index, false);
		expr_state(r, STREAM);
		expr_known_interface(r, false, POLICY_PLAIN_RECEIVED);
		return true;
	case RATED_IN:
		expr_unknown_interface(r, true, POLICY_PLAIN_SENT);
		return true;
	case RATED_OUT:
		expr_unknown_interface(r, false, POLICY_PLAIN_RECEIVED);
		return true;
	default:
		return false;
	}
}

/* What tenants have said themselves. */
static bool put_agreed(struct nftnl_rule *r, enum match match, const struct policy *p,
	uint32_t nth, uint32_t set_id)
{
	switch (match) {
	case OWN_IN4:
		own_rule(r, AF_INET, false, POLICY_IN4);
		return true;
	case OWN_IN6:
		own_rule(r, AF_INET6, false, POLICY_IN6);
		return true;
	case OWN_OUT4:
		expr_family(r, AF_INET);
		expr_own_verdict(r, AF_INET, true, POLICY_OUT4);
		return true;
	case OWN_OUT6:
		expr_family(r, AF_INET6);
		expr_own_verdict(r, AF_INET6, true, POLICY_OUT6);
		return true;
	case OWN_PEER4:
		own_rule(r, AF_INET, true, POLICY_PEER4);
		return true;
	case OWN_PEER6:
		own_rule(r, AF_INET6, true, POLICY_PEER6);
		return true;
	case SIBLINGS:
		expr_known_pair(r, POLICY_SIBLINGS);
		return true;
	default:
		return false;
	}
}

/* One of them knows it. */
void match_put(struct nftnl_rule *r, enum match match, const struct policy *p, uint32_t nth,
	uint32_t set_id)
{
	if (match != NOTHING && !put_whose(r, match, p, nth, set_id) &&
		!put_connection(r, match, p, nth, set_id) && !put_address(r, match, p, nth, set_id) &&
		!put_share(r, match, p, nth, set_id) && !put_agreed(r, match, p, nth, set_id))
		abort();
}

static uint32_t count_special(void)
{
	uint32_t n = 0;

	while (special_nth(n))
		n++;
	return n;
}

uint32_t match_times(enum match match, const struct policy *p)
{
	switch (match) {
	case TO_POOL4:
		return p->pool4.family != 0;
	case TO_POOL6:
		return p->pool6.family != 0;
	case FROM_POOL4:
		return p->masquerade4;
	case FROM_POOL6:
		return p->masquerade6;
	case TO_SPECIAL:
		return count_special();
	case TO_PROTECTED:
	case FROM_PROTECTED:
		return p->n_protect;
	case PLAIN_OUT4:
		return p->pool4.family && !p->n_more;
	case PLAIN_OUT6:
		return p->pool6.family && !p->n_more;
	case TO_MORE:
		return p->n_more;
	case MANY_IN:
	case MANY_OUT:
		return p->connections != 0;
	case FAST_IN:
		return p->new_connections != 0;
	case MANY_FRAGMENTS:
	case LONG_FRAGMENTS:
		return p->fragments != 0;
	default:
		return 1;
	}
}

bool match_is_address(enum match match)
{
	return match == TO_PROTECTED || match == FROM_PROTECTED || match == TO_POOL4 ||
		match == TO_POOL6 || match == TO_MORE || match == TO_SPECIAL || match == FROM_POOL4 || match == FROM_POOL6;
}
