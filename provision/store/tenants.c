/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tenants, with their plan and guest, and their passwords' hashes. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "provision/store/db.h"

int db_tenant_id(struct store *store, const char *name, int64_t *ret, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err, "SELECT id FROM tenant WHERE name = ?", "s", name);

	if (r == 0)
		r = db_step(store, s, err);
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no tenant '%s'", name);
	if (r != 1)
		return r;
	*ret = sqlite3_column_int64(s, 0);
	return 0;
}

static int insert_tenant(struct store *store, const struct config *config,
	const struct store_tenant *t, struct err *err)
{
	const struct db_pool uids = { "tenant", "uid", config->account_base, config->account_count,
		1, "the range of account uids", "enlarge uids.account-count in vm2.conf" };
	uint64_t uid = 0;
	int r = db_smallest_free(store, &uids, &uid, err);

	if (r != 0)
		return r;
	r = db_run(store, NULL, err,
		"INSERT INTO tenant (name, uid, plan, template, created, owner)"
		" VALUES (?, ?, ?, ?, ?, ?)",
		"sissis", t->name, (int64_t)uid, t->plan.name, t->template[0] ? t->template : NULL,
		(int64_t)time(NULL), t->owner);
	if (r == ERR_EXISTS)
		err_set(err, r, "there is a tenant '%s' already", t->name);
	return r;
}

static int add_all(struct store *store, const struct config *config, const struct store_tenant *t,
	const struct store_key *keys, size_t n, struct err *err)
{
	struct store_template template;
	struct store_plan plan;
	int64_t id = 0;
	int r = store_plan_get(store, t->plan.name, &plan, err);

	if (r == 0 && t->template[0])
		r = store_template_get(store, t->template, &template, err);
	if (r == 0)
		r = insert_tenant(store, config, t, err);
	if (r == 0)
		r = db_tenant_id(store, t->name, &id, err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct store_key key = keys[i];

		r = db_key_insert(store, id, &key, err);
	}
	return r;
}

int store_tenant_add(struct store *store, const struct config *config,
	const struct store_tenant *tenant, const struct store_key *keys, size_t n, struct err *err)
{
	int r = db_begin(store, err);

	if (r != 0)
		return r;
	return db_end(store, add_all(store, config, tenant, keys, n, err), err);
}

#define TENANT_COLUMNS                                                                           \
	"SELECT t.id, t.name, t.template, t.suspended_reason, t.uid, t.state = 'suspended', "    \
	"t.password IS NOT NULL, t.created, t.last_login, t.password_set, "                      \
	"(SELECT count(*) FROM key WHERE key.tenant = t.id), "                                   \
	"p.name, p.limits, t.limits, "                                                           \
	"g.intent, g.number, g.uid_base, g.address4, g.address6, g.type, g.created, g.template, " \
	"g.driver, g.up, " \
	"(SELECT group_concat(address, ' ') FROM address WHERE address.tenant = t.id), " \
	"u.month, u.month_bytes, u.beyond, u.held, t.owner, " \
	"coalesce(nullif(t.nameservers, ''), p.nameservers), " \
	"coalesce(nullif(t.search, ''), p.search), " \
	"coalesce(nullif(t.accept_env, ''), p.accept_env) " \
	"FROM tenant t JOIN plan p ON p.name = t.plan LEFT JOIN guest g ON g.tenant = t.id " \
	"LEFT JOIN traffic u ON u.tenant = t.id "

static enum store_intent intent_of(const char *text)
{
	if (!strcmp(text, "creating"))
		return STORE_GUEST_CREATING;
	if (!strcmp(text, "present"))
		return STORE_GUEST_PRESENT;
	return text[0] ? STORE_GUEST_DESTROYING : STORE_GUEST_NONE;
}

