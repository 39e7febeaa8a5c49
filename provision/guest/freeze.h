/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's processes stand still, as long as the caller lives and wants it: a process of its own
 * lets them go on when the caller says so or is gone.
 */
#ifndef VM2_GUEST_FREEZE_H
#define VM2_GUEST_FREEZE_H

#include <sys/types.h>

#include "provision/guest/storage.h"

struct freeze {
	struct storage_pause pause; /* begin and end, for a driver's save() */
	const char *instance, *name;
	pid_t guard;
	int hold;	 /* closed, it lets go */
	int64_t took_us; /* out: how long they stood still */
	int64_t since_us;
};

/* Make it ready; instance and name must outlive it. */
void freeze_init(struct freeze *f, const char *instance, const char *name);

/* Let a guest go on that a crash of both processes left standing. Best effort. */
void freeze_forget(const char *instance, const char *name);

#endif
