/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What guests sent and received, from the kernel's counts into the database. */
#ifndef VM2_DAEMON_TRAFFIC_H
#define VM2_DAEMON_TRAFFIC_H

#include "provision/store/traffic.h"

/*
 * Add what is new. To be called now and then, and before anything that ends the kernel's counts. No
 * table is success.
 */
int traffic_collect(const struct config *config, struct store *store, struct err *err);

/* The same for a guest that is destroyed and has no link any more; then its number counts anew. */
int traffic_settle(const struct config *config, struct store *store,
	const struct store_tenant *tenant, struct err *err);

/* The same as traffic_collect() for a caller without a store; what fails is logged. */
void traffic_save(const struct config *config);

#endif