static void read_guest(sqlite3_stmt *s, int column, struct store_guest *g)
{
	char intent[16];

	db_text(s, column, intent, sizeof(intent));
	g->intent = intent_of(intent);
	g->number = (uint32_t)db_u64(s, column + 1);
	g->uid_base = (uint32_t)db_u64(s, column + 2);
	if (sqlite3_column_type(s, column + 3) != SQLITE_NULL) {
		struct in_addr a = { .s_addr = htonl((uint32_t)db_u64(s, column + 3)) };

		inet_ntop(AF_INET, &a, g->address4, sizeof(g->address4));
	}
	db_text(s, column + 4, g->address6, sizeof(g->address6));
	db_text(s, column + 5, g->type, sizeof(g->type));
	g->created = sqlite3_column_int64(s, column + 6);
	db_text(s, column + 7, g->template, sizeof(g->template));
	db_text(s, column + 8, g->driver, sizeof(g->driver));
	g->up = sqlite3_column_int(s, column + 9);
	db_text(s, column + 10, g->more, sizeof(g->more));
}

static void read_tenant(sqlite3_stmt *s, struct store_tenant *t)
{
	memset(t, 0, sizeof(*t));
	t->id = sqlite3_column_int64(s, 0);
	db_text(s, 1, t->name, sizeof(t->name));
	db_text(s, 2, t->template, sizeof(t->template));
	db_text(s, 3, t->reason, sizeof(t->reason));
	t->uid = (uint32_t)db_u64(s, 4);
	t->suspended = sqlite3_column_int(s, 5);
	t->password = sqlite3_column_int(s, 6);
	t->created = sqlite3_column_int64(s, 7);
	t->last_login = sqlite3_column_int64(s, 8);
	t->password_set = sqlite3_column_int64(s, 9);
	t->keys = db_u64(s, 10);
	db_text(s, 11, t->plan.name, sizeof(t->plan.name));
	db_limits(s, 12, &t->plan.limits);
	limits_read((const char *)sqlite3_column_text(s, 13), &t->own);
	t->limits = t->plan.limits;
	limits_apply(&t->limits, &t->own);
	read_guest(s, 14, &t->guest);
	t->month = sqlite3_column_int64(s, 25);
	t->month_bytes = db_u64(s, 26);
	t->beyond = sqlite3_column_int(s, 27);
	t->held = sqlite3_column_int(s, 28);
	db_text(s, 29, t->owner, sizeof(t->owner));
	db_lists(s, 30, &t->lists);
}

int store_tenant_get(
	struct store *store, const char *name, struct store_tenant *ret, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err, TENANT_COLUMNS "WHERE t.name = ?", "s", name);

	if (r == 0)
		r = db_step(store, s, err);
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no tenant '%s'", name);
	if (r != 1)
		return r;
	read_tenant(s, ret);
	return 0;
}

void store_warm(struct store *store)
{
	struct store_tenant none;

	store_tenant_get(store, "", &none, NULL);
}

int store_tenant_each(struct store *store, store_tenant_fn fn, void *data, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	struct store_tenant tenant;
	int r = db_prepare(store, &s, err, TENANT_COLUMNS "ORDER BY t.name", "");

	if (r != 0)
		return r;
	while ((r = db_step(store, s, err)) == 1) {
		read_tenant(s, &tenant);
		r = fn(data, &tenant);
		if (r != 0)
			return r;
	}
	return r;
}

/* The one name that a query of one number finds. */
static int find_name(struct store *store, const char *query, int64_t number,
		     char ret[STORE_NAME_SIZE], struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err, query, "i", number);

	if (r == 0)
		r = db_step(store, s, err);
	if (r != 1)
		return r == 0 ? ERR_NOT_FOUND : r;
	db_text(s, 0, ret, STORE_NAME_SIZE);
	return 0;
}

int store_tenant_by_uid(struct store *store, uid_t uid, char ret[STORE_NAME_SIZE], struct err *err)
{
	return find_name(store, "SELECT name FROM tenant WHERE uid = ?", (int64_t)uid, ret, err);
}

