/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host keeps for itself: [host] of vm2.conf. */
#ifndef VM2_DAEMON_RESERVE_H
#define VM2_DAEMON_RESERVE_H

#include "provision/store/store.h"

/*
 * Whether a guest with these limits may be made: what is available now, less what it may use, must
 * leave the reserve. ERR_BUSY with the figures when not. A limit that there is not counts nothing.
 */
int reserve_check(const struct config *config, struct store *store, const struct limits *limits,
	struct err *err);

/* Bytes of memory that the host has available; of its files where guests are; 0 when not known. */
uint64_t reserve_memory(void);
uint64_t reserve_disk(const struct config *config);

#endif
