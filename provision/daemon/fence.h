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

/*
 * Note in the ledger that somebody ("vm2 (uid 7)") changed the rules, or had them restored; what fails is
 * logged.
 */
void fence_note(const struct config *config, const char *who, const char *what);

/* All that is a tenant's own, ports and rules, for a guest that is about to start, or that goes. */
int fence_arrange(const struct config *config, struct store *store,
	const struct store_tenant *tenant, bool on, struct err *err);

/* One tenant's rules, in order; zeroed is none. */
struct fence_rules {
	struct store_rule *of;
	uint32_t n;
};
void fence_rules_free(struct fence_rules *rules);
#define CLEANUP_FENCE_RULES __attribute__((cleanup(fence_rules_free)))
int fence_rules_get(
	struct store *store, const char *tenant, struct fence_rules *ret, struct err *err);

/* Whether they can be: as rules_check_own(). */
int fence_rules_check(
	const struct config *config, const struct fence_rules *rules, struct err *err);

/*
 * Put the tenant's rules into the kernel, which the database has changed from `from` to `to`; the
 * whole table where the kernel's were others. Connections that `to` no longer allows end, where there may be
 * such (ends): to look for them takes the kernel a while, however few there are. Nothing while it has no guest.
 */
int fence_rules_change(const struct config *config, struct store *store,
	const struct store_guest *guest, const struct fence_rules *from,
	const struct fence_rules *to, bool ends, struct err *err);

/*
 * Let a tenant's guest and those of its owner's other tenants reach each other, where both say so, and no
 * others; connections that are allowed no longer end. Nothing while it has no guest, or there is no table.
 */
int fence_siblings(const struct config *config, struct store *store,
	const struct store_tenant *tenant, struct err *err);

/* End all connections of a guest that has stopped. */
int fence_end_guest(
	const struct config *config, const struct store_guest *guest, struct err *err);

/* Let a further address in and out of the guest, or no more; then end its connections. */
int fence_address(const struct config *config, const struct store_guest *guest,
	const char *address, bool on, struct err *err);
int fence_end_address(const struct config *config, const struct store_guest *guest,
	const char *address, struct err *err);

/* rules_verify() with what the database means; those that come, go or are stopped count for nothing. */
int fence_verify(const struct config *config, struct store *store, rules_drift_fn fn, void *data,
	struct err *err);

/*
 * Keep the table, in a process of its own; `listener` is of owner_listen(). Returns an exit status
 * when it cannot go on.
 */
int fence_keep(const struct config *config, int listener);

#endif
