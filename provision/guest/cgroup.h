/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Limits: a guest's control group is INSTANCE/NAME below the root of the hierarchy (or of each
 * hierarchy, with v1). One struct of functions per version; cgroup_pick() says which serves here.
 * The supervisors sit beside the guests, in INSTANCE/_supervisors ('_' is in no tenant's name), so
 * that what ends vm2d's own group (a service manager) does not end them.
 */
#ifndef VM2_GUEST_CGROUP_H
#define VM2_GUEST_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "provision/base/err.h"
#include "provision/base/limits.h"
#include "provision/guest/guest.h"

#define CGROUP_SUPERVISORS "_supervisors"

/* An instance's groups, whose children are the guests': one in each tree that is looked at. */
struct cgroup_view {
	int dirs[4];
};
void cgroup_view_close(struct cgroup_view *view);
#define CLEANUP_CGROUP_VIEW __attribute__((cleanup(cgroup_view_close)))

struct cgroup_manager {
	const char *name;
	/* NULL when it can serve, else why not. Static text. */
	const char *(*probe)(void);
	/*
	 * Have the group that these limits are for, there already is success; they are in force when
	 * bound() has been called, too. owner (a host uid and gid) may make groups below it, but not
	 * change its limits.
	 */
	int (*make)(const char *instance, const char *name, uid_t owner,
		    const struct limits *limits, struct err *err);
	/* Set all that bounds a group that is there. */
	int (*bound)(const char *instance, const char *name, const struct limits *limits,
		     struct err *err);
	/* Set the limits of a group that is there anew; not there is success. ERR_BUSY: used. */
	int (*limit)(const char *instance, const char *name, const struct limits *limits,
		     struct err *err);
	/*
	 * Open the way into the group, for init or (session) for what joins later. On failure
	 * nothing is open. Going it later needs no privilege: the opener's counts.
	 */
	int (*open_way)(const char *instance, const char *name, bool session, struct guest_way *ret,
			struct err *err);
	/* Kill all in it and remove it with those below. Not there is success. */
	int (*remove)(const char *instance, const char *name, struct err *err);
	/* Open what usage() looks at, for many guests. Never fails: what is not there is -1. */
	void (*view)(const char *instance, struct cgroup_view *ret);
	/* 0 where not known. */
	void (*usage)(const struct cgroup_view *view, const char *name, struct guest_usage *ret);
	/* Processor time since it started, in microseconds; 0 where not known. */
	uint64_t (*cpu_us)(const struct cgroup_view *view, const char *name);
	/* How many processes were killed since the group was made, because memory ran out. */
	uint64_t (*kills)(const char *instance, const char *name);
	/* Whether a group of it is there, in any tree. */
	bool (*there)(const char *instance, const char *name);
	/* Whether process pid is in it, or in a group below, in every tree that has limits. */
	bool (*holds)(const char *instance, const char *name, pid_t pid);
	/* Move process pid into it. One that has ended is success. */
	int (*take)(const char *instance, const char *name, pid_t pid, struct err *err);
	/* Call fn with the names of all groups of the instance; some come several times. */
	void (*each)(const char *instance, void (*fn)(void *data, const char *name), void *data);
	/*
	 * Open what tells by poll(2) that memory may have run out, with *ret_events what to poll
	 * for. A descriptor, or -errno.
	 */
	int (*open_oom)(const char *instance, const char *name, short *ret_events);
	/*
	 * The cgroup2 tree in which sessions join the group "vm2" below the guest's; NULL when
	 * there is none.
	 */
	const char *(*session_tree)(const char *instance, const char *name);
};

extern const struct cgroup_manager cgroup_v2;
extern const struct cgroup_manager cgroup_v1;

/* The first manager that serves here; NULL and *ret_why (static text) when none does. */
const struct cgroup_manager *cgroup_pick(const char **ret_why);

/* The error of limits that could not be set: errnum is what writing a file of the group gave. */
int cgroup_limit_error(const char *name, int errnum, struct err *err);

/* The way into INSTANCE/_supervisors, made when missing; { 0 }, which leads nowhere, if it cannot. */
void cgroup_shelter(const char *instance, struct guest_way *ret);

/* As fork(2); the child is born in the way's cgroup2 group, where it has one. See guest_fork(). */
pid_t cgroup_fork(const struct guest_way *way);

/* In the child: into the groups that nobody can be born in. Async-signal-safe. 0 or -errno. */
int cgroup_step_in(const struct guest_way *way);

/* What is left leads nowhere. */
void cgroup_close_way(struct guest_way *way);

/*
 * What both managers need. A tree is one mounted hierarchy, given by its mount point.
 */

/* Whether path is the mount point of a cgroup2 file system. */
bool cgroup_is_v2(const char *path);

/* Make tree/INSTANCE/NAME and give it to owner (delegation, cgroups v2 documentation). */
int cgroup_make(const char *tree, const char *instance, const char *name, struct err *err);
int cgroup_delegate(const char *tree, const char *instance, const char *name, uid_t owner,
		    struct err *err);

/* Whether tree/INSTANCE/NAME is there. */
bool cgroup_there(const char *tree, const char *instance, const char *name);

/*
 * Whether process pid is in INSTANCE/NAME, or below, of the tree with this controller (of version 1; ""
 * is that of version 2). As proc(5) shows it: wherever the caller's own cgroup namespace begins.
 */
bool cgroup_holds(const char *controller, const char *instance, const char *name, pid_t pid);

/*
 * Move process pid into tree/INSTANCE/NAME; of version 2, where that may hold no process because it
 * hands controllers down, into its group "vm2". 0 (also for one that has ended) or -errno.
 */
int cgroup_take(const char *tree, const char *instance, const char *name, pid_t pid);

/* Call fn with each name in tree/INSTANCE. */
void cgroup_each(const char *tree, const char *instance, void (*fn)(void *data, const char *name),
		 void *data);

/* Open tree/INSTANCE/NAME, or -errno. */
int cgroup_open(const char *tree, const char *instance, const char *name);

/*
 * Open the version 2 group to be born in: tree/INSTANCE/NAME, or for a session its group "vm2", made
 * when missing. For as soon as a service manager in the guest hands controllers down, which may be
 * at any moment, the group itself may hold no process. A descriptor, or -errno.
 */
int cgroup_open_born(const char *tree, const char *instance, const char *name, bool session);

/* Kill what is in tree/INSTANCE/NAME and remove it. 0 or -errno. */
int cgroup_clear(const char *tree, const char *instance, const char *name);

/* The number in dir/NAME/FILE, 0 when there is none. */
uint64_t cgroup_number(int dir, const char *name, const char *file);

/* The same of a line "KEY number". */
uint64_t cgroup_keyed(int dir, const char *name, const char *file, const char *key);

/* Write a file of the group, printf-like; 0 or -errno. */
int cgroup_set(const char *tree, const char *instance, const char *name, const char *file,
	       const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
