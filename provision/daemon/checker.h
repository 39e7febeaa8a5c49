/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether host and database agree: what is lost (in the database, but not on the host), left (on
 * the host, but in no row) or half done. What is seen of one guest is plain data, and judging it
 * does no I/O.
 */
#ifndef VM2_DAEMON_CHECKER_H
#define VM2_DAEMON_CHECKER_H

#include "provision/store/store.h"

/* What is there of a guest's name. */
struct facts {
	const char *name;
	bool tenant;	 /* there is one of this name */
	enum store_intent intent;
	bool range;	 /* its number, uids and addresses are of the configured pools */
	bool files;	 /* GUESTS/NAME */
	bool making;	 /* GUESTS/.NAME.new */
	bool snapshots;	 /* GUESTS/.snapshots/NAME */
	bool folder;	 /* RUN/guests/NAME */
	bool state;	 /* `state` in it */
	bool lock;	 /* RUN/locks/NAME */
	bool alive;	 /* a vm2-guest */
	bool running;	 /* its init too */
	bool stray;	 /* a vm2-guest that does not hold the lock, or whose folder is gone */
	bool cgroup;
	bool held; /* its init is in its control group, in all trees */
	bool interface;
};

/* One thing that is not as it should be. Texts are static, but for the name. */
struct finding {
	const char *
		kind; /* row, uids, files, snapshots, folder, state, lock, process, cgroup, rule, link, … */
	const char *name;
	const char *state; /* "lost", "left", "half" or "changed" */
};

typedef void (*finding_fn)(void *data, const struct finding *finding);

/* Call fn with all that is wrong with these facts. */
void checker_judge(const struct facts *facts, finding_fn fn, void *data);

/*
 * Look at everything. What another request works on just now is left out. ERR_* when the database
 * cannot be read.
 */
int checker_survey(
	const struct config *config, struct store *store, finding_fn fn, void *data, struct err *err);

#endif
