/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside store only: statements, their values, and transactions. */
#ifndef VM2_STORE_DB_H
#define VM2_STORE_DB_H

#include <sqlite3.h>

#include "provision/store/store.h"

struct store {
	sqlite3 *db;
};

/* The schema's history (schema.c): migration i brings user_version from i to i + 1. */
extern const char *const schema_migrations[];
extern const int schema_version;

/*
 * A prepared statement that lets go of itself. It is to be stepped before the same text is prepared anew:
 * until then it does not count as in use.
 */
#define CLEANUP_STATEMENT __attribute__((cleanup(db_cleanup_statement)))
void db_cleanup_statement(sqlite3_stmt **s);

/* The error for what SQLite just said, as ERR_BUSY or ERR_FAILED: "cannot WHAT: …". */
int db_fault(struct store *store, const char *what, struct err *err);

/* Run texts that return nothing. */
int db_exec(struct store *store, const char *sql, const char *what, struct err *err);

/*
 * Prepare sql and bind its parameters in order: one letter each in types: 's' const char * (NULL
 * binds null), 'i' int64_t, 'b' const void * and size_t. What is bound must outlive the statement.
 */
int db_prepare(struct store *store, sqlite3_stmt **ret, struct err *err, const char *sql,
	const char *types, ...);

/* One step: 1 a row, 0 the end, else an error. */
int db_step(struct store *store, sqlite3_stmt *s, struct err *err);

/*
 * Prepare, bind, and run what returns no rows. *ret_changes (may be NULL): rows changed.
 * A broken UNIQUE is ERR_EXISTS, a broken foreign key ERR_BUSY; both without a good text.
 */
int db_run(struct store *store, int *ret_changes, struct err *err, const char *sql,
	const char *types, ...);

/* A column's text into an array; null becomes "". */
void db_text(sqlite3_stmt *s, int column, char *ret, size_t size);
uint64_t db_u64(sqlite3_stmt *s, int column);

/* A plan's limits: those that the column's text does not name are as limits_default() has them. */
void db_limits(sqlite3_stmt *s, int column, struct limits *ret);

/* Three columns in the order of the struct; and an UPDATE's change of them, "sss". */
void db_lists(sqlite3_stmt *s, int column, struct store_lists *ret);
#define DB_CHANGE_LISTS                                                         \
	"nameservers = coalesce(?, nameservers), search = coalesce(?, search)," \
	" accept_env = coalesce(?, accept_env)"

/*
 * BEGIN IMMEDIATE; then COMMIT when r is 0, else ROLLBACK. db_end returns r, or the commit's
 * fault.
 */
int db_begin(struct store *store, struct err *err);
int db_end(struct store *store, int r, struct err *err);

/* The id of a tenant: ERR_NOT_FOUND with words. */
int db_tenant_id(struct store *store, const char *name, int64_t *ret, struct err *err);

/*
 * The smallest value first + k * step (k < count) that no row of table.column has. `what` names
 * the pool in ERR_BUSY: "WHAT is full (…)". Called within a transaction. A scan of the column's
 * index up to the first gap.
 */
struct db_pool {
	const char *table, *column;
	uint64_t first, count, step;
	const char *what, *advice;
};
int db_smallest_free(
	struct store *store, const struct db_pool *pool, uint64_t *ret, struct err *err);

/* Add a key within a transaction (keys.c). */
int db_key_insert(struct store *store, int64_t tenant, struct store_key *key, struct err *err);

#endif
