/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tenant database: the only code that knows SQL. Plain structs go in and come out; every call
 * is one transaction. One process, one open store: a store is never carried over fork(2) (SQLite's
 * locks belong to the process).
 *
 * WAL mode, foreign keys on, a busy timeout of 10 s, file mode 0600. synchronous=NORMAL: a change
 * survives every crash of a process, and the database stays consistent over a power failure, which
 * may however take back the last changes. store_durable() makes the changes of one process survive
 * that too (one fsync each): vm2d's worker calls it for what staff orders, and logins go without.
 *
 * Unless said otherwise functions return 0, ERR_NOT_FOUND, ERR_EXISTS, or ERR_BUSY when the
 * database stayed locked, ERR_FAILED for any other fault of it; lists may return a negative errno.
 * Outputs are untouched on failure. Times are seconds since the epoch, sizes bytes. Names are taken
 * as valid (name_valid()).
 */
#ifndef VM2_STORE_STORE_H
#define VM2_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "provision/base/config.h"
#include "provision/base/keyopts.h"
#include "provision/base/err.h"
#include "provision/base/limits.h"
#include "provision/base/str.h"

struct store;

#define STORE_NAME_SIZE	  (NAME_LEN_MAX + 1)
#define STORE_REASON_MAX  200 /* bytes of a suspension's reason */
#define STORE_ADDRESSES_MAX 16 /* further ones of a guest */
#define STORE_COMMENT_MAX 100 /* bytes of a rule's comment */
#define STORE_PRINCIPALS_MAX 1024 /* bytes of an authority's list of them */
#define STORE_HASH_SIZE	  384 /* CRYPT_OUTPUT_SIZE of crypt(3) */
#define STORE_SESSION_LEN 16  /* characters of a session's id */

/*
 * What a plan says in words, lists separated by spaces. For resolv.conf(5): addresses, and domains. Which
 * variables a client may set: patterns. "": nothing is said.
 */
struct store_lists {
	char nameservers[160], search[257], accept_env[257];
};

/* Some of them, anew; NULL: it stays as it is. */
struct store_lists_change {
	const char *nameservers, *search, *accept_env;
};

/* A plan: named limits. */
struct store_plan {
	char name[STORE_NAME_SIZE];
	struct limits limits;
	struct store_lists lists;
	uint64_t tenants; /* out only: how many have it */
};

struct store_template {
	char name[STORE_NAME_SIZE];
	char suite[STORE_NAME_SIZE];
	char state[16];	 /* "ready" */
	char digest[72]; /* "sha256:…" of the tree; "" for one that was made before there were any */
	int64_t created;
	uint64_t bytes;
};

/* What is meant to become of a guest; written before the first step that works on it. */
enum store_intent {
	STORE_GUEST_NONE, /* no row: nothing on the host */
	STORE_GUEST_CREATING,
	STORE_GUEST_PRESENT,
	STORE_GUEST_DESTROYING,
};

struct store_guest {
	enum store_intent intent;
	uint32_t number;
	uint32_t uid_base;
	char address4[16]; /* "" for none */
	char address6[46];
	char type[16];
	char template[STORE_NAME_SIZE]; /* what it was made from, and stands on; "" for none */
	char driver[16];		/* of its storage */
	int64_t created;
	bool up; /* it is meant to run: after a boot of the host it is started */
	char more[STORE_ADDRESSES_MAX * 46]; /* further addresses, separated by spaces; the tenant's */
};

/* A tenant with its plan and its guest: one query. */
struct store_tenant {
	int64_t id;
	char name[STORE_NAME_SIZE];
	char template[STORE_NAME_SIZE]; /* "" for the configured one */
	char reason[STORE_REASON_MAX + 1];
	char owner[STORE_NAME_SIZE]; /* "": nobody else's */
	uint32_t uid;
	bool suspended;
	bool password;
	int64_t created, last_login, password_set; /* 0: never */
	uint64_t keys;
	struct store_plan plan; /* its count of tenants is not filled in */
	struct limits_part own; /* what it has otherwise than its plan */
	struct limits limits;	/* what holds for it: the plan's, and its own over them */
	struct store_lists lists; /* the same */
	struct store_guest guest;
	int64_t month; /* when the one began that these are of; 0: none yet */
	uint64_t month_bytes; /* that it sent and received in it */
	bool beyond, held; /* it has used its quota up; the kernel has been told */
};

