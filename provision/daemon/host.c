/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "build.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/daemon/handlers.h"
#include "provision/daemon/life.h"
#include "provision/daemon/reserve.h"
#include "provision/guest/cgroup.h"
#include "provision/guest/storage.h"
#include "provision/store/pool.h"

/* What the guests use, and what they may: the running ones, but of files all. */
struct used {
	const struct config *config;
	struct guest_view guests;
	struct storage_view files;
	uint64_t running, memory, memory_limits, processes, disk, disk_limits, uncounted;
};

static void add_disk(struct used *u, const struct store_tenant *t)
{
	struct storage_used used = { 0 };
	struct guest_spec spec;

	if (t->guest.intent != STORE_GUEST_PRESENT)
		return;
	life_spec(t, &spec);
	if (storage_of(&spec)->used(u->config, &u->files, &spec, &used) < 0)
		u->uncounted++;
	u->disk += used.bytes;
	u->disk_limits += t->limits.disk;
}

static int add_guest(void *data, const struct store_tenant *t)
{
	struct guest_look look;
	struct used *u = data;

	add_disk(u, t);
	if (strcmp(life_state_in(&u->guests, t, &look), "running") != 0)
		return 0;
	u->running++;
	u->memory += look.usage.memory;
	u->memory_limits += t->limits.memory;
	u->processes += look.usage.processes;
	return 0;
}

/* What new guests are stored by, what speaks against each, and whether it holds them to a size. */
static void add_storage(struct request *r, struct msg *row)
{
	static const struct storage_driver *const drivers[] = { &storage_overlay, &storage_btrfs };
	const struct storage_driver *d;
	struct err err = { 0 };

	d = storage_pick(r->config, &err);
	msg_add(row, "storage", d ? d->name : "none");
	if (!d)
		msg_add(row, "storage_lacks", err.text);
	else if (d->probe_limit(r->config))
		msg_add(row, "disk_unlimited", d->probe_limit(r->config));
	for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
		CLEANUP_FREE char *key = xasprintf("storage_%s", drivers[i]->name);
		const char *why = drivers[i]->probe(r->config);

		msg_add(row, key, why ? why : "can serve");
	}
}

int host_status(struct request *r)
{
	struct used used = { .config = r->config };
	CLEANUP_MSG struct msg row = { 0 };
	struct store_counts counts;
	struct pool4 pool = { 0 };
	int n = store_count(r->store, &counts, &r->err);

	guest_view_open(r->config, &used.guests);
	storage_view_open(r->config, &used.files);
	if (n == 0)
		n = store_tenant_each(r->store, add_guest, &used, &r->err);
	storage_view_close(&used.files);
	guest_view_close(&used.guests);
	if (n == 0)
		n = pool4_parse(r->config->pool4, &pool, &r->err);
	if (n != 0)
		return n;
	request_row_begin(&row);
	msg_add(&row, "version", VM2_VERSION);
	msg_add(&row, "instance", r->config->instance);
	msg_add_u64(&row, "tenants", counts.tenants);
	msg_add_u64(&row, "guests", counts.guests);
	msg_add_u64(&row, "running", used.running);
	msg_add_u64(&row, "sessions", counts.sessions);
	msg_add_u64(&row, "templates", counts.templates);
	msg_add_u64(&row, "workers", r->host->workers);
	msg_add_u64(&row, "pool4_used", counts.addresses4);
	msg_add_u64(&row, "pool4_size", pool.count);
	add_storage(r, &row);
	msg_add_u64(&row, "memory_used", used.memory);
	msg_add_u64(&row, "memory_limits", used.memory_limits);
	msg_add_u64(&row, "memory_available", reserve_memory());
	msg_add_u64(&row, "memory_reserve", r->config->reserve_memory);
	/* Where it is not known of each, the sum would mislead. */
	if (!used.uncounted)
		msg_add_u64(&row, "disk_used", used.disk);
	msg_add_u64(&row, "disk_limits", used.disk_limits);
	msg_add_u64(&row, "disk_available", reserve_disk(r->config));
	msg_add_u64(&row, "disk_reserve", r->config->reserve_disk);
	msg_add_u64(&row, "processes", used.processes);
	msg_add_i64(&row, "uptime", (clock_ms() - r->host->started_ms) / 1000);
	return request_row(r, &row);
}
