/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What `vm2 host check` looks at: a table of facts about this host, each with what is needed and
 * what to do when it lacks. Facts are tried, not guessed: what the kernel can do is done, in a child
 * with namespaces of its own.
 */
#ifndef VM2_CLI_CHECK_H
#define VM2_CLI_CHECK_H

#include "provision/cli/command.h"

enum check_state { CHECK_OK, CHECK_MISSING, CHECK_UNKNOWN };

/* What a probe found; text is shown whatever the state is. */
struct finding {
	enum check_state state;
	char text[160];
};

struct check {
	const char *name; /* stable: the key in JSON */
	bool optional;	  /* VM2 works without it */
	void (*probe)(const struct config *config, struct finding *found);
	const char *advice; /* what to do when it is missing */
};

/* The tables, each ending with a NULL name. */
extern const struct check check_kernel[];
extern const struct check check_network[];
extern const struct check check_setup[];

/* Set a finding. */
void found(struct finding *f, enum check_state state, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
