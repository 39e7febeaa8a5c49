/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program of ours, or of the host's, that works for a request: by its full path, without a shell,
 * with an environment of ours and no descriptor but those that are named. It ends when the worker
 * does. Lines that it says are progress, and the last one is the reason when it fails.
 */
#ifndef VM2_DAEMON_HELPER_H
#define VM2_DAEMON_HELPER_H

#include "provision/daemon/request.h"

#define HELPER_ARCHIVE VM2_LIBEXECDIR "/vm2-archive" /* provision/guest/archive.c says what it is given */

struct helper {
	const char *const *argv; /* NULL-terminated; argv[0] is the path */
	int in, out, tree;	 /* its 0 (-1: nothing), 1 (-1: as 2) and 3 (-1: none) */
	int peer;		 /* it is ended when this connection is; -1: never */
	guest_progress_fn progress; /* may be NULL */
	void *data;
};

/* 0, or ERR_FAILED with what it said last. */
int helper_run(const struct helper *h, struct err *err);

/*
 * How much may be written on the file system of `path`: what is free, but for a twentieth or 1 GiB of
 * it, so that a file that grows on unpacking fills no disk.
 */
int helper_room(const char *path, uint64_t *ret, struct err *err);

#endif
