/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest types: how a guest is virtualized. One struct of functions per type; so far the container.
 * launch() is what vm2-guest calls to bring init up, with what prepare() has made.
 */
#ifndef VM2_GUEST_TYPE_H
#define VM2_GUEST_TYPE_H

#include <sys/types.h>

#include "provision/base/config.h"
#include "provision/base/err.h"
#include "provision/guest/guest.h"

/* A start under way, of a guest type's own. */
struct start;

/* What launch() gives back; belongs to the supervisor. */
struct guest_process {
	pid_t init_pid;
	int init_pidfd;
	int console;	 /* of init: the master side of its terminal, non-blocking */
	int stop_signal; /* what asks this init to stop */
	int listener;	 /* of its calls of statfs (notify.h), or -1 */
};

struct guest_type {
	const char *name;
	/* NULL when it can serve here, else why not. Static text. */
	const char *(*probe)(const struct config *config);
	/* Make what all guests have. What launch() does not use goes with the process. */
	int (*prepare)(struct start **ret, struct err *err);
	/*
	 * Start the guest: its namespaces, interface, mounts and init, which is a child of the
	 * caller and is killed with it. init_path: vm2-init, for templates without an init.
	 * The guest's files, cgroup and rules are there, if `go` is -1; else only when a byte comes
	 * from it: what does not need them is done before. On failure nothing is left.
	 */
	int (*launch)(struct start *prepared, const struct config *config,
		      const struct guest_spec *spec, const char *init_path, int go,
		      struct guest_process *ret, struct err *err);
};

extern const struct guest_type type_container;

#endif
