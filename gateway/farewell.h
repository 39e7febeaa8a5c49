/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Turning connections away with a reason. A line before the version is legal (RFC 4253, 4.2).
 * Closing at once with the client's version unread would send a reset, which may overtake the
 * line: the client is given a moment to close first.
 */
#ifndef VM2_GATEWAY_FAREWELL_H
#define VM2_GATEWAY_FAREWELL_H

#include <stdint.h>

/* How long a connection that was turned away stays open at most, in ms. */
#define FAREWELL_MS 2000

/* How many are open at once; one more is closed at once, whatever becomes of its line. */
#define FAREWELLS_MAX 64

/* Zeroed is empty. */
struct farewells {
	int n;
	struct {
		int fd;
		int64_t until; /* by clock_ms() */
	} open[FAREWELLS_MAX];
};

/* Send "vm2: REASON, try again later" and take the descriptor over. Never waits. */
void farewell_say(struct farewells *f, int fd, const char *reason);

/* Close those whose client has closed or whose time is over. Call it every FAREWELL_MS / 4. */
void farewell_part(struct farewells *f);

#endif
