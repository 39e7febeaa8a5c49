/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "build.h"
#include "provision/base/fd.h"
#include "provision/daemon/handlers.h"
#include "provision/daemon/life.h"
#include "provision/store/pool.h"

struct count {
	const struct config *config;
	uint64_t running;
};

static int count_running(void *data, const struct store_tenant *t)
{
	struct count *c = data;

	if (!strcmp(life_state(c->config, t, NULL), "running"))
		c->running++;
	return 0;
}

int host_status(struct request *r)
{
	struct count running = { .config = r->config };
	CLEANUP_MSG struct msg row = { 0 };
	struct store_counts counts;
	struct pool4 pool = { 0 };
	int n = store_count(r->store, &counts, &r->err);

	if (n == 0)
		n = store_tenant_each(r->store, count_running, &running, &r->err);
	if (n == 0)
		n = pool4_parse(r->config->pool4, &pool, &r->err);
	if (n != 0)
		return n;
	request_row_begin(&row);
	msg_add(&row, "version", VM2_VERSION);
	msg_add(&row, "instance", r->config->instance);
	msg_add_u64(&row, "tenants", counts.tenants);
	msg_add_u64(&row, "guests", counts.guests);
	msg_add_u64(&row, "running", running.running);
	msg_add_u64(&row, "sessions", counts.sessions);
	msg_add_u64(&row, "templates", counts.templates);
	msg_add_u64(&row, "workers", r->host->workers);
	msg_add_u64(&row, "pool4_used", counts.addresses4);
	msg_add_u64(&row, "pool4_size", pool.count);
	msg_add_i64(&row, "uptime", (clock_ms() - r->host->started_ms) / 1000);
	return request_row(r, &row);
}
