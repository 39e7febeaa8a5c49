/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who all the connections are from, those that have logged in as well: so that one source does not take
 * all of them. Computes only.
 */
#ifndef VM2_GATEWAY_SOURCES_H
#define VM2_GATEWAY_SOURCES_H

#include <stdint.h>
#include <sys/types.h>

struct sources {
	struct sources_one {
		pid_t pid;	 /* the connection's monitor */
		uint64_t source; /* starting_source() */
	} *of;
	uint64_t n, max;
};

/* Room for max. Freed with the process. */
void sources_init(struct sources *s, uint64_t max);

/* A connection from there, of this monitor. When there is no room it is not counted. */
void sources_add(struct sources *s, pid_t pid, uint64_t source);

/* The monitor has ended; one that is not known is none. */
void sources_drop(struct sources *s, pid_t pid);

/* How many are from there. */
uint64_t sources_count(const struct sources *s, uint64_t source);

#endif
