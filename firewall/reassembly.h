/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory in which the host's kernel keeps fragments until their datagrams are whole, which all guests and
 * the host have together: room for several guests that send as many as they may (rules.h: fragments) and none
 * that is ever whole.
 */
#ifndef VM2_FIREWALL_REASSEMBLY_H
#define VM2_FIREWALL_REASSEMBLY_H

#include "provision/base/err.h"

/*
 * Where a setting is what the kernel has by itself, have it be ours; what an administrator has set stays. Call
 * fn for each that was changed, as sysctl(8) names it. Called in the host's network namespace, when the table
 * is there: the settings for IPv6 come with it. 0 or -errno; what is not there is passed over.
 */
int reassembly_provide(void (*fn)(void *data, const char *setting, const char *was, const char *is),
		       void *data, struct err *err);

#endif
