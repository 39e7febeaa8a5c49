/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All vm2-guest of an instance, found by looking at every process of the host: also one whose folder in
 * RUN is gone, which nothing else leads to. Takes a look at some thousands of processes: for repair.
 */
#ifndef VM2_GUEST_SUPERVISORS_H
#define VM2_GUEST_SUPERVISORS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "provision/base/config.h"

struct supervisor_found {
	const char *name; /* the guest's */
	pid_t pid;
	uint64_t start; /* as process_open() wants it */
};

/* Call fn with each. The name is there during the call. */
void supervisors_each(const struct config *config,
		      void (*fn)(void *data, const struct supervisor_found *found), void *data);

/*
 * Whether the one found still lives and is not the one that holds the guest's lock: then nobody stops or
 * finds it. The caller holds the tenant's lock.
 */
bool supervisors_stray(const struct config *config, const struct supervisor_found *found);

/*
 * Kill it and wait for its end; its init goes with it. By force: a request to stop would have it take back
 * link, rules and control group of the guest of its name, which may run anew by now. 0 or -errno.
 */
int supervisors_end(const struct supervisor_found *found);

#endif
