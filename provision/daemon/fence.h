/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fence: the instance's nftables table, as the database means it. A child of vm2d keeps the
 * socket that owns the table, lends it to workers and guests, and restores the table at once when
 * anybody else has changed it (firewall/owner.h).
 */
#ifndef VM2_DAEMON_FENCE_H
#define VM2_DAEMON_FENCE_H

#include "firewall/rules.h"
#include "provision/store/store.h"

/* What the rules are made from; strings are the configuration's. */
struct rules_base fence_base(const struct config *config);

/*
 * Put the whole table into the kernel, for a caller that finds it missing. All guests that are
 * meant to be are in it, running or not: the elements of one that has no link let nothing through.
 */
int fence_restore(const struct config *config, struct store *store, struct err *err);

/*
 * Publish a port to the guest whose addresses it has, or no more and end its connections; nothing
 * while it has none.
 */
int fence_publish(
	const struct config *config, const struct store_port *port, bool on, struct err *err);

/* The same with all ports of a tenant, whose guest has come or goes. */
int fence_publish_all(const struct config *config, struct store *store,
	const struct store_tenant *tenant, bool on, struct err *err);

/* rules_verify() with what the database means; those that come, go or are stopped count for nothing. */
int fence_verify(const struct config *config, struct store *store, rules_drift_fn fn, void *data,
	struct err *err);

/*
 * Keep the table, in a process of its own; `listener` is of owner_listen(). Returns an exit status
 * when it cannot go on.
 */
int fence_keep(const struct config *config, int listener);

#endif
