/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules: one nftables table `inet INSTANCE` through libnftnl and libmnl. A guest is elements of
 * its sets, never a chain or a rule: adding one is one atomic batch whose size does not depend on
 * how many there are. Policy: out allowed (with NAT), in blocked, guest to guest blocked, guest to
 * host blocked save ICMP, spoofed source addresses dropped and counted. Called in the host's
 * network namespace. Other tables are never touched.
 */
#ifndef VM2_FIREWALL_RULES_H
#define VM2_FIREWALL_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "provision/base/err.h"

/* What the table is made from. Strings belong to the caller. */
struct rules_base {
	const char *instance; /* table name and interface prefix */
	const char *pool4;    /* CIDR, or NULL / "" for none */
	const char *pool6;
	const char *run; /* the folder where the table's owner listens (owner.h), or NULL */
	/* For the whole table only (rules_restore, rules_present, rules_verify): */
	const char *protect;	   /* prefixes that no guest reaches, separated by spaces; or NULL */
	uint32_t connections;	   /* that each guest may have tracked at a time; 0: no bound */
	uint32_t new_connections;  /* that each guest may begin in a second; 0: no bound */
	uint32_t fragments;	   /* of datagrams that each guest may send in a second; 0: no bound */
	const char *pools;	   /* further ones (pools.h), separated by spaces; or NULL */
	/* Of pool4 and pool6, which leave with the host's address: both, ipv4, ipv6, none; NULL is both. */
	const char *masquerade;
	int held; /* the owner's socket, where the caller holds it (owner.h), else 0 */
};

/* Whether a table can be made from it: 0 or ERR_USAGE. */
int rules_check(const struct rules_base *base, struct err *err);

/* A guest's elements. */
struct rules_guest {
	uint32_t number;
	const char *address4; /* or NULL */
	const char *address6; /* or NULL */
	bool optional;	      /* rules_verify(): may be missing, since it is stopped */
	/* What it may send and receive, in bytes a second, and packets a second each way; 0: all. */
	uint64_t up, down, packets;
	const char *more;     /* further addresses, separated by spaces; or NULL */
};

/* A port of the host's that leads to a guest. */
struct rules_port {
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t host_port, guest_port;
	const char *address4; /* the guest's, or NULL */
	const char *address6; /* or NULL */
};

/* Which way a connection is opened: to the guest from outside, from it to outside or to another. */
enum rules_direction {
	RULES_IN,
	RULES_OUT,
	RULES_PEER
};

/* A rule of a guest's own. Of several, in order, the first that a new connection is in decides. */
struct rules_own {
	uint32_t number; /* the guest's */
	enum rules_direction direction;
	bool allow;
	uint8_t protocol;		/* IPPROTO_TCP, _UDP, _ICMP (ICMPv6, too); 0: any */
	uint16_t first_port, last_port; /* that are served; 0, 0: any */
	const char *prefix;		/* of the other side's addresses; NULL: any */
};

/* Guests, by their numbers: connections are let through that the one opens to the other. */
struct rules_pair {
	uint32_t from, to;
};

/* All that the table holds. */
struct rules_state {
	const struct rules_guest *guests;
	uint32_t n_guests;
	const struct rules_port *ports;
	uint32_t n_ports;
	const struct rules_own *own; /* in order, and all of one guest's together */
	uint32_t n_own;
	const struct rules_pair *pairs;
	uint32_t n_pairs;
};

/*
 * Every function here returns ERR_USAGE for an instance name, prefix, number or address that
 * cannot be, and -errno with the kernel's words for what it refused.
 *
 * Have the table with exactly these guests, in one atomic batch that replaces what was there of
 * the table: for start-up and repair. Its counters begin at zero again; connections go on.
 */
int rules_restore(const struct rules_base *base, const struct rules_guest *guests, uint32_t count,
	struct err *err);

/* The same with all that the table can hold. */
int rules_restore_state(
	const struct rules_base *base, const struct rules_state *state, struct err *err);

/* Called for each difference: "missing", "unexpected"; what it is in words. */
typedef void (*rules_drift_fn)(void *data, const char *drift, const char *what);

/*
 * Compare the table with what it should be: each chain, each rule and each element. Returns how
 * many differences there are, or ERR_USAGE as -EINVAL, or -errno.
 */
int rules_verify(const struct rules_base *base, const struct rules_state *state,
	rules_drift_fn fn, void *data, struct err *err);

/* What a counter of the table has seen. */
struct rules_counter {
	const char *name;
	const char *meaning; /* in words: what was dropped */
	uint64_t packets, bytes;
};

