/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plans and templates. */
#include <stdio.h>
#include <string.h>

#include "provision/store/db.h"

int store_plan_add(struct store *store, const struct store_plan *plan, struct err *err)
{
	int r = db_run(store, NULL, err, "INSERT INTO plan VALUES (?, ?, ?, ?, ?, ?)", "siiiis",
		plan->name, (int64_t)plan->cpu, (int64_t)plan->memory, (int64_t)plan->disk,
		(int64_t)plan->processes, plan->recording_required ? "required" : "best-effort");

	if (r == ERR_EXISTS)
		err_set(err, r, "there is a plan '%s' already", plan->name);
	return r;
}

static void read_plan(sqlite3_stmt *s, struct store_plan *p)
{
	char recording[16];

	db_text(s, 0, p->name, sizeof(p->name));
	p->cpu = db_u64(s, 1);
	p->memory = db_u64(s, 2);
	p->disk = db_u64(s, 3);
	p->processes = db_u64(s, 4);
	db_text(s, 5, recording, sizeof(recording));
	p->recording_required = !strcmp(recording, "required");
	p->tenants = db_u64(s, 6);
}

#define PLAN_COLUMNS                                             \
	"SELECT name, cpu, memory, disk, processes, recording, " \
	"(SELECT count(*) FROM tenant WHERE tenant.plan = plan.name) FROM plan "

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
