/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "provision/base/cleanup.h"

#define BUSY_TIMEOUT_MS 10000

/* Pages in the write-ahead log before a writer moves them itself; vm2d's keeper mostly is first. */
#define AUTOCHECKPOINT "4000"

/* It is kept for whoever asks the same again, with nothing of what it was asked this time. */
void db_cleanup_statement(sqlite3_stmt **s)
{
	sqlite3_reset(*s);
	if (*s)
		sqlite3_clear_bindings(*s);
}

int db_fault(struct store *store, const char *what, struct err *err)
{
	int code = sqlite3_errcode(store->db) & 0xff;

	if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
		return err_set(
			err, ERR_BUSY, "cannot %s: the tenant database is locked; try again", what);
	return err_set(
		err, ERR_FAILED, "cannot %s: tenant database: %s", what, sqlite3_errmsg(store->db));
}

int db_exec(struct store *store, const char *sql, const char *what, struct err *err)
{
	if (sqlite3_exec(store->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return db_fault(store, what, err);
	return 0;
}

static int bind_all(sqlite3_stmt *s, const char *types, va_list ap)
{
	int r = SQLITE_OK;

	for (int i = 1; *types && r == SQLITE_OK; i++, types++) {
		if (*types == 'i') {
			r = sqlite3_bind_int64(s, i, va_arg(ap, int64_t));
		} else if (*types == 's') {
			r = sqlite3_bind_text(s, i, va_arg(ap, const char *), -1, SQLITE_STATIC);
		} else {
			const void *data = va_arg(ap, const void *);

			r = sqlite3_bind_blob64(s, i, data, va_arg(ap, size_t), SQLITE_STATIC);
		}
	}
	return r;
}

/*
 * One that was prepared for the same text and is not in use, or NULL. SQLite's own list of all that there
 * are, some tens at most: to compile a text takes far longer than to look through it.
 */
static sqlite3_stmt *kept(struct store *store, const char *sql)
{
	sqlite3_stmt *s = NULL;

	while ((s = sqlite3_next_stmt(store->db, s)))
		if (!sqlite3_stmt_busy(s) && !strcmp(sqlite3_sql(s), sql))
			break;
	return s;
}

static int prepare(struct store *store, sqlite3_stmt **ret, struct err *err, const char *sql,
	const char *types, va_list ap)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = kept(store, sql);

	if ((!s && sqlite3_prepare_v2(store->db, sql, -1, &s, NULL) != SQLITE_OK) ||
		bind_all(s, types, ap) != SQLITE_OK)
		return db_fault(store, "prepare a statement", err);
	*ret = steal_ptr(&s);
	return 0;
}

int db_prepare(struct store *store, sqlite3_stmt **ret, struct err *err, const char *sql,
	const char *types, ...)
{
	va_list ap;
	int r;

	va_start(ap, types);
	r = prepare(store, ret, err, sql, types, ap);
	va_end(ap);
	return r;
}

int db_step(struct store *store, sqlite3_stmt *s, struct err *err)
{
	switch (sqlite3_step(s)) {
	case SQLITE_ROW:
		return 1;
	case SQLITE_DONE:
		return 0;
	}
	/* Negative: 1 is "a row" here, and ERR_FAILED has the same number. */
	if (db_fault(store, "read", err) == ERR_BUSY)
		return err_set(err, -EBUSY, "the tenant database is locked; try again");
	return err_set(err, -EIO, "cannot read the tenant database: %s", sqlite3_errmsg(store->db));
}

int db_run(struct store *store, int *ret_changes, struct err *err, const char *sql,
	const char *types, ...)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	va_list ap;
	int r;

	va_start(ap, types);
	r = prepare(store, &s, err, sql, types, ap);
	va_end(ap);
	if (r != 0)
		return r;
	r = sqlite3_step(s);
	if (r == SQLITE_CONSTRAINT) {
		int kind = sqlite3_extended_errcode(store->db);

		r = kind == SQLITE_CONSTRAINT_FOREIGNKEY ? ERR_BUSY : ERR_EXISTS;
		return err_set(err, r, "%s", sqlite3_errmsg(store->db));
	}
	if (r != SQLITE_DONE)
		return db_fault(store, "write", err);
	if (ret_changes)
		*ret_changes = sqlite3_changes(store->db);
	return 0;
}

