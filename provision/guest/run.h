/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of a running guest: RUN/guests/NAME/ with `lock` (held by its vm2-guest as long as
 * that lives; holds its pid and start time), `state` (written when init runs), `limits`, `console`, `log` and,
 * where statfs(2) is answered, `statfs.2` (notify.h).
 * Only root writes there; none of it is ever shown to the guest.
 */
#ifndef VM2_GUEST_RUN_H
#define VM2_GUEST_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "provision/base/config.h"
#include "provision/base/err.h"
#include "provision/base/limits.h"

struct run_state {
	pid_t init_pid, supervisor_pid;
	uint64_t init_start, supervisor_start; /* clock ticks since boot, process_start_time() */
	int64_t since;			       /* seconds since the epoch */
};

/* The guest's folder, made (0700) when `make`. A descriptor, or -errno (-ENOENT: not there). */
int run_open(const struct config *config, const char *name, bool make);

/* Read state: 0, -ENOENT, or -EBADMSG when it is not what run_write() writes. */
int run_read(int dirfd, struct run_state *ret);

/* The same by the guest's name; the other is quicker where RUN/guests is open. */
int run_look(const struct config *config, const char *name, struct run_state *ret);
int run_look_in(int guests, const char *name, struct run_state *ret);

/*
 * Whether it is so still. Without its supervisor a guest is a leftover, which the next start takes away:
 * init is its child as long as it lives, and is given to another parent when it ends.
 */
bool run_lives(const struct run_state *state);

/* Replace state, atomically. 0 or -errno. */
int run_write(int dirfd, const struct run_state *state);

/* The same, of an init that is the calling process's child, and as of now. */
int run_write_own(int dirfd, pid_t init_pid);

/* What the guest is limited to, for its vm2-guest; replaced atomically. 0 or -errno. */
int run_write_limits(int dirfd, const struct limits *limits);
int run_read_limits(int dirfd, struct limits *ret);

/*
 * Take the lock, for a vm2-guest that inherits the descriptor: so it is held from its birth on.
 * A descriptor, or -EWOULDBLOCK when another vm2-guest lives, or -errno.
 */
int run_lock(int dirfd);

/* Block what a vm2-guest is told things by, and have it come by a signalfd(2). That, or -errno. */
int run_signals(void);

/* Note the calling process in the lock that it holds. 0 or -errno. */
int run_note(int lock);

/*
 * A pidfd of the vm2-guest that holds the lock, or -ESRCH when none does. One that was only just
 * forked is waited for.
 */
int run_holder(int dirfd);

/* Whether that is this process. */
bool run_held_by(int dirfd, pid_t pid, uint64_t start);

/* Remove the folder with all that is in it. 0 or -errno. */
int run_remove(const struct config *config, const char *name);

#endif
