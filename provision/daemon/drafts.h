/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is in TEMPLATES and no template: trees that were being made when vm2d's worker was killed, and those
 * that no row knows.
 */
#ifndef VM2_DAEMON_DRAFTS_H
#define VM2_DAEMON_DRAFTS_H

#include "provision/daemon/checker.h"

struct config;

/* Call fn for each of them: "unfinished template" and "template". Nothing while a template is made or removed. */
void drafts_find(const struct config *config, struct store *store, finding_fn fn, void *data);

/* Delete those that were being made. The others are somebody's: a row may come back with a database's copy. */
void drafts_discard(const struct config *config);

#endif
