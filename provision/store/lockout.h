/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who has guessed wrong too often. All doors ask vm2d, so that all share this count. The numbers are
 * those of pam_faillock(8): login.deny failures within login.interval seconds lock for
 * login.unlock-time seconds from the last of them. What is tried while it is locked counts for nothing,
 * so that no lock can be prolonged by trying on.
 *
 * Three counts: of a source (an address, or the /64 of an IPv6 one), whatever names it tries; of a
 * tenant, for all sources that it never logged in from; and of a tenant at each source that it did log
 * in from (the newest 32, for 90 days, and the host itself). So strangers can shut strangers out of an
 * account, but not its owner, who comes from where they always come from, or with a key.
 *
 * A try is counted before it is judged, and taken back when it was right: as many as there are
 * workers at once are no way around it.
 */
#ifndef VM2_STORE_LOCKOUT_H
#define VM2_STORE_LOCKOUT_H

#include "provision/store/store.h"

#define LOCKOUT_SOURCE_SIZE 64
#define LOCKOUT_LOCAL	    "local" /* the source of what comes from no network */

enum lockout_state {
	LOCKOUT_NONE,
	LOCKOUT_SOURCE, /* by tries from this very source: it may be told so */
	LOCKOUT_TENANT, /* by others' tries: a stranger must not learn it */
};

/* A try that is being judged. */
struct lockout_try {
	enum lockout_state state;
	int64_t tenant; /* its id; 0: there is none of that name */
	int64_t rows[2]; /* what was counted; 0: nothing */
	char source[LOCKOUT_SOURCE_SIZE];
};

/* What became of it. */
enum lockout_verdict {
	LOCKOUT_WRONG,	/* it stays counted */
	LOCKOUT_UNDONE, /* it was not judged, or more is needed: it was never there */
	LOCKOUT_RIGHT,	/* and what was counted against the tenant is forgotten */
};

/*
 * The source as it is counted: an IPv4 address, the first 64 bits of an IPv6 one, or a short word;
 * NULL or "": LOCKOUT_LOCAL.
 */
void lockout_source(const char *text, char ret[LOCKOUT_SOURCE_SIZE]);

/* Count a try of a password. ret->state says whether it may be right at all. */
int lockout_begin(struct store *store, const struct config *config, const char *tenant,
	const char *source, struct lockout_try *ret, struct err *err);
int lockout_end(struct store *store, const struct lockout_try *t, enum lockout_verdict verdict,
	struct err *err);

/* The tenant has logged in from there. ERR_NOT_FOUND. */
int lockout_note_source(
	struct store *store, const char *tenant, const char *source, struct err *err);

/* What stands against a tenant at all its sources: failures that count, and the end of the lock. */
struct lockout {
	uint64_t failures;
	int64_t until; /* of the lock for sources that are not known; 0: it is not locked */
	uint64_t known; /* sources that are known */
	uint64_t locked_known; /* of those, how many are locked */
};
int lockout_get(struct store *store, const struct config *config, const char *tenant,
	struct lockout *ret, struct err *err);

/* Forget what was counted against a tenant; with a source (not NULL) also what was against that. */
int lockout_clear(struct store *store, const char *tenant, const char *source, struct err *err);

#endif