/* A published port: what comes to host_port of the host goes to guest_port of the guest. */
struct store_port {
	char tenant[STORE_NAME_SIZE];
	char protocol[4]; /* "tcp", "udp" */
	uint16_t host_port, guest_port;
	int64_t created;
	char address4[16], address6[46]; /* out only: the guest's; "" while there is none */
};

/* A tenant's own rule: of several, the first that a new connection is in decides. */
struct store_rule {
	char tenant[STORE_NAME_SIZE];
	uint32_t position; /* from 1 */
	char direction[8]; /* "in", "out", "peer" */
	char verdict[8];   /* "allow", "deny" */
	char protocol[8];  /* "tcp", "udp", "icmp", "any" */
	uint16_t first_port, last_port; /* 0, 0: any */
	char prefix[52];   /* of the other side's addresses; "" for any */
	char comment[STORE_COMMENT_MAX + 1];
	int64_t created;
	uint32_t number; /* out only: of the guest; 0 while there is none */
};

struct store_key {
	int64_t id;
	char type[64];
	char fingerprint[64]; /* "SHA256:…" as ssh-keygen -l prints it */
	char comment[256];
	char options[KEYOPTS_MAX + 1]; /* keyopts.h; "" for none */
	int64_t created;
	const void *blob; /* in only (store_key_add): the key as on the wire (RFC 4253 6.6) */
	size_t blob_len;
};

/* An authority whose certificates let users in. */
struct store_ca {
	int64_t id;
	char tenant[STORE_NAME_SIZE]; /* "": all tenants of this host */
	char type[64];
	char fingerprint[64];
	char comment[256];
	char principals[STORE_PRINCIPALS_MAX + 1]; /* with spaces between; "": the tenant's own name */
	int64_t created;
	const void *blob; /* in only */
	size_t blob_len;
};

/* A session. Strings may be NULL for "none" and belong to the caller (in) or the call (out). */
struct store_session {
	const char *id, *tenant, *kind, *command, *source, *credential, *via;
	const char *signal; /* of how it ended */
	const char *state;  /* out: "open", "closed" or "lost" (a crash cut it off) */
	int64_t started, ended;
	int64_t status; /* exit status, -1: none */
	pid_t pid;
	uint64_t pid_start; /* process_start_time() of pid */
	bool recorded;
	uint64_t bytes_in, bytes_out;
	uint64_t most; /* in only, open: as many open ones may the tenant have with it; 0: no bound */
};

struct store_counts {
	uint64_t tenants, guests, sessions, templates, addresses4;
};

/* Callbacks of lists: 0 to go on, any other value ends the list and is returned. */
typedef int (*store_plan_fn)(void *data, const struct store_plan *plan);
typedef int (*store_template_fn)(void *data, const struct store_template *template);
typedef int (*store_tenant_fn)(void *data, const struct store_tenant *tenant);
typedef int (*store_key_fn)(void *data, const struct store_key *key);
typedef int (*store_ca_fn)(void *data, const struct store_ca *ca);
typedef int (*store_port_fn)(void *data, const struct store_port *port);
typedef int (*store_rule_fn)(void *data, const struct store_rule *rule);
typedef int (*store_session_fn)(void *data, const struct store_session *session);

/*
 * Open the database, making it and bringing its schema up to date when needed. *ret is to be
 * closed with store_close. A database that a newer VM2 wrote is refused: ERR_FAILED.
 */
int store_open(const char *path, struct store **ret, struct err *err);

/* NULL is nothing. Always NULL. */
struct store *store_close(struct store *store);

/*
 * Have ready what a process that waits for a request will look for first. What was asked once through a
 * store is answered faster from then on: it keeps what SQLite made of the question.
 */
void store_warm(struct store *store);

static inline void cleanup_store(struct store **s)
{
	store_close(*s);
}
#define CLEANUP_STORE __attribute__((cleanup(cleanup_store)))

/* Have every change of this store from now on survive a power failure. */
int store_durable(struct store *store, struct err *err);

