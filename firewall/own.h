/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests' own rules. A packet is a point in three dimensions (protocol, port, address), a rule is a
 * box of them, and the first rule that a packet is in decides. The kernel knows no order among the
 * elements of a map, so each rule becomes what is left of its box when the boxes before it are cut
 * out: elements that do not overlap, and one lookup finds the verdict. Computes only; internal to
 * the folder.
 */
#ifndef VM2_FIREWALL_OWN_H
#define VM2_FIREWALL_OWN_H

#include "firewall/ruleset.h"

/* Elements that the rules of one guest may come to, in all maps. */
#define OWN_ELEMENTS_MAX 512

/*
 * Whether these rules of one guest, in order, can be: each well-formed and able to match something
 * under this policy. 0; ERR_USAGE, or ERR_EXISTS for a rule that stands there already, with words
 * that begin "rule N".
 */
int own_check(const struct policy *p, const struct rules_own *rules, uint32_t n, struct err *err);

/*
 * Add the elements of one guest's rules. ERR_USAGE for rules that are not well-formed, or that come
 * to too many elements; one that cannot match comes to none.
 */
int own_add(struct ruleset *s, const struct policy *p, const struct rules_own *rules, uint32_t n,
	struct err *err);

/*
 * What the rules of one guest say of a connection with this other side: 1 allow, 0 deny, -1 nothing.
 * port: the served one; of no matter where the protocol has none.
 */
int own_verdict(const struct rules_own *rules, uint32_t n, enum rules_direction direction,
	uint8_t protocol, uint16_t port, const struct address *other);

#endif
