/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a tenant has of one kind, counted over all its connections. Each is a byte of a file that the
 * tenant's processes share, locked as fcntl(2) says ("open file description locks"): whatever ends a
 * process, what it had is free again. Nothing is written there.
 */
#ifndef VM2_SESSION_SLOTS_H
#define VM2_SESSION_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

struct slots {
	int fd;	       /* the file, opened for us alone, for reading and writing */
	uint64_t most; /* so many there are; 0: no bound, and the file is not looked at */
	bool *mine;    /* of each: whether it is ours; a lock is no hindrance to who has it */
};

/* The caller's fd stays the caller's. */
void slots_begin(struct slots *s, int fd, uint64_t most);
void slots_end(struct slots *s);

/* Take one: its number, from 0 on (0 without a bound), or -EAGAIN where there is none, or -errno. */
int64_t slots_take(struct slots *s);

/* Give one back. */
void slots_give(struct slots *s, int64_t slot);

#endif