/* Move the write-ahead log into the database as far as no reader stands in the way. */
int store_checkpoint(struct store *store, struct err *err);

int store_count(struct store *store, struct store_counts *ret, struct err *err);

/*
 * Plans. add: ERR_EXISTS. change: those limits that the part gives. remove: ERR_BUSY while tenants
 * have it.
 */
int store_plan_add(struct store *store, const struct store_plan *plan, struct err *err);
int store_plan_lists(struct store *store, const char *name, const struct store_lists_change *change,
	struct err *err);
/* "" takes one back: it is the plan's. */
int store_tenant_lists(struct store *store, const char *name, const struct store_lists_change *change,
	struct err *err);
int store_plan_change(struct store *store, const char *name, const struct limits_part *change,
	struct err *err);
int store_plan_remove(struct store *store, const char *name, struct err *err);
int store_plan_get(struct store *store, const char *name, struct store_plan *ret, struct err *err);
int store_plan_each(struct store *store, store_plan_fn fn, void *data, struct err *err);

/* Templates. digest: set it. remove: ERR_BUSY while tenants name it or guests stand on it. */
int store_template_add(struct store *store, const struct store_template *t, struct err *err);
int store_template_get(
	struct store *store, const char *name, struct store_template *ret, struct err *err);
int store_template_each(struct store *store, store_template_fn fn, void *data, struct err *err);
int store_template_digest(
	struct store *store, const char *name, const char *digest, struct err *err);
int store_template_remove(struct store *store, const char *name, struct err *err);

/*
 * Tenants. add takes name, template ("" for none), plan.name and n keys of the structs, gives it
 * the smallest free account uid of the configuration, and all is added or nothing. ERR_EXISTS: the
 * name, or one of the keys twice; ERR_NOT_FOUND: plan or template; ERR_BUSY: no uid is free.
 * remove: ERR_BUSY while it still has a guest.
 */
int store_tenant_add(struct store *store, const struct config *config,
	const struct store_tenant *tenant, const struct store_key *keys, size_t n, struct err *err);
int store_tenant_get(
	struct store *store, const char *name, struct store_tenant *ret, struct err *err);
int store_tenant_each(struct store *store, store_tenant_fn fn, void *data, struct err *err);
int store_tenant_remove(struct store *store, const char *name, struct err *err);

/*
 * Change the tenant's plan (NULL: not) and what it has otherwise than its plan: what the part gives,
 * and no more what it drops. ERR_NOT_FOUND: the tenant, or the plan.
 */
int store_tenant_change(struct store *store, const char *name, const char *plan,
	const struct limits_part *own, struct err *err);

/*
 * The name of the tenant whose account has this uid, or whose guest has this number. ERR_NOT_FOUND is without a text:
 * it is usual.
 */
int store_tenant_by_uid(struct store *store, uid_t uid, char ret[STORE_NAME_SIZE], struct err *err);
int store_tenant_by_number(struct store *store, uint32_t number, char ret[STORE_NAME_SIZE],
			   struct err *err);

/* Suspend with a reason (may be ""), or resume with NULL. */
/* Give a tenant another owner, or none (""). */
int store_tenant_owner(struct store *store, const char *name, const char *owner, struct err *err);

int store_tenant_suspend(
	struct store *store, const char *name, const char *reason, struct err *err);

/* The password's hash; NULL takes it away. The hash of a tenant without one: ERR_NOT_FOUND. */
int store_password_set(struct store *store, const char *name, const char *hash, struct err *err);
int store_password_get(
	struct store *store, const char *name, char ret[STORE_HASH_SIZE], struct err *err);

/* The tenant logged in now. */
int store_tenant_login(struct store *store, const char *name, struct err *err);

/*
 * Keys. add fills in id and created; ERR_EXISTS when the tenant has it. match finds the tenant's
 * key with exactly this blob: ERR_NOT_FOUND without a text. remove takes a fingerprint or an id.
 */
int store_key_add(struct store *store, const char *tenant, struct store_key *key, struct err *err);
int store_key_each(
	struct store *store, const char *tenant, store_key_fn fn, void *data, struct err *err);
int store_key_match(struct store *store, const char *tenant, const void *blob, size_t len,
	struct store_key *ret, struct err *err);
