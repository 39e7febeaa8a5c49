/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The snapshot of accounts that libnss_vm2 reads, made from the tenant database. */
#ifndef VM2_STORE_ACCOUNTS_H
#define VM2_STORE_ACCOUNTS_H

#include "provision/store/store.h"

/*
 * Write config->accounts anew (mode 0644, replaced by rename). To be called after every change of
 * tenants or guests' ranges; when it returns every process that looks sees them. Publishers wait for
 * each other, and each reads the database when it is its turn: an older state never comes last. Whose
 * changes are in a file that was begun meanwhile writes none. ERR_* or -errno, the old file stays then.
 */
int accounts_publish(struct store *store, const struct config *config, struct err *err);

#endif
