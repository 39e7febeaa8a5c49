/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/store/traffic.h"

#include <stdlib.h>
#include <time.h>

#include "provision/base/cleanup.h"
#include "provision/store/db.h"

#define HOUR_S 3600

/* A guest's row, and what has come to it. */
struct change {
	int64_t tenant, number;
	struct store_traffic seen, more;
};

struct changes {
	struct change *of;
	size_t n, cap;
};

static void free_changes(struct changes *c)
{
	free(c->of);
}

int64_t store_month(int64_t now)
{
	time_t t = now;
	struct tm tm;

	gmtime_r(&t, &tm);
	tm.tm_mday = 1;
	tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	return timegm(&tm);
}

/*
 * What has come to a count, and *now is what has been seen of it then. One that is lower than it was has been
 * read while it moved (firewall/carry.h): it will be there again, and is not new then.
 */
static uint64_t newer(bool same, uint64_t seen, uint64_t *now)
{
	if (!same)
		return *now;
	if (*now < seen)
		*now = seen;
	return *now - seen;
}

/* What the row has seen ends at column 7; those of another epoch, or number, are worth nothing. */
static void compare(sqlite3_stmt *s, const struct store_counts_read *now, struct changes *c)
{
	uint64_t number = db_u64(s, 1);
	struct change *to;
	bool same;

	if (number >= now->n)
		return;
	if (c->n == c->cap) {
		c->cap = c->cap ? 2 * c->cap : 64;
		c->of = reallocarray(c->of, c->cap, sizeof(*c->of));
		if (!c->of)
			abort();
	}
	same = db_u64(s, 2) == now->epoch;
	to = &c->of[c->n];
	to->tenant = sqlite3_column_int64(s, 0);
	to->number = (int64_t)number;
	to->seen = now->of[number];
	to->more = (struct store_traffic){ newer(same, db_u64(s, 3), &to->seen.sent_packets),
					   newer(same, db_u64(s, 4), &to->seen.sent_bytes),
					   newer(same, db_u64(s, 5), &to->seen.received_packets),
					   newer(same, db_u64(s, 6), &to->seen.received_bytes),
					   newer(same, db_u64(s, 7), &to->seen.dropped) };
	c->n += to->more.sent_packets || to->more.received_packets || to->more.dropped;
}

static int find_changes(struct store *store, const struct store_counts_read *now,
	struct changes *c, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err,
		"SELECT g.tenant, g.number, t.epoch, t.seen_sent_packets, t.seen_sent_bytes,"
		" t.seen_received_packets, t.seen_received_bytes, t.seen_dropped"
		" FROM guest g LEFT JOIN traffic t ON t.tenant = g.tenant AND t.number = g.number",
		"");

	while (r == 0 && (r = db_step(store, s, err)) == 1) {
		compare(s, now, c);
		r = 0;
	}
	return r;
}

static int add_sum(struct store *store, const struct change *c, uint64_t epoch, int64_t now,
	struct err *err)
{
	return db_run(store, NULL, err,
		"INSERT INTO traffic VALUES"
		" (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, 0, 0)"
		" ON CONFLICT (tenant) DO UPDATE SET number = ?2, epoch = ?3,"
		" seen_sent_packets = ?4, seen_sent_bytes = ?5, seen_received_packets = ?6,"
		" seen_received_bytes = ?7, sent_packets = sent_packets + ?8,"
		" sent_bytes = sent_bytes + ?9, received_packets = received_packets + ?10,"
		" received_bytes = received_bytes + ?11, updated = ?12, seen_dropped = ?13,"
		" dropped = dropped + ?14,"
		" month_bytes = CASE month WHEN ?15 THEN month_bytes ELSE 0 END + ?16, month = ?15",
		"iiiiiiiiiiiiiiii", c->tenant, c->number, (int64_t)epoch,
		(int64_t)c->seen.sent_packets, (int64_t)c->seen.sent_bytes,
		(int64_t)c->seen.received_packets, (int64_t)c->seen.received_bytes,
		(int64_t)c->more.sent_packets, (int64_t)c->more.sent_bytes,
		(int64_t)c->more.received_packets, (int64_t)c->more.received_bytes, now,
		(int64_t)c->seen.dropped, (int64_t)c->more.dropped, store_month(now),
		(int64_t)(c->more.sent_bytes + c->more.received_bytes));
}

