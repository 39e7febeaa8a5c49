/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/store/lockout.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "provision/store/db.h"

#define KNOWN_DAYS    90
#define KNOWN_SOURCES 32
/* Rows kept at most, whoever tries from wherever: 10 MB. */
#define FAILURES_MAX 100000

/* What a row counts: a tenant (0: any) at a source ("": all that are not known). */
struct scope {
	int64_t tenant;
	const char *source;
};

void lockout_source(const char *text, char ret[LOCKOUT_SOURCE_SIZE])
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:";
	struct in6_addr six;
	struct in_addr four;

	if (!text || !*text)
		text = LOCKOUT_LOCAL;
	if (inet_pton(AF_INET, text, &four) == 1) {
		inet_ntop(AF_INET, &four, ret, LOCKOUT_SOURCE_SIZE);
	} else if (inet_pton(AF_INET6, text, &six) == 1 && IN6_IS_ADDR_V4MAPPED(&six)) {
		inet_ntop(AF_INET, &six.s6_addr[12], ret, LOCKOUT_SOURCE_SIZE);
	} else if (inet_pton(AF_INET6, text, &six) == 1) {
		/* One customer has a /64 at least (RFC 6177): its single addresses cost nothing. */
		memset(&six.s6_addr[8], 0, 8);
		inet_ntop(AF_INET6, &six, ret, LOCKOUT_SOURCE_SIZE);
	} else {
		snprintf(ret, LOCKOUT_SOURCE_SIZE, "%.*s", (int)strspn(text, plain), text);
	}
	if (!*ret)
		snprintf(ret, LOCKOUT_SOURCE_SIZE, "?");
}

/* What can count no more goes; rows of a clock that was set back too. */
static int prune(struct store *store, const struct config *config, int64_t now, struct err *err)
{
	return db_run(store, NULL, err, "DELETE FROM failure WHERE time < ?1 OR time > ?2", "ii",
		now - (int64_t)(config->login_interval + config->login_unlock), now);
}

/* Failures of a scope that count, and until when they lock it: 0 for not at all. */
static int count(struct store *store, const struct config *config, const struct scope *scope,
	int64_t now, uint64_t *ret_failures, int64_t *ret_until, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int64_t last;
	int r = db_prepare(store, &s, err,
		"SELECT COUNT(*), last FROM failure,"
		" (SELECT MAX(time) AS last FROM failure WHERE tenant = ?1 AND source = ?2)"
		" WHERE tenant = ?1 AND source = ?2 AND time >= last - ?3",
		"isi", scope->tenant, scope->source, (int64_t)config->login_interval);

	if (r == 0)
		r = db_step(store, s, err);
	if (r != 1)
		return r;
	*ret_failures = db_u64(s, 0);
	last = sqlite3_column_int64(s, 1);
	*ret_until = 0;
	if (config->login_deny > 0 && *ret_failures >= config->login_deny &&
		last + (int64_t)config->login_unlock > now)
		*ret_until = last + (int64_t)config->login_unlock;
	return 0;
}

static int is_locked(struct store *store, const struct config *config, const struct scope *scope,
	bool *ret, struct err *err)
{
	uint64_t failures = 0;
	int64_t until = 0;
	int r = count(store, config, scope, time(NULL), &failures, &until, err);

	*ret = until != 0;
	return r;
}

static int is_known(
	struct store *store, int64_t tenant, const char *source, bool *ret, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r;

	if (!strcmp(source, LOCKOUT_LOCAL)) {
		*ret = true;
		return 0;
	}
	r = db_prepare(store, &s, err,
		"SELECT 1 FROM known_source WHERE tenant = ? AND source = ? AND last > ?", "isi",
		tenant, source, (int64_t)time(NULL) - KNOWN_DAYS * 86400);
	if (r == 0)
		r = db_step(store, s, err);
	*ret = r == 1;
	return r == 1 ? 0 : r;
}

/* The scopes that this try is counted in: at most two. Returns how many. */
static int scopes_of(const struct lockout_try *t, bool known, struct scope ret[2])
{
	int n = 0;

	if (t->tenant)
		ret[n++] = (struct scope){ t->tenant, known ? t->source : "" };
	/* From the host itself everybody comes: that is no one source. */
	if (!known && strcmp(t->source, LOCKOUT_LOCAL))
		ret[n++] = (struct scope){ 0, t->source };
	return n;
}

static int insert(struct store *store, const struct scope *scope, int64_t *ret_row, struct err *err)
{
	int r = db_run(store, NULL, err,
		"INSERT INTO failure (tenant, source, time) VALUES (?, ?, ?)", "isi", scope->tenant,
		scope->source, (int64_t)time(NULL));

	if (r == 0)
		*ret_row = sqlite3_last_insert_rowid(store->db);
	return r == 0 ? db_run(store, NULL, err, "DELETE FROM failure WHERE id <= ?", "i",
				*ret_row - FAILURES_MAX) :
			r;
}

