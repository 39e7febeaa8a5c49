/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Templates are what they were when they were made. Beside a template's tree stand `manifest`, a line
 * for each file (provision/guest/sum.h), whose SHA-256 the database has, and `checked`, the identity
 * (inode and time of change of its root) of the tree that was compared with it last. Before a guest
 * is made the identity is looked at, which costs nothing; only a tree that is another one, restored
 * from a backup, say, is read again as a whole. What changes deep inside the same tree finds `vm2
 * template verify`.
 */
#ifndef VM2_DAEMON_CHECK_H
#define VM2_DAEMON_CHECK_H

#include "provision/daemon/request.h"
#include "provision/guest/sum.h"

/* Write manifest and identity of the tree FOLDER/rootfs, FOLDER being TEMPLATES/NAME or the like. */
int check_seal(const struct config *config, const char *folder, char ret_digest[SUM_TEXT_SIZE],
	struct err *err);

/*
 * Read all of the template and compare. ERR_FAILED names the first file that is not as it was. One
 * that was made before there were manifests is sealed as it is, *ret_sealed.
 */
int check_whole(const struct config *config, struct store *store, const char *name,
	char ret_digest[SUM_TEXT_SIZE], bool *ret_sealed, struct err *err);

/* Before a guest is made: 0 at once when the tree is the one that was checked, else check_whole(). */
int check_before_use(const struct config *config, struct store *store, const char *name,
	guest_progress_fn progress, void *data, struct err *err);

#endif
