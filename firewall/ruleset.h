/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ruleset as a value: the elements that the policy of all tenants comes to. Computes only, so
 * that it is known, compared and shown without a kernel. Internal to the folder.
 */
#ifndef VM2_FIREWALL_RULESET_H
#define VM2_FIREWALL_RULESET_H

#include <stdbool.h>
#include <stddef.h>

#include "firewall/expr.h"
#include "firewall/policy.h"
#include "firewall/rules.h"
#include "provision/base/str.h"

/* The sets and maps of the table that elements are in; in the order in which they are put. */
enum ruleset_set {
	RULESET_SOURCE4,
	RULESET_SOURCE6,
	RULESET_GUESTS,
	RULESET_PUBLISH4,
	RULESET_PUBLISH6,
	RULESET_IN4, /* guests' own rules: by direction (enum rules_direction), then family */
	RULESET_IN6,
	RULESET_OUT4,
	RULESET_OUT6,
	RULESET_PEER4,
	RULESET_PEER6,
	RULESET_PLAIN_SENT, /* guests that are in none of the four behind */
	RULESET_PLAIN_RECEIVED,
	RULESET_UP,
	RULESET_DOWN,
	RULESET_PACKETS_UP,
	RULESET_PACKETS_DOWN,
	RULESET_ARP,
	RULESET_SIBLINGS,
	RULESET_SETS, /* how many there are */
};

#define RULESET_KEY_MAX	 48
#define RULESET_DATA_MAX 20

/* An element as the kernel has it. */
struct ruleset_element {
	uint8_t set; /* enum ruleset_set */
	bool optional;
	uint8_t key[RULESET_KEY_MAX];
	uint8_t key_end[RULESET_KEY_MAX]; /* of a map of ranges: their ends */
	uint8_t data[RULESET_DATA_MAX];	  /* of a map; of one of verdicts: NF_ACCEPT or NF_DROP */
	uint64_t rate;			  /* that it carries (ruleset_unit()), a second */
};

/* Zeroed is empty; to be freed with ruleset_free(). */
struct ruleset {
	struct ruleset_element *of;
	size_t n, cap;
};

void ruleset_free(struct ruleset *s);
#define CLEANUP_RULESET __attribute__((cleanup(ruleset_free)))

/* What a set is: its name, and how many bytes its keys and (maps) data have. */
const char *ruleset_name(enum ruleset_set set);
size_t ruleset_key_len(enum ruleset_set set);
size_t ruleset_data_len(enum ruleset_set set); /* 0: no map */
/* Whether its keys are ranges, and its data verdicts. */
bool ruleset_has_ranges(enum ruleset_set set);
enum expr_unit ruleset_unit(enum ruleset_set set); /* of the rates that its elements carry; 0: none */

/* Add an element, zeroed: its place, until the next is added. */
struct ruleset_element *ruleset_add(struct ruleset *s, enum ruleset_set set);

/* Whether the guest has no rate. */
bool ruleset_is_plain(const struct rules_guest *g);

/*
 * Add an element for each of a guest's rates, as if it had the least of each; and (plain) those that say that it
 * has none: all that it may have by now. 0 or ERR_USAGE.
 */
int ruleset_add_rates(struct ruleset *s, const struct policy *p, const struct rules_guest *g,
		      bool plain, struct err *err);

/* Add what it is known by: what a guest comes to but for its rates. 0 or ERR_USAGE. */
int ruleset_add_identity(
	struct ruleset *s, const struct policy *p, const struct rules_guest *g, struct err *err);

/* Add what a guest, or a published port, comes to. 0 or ERR_USAGE. */
int ruleset_add_guest(
	struct ruleset *s, const struct policy *p, const struct rules_guest *g, struct err *err);
/* The same for one more of the guest's addresses. */
int ruleset_add_address(struct ruleset *s, const struct policy *p, uint32_t number, const char *address,
	struct err *err);
/* From the one to the other. */
int ruleset_add_pair(
	struct ruleset *s, const struct policy *p, const struct rules_pair *pair, struct err *err);
int ruleset_add_port(struct ruleset *s, const struct rules_port *port, struct err *err);

/* All of a state. */
int ruleset_make(struct ruleset *s, const struct policy *p, const struct rules_state *state,
	struct err *err);

/* Whether a published port is among them. */
bool ruleset_publishes(const struct ruleset *s);

/* Order by set, key, its end and data: for comparing. */
void ruleset_sort(struct ruleset *s);
int ruleset_compare(const struct ruleset_element *a, const struct ruleset_element *b);

/* An element in words, as nft(8) writes it: "source4 { "vm2-1" . 10.66.0.1 }". */
void ruleset_words(const struct ruleset_element *e, const struct policy *p, struct buf *b);

/* The first part of most keys: the interface index of the guest of this number. 0 or ERR_USAGE. */
#define RULESET_LINK_PART 4
int ruleset_index(const struct policy *p, uint32_t number, uint32_t *ret, struct err *err);

#endif
