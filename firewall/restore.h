/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Internal to the folder: the whole table through a socket that the caller has. */
#ifndef VM2_FIREWALL_RESTORE_H
#define VM2_FIREWALL_RESTORE_H

#include "firewall/netlink.h"
#include "firewall/rules.h"

/* rules_restore_state() by way of nl (netfilter's, nothing gathered); nl->own: how the table is its own. */
int rules_restore_on(struct netlink *nl, const struct rules_base *base,
	const struct rules_state *state, struct err *err);

#endif