/* Within a transaction: two tries at once are counted one after the other. */
static int judge(struct store *store, const struct config *config, struct lockout_try *t,
	struct err *err)
{
	struct scope scopes[2];
	bool known = false, locked = false;
	int n, r = prune(store, config, time(NULL), err);

	if (r == 0)
		r = is_known(store, t->tenant, t->source, &known, err);
	n = scopes_of(t, known, scopes);
	for (int i = 0; r == 0 && i < n; i++) {
		r = is_locked(store, config, &scopes[i], &locked, err);
		if (locked)
			t->state = *scopes[i].source ? LOCKOUT_SOURCE : LOCKOUT_TENANT;
	}
	for (int i = 0; r == 0 && t->state == LOCKOUT_NONE && i < n; i++)
		r = insert(store, &scopes[i], &t->rows[i], err);
	return r;
}

int lockout_begin(struct store *store, const struct config *config, const char *tenant,
	const char *source, struct lockout_try *ret, struct err *err)
{
	struct lockout_try t = { .state = LOCKOUT_NONE };
	int r = db_begin(store, err);

	if (r != 0)
		return r;
	lockout_source(source, t.source);
	r = db_tenant_id(store, tenant, &t.tenant, err);
	if (r == 0 || r == ERR_NOT_FOUND)
		r = judge(store, config, &t, err);
	r = db_end(store, r, err);
	if (r == 0)
		*ret = t;
	return r;
}

int lockout_end(struct store *store, const struct lockout_try *t, enum lockout_verdict verdict,
	struct err *err)
{
	int r = 0;

	if (verdict == LOCKOUT_WRONG)
		return 0;
	for (int i = 0; r == 0 && i < 2; i++)
		if (t->rows[i])
			r = db_run(store, NULL, err, "DELETE FROM failure WHERE id = ?", "i",
				t->rows[i]);
	/* Not the source's own count: who has an account here could guess at others' for ever. */
	if (r == 0 && verdict == LOCKOUT_RIGHT && t->tenant)
		r = db_run(store, NULL, err,
			"DELETE FROM failure WHERE tenant = ? AND source IN ('', ?)", "is",
			t->tenant, t->source);
	return r;
}

int lockout_note_source(
	struct store *store, const char *tenant, const char *source, struct err *err)
{
	char text[LOCKOUT_SOURCE_SIZE];
	int64_t id = 0;
	int r;

	lockout_source(source, text);
	r = db_tenant_id(store, tenant, &id, err);
	if (r == 0)
		r = db_run(store, NULL, err,
			"INSERT INTO known_source VALUES (?, ?, ?)"
			" ON CONFLICT (tenant, source) DO UPDATE SET last = excluded.last",
			"isi", id, text, (int64_t)time(NULL));
	return r == 0 ? db_run(store, NULL, err,
				"DELETE FROM known_source WHERE tenant = ?1 AND source NOT IN"
				" (SELECT source FROM known_source WHERE tenant = ?1"
				" ORDER BY last DESC, source LIMIT ?2)",
				"ii", id, (int64_t)KNOWN_SOURCES) :
			r;
}

/* Each known source of a tenant, and the host itself. */
static int count_known(struct store *store, const struct config *config, int64_t id,
	struct lockout *l, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err,
		"SELECT source, 1 FROM known_source WHERE tenant = ?1 AND last > ?2"
		" UNION ALL SELECT ?3, 0",
		"iis", id, (int64_t)time(NULL) - KNOWN_DAYS * 86400, LOCKOUT_LOCAL);

	while (r == 0 && (r = db_step(store, s, err)) == 1) {
		struct scope scope = { id, (const char *)sqlite3_column_text(s, 0) };
		uint64_t failures = 0;
		int64_t until = 0;

		r = count(store, config, &scope, time(NULL), &failures, &until, err);
		l->failures += failures;
		l->known += db_u64(s, 1);
		l->locked_known += until != 0;
	}
	return r;
}

int lockout_get(struct store *store, const struct config *config, const char *tenant,
	struct lockout *ret, struct err *err)
{
	struct scope all = { 0, "" };
	struct lockout l = { 0 };
	int r = db_tenant_id(store, tenant, &all.tenant, err);

	if (r == 0)
		r = count(store, config, &all, time(NULL), &l.failures, &l.until, err);
	if (r == 0)
		r = count_known(store, config, all.tenant, &l, err);
	if (r == 0)
		*ret = l;
	return r;
}

int lockout_clear(struct store *store, const char *tenant, const char *source, struct err *err)
{
	char text[LOCKOUT_SOURCE_SIZE];
	int64_t id = 0;
	int r = db_tenant_id(store, tenant, &id, err);

	if (r == 0)
		r = db_run(store, NULL, err, "DELETE FROM failure WHERE tenant = ?", "i", id);
	if (r != 0 || !source)
		return r;
	lockout_source(source, text);
	return db_run(store, NULL, err, "DELETE FROM failure WHERE tenant = 0 AND source = ?", "s",
		text);
}
