/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The names of the accounts inside a guest, read from its /etc/passwd on the host: what ls(1) and
 * ps(1) there say about whose a guest's files and processes are. The guest's root writes that file, so
 * it is read where the guest's files lie on disk (no file system of the guest's own can be in the way),
 * never by a symlink, only if it is a regular file, and no more than PASSWD_FILE_MAX of it.
 */
#ifndef VM2_GUEST_PASSWD_H
#define VM2_GUEST_PASSWD_H

#include <stddef.h>

#include "provision/base/config.h"
#include "provision/guest/guest.h"

#define PASSWD_FILE_MAX 65536 /* of a longer one nothing is read */
#define PASSWD_LIST_SIZE 4096 /* with its NUL: some 250 accounts */

/*
 * From the text of a passwd(5), which need not be one: "ID NAME\n" for each account whose name consists
 * of [A-Za-z0-9_.-] and whose id is below 65536; of an id given twice the first, and no more than fit.
 */
void passwd_list(const char *text, char ret[PASSWD_LIST_SIZE]);

/* The list of a guest; "" when there is none that can be read so. */
void passwd_read(const struct config *config, const struct guest_spec *spec,
		 char ret[PASSWD_LIST_SIZE]);

#endif
