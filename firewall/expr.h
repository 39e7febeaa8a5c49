/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The matches and verdicts that rules are written from, over libnftnl. Internal to the folder. */
#ifndef VM2_FIREWALL_EXPR_H
#define VM2_FIREWALL_EXPR_H

#include <libnftnl/rule.h>
#include <stdbool.h>

#include "firewall/address.h"

enum expr_side {
	EXPR_SOURCE,
	EXPR_DESTINATION
};

/* The packet comes in by (in), or leaves by, a guest's interface, of this base (link.h); or does not. */
void expr_interface(struct nftnl_rule *r, bool in, uint32_t base, bool guests);

/* The name of the interface that it came in by does not start so. */
void expr_named_otherwise(struct nftnl_rule *r, const char *prefix);

/* The packet is of this family (AF_INET, AF_INET6). */
void expr_family(struct nftnl_rule *r, int family);

/* The packet's source or destination lies within the prefix. */
void expr_address(struct nftnl_rule *r, enum expr_side side, const struct address *a);
/* It is of the prefix's family, and does not. */
void expr_no_address(struct nftnl_rule *r, enum expr_side side, const struct address *a);

/* The interface it came in by (in), or leaves by, is an element of the set. */
void expr_known_interface(struct nftnl_rule *r, bool in, const char *set);
/* Or is none. */
void expr_unknown_interface(struct nftnl_rule *r, bool in, const char *set);

/* What an element's rate counts; 0 is none. */
enum expr_unit {
	EXPR_BYTES = 1,
	EXPR_PACKETS
};

/*
 * What an element carries: there is more than so much a second. As much as a second's may come at
 * once. The caller frees it, or gives it to an element or a set.
 */
struct nftnl_expr *expr_limit(enum expr_unit unit, uint64_t a_second);
/* The same: it counts what the element was found for, from there on. */
struct nftnl_expr *expr_counter(uint64_t packets, uint64_t bytes);

/* The rate of such an element that was read back; 0: it carries none. */
uint64_t expr_limit_of(const struct nftnl_expr *e);

/* The interface it came in by and the MAC that sent it, together, are an element of the set. */
void expr_known_link(struct nftnl_rule *r, const char *set);

/* Interface, MAC, and the sender that it names, a MAC and an IPv4 address, are one: of ARP alone. */
void expr_known_claim(struct nftnl_rule *r, const char *set);

/* The interface it came in by and the one it leaves by, together, are an element of the set. */
void expr_known_pair(struct nftnl_rule *r, const char *set);

/* Interface, MAC and source, together, are an element of the set; the interface is of this base. */
void expr_known_source(struct nftnl_rule *r, int family, uint32_t base, const char *set);

/* Its transport protocol is this one. */
void expr_protocol(struct nftnl_rule *r, uint8_t protocol);

/* It is ICMPv6 of this type. */
void expr_icmp6(struct nftnl_rule *r, uint8_t type);

/*
 * The address that a neighbour advertisement is about (RFC 4861 4.4) is neither this one nor, with
 * interface and MAC, an element of the set.
 */
void expr_foreign_target(struct nftnl_rule *r, const struct address *but, const char *set);

/* The first byte of its transport header (the ICMP type) is an element of the anonymous set. */
void expr_icmp_type(struct nftnl_rule *r, const char *set, uint32_t set_id);

/* It is TCP, and has other flags than the first segment of a connection. */
void expr_no_syn(struct nftnl_rule *r);

/* Its connection is in one of these states (NF_CT_STATE_BIT). */
void expr_state(struct nftnl_rule *r, uint32_t states);
/* Or in another, or there is none. */
void expr_state_but(struct nftnl_rule *r, uint32_t states);

/* Its connection has one of these marks of the kernel's (enum ip_conntrack_status). */
void expr_status(struct nftnl_rule *r, uint32_t bits);

/*
 * Neither who began its connection nor who answers there is, with interface and MAC, an element of the set.
 * (Kernels have asked by family since 4.17.)
 */
void expr_foreign_connection(struct nftnl_rule *r, int family, const char *set);

/*
 * It is the first of its connection. What has not been answered is "new" to the kernel, every packet
 * of it; only of the first is the connection not in its table yet.
 */
void expr_beginning(struct nftnl_rule *r);

/*
 * It goes to an address of this host, and its protocol and port have an entry in the map: whose
 * address and port expr_redirect() finds in NFT_REG_1.
 */
void expr_host_port(struct nftnl_rule *r, int family, const char *map);

/* Send its connection there. */
void expr_redirect(struct nftnl_rule *r, int family);

/*
 * End with the verdict that the map has for the guest's interface, by which it came (sent) or leaves,
 * the protocol, the port that is served, after redirection, and the other side's address; none: go on.
 */
void expr_own_verdict(struct nftnl_rule *r, int family, bool sent, const char *map);

/*
 * The guest has more than `count` connections: counted in the dynamic set, whose keys are the
 * interface it came in by (in) or leaves by.
 */
void expr_connections_over(
	struct nftnl_rule *r, bool in, const char *set, uint32_t set_id, uint32_t count);

/* More than so many a second, with twice that at once, came by this interface. */
void expr_rate_over(struct nftnl_rule *r, const char *set, uint32_t set_id, enum expr_unit unit,
	uint64_t a_second);

/*
 * Of IPv4: it is a fragment, so more of its datagram follow, or it is not the first (RFC 791 3.1); or is none.
 */
void expr_fragment4(struct nftnl_rule *r, bool is);
/* Of IPv6: it has a fragment header, wherever among its headers (RFC 8200 4.5); or has none. */
void expr_fragment6(struct nftnl_rule *r, bool is);

/* Count it in the dynamic set, for the interface it came in by (in) or leaves by. */
void expr_account(struct nftnl_rule *r, bool in, const char *set);

/* Count it so if the interface is an element of the set `of`; else the rule ends. */

/* Count it in a named counter. */
void expr_count(struct nftnl_rule *r, const char *counter);

/* Go on in another chain, and come back here from its end, or not. */
void expr_go(struct nftnl_rule *r, bool back, const char *chain);

/* NF_ACCEPT, NF_DROP, NFT_RETURN. */
void expr_verdict(struct nftnl_rule *r, int verdict);

/* Give it the address of the interface it leaves by. */
void expr_masquerade(struct nftnl_rule *r);

#endif
