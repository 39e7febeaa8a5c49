/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper: a process beside vm2d's listener that first brings host and database in line, and
 * then keeps the database open, so that no worker finds itself alone with it (the first to open a
 * SQLite database in WAL mode reads the whole log), and moves its log into it now and then.
 */
#ifndef VM2_DAEMON_RECOVER_H
#define VM2_DAEMON_RECOVER_H

#include "provision/daemon/request.h"

/* Make the instance's folders. */
int recover_folders(const struct config *config, struct err *err);

/*
 * What a start does after whatever crash; all may be run at any time, and again: the snapshot of
 * accounts is published, the rules are restored, sessions whose process is gone become "lost",
 * guests that were being made are taken back, those being destroyed are finished, and what is left
 * of guests that do not run is cleaned up. Faults are logged, and the rest goes on.
 */
void recover_all(const struct config *config, struct store *store);

/* The whole life of the keeper; returns an exit status when there is no database. */
int recover_keep(const struct config *config);

#endif