int store_key_remove(struct store *store, const char *tenant, const char *which, struct err *err);

/*
 * Authorities. add, for a tenant or for all (NULL), fills in id and created. each: all, or those that
 * count for a tenant. match: those with exactly this blob that count for the tenant. remove takes an id,
 * or a fingerprint: then wherever it is registered.
 */
int store_ca_add(struct store *store, const char *tenant, struct store_ca *ca, struct err *err);
int store_ca_each(
	struct store *store, const char *tenant, store_ca_fn fn, void *data, struct err *err);
int store_ca_match(struct store *store, const char *tenant, const void *blob, size_t len,
	store_ca_fn fn, void *data, struct err *err);
int store_ca_remove(struct store *store, const char *which, struct err *err);

/*
 * Guests. allocate makes the row with intent "creating", made from the tenant's template or the
 * configuration's (`whole`: on no template), on the storage driver of that name, with the smallest
 * free number, range of uids and addresses of the pools.
 * ERR_BUSY: a pool is full; ERR_EXISTS; ERR_NOT_FOUND: the tenant, or the template.
 */
int store_guest_allocate(struct store *store, const struct config *config, const char *tenant,
	const char *driver, bool whole, struct store_guest *ret, struct err *err);
int store_guest_intent(
	struct store *store, const char *tenant, enum store_intent intent, struct err *err);
int store_guest_up(struct store *store, const char *tenant, bool up, struct err *err);
int store_guest_remove(struct store *store, const char *tenant, struct err *err);
/* The accounts inside it: "ID NAME\n" for each, or "". *ret_changed: they were others before. */
int store_guest_inside(struct store *store, const char *tenant, const char *list, bool *ret_changed,
	struct err *err);

/*
 * Published ports. add: ERR_EXISTS without a good text, ERR_NOT_FOUND: the tenant. each: of one
 * tenant, or of all (NULL). remove takes tenant, protocol and host_port. They go with the tenant.
 */
int store_port_add(struct store *store, const struct store_port *port, struct err *err);
int store_port_get(struct store *store, const char *protocol, uint16_t host_port,
	struct store_port *ret, struct err *err);
int store_port_each(
	struct store *store, const char *tenant, store_port_fn fn, void *data, struct err *err);
int store_port_remove(struct store *store, const struct store_port *port, struct err *err);

/*
 * Further addresses. set: it is the tenant's from now on, whoever had it, or nobody's (NULL). get: who
 * has it; ERR_NOT_FOUND without a text. They go with the tenant.
 */
int store_address_set(
	struct store *store, const char *address, const char *tenant, struct err *err);
int store_address_get(
	struct store *store, const char *address, char ret[STORE_NAME_SIZE], struct err *err);

/*
 * Tenants' own rules, in order. add puts it at its position, which is at most one after the last,
 * before the one that is there; remove closes the gap. ERR_NOT_FOUND: the tenant, or the rule. each:
 * of one tenant, or of all (NULL), one after the other. They go with the tenant.
 */
int store_rule_add(struct store *store, const struct store_rule *rule, struct err *err);
int store_rule_remove(
	struct store *store, const char *tenant, uint32_t position, struct err *err);
int store_rule_each(
	struct store *store, const char *tenant, store_rule_fn fn, void *data, struct err *err);

/*
 * Sessions. open adds a row and notes the login; ERR_DENIED when the tenant is suspended or gone
 * by now: whoever suspends first and ends sessions then misses none; ERR_BUSY when it has as many as it
 * may (those that forward ports are none). close sets ended, status,
 * signal, recorded and bytes of the open session with session->id (ERR_NOT_FOUND when it is not
 * open); lost says that it was cut off at `ended`. each: newest first, at most limit; tenant NULL
 * for all; only_open for those that run.
 */
int store_session_open(struct store *store, const struct store_session *session, struct err *err);
int store_session_close(struct store *store, const struct store_session *session, struct err *err);
int store_session_lost(struct store *store, const char *id, int64_t ended, struct err *err);
int store_session_get(
	struct store *store, const char *id, store_session_fn fn, void *data, struct err *err);
int store_session_each(struct store *store, const char *tenant, bool only_open, uint64_t limit,
	store_session_fn fn, void *data, struct err *err);

#endif
