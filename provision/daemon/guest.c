/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>
#include <time.h>

#include "firewall/link.h"
#include "provision/base/cleanup.h"
#include "provision/daemon/handlers.h"
#include "provision/daemon/life.h"
#include "provision/daemon/quota.h"
#include "provision/daemon/traffic.h"
#include "provision/guest/cgroup.h"
#include "provision/guest/storage.h"

/* For one row or many: what is found out once. */
struct rows {
	struct request *r;
	struct guest_view guests;
	struct storage_view files;
};

static void rows_open(struct rows *rows, struct request *r)
{
	rows->r = r;
	guest_view_open(r->config, &rows->guests);
	storage_view_open(r->config, &rows->files);
}

static void rows_close(struct rows *rows)
{
	storage_view_close(&rows->files);
	guest_view_close(&rows->guests);
}
#define CLEANUP_ROWS __attribute__((cleanup(rows_close)))

static void add_running(const struct guest_view *view, struct msg *row, const char *name,
	const struct guest_look *look)
{
	uint64_t cpu_us = view->cgroups ? view->cgroups->cpu_us(&view->groups, name) : 0;

	msg_add_i64(row, "pid", look->init_pid);
	msg_add_i64(row, "since", look->since);
	msg_add_u64(row, "memory", look->usage.memory);
	msg_add_u64(row, "processes", look->usage.processes);
	msg_add_u64(row, "cpu_time", cpu_us / 1000000);
}

/* Of files, running or not; left out where nobody counts them. */
static void add_disk(struct rows *rows, struct msg *row, const struct store_tenant *t)
{
	struct storage_used used = { 0 };
	struct guest_spec spec;

	life_spec(t, &spec);
	if (t->guest.intent != STORE_GUEST_PRESENT ||
		storage_of(&spec)->used(rows->r->config, &rows->files, &spec, &used) < 0)
		return;
	msg_add_u64(row, "disk", used.bytes);
	if (used.inodes)
		msg_add_u64(row, "inodes", used.inodes);
}

static void add_quota(struct request *r, struct msg *row, const struct store_tenant *t)
{
	struct store_tenant now = *t;

	(void)store_tenant_get(r->store, t->name, &now, NULL);
	msg_add_u64(row, "quota", now.limits.quota);
	msg_add_u64(row, "month_bytes", quota_used(&now, time(NULL)));
	msg_add(row, "quota_state", quota_state(&now));
}

static int add_details(const struct rows *rows, struct msg *row, const struct store_tenant *t)
{
	struct request *r = rows->r;
	CLEANUP_FREE char *path = xasprintf("%s/%s", r->config->guests, t->name);
	CLEANUP_FREE char *cgroup = xasprintf("%s/%s", r->config->instance, t->name);

	msg_add(row, "template", t->guest.template);
	msg_add_u64(row, "uid_base", t->guest.uid_base);
	msg_add(row, "path", path);
	msg_add(row, "cgroup", cgroup);
	msg_add_i64(row, "created", t->guest.created);
	if (rows->guests.cgroups)
		msg_add_u64(row, "kills", rows->guests.cgroups->kills(r->config->instance, t->name));
	/* As of now; where that cannot be had, as of last. */
	(void)traffic_collect(r->config, r->store, NULL);
	add_quota(r, row, t);
	return traffic_fields(r, t->name, row);
}

static int send_guest(struct rows *rows, const struct store_tenant *t, bool all)
{
	struct request *r = rows->r;
	CLEANUP_MSG struct msg row = { 0 };
	struct guest_look look;
	char interface[16] = "";
	const char *state = life_state_in(&rows->guests, t, &look);
	int n = 0;

	if (t->guest.number)
		link_name(r->config->instance, t->guest.number, interface);
	request_row_begin(&row);
	msg_add(&row, "name", t->name);
	msg_add(&row, "type", t->guest.type);
	msg_add(&row, "state", state);
	msg_add(&row, "address4", t->guest.address4);
	msg_add(&row, "address6", t->guest.address6);
	msg_add(&row, "interface", interface);
	msg_add_u64(&row, "memory_limit", t->limits.memory);
	msg_add_u64(&row, "processes_limit", t->limits.processes);
	msg_add_u64(&row, "cpu_limit", t->limits.cpu);
	msg_add_u64(&row, "disk_limit", t->limits.disk);
	msg_add_u64(&row, "inodes_limit", t->limits.inodes);
	add_disk(rows, &row, t);
	if (!strcmp(state, "running"))
		add_running(&rows->guests, &row, t->name, &look);
	if (all)
		n = add_details(rows, &row, t);
	return n == 0 ? request_row(r, &row) : n;
}

static int list_one(void *data, const struct store_tenant *t)
{
	return t->guest.intent == STORE_GUEST_NONE ? 0 : send_guest(data, t, false);
}

int guest_rows(struct request *r)
{
	CLEANUP_ROWS struct rows rows;

	rows_open(&rows, r);
	return store_tenant_each(r->store, list_one, &rows, &r->err);
}

/* The tenant that the request names, who must have a guest. */
static int need_guest(struct request *r, struct store_tenant *ret)
{
	const char *name = NULL;
	int n = request_name(r, "name", &name);

	if (n == 0)
		n = store_tenant_get(r->store, name, ret, &r->err);
	if (n == 0 && ret->guest.intent == STORE_GUEST_NONE)
		return err_set(&r->err, ERR_NOT_FOUND,
			"tenant '%s' has no guest yet: log in, or vm2 guest start %s",
			name, name);
	return n;
}

int guest_row(struct request *r)
{
	CLEANUP_ROWS struct rows rows;
	struct store_tenant t;
	int n = need_guest(r, &t);

	rows_open(&rows, r);
	return n == 0 ? send_guest(&rows, &t, true) : n;
}

int guest_up(struct request *r)
{
	const struct life_waiting waiting = { request_progress, NULL, r, r->host->queue };
	struct store_tenant t;
	struct guest_run run;
	const char *name = NULL;
	int n = request_name(r, "name", &name);

	if (n == 0)
		n = life_up(r->config, r->store, name, &waiting, &t, &run, &r->err);
	if (n == 0)
		guest_run_close(&run);
	return n;
}

int guest_down(struct request *r)
{
	struct store_tenant t;
	int n = need_guest(r, &t);

	if (n == 0)
		n = life_end_sessions(r->store, t.name, &r->err);
	return n == 0 ? life_stop(r->config, r->store, t.name, &r->err) : n;
}

/* Killed in between it is stopped, as the database says: the next login starts it. */
int guest_again(struct request *r)
{
	int n = guest_down(r);

	return n == 0 ? guest_up(r) : n;
}

int guest_away(struct request *r)
{
	struct store_tenant t;
	int n = need_guest(r, &t);

	if (n == 0)
		n = life_end_sessions(r->store, t.name, &r->err);
	return n == 0 ? life_destroy(r->config, r->store, t.name, false, &r->err) : n;
}
