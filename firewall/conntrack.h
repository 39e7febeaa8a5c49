/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ending connections that are no longer allowed, by ctnetlink. Internal to the folder. */
#ifndef VM2_FIREWALL_CONNTRACK_H
#define VM2_FIREWALL_CONNTRACK_H

#include "firewall/rules.h"

/* End the connections that came by these published ports. 0 or -errno. */
int conntrack_end_published(const struct rules_port *ports, uint32_t count, struct err *err);

#endif
