/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parent's half of the talk with a guest's first process; inside.h has the other. */
#ifndef VM2_GUEST_CHILD_H
#define VM2_GUEST_CHILD_H

#include <stdbool.h>

#include "provision/guest/inside.h"

struct child {
	int sync;    /* our end */
	int seconds; /* to wait at most for what it says */
};

/*
 * Its next message, and a descriptor that came with it, to be closed, or -1. *ret_ended: it has nothing to say any
 * more, since it has ended or is init now. 0, or the error that it reports.
 */
int child_receive(const struct child *child, struct inside_report *ret, bool *ret_ended,
		  int *ret_listener, struct err *err);

/* A word to it. Did it end before it heard that, the error is the one that it reported. */
int child_tell(const struct child *child, const int fds[INSIDE_FDS], struct err *err);

#endif
