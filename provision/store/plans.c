/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plans and templates. */
#include <stdio.h>
#include <string.h>

#include "provision/store/db.h"

static int write_limits(struct store *store, const char *sql, const char *name,
	const struct limits *limits, int *ret_changes, struct err *err)
{
	CLEANUP_BUF struct buf text = { 0 };
	struct limits_part all;

	limits_whole(limits, &all);
	limits_write(&all, &text);
	return db_run(store, ret_changes, err, sql, "ss", text.data, name);
}

int store_plan_lists(struct store *store, const char *name, const struct store_lists_change *change,
	struct err *err)
{
	return db_run(store, NULL, err, "UPDATE plan SET " DB_CHANGE_LISTS " WHERE name = ?", "ssss",
		change->nameservers, change->search, change->accept_env, name);
}

static int add_plan(struct store *store, const struct store_plan *plan, struct err *err)
{
	const struct store_lists_change lists = { plan->lists.nameservers, plan->lists.search,
		plan->lists.accept_env };
	int r = write_limits(store, "INSERT INTO plan (limits, name) VALUES (?, ?)", plan->name,
		&plan->limits, NULL, err);

	if (r == ERR_EXISTS)
		err_set(err, r, "there is a plan '%s' already", plan->name);
	return r ? r : store_plan_lists(store, plan->name, &lists, err);
}

int store_plan_add(struct store *store, const struct store_plan *plan, struct err *err)
{
	int r = db_begin(store, err);

	return r == 0 ? db_end(store, add_plan(store, plan, err), err) : r;
}

static int change_plan(struct store *store, const char *name, const struct limits_part *change,
	struct err *err)
{
	struct store_plan plan;
	int r = store_plan_get(store, name, &plan, err);

	if (r != 0)
		return r;
	limits_apply(&plan.limits, change);
	return write_limits(store, "UPDATE plan SET limits = ? WHERE name = ?", name, &plan.limits,
		NULL, err);
}

int store_plan_change(struct store *store, const char *name, const struct limits_part *change,
	struct err *err)
{
	int r = db_begin(store, err);

	return r == 0 ? db_end(store, change_plan(store, name, change, err), err) : r;
}

int store_plan_remove(struct store *store, const char *name, struct err *err)
{
	int changes = 0;
	int r = db_run(store, &changes, err, "DELETE FROM plan WHERE name = ?", "s", name);

	if (r == ERR_BUSY && err && strstr(err->text, "FOREIGN"))
		return err_set(err, r,
			"plan '%s' is in use: give its tenants another (vm2 tenant set --plan)",
			name);
	if (r == 0 && changes == 0)
		return err_set(
			err, ERR_NOT_FOUND, "there is no plan '%s': see vm2 plan list", name);
	return r;
}

static void read_plan(sqlite3_stmt *s, struct store_plan *p)
{
	db_text(s, 0, p->name, sizeof(p->name));
	db_limits(s, 1, &p->limits);
	p->tenants = db_u64(s, 2);
	db_lists(s, 3, &p->lists);
}

#define PLAN_COLUMNS            \
	"SELECT name, limits, " \
	"(SELECT count(*) FROM tenant WHERE tenant.plan = plan.name), " \
	"nameservers, search, accept_env FROM plan "

int store_plan_get(struct store *store, const char *name, struct store_plan *ret, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err, PLAN_COLUMNS "WHERE name = ?", "s", name);

	if (r == 0)
		r = db_step(store, s, err);
	if (r == 0)
		return err_set(
			err, ERR_NOT_FOUND, "there is no plan '%s': see vm2 plan list", name);
	if (r != 1)
		return r;
	read_plan(s, ret);
	return 0;
}

int store_plan_each(struct store *store, store_plan_fn fn, void *data, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	struct store_plan plan;
	int r = db_prepare(store, &s, err, PLAN_COLUMNS "ORDER BY name", "");

	if (r != 0)
		return r;
	while ((r = db_step(store, s, err)) == 1) {
		read_plan(s, &plan);
		r = fn(data, &plan);
		if (r != 0)
			return r;
	}
	return r;
}

int store_template_add(struct store *store, const struct store_template *t, struct err *err)
{
	int r = db_run(store, NULL, err, "INSERT INTO template VALUES (?, ?, ?, ?, ?, ?)",
		"ssiiss", t->name, t->suite, t->created, (int64_t)t->bytes, t->state,
		t->digest[0] ? t->digest : NULL);

	if (r == ERR_EXISTS)
		err_set(err, r, "there is a template '%s' already: vm2 template remove %s", t->name,
			t->name);
	return r;
}

static void read_template(sqlite3_stmt *s, struct store_template *t)
{
	db_text(s, 0, t->name, sizeof(t->name));
	db_text(s, 1, t->suite, sizeof(t->suite));
	t->created = sqlite3_column_int64(s, 2);
	t->bytes = db_u64(s, 3);
	db_text(s, 4, t->state, sizeof(t->state));
	db_text(s, 5, t->digest, sizeof(t->digest));
}

int store_template_get(
	struct store *store, const char *name, struct store_template *ret, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err,
		"SELECT name, suite, created, bytes, state, digest FROM template WHERE name = ?", "s",
		name);

	if (r == 0)
		r = db_step(store, s, err);
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND,
			"template '%s' is not there: build it with vm2 template build %s", name,
			name);
	if (r != 1)
		return r;
	read_template(s, ret);
	return 0;
}

int store_template_each(struct store *store, store_template_fn fn, void *data, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	struct store_template t;
	int r = db_prepare(store, &s, err,
		"SELECT name, suite, created, bytes, state, digest FROM template ORDER BY name", "");

	if (r != 0)
		return r;
	while ((r = db_step(store, s, err)) == 1) {
		read_template(s, &t);
		r = fn(data, &t);
		if (r != 0)
			return r;
	}
	return r;
}

int store_template_digest(
	struct store *store, const char *name, const char *digest, struct err *err)
{
	return db_run(store, NULL, err, "UPDATE template SET digest = ? WHERE name = ?", "ss", digest,
		name);
}

int store_template_remove(struct store *store, const char *name, struct err *err)
{
	int changes = 0;
	int r = db_run(store, &changes, err, "DELETE FROM template WHERE name = ?", "s", name);

	if (r == ERR_BUSY && err && strstr(err->text, "FOREIGN"))
		return err_set(err, r,
			"template '%s' is in use: tenants name it, or guests stand on it", name);
	if (r == 0 && changes == 0)
		return err_set(err, ERR_NOT_FOUND,
			"there is no template '%s': see vm2 template list", name);
	return r;
}
