/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sessions: the rows that auditors list. */
#include <stdio.h>
#include <string.h>

#include "provision/store/db.h"

static int insert_session(struct store *store, const struct store_session *n, struct err *err)
{
	int changes = 0;
	int r = db_run(store, &changes, err,
		"INSERT INTO session (id, tenant, kind, command, source, credential, via, started,"
		" pid, pid_start, recorded, state)"
		" SELECT ?, name, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'open'"
		" FROM tenant WHERE name = ? AND state = 'active'",
		"ssssssiiiis", n->id, n->kind, n->command, n->source, n->credential, n->via,
		n->started, (int64_t)n->pid, (int64_t)n->pid_start, (int64_t)n->recorded,
		n->tenant);

	if (r == 0 && changes == 0)
		return err_set(err, ERR_DENIED, "tenant '%s' has just been suspended or removed",
			n->tenant);
	return r;
}

/* Within the transaction that adds one. */
static int check_most(struct store *store, const struct store_session *n, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r;

	if (!n->most || !strcmp(n->kind, "forward"))
		return 0;
	r = db_prepare(store, &s, err,
		"SELECT count(*) FROM session WHERE state = 'open' AND tenant = ? AND kind != 'forward'",
		"s", n->tenant);
	if (r == 0)
		r = db_step(store, s, err);
	if (r != 1)
		return r;
	if ((uint64_t)sqlite3_column_int64(s, 0) < n->most)
		return 0;
	return err_set(err, ERR_BUSY, "%s has %llu sessions open, as many as its plan allows: end one of "
		       "them", n->tenant, (unsigned long long)n->most);
}

int store_session_open(struct store *store, const struct store_session *session, struct err *err)
{
	int r = db_begin(store, err);

	if (r != 0)
		return r;
	r = check_most(store, session, err);
	if (r == 0)
		r = insert_session(store, session, err);
	if (r == 0)
		r = store_tenant_login(store, session->tenant, err);
	return db_end(store, r, err);
}

static int one_changed(int r, int changes, const char *id, struct err *err)
{
	if (r == 0 && changes == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no open session '%s'", id);
	return r;
}

int store_session_close(struct store *store, const struct store_session *n, struct err *err)
{
	int changes = 0;
	int r = db_run(store, &changes, err,
		"UPDATE session SET ended = ?1, status = CASE WHEN ?2 < 0 THEN NULL ELSE ?2 END,"
		" signal = ?3, recorded = ?4, bytes_in = ?5, bytes_out = ?6, state = 'closed'"
		" WHERE id = ?7 AND state = 'open'",
		"iisiiis", n->ended, n->status, n->signal, (int64_t)n->recorded,
		(int64_t)n->bytes_in, (int64_t)n->bytes_out, n->id);

	return one_changed(r, changes, n->id, err);
}

int store_session_lost(struct store *store, const char *id, int64_t ended, struct err *err)
{
	int changes = 0;
	int r = db_run(store, &changes, err,
		"UPDATE session SET ended = ?, state = 'lost' WHERE id = ? AND state = 'open'",
		"is", ended, id);

	return one_changed(r, changes, id, err);
}

#define SESSION_COLUMNS                                                                       \
	"SELECT id, tenant, kind, command, source, credential, via, started, ended, status, " \
	"signal, pid, pid_start, recorded, bytes_in, bytes_out, state FROM session "

static const char *text(sqlite3_stmt *s, int column)
{
	return (const char *)sqlite3_column_text(s, column);
}

static void read_session(sqlite3_stmt *s, struct store_session *n)
{
	*n = (struct store_session){
		.id = text(s, 0),
		.tenant = text(s, 1),
		.kind = text(s, 2),
		.command = text(s, 3),
		.source = text(s, 4),
		.credential = text(s, 5),
		.via = text(s, 6),
		.started = sqlite3_column_int64(s, 7),
		.ended = sqlite3_column_int64(s, 8),
		.status = sqlite3_column_type(s, 9) == SQLITE_NULL ? -1 :
								     sqlite3_column_int64(s, 9),
		.signal = text(s, 10),
		.pid = sqlite3_column_int(s, 11),
		.pid_start = db_u64(s, 12),
		.recorded = sqlite3_column_int(s, 13),
		.bytes_in = db_u64(s, 14),
		.bytes_out = db_u64(s, 15),
		.state = text(s, 16),
	};
}

int store_session_get(
	struct store *store, const char *id, store_session_fn fn, void *data, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	struct store_session session;
	int r = db_prepare(store, &s, err, SESSION_COLUMNS "WHERE id = ?", "s", id);

	if (r == 0)
		r = db_step(store, s, err);
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no session '%s'", id);
	if (r != 1)
		return r;
	read_session(s, &session);
	return fn(data, &session);
}

int store_session_each(struct store *store, const char *tenant, bool only_open, uint64_t limit,
	store_session_fn fn, void *data, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	struct store_session session;
	char sql[512];
	int r;

	snprintf(sql, sizeof(sql), SESSION_COLUMNS "WHERE %s AND %s ORDER BY id DESC LIMIT ?",
		only_open ? "state = 'open'" : "1", tenant ? "tenant = ?" : "? IS NULL");
	r = db_prepare(store, &s, err, sql, "si", tenant, (int64_t)limit);
	if (r != 0)
		return r;
	while ((r = db_step(store, s, err)) == 1) {
		read_session(s, &session);
		r = fn(data, &session);
		if (r != 0)
			return r;
	}
	return r;
}