/* Call fn for each counter; zero where there is no table. 0 or -errno. */
int rules_counters(const struct rules_base *base,
	void (*fn)(void *data, const struct rules_counter *c), void *data, struct err *err);

/*
 * Whether the table is there with all its chains and as many rules as they should have (1), or not
 * (0: restore it); or -errno (-EINVAL where others have ERR_USAGE). Guests are not looked at: one
 * whose elements are missing gets nothing; nor are the chains of publications alone.
 */
int rules_present(const struct rules_base *base, struct err *err);

/*
 * Add a guest's elements in one batch; there already is success, and then it has these rates from now
 * on. -ENOENT when the table is not there: the caller restores it first.
 */
int rules_add_guest(
	const struct rules_base *base, const struct rules_guest *guest, struct err *err);

/* Remove a guest's elements in one batch; not there (or no table) is success. */
int rules_remove_guest(
	const struct rules_base *base, const struct rules_guest *guest, struct err *err);

/* The same for one more address of a guest that is there: only what the address comes to. */
int rules_add_address(const struct rules_base *base, uint32_t number, const char *address,
	struct err *err);
int rules_remove_address(const struct rules_base *base, uint32_t number, const char *address,
	struct err *err);

/*
 * Publish ports, or no more: each call is one batch, all or nothing. add: -EEXIST where a port leads
 * elsewhere already. remove: not there is success, and connections that came by it end. Where no pool is
 * masqueraded, the chains that translate come with the first and go with the last.
 */
int rules_add_ports(const struct rules_base *base, const struct rules_port *ports, uint32_t count,
	struct err *err);
int rules_remove_ports(const struct rules_base *base, const struct rules_port *ports,
	uint32_t count, struct err *err);

/*
 * Have a guest reach, and be reached by, exactly these others; those that it was let through to before
 * and is not any more are in *ret_gone (to be freed, *ret_n of them). -ENOENT when there is no table.
 */
int rules_set_siblings(const struct rules_base *base, uint32_t number, const uint32_t *others,
	uint32_t count, uint32_t **ret_gone, uint32_t *ret_n, struct err *err);

/*
 * Whether these rules, of one guest and in order, can be: 0; ERR_USAGE for one that is not well-formed
 * or can never match, ERR_EXISTS for one that is there twice; the words begin "rule N".
 */
int rules_check_own(const struct rules_base *base, const struct rules_own *own, uint32_t count,
	struct err *err);

/* Add the rules of a guest that has none yet, or remove them; there or not there is success. */
int rules_add_own(const struct rules_base *base, const struct rules_own *own, uint32_t count,
	struct err *err);
int rules_remove_own(const struct rules_base *base, const struct rules_own *own, uint32_t count,
	struct err *err);

/*
 * Have a guest's rules be `to` where they are `from`: one batch with the difference alone, so that
 * nothing in between is let through or cut. After an error it is not known whether the kernel's were
 * `from`: restore the whole table.
 */
int rules_change_own(const struct rules_base *base, const struct rules_own *from, uint32_t n_from,
	const struct rules_own *to, uint32_t n_to, struct err *err);

/*
 * End connections: those that came by these ports; those of a guest that its rules `from` let pass and
 * `to` do not, when the kernel's are `to` already; all that a guest has, which is gone. Their next
 * packet is looked at as a new connection's. 0 or -errno.
 */
int rules_end_published(const struct rules_port *ports, uint32_t count, struct err *err);
int rules_end_disallowed(const struct rules_base *base, const struct rules_guest *guest,
	const struct rules_own *from, uint32_t n_from, const struct rules_own *to, uint32_t n_to,
	struct err *err);
/* Those between two guests that neither's own rules allow, and that came by no published port. */
int rules_end_between(const struct rules_base *base, const struct rules_guest guests[2],
	const struct rules_own *const own[2], const uint32_t n_own[2], struct err *err);
/*
 * Of all guests' connections, those that this state would not let begin: for who has just put it in, after
 * another or none. What the host began to a guest, and what is no guest's, goes on.
 */
int rules_end_forbidden(
	const struct rules_base *base, const struct rules_state *state, struct err *err);
int rules_end_guest(
	const struct rules_base *base, const struct rules_guest *guest, struct err *err);

/* Remove the table. Not there is success. */
int rules_remove(const struct rules_base *base, struct err *err);

/*
 * Whether this host can serve: NULL, or words why nftables or veth cannot. Asks the kernel to check
 * the whole table and a pair without making either.
 */
const char *firewall_probe(void);

#endif