void db_text(sqlite3_stmt *s, int column, char *ret, size_t size)
{
	const void *text = sqlite3_column_text(s, column);
	size_t len = text ? (size_t)sqlite3_column_bytes(s, column) : 0;

	if (len >= size)
		len = size - 1;
	if (len)
		memcpy(ret, text, len);
	ret[len] = '\0';
}

uint64_t db_u64(sqlite3_stmt *s, int column)
{
	return (uint64_t)sqlite3_column_int64(s, column);
}

void db_limits(sqlite3_stmt *s, int column, struct limits *ret)
{
	const char *text = (const char *)sqlite3_column_text(s, column);
	struct limits_part part;

	limits_read(text ? text : "", &part);
	limits_default(ret);
	limits_apply(ret, &part);
}

void db_lists(sqlite3_stmt *s, int column, struct store_lists *ret)
{
	db_text(s, column, ret->nameservers, sizeof(ret->nameservers));
	db_text(s, column + 1, ret->search, sizeof(ret->search));
	db_text(s, column + 2, ret->accept_env, sizeof(ret->accept_env));
}

int db_begin(struct store *store, struct err *err)
{
	return db_exec(store, "BEGIN IMMEDIATE", "begin a change", err);
}

int db_end(struct store *store, int r, struct err *err)
{
	if (r == 0)
		r = db_exec(store, "COMMIT", "commit a change", err);
	if (r != 0)
		sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
	return r;
}

/*
 * Without gaps, the next value is behind the greatest: no scan. (With values off the grid this may
 * not find the smallest, but never one that is taken.)
 */
static int dense(struct store *store, const struct db_pool *p, uint64_t *ret, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	char sql[160];
	int r;

	snprintf(sql, sizeof(sql),
		"SELECT (SELECT min(%s) FROM %s), (SELECT max(%s) FROM %s), "
		"(SELECT count(*) FROM %s)",
		p->column, p->table, p->column, p->table, p->table);
	r = db_prepare(store, &s, err, sql, "");
	if (r == 0)
		r = db_step(store, s, err);
	if (r != 1)
		return r;
	if (db_u64(s, 2) > 0 && db_u64(s, 0) == p->first &&
		db_u64(s, 1) == p->first + (db_u64(s, 2) - 1) * p->step)
		*ret = db_u64(s, 1) + p->step;
	return 0;
}

int db_smallest_free(
	struct store *store, const struct db_pool *pool, uint64_t *ret, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	char sql[128];
	uint64_t next = pool->first, end = next + pool->count * pool->step;
	int r = dense(store, pool, &next, err);

	if (r != 0)
		return r;
	snprintf(sql, sizeof(sql), "SELECT %s FROM %s WHERE %s >= ? AND %s < ? ORDER BY %s",
		pool->column, pool->table, pool->column, pool->column, pool->column);
	r = db_prepare(store, &s, err, sql, "ii", (int64_t)next, (int64_t)end);
	if (r != 0)
		return r;
	/* A value off the grid (an older configuration's) blocks the place that it reaches into. */
	while ((r = db_step(store, s, err)) == 1 && db_u64(s, 0) < next + pool->step)
		next += pool->step;
	if (r < 0)
		return r;
	if (next >= end)
		return err_set(err, ERR_BUSY, "%s is full (%" PRIu64 " of %" PRIu64 " in use); %s",
			pool->what, pool->count, pool->count, pool->advice);
	*ret = next;
	return 0;
}

static int read_version(struct store *store, int *ret, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err, "PRAGMA user_version", "");

	if (r != 0)
		return r;
	r = db_step(store, s, err);
	if (r < 0)
		return r;
	*ret = sqlite3_column_int(s, 0);
	return 0;
}

