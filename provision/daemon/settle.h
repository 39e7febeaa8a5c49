/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Further addresses of guests that run: what was half done when one was given, moved or taken away, and whoever
 * did it was killed, is found by the host's routes and finished.
 */
#ifndef VM2_DAEMON_SETTLE_H
#define VM2_DAEMON_SETTLE_H

#include "provision/store/store.h"

struct config;

/* Call fn for each that the guest of a tenant has not, and should (lost), or has and should not. 0 or ERR_*. */
int settle_find(const struct config *config, struct store *store,
		void (*fn)(void *data, const struct store_tenant *t, const char *address,
			   bool lost),
		void *data, struct err *err);

/* Finish all of it; what another request works on is left to that. Faults are logged. */
void settle_addresses(const struct config *config, struct store *store);

#endif
