/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Root's home and shell as the guest's own /etc/passwd says; the file is the guest's, so hostile. */
#ifndef VM2_SESSION_PASSWD_H
#define VM2_SESSION_PASSWD_H

#include <stdbool.h>
#include <stddef.h>

#define PASSWD_FIELD_MAX 256
#define PASSWD_FILE_MAX (1024 * 1024)

struct passwd_root {
	bool there; /* there is a line for it */
	char home[PASSWD_FIELD_MAX];
	char shell[PASSWD_FIELD_MAX];
};

/*
 * Find root's line in the text. What is missing, not absolute, or too long becomes /root, and
 * for the shell the empty string.
 */
void passwd_parse(const char *text, size_t len, struct passwd_root *ret);

/*
 * The text of a file of the guest's, never NULL, to be freed; *ret_len its length. Empty unless it
 * is a regular file of less than PASSWD_FILE_MAX bytes and no symlink.
 */
char *passwd_text(const char *path, size_t *ret_len);

/*
 * Read the file at path, which must be a regular file of at most PASSWD_FILE_MAX bytes and no
 * symlink; else it counts as empty. A missing shell becomes /bin/bash, or /bin/sh where that is not
 * there. To be called in the guest. Never fails.
 */
void passwd_read(const char *path, struct passwd_root *ret);

#endif
