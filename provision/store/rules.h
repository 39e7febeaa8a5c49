/* SPDX-License-Identifier: GPL-2.0-or-later */
/* When, from where and with how old a password a tenant may log in. All doors ask (auth.account). */
#ifndef VM2_STORE_RULES_H
#define VM2_STORE_RULES_H

#include "provision/store/store.h"

#define RULES_SOURCES_MAX 512
#define RULES_HOURS_MAX	  128

/* What is "" or 0 is no rule. */
struct rules {
	int64_t expires;	/* from then on nobody gets in */
	uint64_t password_days; /* a password of so many days must be changed */
	bool change;		/* the password must be changed at the next login with it */
	char sources[RULES_SOURCES_MAX + 1]; /* prefixes, with spaces between: "192.0.2.0/24 2001:db8::/32" */
	char hours[RULES_HOURS_MAX + 1];     /* as time.conf(5): "Wk0800-1800 Sa0900-1200" */
};

enum rules_verdict {
	RULES_OK,
	RULES_EXPIRED,
	RULES_SOURCE,
	RULES_HOURS,
	RULES_PASSWORD, /* it must be changed first */
};

/* A login that is to be judged. */
struct rules_login {
	int64_t now;
	const char *source; /* an address; NULL: from the host itself, which is everywhere */
	bool by_password;
	int64_t password_set; /* when; 0: never */
};

/* Which rule stands against it, the gravest first. Hours are those of the host's time zone. */
enum rules_verdict rules_judge(const struct rules *rules, const struct rules_login *login);

/*
 * Check what staff says, and take it down: a date ("2027-01-31" or "never"; it ends when that day begins,
 * UTC), prefixes separated by spaces or commas ("any"), hours ("any"). ERR_USAGE with words.
 */
int rules_set_expires(struct rules *rules, const char *text, struct err *err);
int rules_set_sources(struct rules *rules, const char *text, struct err *err);
int rules_set_hours(struct rules *rules, const char *text, struct err *err);

/* Of a tenant; one that nothing was ever said about has none. get: no rules for no tenant, too. */
int rules_get(struct store *store, const char *tenant, struct rules *ret, struct err *err);
int rules_put(struct store *store, const char *tenant, const struct rules *rules, struct err *err);

#endif
