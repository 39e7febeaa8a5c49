/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an interface leaves to whoever sends its packets on (ethtool -K). Internal to the folder. */
#ifndef VM2_FIREWALL_OFFLOAD_H
#define VM2_FIREWALL_OFFLOAD_H

#include "provision/base/err.h"

/*
 * Have the system that sends by this interface cut up itself what its programs send as one by UDP_SEGMENT
 * (udp(7)): up to 128 datagrams, of which each has a header that is nowhere in the one, and which would count
 * as one of so many bytes less. socket: any of the interface's network namespace. 0, also where the kernel does
 * not know of it; or -errno.
 */
int offload_no_datagrams(int socket, const char *interface, struct err *err);

#endif
