/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What statfs(2) says in a guest about the guest's own files, where the file system shows all of its own
 * (btrfs, whose quota groups it does not look at): the plan's disk and what of it is used, as
 * `vm2 guest list` shows them. Asked by the listeners of notify.h; of all other files, and of whatever is
 * not as expected, the kernel is left to answer.
 */
#ifndef VM2_GUEST_ANSWER_H
#define VM2_GUEST_ANSWER_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/vfs.h>

#include "provision/guest/args.h"

struct answers {
	int dirfd;	    /* the guest's folder in RUN */
	int epoll;	    /* of all listeners; -1: nobody asks here */
	int socket;	    /* by which further listeners come, or -1 */
	int late;	    /* one that epoll could not take yet, or -1: then none is to come */
	int listeners;	    /* how many there are */
	bool closed;	    /* as many as may be: whoever comes gets no filter */
	uid_t root;	    /* the guest's, on the host */
	dev_t device;	    /* of the guest's own files; 0: nothing is known of them */
	char group[128];    /* the folder of their quota group in /sys; "" as above */
	uint64_t limit;	    /* the plan's disk in bytes; 0: none */
	int64_t room;	    /* how many microseconds of a processor may be spent now */
	int64_t room_at;    /* clock_ms() when that was so */
	pid_t slow;	    /* a child that answers one that may take long, or 0 */
	int64_t slow_until; /* clock_ms() after which others do not wait for it */
	int slow_listener;  /* whose that is; -1: it is gone */
	uint64_t slow_id;
};

/*
 * Begin, with the privileges of the host's root: 0 or -errno, when nobody can be answered. dirfd must stay
 * open. Nothing to do (args->listener is 0) is success.
 */
int answers_begin(struct answers *a, const struct guest_args *args, int dirfd);

/*
 * Before poll(2): set what is to be polled now. For how many milliseconds at most, or -1. What is asked is
 * not, while there was much to answer or a child is at it; who comes always is, for he waits to enter the guest.
 */
int answers_poll(struct answers *a, int64_t now, struct pollfd p[2]);

/* After it: take a listener that has come, and answer what is asked, a few at a time. Does not block. */
void answers_serve(struct answers *a, const struct pollfd p[2]);

/* A child of the caller has ended. */
void answers_reaped(struct answers *a, pid_t pid);

/*
 * Have fs, which the kernel filled, show a disk of `limit` bytes, on which `left` more can be written as
 * far as the limit goes; never more than the file system itself has.
 */
void answer_show(struct statfs *fs, uint64_t limit, uint64_t left);

#endif
