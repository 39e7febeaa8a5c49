/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a running guest consists of, as a table of steps: each can be taken and taken back any
 * number of times. guest.c runs them forwards to start, backwards to stop or after a failure.
 */
#ifndef VM2_GUEST_STEPS_H
#define VM2_GUEST_STEPS_H

#include <stdbool.h>

#include "provision/guest/guest.h"

/* A start or stop under way. */
struct work {
	const struct config *config;
	const struct guest_spec *spec;
	const struct guest_starting *starting; /* a caller who wants to know, or NULL */
	bool fresh; /* the files were made by this start: its failure removes them */
	struct guest_begun
		*begun; /* a vm2-guest that starts it as launch_say() tells; NULL in itself */
	bool held;  /* this process holds the firewall's socket (firewall/owner.h) */
};

struct step {
	const char *name;     /* in messages: "cannot start guest x: NAME: ..." */
	const char *progress; /* for a person who waits, or NULL */
	int (*up)(struct work *work, struct err *err);
	/* Not there is success. */
	int (*down)(struct work *work, struct err *err);
};

enum {
	STEP_LIMITS,
	STEP_FILES,
	STEP_RULES,
	STEP_RUN,
	STEPS
};
extern const struct step steps[STEPS];

/* Undo steps[from-1 .. 0]; goes on after a failure. 0, or the first failure. */
int steps_down(struct work *work, int from, struct err *err);

/*
 * What vm2-guest takes back by itself when its guest has ended: link, rules, cgroup; and the
 * state, so that nobody finds it running. Best effort.
 */
void steps_settle(struct work *work);

/* Have the spec's rates in force for a running guest. */
int steps_rates(struct work *work, struct err *err);

/* Where vm2-guest and vm2-init are. In a file of its own, so that a test can have another. */
extern const char *const guest_libexecdir;

/*
 * Begin a vm2-guest, which prepares what all guests have and then waits to be told for which one. It ends
 * when the link to it is closed. launch.c
 */
int launch_begin(const struct config *config, struct guest_begun *ret, struct err *err);

/* Close the link, if there is one: whoever waits ends. */
void launch_end(struct guest_begun *begun);

/* Tell it. It goes on as far as the steps have come, which launch_say() tells it. */
int launch_supervisor(const struct config *config, const struct guest_spec *spec, int link,
		      struct err *err);

/*
 * What is there by now. With its group the guest's first process is born, in it, and mounts what all guests
 * have; with its files, the group's limits being in force, it mounts those; with all else it becomes the guest.
 */
enum launch_word {
	LAUNCH_GROUP = 'c',
	LAUNCH_FILES = 'f',
	LAUNCH_ALL = 'g'
};
void launch_say(int link, enum launch_word word);

/* Wait until the guest runs. */
int launch_await(const struct config *config, int link, struct err *err);

#endif
