/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/daemon/handlers.h"
#include "provision/daemon/life.h"
#include "provision/store/accounts.h"
#include "provision/store/authkey.h"
#include "provision/store/password.h"

#define KEYS_MAX 64 /* of one request */

/*
 * Whether a file of lines "name:…" has this name. The files are read as they are: NSS would ask
 * every module of the host, ours among them, and what a directory server knows may be slow.
 */
static bool file_has(const char *path, const char *name)
{
	CLEANUP_FCLOSE FILE *f = fopen(path, "re");
	CLEANUP_FREE char *line = NULL;
	size_t cap = 0, len = strlen(name);

	while (f && getline(&line, &cap, f) > 0)
		if (!strncmp(line, name, len) && line[len] == ':')
			return true;
	return false;
}

static int check_host(struct request *r, const char *name)
{
	static const char *const files[] = { "/etc/passwd", "/etc/group" };

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (file_has(files[i], name))
			return err_set(&r->err, ERR_EXISTS,
				"'%s' is a name of this host already (%s): choose another", name,
				files[i]);
	return 0;
}

struct keys {
	size_t n;
	struct store_key of[KEYS_MAX];
	struct authkey *parsed[KEYS_MAX];
};

static void free_keys(struct keys *k)
{
	for (size_t i = 0; i < k->n; i++)
		free(k->parsed[i]);
}

static int parse_keys(struct request *r, struct keys *k)
{
	const char *line;
	size_t pos = 0;

	while ((line = msg_next_value(&r->in, "key", &pos))) {
		struct authkey *parsed;
		int n;

		if (k->n == KEYS_MAX)
			return err_set(&r->err, ERR_USAGE, "more than %d keys at once", KEYS_MAX);
		parsed = k->parsed[k->n] = xcalloc(1, sizeof(*parsed));
		k->n++;
		n = authkey_parse(line, parsed, &r->err);
		if (n != 0)
			return err_wrap(&r->err, "key %zu", k->n);
		key_fill(parsed, &k->of[k->n - 1]);
	}
	return 0;
}

/* NULL: the request says nothing; "": nobody. */
static int read_owner(struct request *r, const char **ret)
{
	const char *text = msg_get(&r->in, "owner");

	if (text && !strcmp(text, "none")) {
		*ret = "";
		return 0;
	}
	return text ? request_name(r, "owner", ret) : 0;
}

/* Plan and template, which may be missing. */
static int fill_names(struct request *r, struct store_tenant *t)
{
	const char *plan = r->config->plan, *template = "", *name = NULL, *owner = NULL;
	int n = request_name(r, "name", &name);

	if (n == 0 && msg_get(&r->in, "plan"))
		n = request_name(r, "plan", &plan);
	if (n == 0 && msg_get(&r->in, "template"))
		n = request_name(r, "template", &template);
	if (n == 0)
		n = read_owner(r, &owner);
	if (n != 0)
		return n;
	snprintf(t->name, sizeof(t->name), "%s", name);
	snprintf(t->plan.name, sizeof(t->plan.name), "%s", plan);
	snprintf(t->template, sizeof(t->template), "%s", template);
	snprintf(t->owner, sizeof(t->owner), "%s", owner ?: "");
	return 0;
}

static int send_tenant(struct request *r, const struct store_tenant *t, bool all)
{
	CLEANUP_MSG struct msg row = { 0 };
	CLEANUP_BUF struct buf own = { 0 };
	int n = 0;

	request_row_begin(&row);
	msg_add(&row, "name", t->name);
	msg_add(&row, "plan", t->plan.name);
	msg_add(&row, "owner", t->owner);
	msg_add(&row, "state", t->suspended ? "suspended" : "active");
	msg_add(&row, "guest", life_state(r->config, t));
	msg_add(&row, "address4", t->guest.address4);
	msg_add(&row, "address6", t->guest.address6);
	msg_add_i64(&row, "created", t->created);
	msg_add_i64(&row, "last_login", t->last_login);
	if (all) {
		msg_add_u64(&row, "uid", t->uid);
		msg_add_u64(&row, "uid_base", t->guest.uid_base);
		msg_add(&row, "template", t->template[0] ? t->template : r->config->template);
		msg_add_u64(&row, "keys", t->keys);
		msg_add_u64(&row, "password", t->password);
		msg_add(&row, "suspended_reason", t->reason);
		plan_add_limits(&row, &t->limits);
		plan_add_lists(&row, &t->lists);
		limits_write(&t->own, &own);
		msg_add(&row, "own", own.data ? own.data : "");
		n = login_fields(r, t->name, &row);
	}
	return n == 0 ? request_row(r, &row) : n;
}

