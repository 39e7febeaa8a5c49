/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where wire processes and monitors come from. The listener keeps one vm2-gateway-wire that has loaded its
 * libraries, read the host keys and entered the empty room, and one vm2-gateway-monitor that has read the
 * configuration and loaded PAM's modules; no byte from the network reaches them. They fork a process for
 * each connection, so that none of these pays for that again, in time or in memory. After a hundred of
 * them, or when one of them crashed, they make no more and others take their place: what was learnt of
 * their memory's layout is worth nothing then (docs/GATEWAY).
 */
#ifndef VM2_GATEWAY_NURSERY_H
#define VM2_GATEWAY_NURSERY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "provision/base/config.h"
#include "provision/base/err.h"

struct nursery {
	const struct config *config;
	const char *monitors; /* of monitors: the configuration that they read, or "-"; NULL: of wires */
	const int *room;      /* SANDBOX_ROOM_FDS descriptors, or NULL */
	int link;	 /* to the process, or -1 */
	pid_t *pids;	 /* of all that live, those included that make no more */
	size_t n_pids;
};

/*
 * A new wire process: ret_fds[0] is the socket that its monitor has with it, [1] its leash: when that is
 * closed or shut down the wire process is killed; how it ended (a wait status, an int) is read from it.
 * Starts the nursery if need be. 0, or -errno and nothing is to be closed.
 */
int nursery_take(struct nursery *n, int *ret_fds, struct err *err);

/*
 * A new monitor with n_fds descriptors, which remain the caller's; it is a child of the caller. Starts the
 * nursery if need be. 0 with its number, or an error.
 */
int nursery_monitor(struct nursery *n, const int *fds, int n_fds, pid_t *ret_pid, struct err *err);

/* Have the process make no more: it ends with its last child. The next one sees new settings. */
void nursery_retire(struct nursery *n);

/* Whether a child that was reaped was one of these processes. */
bool nursery_reaped(struct nursery *n, pid_t pid);

#endif
