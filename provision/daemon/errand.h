/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Something small that is done in a running guest as its root, by a process of the host's. */
#ifndef VM2_DAEMON_ERRAND_H
#define VM2_DAEMON_ERRAND_H

#include "provision/base/config.h"

/*
 * Run fn(data) in a child that has entered the tenant's guest, and wait for it, at most 2 s: then it is
 * killed. Best effort: a guest that does not run, or lets nobody in, is none's fault. fn finds nothing of
 * the host but the memory of the caller.
 */
void errand_run(const struct config *config, const char *tenant, void (*fn)(const void *data),
	const void *data);

#endif
