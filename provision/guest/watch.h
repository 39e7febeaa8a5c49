/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a vm2-guest looks at while its guest runs: whether memory ran out, and whether anybody needs
 * it. Both are told by the kernel; nothing is read in intervals.
 */
#ifndef VM2_GUEST_WATCH_H
#define VM2_GUEST_WATCH_H

#include <poll.h>

#include "provision/guest/cgroup.h"

struct watch {
	const struct cgroup_manager *manager;
	const char *instance, *name;
	int oom, sessions; /* descriptors to poll, or -1 */
	short oom_events;
	uint64_t kills;
	int64_t needed_at; /* clock_ms() when somebody was there last */
};

/* Strings must outlive the watch. What cannot be watched is not. */
void watch_begin(struct watch *w, const char *instance, const char *name);
void watch_end(struct watch *w);

/* Fill in what to poll: the two descriptors, which may be -1. */
void watch_poll(const struct watch *w, struct pollfd *oom, struct pollfd *sessions);

/* The guest's group may be another one now: look at that. */
void watch_renew(struct watch *w);

/* The oom descriptor is readable: have it so no more, until the next time. */
void watch_heard(struct watch *w);

/* How many processes were killed for lack of memory since this was asked last. */
uint64_t watch_kills(struct watch *w);

/*
 * For how many milliseconds more the guest is needed when it is to be stopped after `seconds`
 * without anybody: 0: stop it. Nobody is there when no process that a session began is left: those
 * are in the group "vm2" below the guest's. What its init runs does not count. Where the kernel
 * does not tell, it is always needed.
 */
int64_t watch_idle(struct watch *w, uint64_t seconds);

#endif
