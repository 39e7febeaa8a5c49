/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sources that are not served for a while: each connection that ended without a login costs its
 * source some seconds, which add up and pass. As OpenSSH's PerSourcePenalties (sshd_config(5)), whose
 * numbers these are. Computes only.
 */
#ifndef VM2_GATEWAY_PENALTY_H
#define VM2_GATEWAY_PENALTY_H

#include <stdbool.h>
#include <stdint.h>

/* How a connection ended, as the byte that its monitor leaves in its pipe. */
enum penalty_reason {
	PENALTY_NO_LOGIN = 'n',	   /* it went away and tried nothing */
	PENALTY_FAILED = 'f',	   /* no credential of it was right */
	PENALTY_LATE = 'l',	   /* its time to log in was over */
	PENALTY_BROKEN = 'b',	   /* its wire process was killed */
};

/* From so many seconds on a source is not served; it is again when all of them have passed. */
#define PENALTY_LEAST_S 15
#define PENALTY_MOST_S 600

/* Sources that are remembered; when there are more, those whose time is over first are forgotten. */
#define PENALTY_SOURCES 4096

/* Zeroed is empty. */
struct penalties {
	struct penalty {
		uint64_t source; /* starting_source() */
		int64_t until;	 /* clock_ms() */
		bool closed;	 /* it has come to PENALTY_LEAST_S: not served until then */
	} of[PENALTY_SOURCES];
	uint32_t n;
};

/* A connection ended like that. A byte that is no reason counts nothing. */
void penalty_add(struct penalties *p, uint64_t source, char reason, int64_t now);

/* Whether the source is not to be served now. */
bool penalty_closed(const struct penalties *p, uint64_t source, int64_t now);

#endif
