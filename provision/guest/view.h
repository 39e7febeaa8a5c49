/* SPDX-License-Identifier: GPL-2.0-or-later */
/* To look at many guests, which run and what they use: what is found out of all at once. */
#ifndef VM2_GUEST_VIEW_H
#define VM2_GUEST_VIEW_H

#include <stddef.h>
#include <sys/types.h>

#include "provision/guest/cgroup.h"

struct guest_view {
	const struct cgroup_manager *cgroups; /* or NULL */
	struct cgroup_view groups;
	int run;	    /* RUN/guests, or -1 */
	pid_t *supervisors; /* that live, ascending */
	size_t n_supervisors;
};

/* What can be seen of a running guest without holding it. */
struct guest_look {
	pid_t init_pid; /* on the host */
	int64_t since;	/* seconds since the epoch */
	struct guest_usage usage;
};

/* Never fails: with what cannot be opened, guests are looked at one by one, or do not run. */
void guest_view_open(const struct config *config, struct guest_view *ret);
void guest_view_close(struct guest_view *view);
#define CLEANUP_GUEST_VIEW __attribute__((cleanup(guest_view_close)))

/* Whether the guest runs: then *ret is filled. */
bool guest_view_look(const struct guest_view *view, const char *name, struct guest_look *ret);

#endif
