/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * After a boot of the host the guests that were running when it went down start again. Which those
 * are stands in the database: set when a guest starts, taken back when staff stops it, and by the
 * keeper within its next round when it has ended by itself.
 */
#ifndef VM2_DAEMON_BOOT_H
#define VM2_DAEMON_BOOT_H

#include "provision/store/store.h"

/*
 * The first time after a boot (RUN/booted is not there): start them, guest.start-parallel at a time.
 * Returns when all have been tried; faults are logged. The caller has no store open.
 */
void boot_start(const struct config *config);

/* Note of guests that have ended by themselves that they are not to run. */
void boot_note(const struct config *config, struct store *store);

#endif
