/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/traffic.h"

#include <string.h>
#include <time.h>

#include "firewall/link.h"
#include "firewall/traffic.h"
#include "provision/base/cleanup.h"
#include "provision/base/log.h"
#include "provision/daemon/fence.h"
#include "provision/daemon/handlers.h"

#define DAY_S	  86400
#define HOURS_MAX 876000 /* a hundred years: more is a slip */
#define HOURS_STANDARD 24

/* One is read as the other: both are plain, and of five numbers. */
_Static_assert(sizeof(struct traffic_count) == sizeof(struct store_traffic), "the same five");

struct reading {
	const struct config *config;
	struct traffic traffic;
	struct store_traffic *of;
};

static void free_reading(struct reading *r)
{
	traffic_free(&r->traffic);
	free(r->of);
}

static int read_counts(void *data, struct store_counts_read *ret, struct err *err)
{
	struct reading *r = data;
	const struct rules_base base = fence_base(r->config);
	int n = traffic_read(&base, &r->traffic, err);

	if (n != 0)
		return n;
	r->of = xcalloc(r->traffic.n + 1, sizeof(*r->of));
	for (uint32_t i = 0; i < r->traffic.n; i++)
		r->of[i] = (struct store_traffic){ r->traffic.of[i].sent_packets,
			r->traffic.of[i].sent_bytes, r->traffic.of[i].received_packets,
			r->traffic.of[i].received_bytes, r->traffic.of[i].dropped };
	*ret = (struct store_counts_read){ r->traffic.epoch, r->of, r->traffic.n };
	return 0;
}

int traffic_collect(const struct config *config, struct store *store, struct err *err)
{
	__attribute__((cleanup(free_reading))) struct reading reading = { .config = config };

	return store_traffic_collect(store, read_counts, &reading, time(NULL),
		(int64_t)config->history * DAY_S, err);
}

int traffic_settle(const struct config *config, struct store *store,
	const struct store_tenant *tenant, struct err *err)
{
	const struct rules_base base = fence_base(config);
	int r = traffic_collect(config, store, err);

	if (r == 0)
		r = traffic_forget(&base, tenant->guest.number, err);
	return r == 0 ? store_traffic_forget(store, tenant->name, err) : r;
}

void traffic_save(const struct config *config)
{
	CLEANUP_STORE struct store *store = NULL;
	struct err err = { 0 };

	if (store_open(config->database, &store, &err) != 0 ||
		traffic_collect(config, store, &err) != 0)
		log_warn("cannot save what guests sent and received: %s", err.text);
}

/* --- requests --- */

static void add_counts(struct msg *row, const struct store_traffic *t)
{
	msg_add_u64(row, "received_packets", t->received_packets);
	msg_add_u64(row, "received_bytes", t->received_bytes);
	msg_add_u64(row, "sent_packets", t->sent_packets);
	msg_add_u64(row, "sent_bytes", t->sent_bytes);
	msg_add_u64(row, "dropped", t->dropped);
}

int traffic_fields(struct request *r, const char *tenant, struct msg *row)
{
	struct store_traffic t;
	int64_t updated = 0;
	int n = store_traffic_get(r->store, tenant, &t, &updated, &r->err);

	if (n != 0)
		return n;
	add_counts(row, &t);
	msg_add_i64(row, "counted", updated);
	return 0;
}

static int send_one(void *data, const struct store_tenant *t)
{
	CLEANUP_MSG struct msg row = { 0 };
	struct request *r = data;
	char interface[16] = "";
	int n;

	if (t->guest.intent == STORE_GUEST_NONE)
		return 0;
	link_name(r->config->instance, t->guest.number, interface);
	request_row_begin(&row);
	msg_add(&row, "tenant", t->name);
	msg_add(&row, "interface", interface);
	n = traffic_fields(r, t->name, &row);
	return n == 0 ? request_row(r, &row) : n;
}

int network_traffic(struct request *r)
{
	int n = traffic_collect(r->config, r->store, &r->err);

	return n == 0 ? store_tenant_each(r->store, send_one, r, &r->err) : n;
}

static int send_hour(void *data, int64_t hour, const struct store_traffic *t)
{
	CLEANUP_MSG struct msg row = { 0 };

	request_row_begin(&row);
	msg_add_i64(&row, "hour", hour);
	add_counts(&row, t);
	return request_row(data, &row);
}

int network_history(struct request *r)
{
	uint64_t hours = 0;
	const char *name = NULL;
	int n = request_name(r, "tenant", &name);

	if (n == 0)
		n = msg_get_u64(&r->in, "hours", HOURS_STANDARD, HOURS_MAX, &hours, &r->err);
	if (n == 0 && hours == 0)
		n = err_set(&r->err, ERR_USAGE, "hours = 0: take 1 at least");
	if (n == 0)
		n = traffic_collect(r->config, r->store, &r->err);
	if (n != 0)
		return n;
	return store_traffic_hours(r->store, name, time(NULL) - ((int64_t)hours - 1) * 3600,
		send_hour, r, &r->err);
}