static int migrate_one(struct store *store, struct err *err)
{
	char pragma[48];
	int version = 0, r;

	r = db_begin(store, err);
	if (r != 0)
		return r;
	r = read_version(store, &version, err); /* another process may have been first */
	if (r == 0 && version < schema_version) {
		r = db_exec(store, schema_migrations[version], "change the schema", err);
		snprintf(pragma, sizeof(pragma), "PRAGMA user_version = %d", version + 1);
		if (r == 0)
			r = db_exec(store, pragma, "set the schema's version", err);
	}
	return db_end(store, r, err);
}

static int migrate(struct store *store, const char *path, struct err *err)
{
	int version = 0, r = read_version(store, &version, err);

	if (r == 0 && version > schema_version)
		return err_set(err, ERR_FAILED,
			"%s has schema %d, and this vm2d knows up to %d: a newer VM2 wrote it; "
			"start that one",
			path, version, schema_version);
	if (r == 0 && version < schema_version)
		r = db_exec(store, "PRAGMA journal_mode = WAL", "turn on write-ahead logging", err);
	for (; r == 0 && version < schema_version; version++)
		r = migrate_one(store, err);
	return r;
}

static int configure(struct store *store, struct err *err)
{
	sqlite3_busy_timeout(store->db, BUSY_TIMEOUT_MS);
	sqlite3_extended_result_codes(store->db, 0);
	/*
	 * Whoever closes last does not stop to checkpoint and fsync: a login's worker may be that.
	 */
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, NULL);
	sqlite3_db_config(store->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	return db_exec(store,
		"PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = " AUTOCHECKPOINT,
		"configure", err);
}

/*
 * Before the process opens its first database; afterwards SQLite refuses this and nothing changes.
 * By itself it would make room at once for 20 pages and 1,200 small things, and touch all of it:
 * a worker needs a few of each, and page faults are most of what it costs to open the database.
 */
static void spare_memory(void)
{
	sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0);
	sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
}

int store_open(const char *path, struct store **ret, struct err *err)
{
	CLEANUP_STORE struct store *store = xcalloc(1, sizeof(*store));
	int fd, r;

	spare_memory();
	/* SQLite gives the -wal and -shm files the mode of the database, so this makes all 0600. */
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(err, errno, "cannot open the tenant database %s", path);
	fd_close(fd);
	if (sqlite3_open_v2(path, &store->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
		SQLITE_OK)
		return db_fault(store, "open", err);
	r = configure(store, err);
	if (r == 0)
		r = migrate(store, path, err);
	if (r != 0) {
		err_wrap(err, "%s", path);
		return r;
	}
	*ret = steal_ptr(&store);
	return 0;
}

struct store *store_close(struct store *store)
{
	sqlite3_stmt *s;

	while (store && (s = sqlite3_next_stmt(store->db, NULL)))
		sqlite3_finalize(s);
	if (store)
		sqlite3_close_v2(store->db);
	free(store);
	return NULL;
}

int store_durable(struct store *store, struct err *err)
{
	return db_exec(store, "PRAGMA synchronous = FULL", "configure", err);
}

int store_checkpoint(struct store *store, struct err *err)
{
	int r = sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);

	return r == SQLITE_OK || r == SQLITE_BUSY ? 0 : db_fault(store, "checkpoint", err);
}

int store_count(struct store *store, struct store_counts *ret, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err,
		"SELECT (SELECT count(*) FROM tenant), (SELECT count(*) FROM guest),"
		" (SELECT count(*) FROM session WHERE state = 'open'),"
		" (SELECT count(*) FROM template), (SELECT count(address4) FROM guest)",
		"");

	if (r == 0)
		r = db_step(store, s, err);
	if (r != 1)
		return r;
	*ret = (struct store_counts){ .tenants = db_u64(s, 0),
		.guests = db_u64(s, 1),
		.sessions = db_u64(s, 2),
		.templates = db_u64(s, 3),
		.addresses4 = db_u64(s, 4) };
	return 0;
}