int store_tenant_by_number(struct store *store, uint32_t number, char ret[STORE_NAME_SIZE],
			   struct err *err)
{
	return find_name(
		store,
		"SELECT t.name FROM guest g JOIN tenant t ON t.id = g.tenant WHERE g.number = ?",
		(int64_t)number, ret, err);
}

/* What every change of one tenant ends with. */
static int one_changed(int r, int changes, const char *name, struct err *err)
{
	if (r == 0 && changes == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no tenant '%s'", name);
	return r;
}

int store_tenant_remove(struct store *store, const char *name, struct err *err)
{
	int changes = 0;
	int r = db_run(store, &changes, err, "DELETE FROM tenant WHERE name = ?", "s", name);

	if (r == ERR_BUSY && err && strstr(err->text, "FOREIGN"))
		return err_set(err, r, "tenant '%s' still has a guest", name);
	return one_changed(r, changes, name, err);
}

static int change_tenant(struct store *store, const char *name, const char *plan,
	const struct limits_part *own, struct err *err)
{
	CLEANUP_BUF struct buf text = { 0 };
	struct store_tenant t;
	int r = store_tenant_get(store, name, &t, err);

	if (r == 0 && plan)
		r = store_plan_get(store, plan, &t.plan, err);
	if (r != 0)
		return r;
	limits_merge(&t.own, own);
	buf_puts(&text, "");
	limits_write(&t.own, &text);
	return db_run(store, NULL, err, "UPDATE tenant SET plan = ?, limits = ? WHERE name = ?",
		"sss", t.plan.name, text.data, name);
}

int store_tenant_change(struct store *store, const char *name, const char *plan,
	const struct limits_part *own, struct err *err)
{
	int r = db_begin(store, err);

	return r == 0 ? db_end(store, change_tenant(store, name, plan, own, err), err) : r;
}

int store_tenant_lists(struct store *store, const char *name, const struct store_lists_change *change,
	struct err *err)
{
	int changes = 0;
	int r = db_run(store, &changes, err,
		"UPDATE tenant SET " DB_CHANGE_LISTS " WHERE name = ?", "ssss", change->nameservers,
		change->search, change->accept_env, name);

	return one_changed(r, changes, name, err);
}

int store_tenant_owner(struct store *store, const char *name, const char *owner, struct err *err)
{
	int changes = 0;
	int r = db_run(store, &changes, err, "UPDATE tenant SET owner = ? WHERE name = ?", "ss", owner,
		name);

	return one_changed(r, changes, name, err);
}

int store_tenant_suspend(struct store *store, const char *name, const char *reason, struct err *err)
{
	int changes = 0;
	int r = db_run(store, &changes, err,
		"UPDATE tenant SET state = ?, suspended_reason = ? WHERE name = ?", "sss",
		reason ? "suspended" : "active", reason, name);

	return one_changed(r, changes, name, err);
}

int store_password_set(struct store *store, const char *name, const char *hash, struct err *err)
{
	int changes = 0;
	int r = db_run(store, &changes, err,
		"UPDATE tenant SET password = ?1, password_set = CASE WHEN ?1 IS NULL THEN NULL"
		" ELSE ?2 END WHERE name = ?3",
		"sis", hash, (int64_t)time(NULL), name);

	return one_changed(r, changes, name, err);
}

int store_password_get(
	struct store *store, const char *name, char ret[STORE_HASH_SIZE], struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err,
		"SELECT password FROM tenant WHERE name = ? AND password IS NOT NULL", "s", name);

	if (r == 0)
		r = db_step(store, s, err);
	if (r != 1)
		return r == 0 ? ERR_NOT_FOUND : r;
	db_text(s, 0, ret, STORE_HASH_SIZE);
	return 0;
}

int store_tenant_login(struct store *store, const char *name, struct err *err)
{
	int changes = 0;
	int r = db_run(store, &changes, err, "UPDATE tenant SET last_login = ? WHERE name = ?",
		"is", (int64_t)time(NULL), name);

	return one_changed(r, changes, name, err);
}
