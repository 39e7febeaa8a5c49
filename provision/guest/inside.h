/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's side of a container's start: from a new process in new namespaces to its init. */
#ifndef VM2_GUEST_INSIDE_H
#define VM2_GUEST_INSIDE_H

#include "provision/guest/lxcfs.h"
#include "provision/guest/storage.h"

/* All that was opened on the host for it. Every descriptor is closed on exec. */
struct inside {
	const struct storage_driver *storage;
	struct storage_layers layers;
	const char *name; /* the guest's: its host name */
	uint64_t cpu;	    /* percent of one processor; 0: no limit */
	uint64_t terminals; /* of its /dev/pts; 0: no limit */
	uint64_t memory;    /* bytes; 0: no limit */
	int sysfs;	  /* a detached mount, of the guest's network namespace */
	int dev;	  /* the same, of what becomes its /dev: a tmpfs with nodes in it */
	int lxcfs[LXCFS_FILES]; /* the same, of files of lxcfs; -1 where there are none */
	int console_node; /* a detached mount of the console's slave side */
	int console;	  /* the slave side itself */
	int init;	  /* vm2-init */
	struct guest_way way; /* it is born in it, and goes the rest of it */
	int sync;	  /* to the parent, SOCK_SEQPACKET */
};

/* One message of the child to the parent. */
struct inside_report {
	int stop_signal; /* mounted; this is how its init is asked to stop */
	struct err err;	 /* code not 0: it failed */
};

/* Send the byte that the child waits for first, and a sysfs that was made after it (-1: none). */
int inside_send(int sync, int sysfs);

/*
 * In the child. Waits for a byte (ids and layers are ready), mounts, sends a report, waits
 * for another (the interface is there), becomes init. The end of sync without a report is success.
 */
_Noreturn void inside_main(const struct inside *in);

#endif
