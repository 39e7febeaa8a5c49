/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How the kernel's table differs from what the database means, once nothing is under way. */
#ifndef VM2_DAEMON_DRIFT_H
#define VM2_DAEMON_DRIFT_H

#include <stddef.h>

#include "provision/base/config.h"
#include "provision/base/err.h"
#include "provision/store/store.h"

struct drifts {
	size_t n;
	struct {
		char *how;  /* "missing", "unexpected" or "changed" */
		char *what; /* in words */
	} *of;
};

void drifts_free(struct drifts *drifts);
#define CLEANUP_DRIFTS __attribute__((cleanup(drifts_free)))

/*
 * Find them; *ret is to be freed. What a guest that comes or goes meanwhile makes look different is
 * looked at again, for up to a second. 0, or as fence_verify() fails.
 */
int drifts_find(const struct config *config, struct store *store, struct drifts *ret, struct err *err);

#endif
