/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's side of a container's start: from a new process in new namespaces to its init. */
#ifndef VM2_GUEST_INSIDE_H
#define VM2_GUEST_INSIDE_H

#include <stdbool.h>

#include "provision/guest/lxcfs.h"
#include "provision/guest/storage.h"

/* All that was opened on the host for it. Every descriptor is closed on exec. */
struct inside {
	const struct storage_driver *storage;
	const char *name; /* the guest's: its host name */
	uint64_t cpu;	    /* percent of one processor; 0: no limit */
	uint64_t terminals; /* of its /dev/pts; 0: no limit */
	uint64_t memory;    /* bytes; 0: no limit */
	bool profiled;	    /* the host has AppArmor */
	int proc;	    /* the host's, for what it says about this process */
	int sysfs;	  /* a detached mount, of the guest's network namespace */
	int dev;	  /* the same, of what becomes its /dev: a tmpfs with nodes in it */
	int lxcfs[LXCFS_FILES]; /* the same, of files of lxcfs; -1 where there are none */
	int console_node; /* a detached mount of the console's slave side */
	int console;	  /* the slave side itself */
	int init;	  /* vm2-init */
	struct guest_way way; /* it is born in it, and goes the rest of it */
	int sync;	  /* to the parent, SOCK_SEQPACKET */
};

/* One message of the child to the parent. When mounted, with the listener of notify.h, if it has one. */
struct inside_report {
	int stop_signal; /* mounted; this is how its init is asked to stop */
	bool filtered;	 /* a listener comes with it: without that its statfs(2) would fail */
	struct err err;	 /* code not 0: it failed */
};

/*
 * In the guest's /dev: the folder for its root alone, and in there what was the root while the guest was put
 * together; with the folders "root", "lower", "base", "own" and "furniture", with "proc", "dev", "sys", "run".
 */
#define INSIDE_PRIVATE ".vm2"
#define INSIDE_STAGE   "dev/" INSIDE_PRIVATE "/stage"

/* How many descriptors a word to the child brings at most. */
#define INSIDE_FDS 3

/*
 * A word to the child, with descriptors (-1: none in this place), which stay the caller's. The first: its
 * ids are there (a sysfs that was made after it was born, and its first mount namespace). The second: the guest's files are (the layers).
 * The third: its interface is.
 */
int inside_send(int sync, const int fds[INSIDE_FDS]);

/*
 * In the child. At the first word it mounts what all guests have, at the second the guest's root, and
 * sends a report; at the third it becomes init. The end of sync without a report is success.
 */
_Noreturn void inside_main(const struct inside *in);

#endif
