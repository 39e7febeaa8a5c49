/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/snapshot.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/daemon/handlers.h"
#include "provision/daemon/life.h"

/* The guest's lock, its row and its spec. */
struct held {
	const char *name;
	int lock;
	struct store_tenant tenant;
	struct guest_spec spec;
};

static void held_end(struct held *h)
{
	fd_close(h->lock);
}
#define CLEANUP_HELD __attribute__((cleanup(held_end)))

static int hold(struct request *r, struct held *h)
{
	int n = request_name(r, "name", &h->name);

	if (n == 0)
		n = store_tenant_get(r->store, h->name, &h->tenant, &r->err);
	if (n == 0)
		n = life_lock(r->config, h->name, &h->lock, &r->err);
	if (n == 0)
		n = store_tenant_get(r->store, h->name, &h->tenant, &r->err);
	if (n == 0 && h->tenant.guest.intent != STORE_GUEST_PRESENT)
		return err_set(&r->err, ERR_NOT_FOUND,
			"tenant '%s' has no guest yet: log in, or vm2 guest start %s", h->name,
			h->name);
	if (n == 0)
		life_spec(&h->tenant, &h->spec);
	return n;
}

struct rows {
	struct request *r;
	const char *only; /* NULL: all */
	int64_t pause_us;
};

static int send_snapshot(void *data, const struct snapshot *s)
{
	struct rows *rows = data;
	CLEANUP_MSG struct msg row = { 0 };

	if (rows->only && strcmp(rows->only, s->name))
		return 0;
	request_row_begin(&row);
	msg_add(&row, "name", s->name);
	msg_add_i64(&row, "created", s->created);
	msg_add_u64(&row, "bytes", s->bytes);
	msg_add(&row, "used", s->used ? "1" : "0");
	if (rows->only)
		msg_add_i64(&row, "pause", rows->pause_us);
	return request_row(rows->r, &row);
}

int guest_snapshot(struct request *r)
{
	CLEANUP_HELD struct held h = { .lock = -1 };
	struct rows rows = { .r = r, .only = msg_get(&r->in, "snapshot") };
	time_t now = time(NULL);
	struct tm tm;
	char name[32];
	int n;

	if (!rows.only) {
		strftime(name, sizeof(name), "s%Y%m%d-%H%M%S", gmtime_r(&now, &tm));
		rows.only = name;
	}
	n = hold(r, &h);
	if (n == 0)
		n = snapshot_make(r->config, &h.spec, rows.only, &rows.pause_us, &r->err);
	return n == 0 ? snapshot_each(r->config, &h.spec, send_snapshot, &rows, &r->err) : n;
}

int guest_snapshots(struct request *r)
{
	struct rows rows = { .r = r };
	struct store_tenant tenant;
	struct guest_spec spec;
	const char *name = NULL;
	int n = request_name(r, "name", &name);

	if (n == 0)
		n = store_tenant_get(r->store, name, &tenant, &r->err);
	if (n != 0)
		return n;
	life_spec(&tenant, &spec);
	return snapshot_each(r->config, &spec, send_snapshot, &rows, &r->err);
}

int guest_unsnapshot(struct request *r)
{
	CLEANUP_HELD struct held h = { .lock = -1 };
	int n = hold(r, &h);

	return n == 0 ? snapshot_remove(r->config, &h.spec, msg_get(&r->in, "snapshot"), &r->err) :
			n;
}

/* Nothing of what it would save survives: it is not asked to stop, it is stopped. */
static int stop(struct request *r, const struct held *h, bool *ret_ran)
{
	struct guest_run run;

	if (guest_find(r->config, h->name, &run, NULL) != 0)
		return 0;
	process_signal(run.init_pidfd, SIGKILL);
	guest_run_close(&run);
	*ret_ran = true;
	return life_stop_held(r->config, r->store, h->name, &r->err);
}

static int restore(struct request *r, bool *ret_ran)
{
	CLEANUP_HELD struct held h = { .lock = -1 };
	const char *snapshot = msg_get(&r->in, "snapshot");
	int n = hold(r, &h);

	if (n == 0)
		n = snapshot_find(r->config, &h.spec, snapshot, &r->err);
	if (n == 0)
		n = life_end_sessions(r->store, h.name, &r->err);
	if (n == 0)
		n = stop(r, &h, ret_ran);
	return n == 0 ? snapshot_restore(r->config, &h.spec, snapshot, &r->err) : n;
}

int guest_restore(struct request *r)
{
	const struct life_waiting waiting = { request_progress, NULL, r, r->host->queue };
	struct store_tenant tenant;
	struct guest_run run;
	bool ran = false;
	int n = restore(r, &ran);

	if (!ran || n != 0)
		return n;
	n = life_up(r->config, r->store, msg_get(&r->in, "name"), &waiting, &tenant,
		&run, &r->err);
	if (n == 0)
		guest_run_close(&run);
	else
		err_wrap(&r->err, "it is restored, but does not start");
	return n;
}
