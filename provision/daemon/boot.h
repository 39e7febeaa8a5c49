/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * After a boot of the host the guests that were running when it went down start again. Which those
 * are stands in the database: set when a guest starts, taken back when staff stops it, and by the
 * keeper within its next round when it has ended by itself. One whose vm2-guest was killed has not:
 * it starts again, if its plan's `restart` does not say no.
 */
#ifndef VM2_DAEMON_BOOT_H
#define VM2_DAEMON_BOOT_H

#include "provision/store/store.h"

/*
 * The first time after a boot (RUN/booted is not there): start them, guest.start-parallel at a time.
 * Returns when all have been tried; faults are logged. The caller has no store open.
 */
void boot_start(const struct config *config);

/*
 * Note of guests that have ended by themselves that they are not to run, and start those that ended
 * otherwise, whatever is left of them. Looks at all that are to run: for every now and then.
 */
void boot_note(const struct config *config, struct store *store);

/*
 * Start the guests whose vm2-guest was killed and that nobody has cleared away yet. Costs a few system
 * calls for each that runs: for every few seconds.
 */
void boot_revive(const struct config *config);

#endif
