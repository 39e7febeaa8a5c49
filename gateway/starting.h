/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connections that are not yet authenticated, and who of them has to leave when there are too
 * many: a crowd from one place makes room for those who come from elsewhere, and who has said
 * nothing for long makes room for all.
 */
#ifndef VM2_GATEWAY_STARTING_H
#define VM2_GATEWAY_STARTING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

/* So long, in ms, nobody is sent away in favour of others from the same place. */
#define STARTING_PATIENCE_MS 10000

struct starting_one {
	int pipe;	 /* closes when it is authenticated, or gone */
	pid_t pid;	 /* its monitor, our child; 0 when that has been reaped */
	uint64_t source; /* starting_source() */
	int64_t since;	 /* clock_ms() */
	bool exempt;	 /* a failed login is not held against its source */
};

struct starting {
	struct starting_one *of; /* oldest first */
	uint64_t n, max;
};

/* Room for max. Freed with the process. */
void starting_init(struct starting *s, uint64_t max);

/* Where a connection comes from, as a number: an IPv4 address, or an IPv6 network of 64 bits. */
uint64_t starting_source(const struct sockaddr_storage *address);

/* Add one; there must be room. */
void starting_add(struct starting *s, const struct starting_one *one);

/* A child was reaped: its number may soon be another's, and is not to be used any more. */
void starting_reaped(struct starting *s, pid_t pid);

/*
 * Whether a newcomer is turned away by lot: from `from` connections on, where it is `rate` of a hundred, to all
 * of them at the most, as MaxStartups of sshd_config(5) has it. lot: 0 to 99. Nobody is when from is 0.
 */
bool starting_drops(const struct starting *s, uint64_t from, uint64_t rate, uint32_t lot);

/*
 * Who has to leave for a newcomer from a source at a time: the oldest of a source that has more
 * connections than the newcomer's, or as many, but has waited long enough. Takes it out, closes its
 * pipe, and returns the process to be ended, or -1 when that has ended just now; 0 when it is the
 * newcomer who has to go.
 */
pid_t starting_evict(struct starting *s, uint64_t source, int64_t now);

#endif
