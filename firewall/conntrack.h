/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ending connections that are no longer allowed, by ctnetlink. Internal to the folder. */
#ifndef VM2_FIREWALL_CONNTRACK_H
#define VM2_FIREWALL_CONNTRACK_H

#include <stdbool.h>

#include "firewall/address.h"
#include "provision/base/err.h"

/* Who sends in one direction of a connection; of ICMP the ports are without meaning. */
struct conntrack_end {
	struct address address; /* family 0: none that is understood */
	uint16_t port;
};

/* A connection as it is tracked, before and after translation. */
struct conntrack_flow {
	uint8_t protocol;
	uint16_t asked_port;	       /* what who began it sent to */
	struct conntrack_end began;    /* who began it */
	struct conntrack_end answers;  /* who it came to in the end */
	bool redirected;	       /* that is not whom was asked */
};

typedef bool (*conntrack_fn)(const void *data, const struct conntrack_flow *flow);

/* End all connections of which fn says so. 0 or -errno. */
int conntrack_end_those(conntrack_fn fn, const void *data, struct err *err);

#endif
