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

struct cgroup_manager {
	const char *name;
	/* NULL when it can serve, else why not. Static text. */
	const char *(*probe)(void);
	/*
	 * Have the group with these limits; there already is success and sets the limits anew.
	 * owner (a host uid and gid) may make groups below it, but not change its limits.
	 */
	int (*create)(const char *instance, const char *name, uid_t owner,
		      const struct limits *limits, struct err *err);
	/* Set the limits of a group that is there anew; not there is success. ERR_BUSY: used. */
	int (*limit)(const char *instance, const char *name, const struct limits *limits,
		     struct err *err);
	/*
	 * A descriptor of the v2 directory for clone3(CLONE_INTO_CGROUP), or -1 when there is none;
	 * join() then still has to be called for the new process when more_to_join says so.
	 */
	int (*open_for_clone)(const char *instance, const char *name);
	bool more_to_join;
	/* Put a process into the group; pid 0 is the caller. */
	int (*join)(const char *instance, const char *name, pid_t pid, struct err *err);
	/*
	 * Open what a process writes "0" to in order to join, into ret[0..max). The count, or
	 * -errno with nothing open. Writing later needs no privilege: the opener's counts.
	 */
	int (*open_entry)(const char *instance, const char *name, int *ret, int max, struct err *err);
	/* Kill all in it and remove it with those below. Not there is success. */
	int (*remove)(const char *instance, const char *name, struct err *err);
	/* 0 where not known. */
	void (*usage)(const char *instance, const char *name, struct guest_usage *ret);
	/* Whether a group of it is there, in any tree. */
	bool (*there)(const char *instance, const char *name);
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
	const char *(*session_tree)(void);
};

extern const struct cgroup_manager cgroup_v2;
extern const struct cgroup_manager cgroup_v1;

/* The first manager that serves here; NULL and *ret_why (static text) when none does. */
const struct cgroup_manager *cgroup_pick(const char **ret_why);

/* The error of limits that could not be set: errnum is what writing a file of the group gave. */
int cgroup_limit_error(const char *name, int errnum, struct err *err);

/* Put the calling supervisor into INSTANCE/_supervisors, made when missing. Best effort. */
void cgroup_shelter(const struct cgroup_manager *manager, const char *instance);

/*
 * Begin what the next move between groups, by whichever process, would wait for: before the first
 * one in a while the kernel lets all processors pass a quiet state, which takes it some 10 ms, while
 * those that follow at once cost some 0.1 ms. Blocks for as long; best effort.
 */
void cgroup_hasten(void);

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

/* Call fn with each name in tree/INSTANCE. */
void cgroup_each(const char *tree, const char *instance, void (*fn)(void *data, const char *name),
		 void *data);

/* Open tree/INSTANCE/NAME, or -errno. */
int cgroup_open(const char *tree, const char *instance, const char *name);

/*
 * Open for writing the cgroup.procs that a session joins: that of tree/INSTANCE/NAME, or with
 * version 2 that of its group "vm2", made when missing. For as soon as a service manager in the
 * guest hands controllers down, which may be at any moment, the group itself may hold no process.
 * A descriptor, or -errno.
 */
int cgroup_open_procs(const char *tree, const char *instance, const char *name);

/* Put pid there. 0 or -errno. */
int cgroup_put(const char *tree, const char *instance, const char *name, pid_t pid);

/* Kill what is in tree/INSTANCE/NAME and remove it. 0 or -errno. */
int cgroup_clear(const char *tree, const char *instance, const char *name);

/* The number in a file of the group, 0 when there is none. */
uint64_t cgroup_number(const char *tree, const char *instance, const char *name, const char *file);

/* The same of a line "KEY number". */
uint64_t cgroup_keyed(const char *tree, const char *instance, const char *name, const char *file,
		      const char *key);

/* Write a file of the group, printf-like; 0 or -errno. */
int cgroup_set(const char *tree, const char *instance, const char *name, const char *file,
	       const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