static int show(struct request *r, const char *name)
{
	struct store_tenant t;
	int n = store_tenant_get(r->store, name, &t, &r->err);

	return n == 0 ? send_tenant(r, &t, true) : n;
}

int tenant_add(struct request *r)
{
	__attribute__((cleanup(free_keys))) struct keys keys = { 0 };
	struct store_tenant tenant = { 0 };
	int n = fill_names(r, &tenant);

	if (n == 0)
		n = check_host(r, tenant.name);
	if (n == 0)
		n = parse_keys(r, &keys);
	if (n == 0)
		n = store_tenant_add(r->store, r->config, &tenant, keys.of, keys.n, &r->err);
	if (n == 0) {
		n = accounts_publish(r->store, r->config, &r->err);
		if (n != 0)
			err_wrap(&r->err,
				"the tenant is added, but programs of this host do not see it");
	}
	return n == 0 ? show(r, tenant.name) : n;
}

static int list_one(void *data, const struct store_tenant *t)
{
	return send_tenant(data, t, false);
}

int tenant_list(struct request *r)
{
	return store_tenant_each(r->store, list_one, r, &r->err);
}

int tenant_show(struct request *r)
{
	const char *name = NULL;
	int n = request_name(r, "name", &name);

	return n == 0 ? show(r, name) : n;
}

/* As with plan_set(): the database first. */
static int set_limits(struct request *r, const char *name, const char *plan, const char *owner,
	const struct limits_part *own)
{
	int n = store_tenant_change(r->store, name, plan, own, &r->err);

	if (n == 0 && owner)
		n = store_tenant_owner(r->store, name, owner, &r->err);
	if (n != 0)
		return n;
	n = life_limit(r->config, r->store, name, &r->err);
	if (n != 0)
		err_wrap(&r->err, "it is noted, but not in force in the guest that runs");
	return n;
}

/* Name servers are in force in the guest at once; the other lists are read where they are needed. */
static int set_lists(struct request *r, const char *name, const struct store_lists_change *lists)
{
	CLEANUP_CLOSE int lock = -1;
	struct store_tenant t;
	int n = store_tenant_lists(r->store, name, lists, &r->err);

	if (n != 0)
		return n;
	n = life_lock(r->config, name, &lock, &r->err);
	if (n == 0)
		n = store_tenant_get(r->store, name, &t, &r->err);
	if (n == 0)
		life_follow(r->config, &t);
	else
		err_wrap(&r->err, "it is noted, but not in force in the guest that runs");
	return n;
}

/* As it would be. */
static int show_changed(struct request *r, const char *name, const char *plan, const char *owner,
	const struct limits_part *own, const struct store_lists_change *lists)
{
	struct store_tenant t;
	int n = store_tenant_get(r->store, name, &t, &r->err);

	if (n == 0 && plan)
		n = store_plan_get(r->store, plan, &t.plan, &r->err);
	if (n != 0)
		return n;
	if (owner)
		snprintf(t.owner, sizeof(t.owner), "%s", owner);
	limits_merge(&t.own, own);
	t.limits = t.plan.limits;
	limits_apply(&t.limits, &t.own);
	plan_fill_lists(&t.lists, lists, &t.plan.lists);
	return send_tenant(r, &t, true);
}