static int add_hour(struct store *store, const struct change *c, int64_t now, struct err *err)
{
	return db_run(store, NULL, err,
		"INSERT INTO traffic_hour VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
		" ON CONFLICT (tenant, hour) DO UPDATE SET sent_packets = sent_packets + ?3,"
		" sent_bytes = sent_bytes + ?4, received_packets = received_packets + ?5,"
		" received_bytes = received_bytes + ?6, dropped = dropped + ?7",
		"iiiiiii", c->tenant, now - now % HOUR_S, (int64_t)c->more.sent_packets,
		(int64_t)c->more.sent_bytes, (int64_t)c->more.received_packets,
		(int64_t)c->more.received_bytes, (int64_t)c->more.dropped);
}

static int add_all(struct store *store, const struct store_counts_read *counts, int64_t now,
	struct err *err)
{
	__attribute__((cleanup(free_changes))) struct changes c = { 0 };
	int r = find_changes(store, counts, &c, err);

	for (size_t i = 0; r == 0 && i < c.n; i++) {
		r = add_sum(store, &c.of[i], counts->epoch, now, err);
		if (r == 0)
			r = add_hour(store, &c.of[i], now, err);
	}
	return r;
}

int store_traffic_collect(struct store *store,
	int (*read)(void *data, struct store_counts_read *ret, struct err *err), void *data,
	int64_t now, int64_t keep_s, struct err *err)
{
	struct store_counts_read counts = { 0 };
	int r = db_begin(store, err);

	if (r != 0)
		return r;
	r = read(data, &counts, err);
	if (r == 0 && counts.epoch)
		r = add_all(store, &counts, now, err);
	if (r == 0)
		r = db_run(store, NULL, err, "DELETE FROM traffic_hour WHERE hour < ?", "i",
			now - keep_s);
	return db_end(store, r, err);
}

static void read_counts(sqlite3_stmt *s, int column, struct store_traffic *ret)
{
	*ret = (struct store_traffic){ db_u64(s, column), db_u64(s, column + 1),
		db_u64(s, column + 2), db_u64(s, column + 3), db_u64(s, column + 4) };
}

int store_traffic_get(struct store *store, const char *tenant, struct store_traffic *ret,
	int64_t *ret_updated, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err,
		"SELECT sent_packets, sent_bytes, received_packets, received_bytes, dropped, updated"
		" FROM traffic WHERE tenant = (SELECT id FROM tenant WHERE name = ?)",
		"s", tenant);

	if (r == 0)
		r = db_step(store, s, err);
	if (r != 0 && r != 1)
		return r;
	*ret = (struct store_traffic){ 0 };
	*ret_updated = 0;
	if (r == 1) {
		read_counts(s, 0, ret);
		*ret_updated = sqlite3_column_int64(s, 5);
	}
	return 0;
}

int store_traffic_hours(struct store *store, const char *tenant, int64_t since, store_hour_fn fn,
	void *data, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	struct store_traffic t;
	int64_t id = 0;
	int r = db_tenant_id(store, tenant, &id, err);

	if (r == 0)
		r = db_prepare(store, &s, err,
			"SELECT hour, sent_packets, sent_bytes, received_packets, received_bytes,"
			" dropped"
			" FROM traffic_hour WHERE tenant = ? AND hour >= ? ORDER BY hour",
			"ii", id, since - since % HOUR_S);
	if (r != 0)
		return r;
	while ((r = db_step(store, s, err)) == 1) {
		read_counts(s, 1, &t);
		r = fn(data, sqlite3_column_int64(s, 0), &t);
		if (r != 0)
			return r;
	}
	return r;
}

int store_traffic_forget(struct store *store, const char *tenant, struct err *err)
{
	return db_run(store, NULL, err,
		"UPDATE traffic SET epoch = 0 WHERE tenant = (SELECT id FROM tenant WHERE name = ?)",
		"s", tenant);
}

int store_traffic_beyond(struct store *store, const char *tenant, bool beyond, struct err *err)
{
	return db_run(store, NULL, err,
		"UPDATE traffic SET beyond = ? WHERE tenant = (SELECT id FROM tenant WHERE name = ?)",
		"is", (int64_t)beyond, tenant);
}

int store_traffic_held(struct store *store, const char *tenant, bool beyond, struct err *err)
{
	return db_run(store, NULL, err,
		"UPDATE traffic SET held = ? WHERE tenant = (SELECT id FROM tenant WHERE name = ?)",
		"is", (int64_t)beyond, tenant);
}
