/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of a guest on an overlay begin with: folders and empty files, the same for all, so that
 * some are made before anybody wants them. A start then only renames them: to make eight inodes takes
 * milliseconds on some file systems (docs/GUEST). They lie in GUESTS/.spare, which root alone can enter.
 */
#ifndef VM2_GUEST_LAYERS_H
#define VM2_GUEST_LAYERS_H

#include <stdbool.h>

/* In an empty folder: upper with etc and the files that files_personalise() fills, and work. 0 or -errno. */
int layers_make(int top);

/* Have some that were made before at GUESTS/name, which must not be there. Whether there were any. */
bool layers_take(int guests, const char *name);

/* Make some, until there are LAYERS_SPARE. Best effort; one process at a time, which may be killed. */
#define LAYERS_SPARE 8
void layers_prepare(int guests);

#endif