int tenant_set(struct request *r)
{
	const char *name = NULL, *plan = NULL, *owner = NULL;
	struct store_lists_change lists = { 0 };
	struct limits_part own;
	bool limits, logins = false;
	int n = request_name(r, "name", &name);

	if (n == 0 && msg_get(&r->in, "plan"))
		n = request_name(r, "plan", &plan);
	if (n == 0)
		n = plan_limits(r, true, &own);
	if (n == 0)
		n = read_owner(r, &owner);
	if (n == 0)
		n = plan_lists(r, &lists);
	limits = n == 0 && (plan || owner || own.given || own.dropped);
	if (n == 0)
		n = login_set(r, name, &logins);
	if (n == 0 && !limits && !logins && !plan_changes_lists(&lists))
		return err_set(&r->err, ERR_USAGE, "tenant '%s': nothing is to be changed", name);
	if (n == 0 && msg_get(&r->in, "dry_run"))
		return show_changed(r, name, plan, owner, &own, &lists);
	if (n == 0 && plan_changes_lists(&lists))
		n = set_lists(r, name, &lists);
	if (n == 0 && limits)
		n = set_limits(r, name, plan, owner, &own);
	return n == 0 ? show(r, name) : n;
}

int tenant_passwd(struct request *r)
{
	const char *name = NULL, *password = msg_get(&r->in, "password");
	CLEANUP_FREE char *hash = NULL;
	struct store_tenant t;
	int n = request_name(r, "name", &name);

	if (n == 0)
		n = store_tenant_get(r->store, name, &t, &r->err);
	if (n == 0 && password)
		n = password_hash(password, &hash, &r->err);
	return n == 0 ? store_password_set(r->store, name, hash, &r->err) : n;
}

/* The state is written first: whoever comes from then on is refused, and none is missed. */
static int shut_out(struct request *r, const char *name, const char *reason)
{
	int n = store_tenant_suspend(r->store, name, reason, &r->err);

	return n == 0 ? life_end_sessions(r->store, name, &r->err) : n;
}

/* All that can be wrong with an act that needs no more than the tenant. */
static int check_there(struct request *r, const char *name)
{
	struct store_tenant t;

	return store_tenant_get(r->store, name, &t, &r->err);
}

int tenant_suspend(struct request *r)
{
	const char *name = NULL, *reason = NULL;
	int n = request_name(r, "name", &name);

	if (n == 0)
		n = request_text(r, "reason", STORE_REASON_MAX, &reason);
	if (n == 0 && msg_get(&r->in, "dry_run"))
		return check_there(r, name);
	if (n == 0)
		n = shut_out(r, name, reason);
	if (n != 0)
		return n;
	n = life_stop(r->config, r->store, name, &r->err);
	if (n != 0)
		err_wrap(&r->err, "'%s' is suspended, but its guest did not stop", name);
	return n;
}

int tenant_resume(struct request *r)
{
	const char *name = NULL;
	int n = request_name(r, "name", &name);

	if (n == 0 && msg_get(&r->in, "dry_run"))
		return check_there(r, name);
	return n == 0 ? store_tenant_suspend(r->store, name, NULL, &r->err) : n;
}

int tenant_remove(struct request *r)
{
	const char *name = NULL;
	int n = request_name(r, "name", &name);

	if (n == 0 && msg_get(&r->in, "dry_run"))
		return check_there(r, name);
	if (n == 0)
		n = shut_out(r, name, "the tenant is being removed");
	/* Stopped first: what is kept is the last that there was. */
	if (n == 0 && msg_get(&r->in, "keep"))
		n = life_stop(r->config, r->store, name, &r->err);
	if (n == 0 && msg_get(&r->in, "keep")) {
		n = transfer_keep(r, name);
		if (n != 0)
			err_wrap(&r->err, "'%s' is suspended, but not removed", name);
	}
	return n == 0 ? life_destroy(r->config, r->store, name, true, &r->err) : n;
}
