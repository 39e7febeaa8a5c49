/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guests: their life from nothing to running and back. The caller (vm2d's worker) holds the
 * tenant's lock and has written the intent to the database; what a guest is stands in struct
 * guest_spec, plain data. Every step can be run twice and undone twice (guest/steps.c).
 */
#ifndef VM2_GUEST_GUEST_H
#define VM2_GUEST_GUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "provision/base/config.h"
#include "provision/base/err.h"
#include "provision/base/limits.h"

/* How many uids and gids a guest has. */
#define GUEST_IDS 65536

/* In how many cgroup hierarchies a guest can be: version 1 has one per controller. */
#define GUEST_TASKS_MAX 5

/* What a guest is. All strings belong to the caller. */
struct guest_spec {
	const char *name;     /* the tenant's: host name, folder, cgroup */
	uint32_t number;      /* unique on the host: the interface is INSTANCE-<number> */
	uint32_t uid_base;    /* first host uid (and gid) of its range of GUEST_IDS */
	const char *template; /* its tree is TEMPLATES/NAME/rootfs; NULL or "": it stands on none */
	const char *driver;   /* of its storage (guest/storage.h); NULL: "overlay" */
	const char *address4; /* "10.82.0.5", or NULL */
	const char *address6; /* "fd82:…::5", or NULL */
	const char *more;     /* further addresses, separated by spaces, or NULL */
	const char *nameservers, *search; /* for its resolv.conf; NULL or "": the configuration's, none */
	struct limits limits;
	uint64_t up, down; /* bits a second that it may send and receive now; 0: all */
};

/*
 * The way into a guest's control groups for one process, opened while the caller may. To move a
 * process that is there already, with all its threads, the kernel first lets all processors pass a
 * quiet state, some 10 ms. Being born in a group, and moving no more than oneself, take no such wait.
 */
struct guest_way {
	bool bears;		    /* there is a cgroup2 group to be born in */
	int born;		    /* its folder */
	int tasks[GUEST_TASKS_MAX]; /* version 1: to each the process then writes "0" */
	int n_tasks;
};

/* A running guest, held. The descriptors keep meaning the same guest whatever happens to numbers. */
struct guest_run {
	int init_pidfd;	      /* of the guest's init */
	int supervisor_pidfd; /* of its vm2-guest */
	pid_t init_pid;	      /* on the host */
	int64_t since;	      /* seconds since the epoch */
	struct guest_way way; /* opened by guest_enter_prepare() for guest_fork() and guest_enter() */
	uint64_t cpu; /* its limit, percent of one processor: as lxcfs below */
	int keeper;   /* a socket, as above, for guest_enter_end() (notify.h); 0 or -1: none */
	uint64_t lxcfs; /* which run of lxcfs serves now: guest_enter_prepare() looks, for guest_enter() */
};

void guest_run_close(struct guest_run *run);

/*
 * A vm2-guest that was begun for a guest that is about to be started: it is loaded and makes what all
 * guests have, while its caller finds out what this one is. It ends with its caller. link: 0: there is none.
 */
struct guest_begun {
	int link;
	pid_t between; /* a child that only began it, if it is ours: else 0 */
};

/*
 * Take one that was begun ahead from the queue (-1: there is none), or else begin one. Best effort: without
 * one guest_start() begins its own.
 */
void guest_begin(const struct config *config, int queue, struct guest_begun *ret);

/*
 * A queue of such, for several processes to take from: a pair of sockets, which the links to them are sent
 * through. What is in it ends with the last process that has the end to take from. 0 or -errno.
 */
int guest_queue_make(int *ret_take, int *ret_put);
bool guest_queue_empty(int take);

/* Begin one ahead. A child that only began it ends soon, and is the caller's to reap. */
int guest_queue_fill(const struct config *config, int put, struct err *err);

/* It is not wanted, or was used: may be called in any case. */
void guest_begun_end(struct guest_begun *begun);

/* Called with a line for a person; may be NULL. */
typedef void (*guest_progress_fn)(void *data, const char *text);

/* What guest_start() calls; each may be NULL. */
struct guest_starting {
	guest_progress_fn progress;
	/*
	 * Once files, limits and rules are there, while vm2-guest makes the rest: for what the caller has to
	 * do anyway. The start may still fail. Not called when the guest runs by then.
	 */
	void (*meanwhile)(void *data);
	void *data; /* for both */
	struct guest_begun *begun; /* used if there is one; its end is the caller's. Or NULL */
};

/*
 * Bring the guest up, from whatever state it is in: files, cgroup, rules, interface, supervisor,
 * init. Already running is success. On failure all that this call made is taken back.
 * starting and ret may be NULL; else ret is filled and to be closed by the caller.
 * Errors: ERR_NOT_FOUND (no such template), ERR_BUSY (did not come up in config's start_timeout),
 * -errno with the step's name.
 */
int guest_start(const struct config *config, const struct guest_spec *spec,
		const struct guest_starting *starting, struct guest_run *ret, struct err *err);

/* Hold a running guest: 0, ERR_NOT_FOUND when it does not run, or -errno. Starts nothing. Fast. */
int guest_find(const struct config *config, const char *name, struct guest_run *ret,
	       struct err *err);

/* Whether it runs, without holding it; of many: view.h. */
bool guest_runs(const struct config *config, const char *name);

/* Whether a vm2-guest of this guest lives, be it between two runs of its init. */
bool guest_alive(const struct config *config, const char *name);

/*
 * Stop it and take back all but its files: asked politely, killed after config's stop_timeout.
 * Not running is success, and cleans up what a crash left. Needs only name and number of spec
 * (and addresses, for their rules).
 */
int guest_stop(const struct config *config, const struct guest_spec *spec, struct err *err);

/* Stop it and delete its files. Nothing there is success. */
int guest_destroy(const struct config *config, const struct guest_spec *spec, struct err *err);

/*
 * Have spec's limits in force: at once where it runs, and for when it starts again. ERR_BUSY when it
 * uses more than that by now and cannot give it back.
 */
int guest_limit(const struct config *config, const struct guest_spec *spec, struct err *err);

/* What it uses (cgroup.h tells); 0 where not known. */
struct guest_usage {
	uint64_t memory;    /* bytes, now */
	uint64_t processes; /* now */
};

/*
 * Open the guest's cgroups into run, and set what the caller's next child will be born into: the
 * guest's pid namespace. To be called by vm2-session, as root, before it forks. The caller itself
 * stays out of the guest's cgroup: it is neither charged for nor killed with the guest.
 */
int guest_enter_prepare(const struct config *config, const char *name, struct guest_run *run,
			struct err *err);

/*
 * As fork(2), after guest_enter_prepare(): the child is born in the guest's cgroup. The caller must be
 * single-threaded, and pthread_atfork(3) is not observed. The child's number here, 0 in it, or -errno.
 */
pid_t guest_fork(const struct guest_run *run);

/*
 * In the parent, after it: the way into the guest is the child's, and what stays outside holds no key to
 * it. (guest_run_close() would link all of a guest's life, and libnftnl, into every session.)
 */
void guest_leave(struct guest_run *run);

/*
 * In that child: enter all the guest's namespaces, become its root (uid, gid, no groups, a full set of
 * capabilities there and none on the host), chdir to "/", with no descriptor of the host left but
 * those in keep[0..n_keep), which must be ascending and small (0, 1, 2, …). No return to the host.
 */
int guest_enter(const struct guest_run *run, const int *keep, int n_keep, struct err *err);

/*
 * The last thing before a program of the guest's is executed: have its keeper answer its statfs(2), where it
 * does (notify.h). To be called where there is a run->keeper, which was kept. 0, or ERR_BUSY: then nothing may
 * be executed, for that call would fail.
 */
int guest_enter_end(const struct guest_run *run, struct err *err);

/* Words for `vm2 host check`: NULL when container guests can run here, else why not. Static text. */
const char *guest_probe(const struct config *config);

#endif
