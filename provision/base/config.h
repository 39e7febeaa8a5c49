/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration: one INI file, one table of settings, parsed once into a const struct.
 * A setting that the file does not name has its default; a name that the table does not know, a
 * value of the wrong kind, or a line that is no INI is an error with file and line number.
 */
#ifndef VM2_BASE_CONFIG_H
#define VM2_BASE_CONFIG_H

#include <stdint.h>
#include <stdio.h>

#include "provision/base/err.h"

/* All settings. Strings are never NULL and belong to the struct; numbers are in the unit named. */
struct config {
	/* [instance] */
	char *instance; /* names on the host derive from it: nft table, interfaces, cgroup */

	/* [paths]: those not given derive from state and run */
	char *state;	 /* /var/lib/vm2 */
	char *run;	 /* /run/vm2 */
	char *database;	 /* STATE/tenants.db */
	char *templates; /* STATE/templates */
	char *guests;	 /* STATE/guests */
	char *sessions;	 /* STATE/sessions */
	char *ledger;	 /* STATE/ledger */
	char *hostkeys;	 /* STATE/hostkeys */
	char *socket;	 /* RUN/vm2d.sock */
	char *accounts;	 /* RUN/accounts.snap */

	/* [access] */
	char *gateway_user; /* vm2-gateway */
	char *staff_group;  /* vm2-staff */
	char *audit_group;  /* vm2-audit */

	/* [daemon] */
	uint64_t workers; /* requests served at once */

	/* [login]: see provision/store/lockout.h */
	uint64_t login_deny;	 /* failures that lock; 0: never */
	uint64_t login_interval; /* seconds within which they count */
	uint64_t login_unlock;	 /* seconds that a lock lasts */

	/* [gateway] */
	char *listen;		  /* addresses, separated by spaces: "0.0.0.0:2222 [::]:2222" */
	uint64_t max_connections; /* in all */
	uint64_t max_starting;	  /* not yet authenticated */
	uint64_t early_drop;	  /* from so many of them on lots are drawn; 0: never */
	uint64_t early_drop_rate; /* percent */
	uint64_t login_grace;	  /* seconds until a connection must be authenticated */
	char *penalty_exempt;	  /* prefixes, separated by spaces */
	uint64_t max_tries;	  /* failed attempts on one connection */
	uint64_t max_sessions;	  /* sessions on one connection */
	uint64_t max_forwards;	  /* forwarded connections on one connection, and listeners */
	char *accept_env;	  /* names of variables, as patterns, separated by spaces */
	uint64_t client_alive;	  /* seconds; 0: never */
	uint64_t max_per_source; /* connections; 0: no bound */
	char *banner;		 /* a file, or "" */
	/* Algorithms' names with spaces or commas between, best first; each is one of config.c's. */
	char *kex, *ciphers, *macs, *host_key_algorithms, *public_key_algorithms;

	/* [network] */
	char *pool4; /* guests' IPv4 addresses: prefix in CIDR form; empty for none */
	char *pool6; /* the same for IPv6 */
	char *dns;   /* "auto" (the host's own resolvers), or addresses */
	char *table; /* "owned" or "watched": what others may do to the nftables table */
	char *pools;   /* further prefixes of guests' addresses, separated by spaces */
	char *masquerade; /* which of pool4 and pool6 are: "both", "ipv4", "ipv6", "none" */
	char *protect; /* prefixes that no guest reaches, separated by spaces */
	uint64_t connections;	  /* of a guest, at a time; 0: no bound */
	uint64_t history; /* days that the sums of each hour are kept */
	uint64_t new_connections; /* of a guest, in a second; 0: no bound */
	uint64_t fragments; /* of datagrams, of a guest, in a second; 0: no bound */
	uint64_t mtu;

	/* [guest] */
	char *template;		/* what a guest is made from when the tenant names none */
	char *plan;		/* the plan of a tenant that names none */
	char *storage;		/* of new guests: auto, overlay or btrfs */
	uint64_t start_timeout; /* seconds until a guest must be up */
	uint64_t stop_timeout;	/* seconds that a guest has to stop by itself */

	uint64_t start_parallel; /* guests that are started at a time after the host's boot */

	/* [accounts] */
	uint64_t enumerate; /* 0: getpwent(3) and its like list no tenants */

	/* [host]: what a new guest must leave */
	uint64_t reserve_memory; /* bytes */
	uint64_t reserve_disk;	 /* bytes */
	uint64_t reserve_addresses;
	uint64_t reserve_ranges;

	/* [uids] */
	uint64_t account_base; /* first host uid of tenants' accounts */
	uint64_t account_count;
	uint64_t guest_base;  /* first host uid of guests' ranges, 65,536 each */
	uint64_t guest_count; /* how many ranges */
};

#define CONFIG_DEFAULT_PATH "/etc/vm2/vm2.conf"

/*
 * Read path, or the default path when NULL (where an absent file means all defaults; a path that
 * was asked for must exist). *ret is to be freed with config_free(); untouched on failure.
 * Errors: ERR_USAGE for what is wrong in the file, -errno when it cannot be read.
 */
int config_load(const char *path, const struct config **ret, struct err *err);

/* NULL is nothing. Always returns NULL. */
const struct config *config_free(const struct config *config);

static inline void cleanup_config(const struct config **c)
{
	config_free(*c);
}
#define CLEANUP_CONFIG __attribute__((cleanup(cleanup_config)))

/* Write a configuration file with every setting, its default and a comment, for setup and docs. */
void config_write_defaults(FILE *out);

#endif
