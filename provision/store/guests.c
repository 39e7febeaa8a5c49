/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests: their numbers, ranges and addresses, and what is meant to become of them. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "provision/store/db.h"
#include "provision/store/pool.h"

#define RANGE 65536 /* uids of a guest */

static int free_number(
	struct store *store, const struct config *config, uint64_t *ret, struct err *err)
{
	const struct db_pool pool = { "guest", "number", 1, config->guest_count, 1,
		"the range of guest numbers", "enlarge uids.guest-count in vm2.conf" };

	return db_smallest_free(store, &pool, ret, err);
}

static int free_range(
	struct store *store, const struct config *config, uint64_t *ret, struct err *err)
{
	const struct db_pool pool = { "guest", "uid_base", config->guest_base, config->guest_count,
		RANGE, "the range of guests' uids", "enlarge uids.guest-count in vm2.conf" };

	return db_smallest_free(store, &pool, ret, err);
}

/* -1 when the configuration has no IPv4 pool. */
static int free_address4(
	struct store *store, const struct config *config, int64_t *ret, struct err *err)
{
	char what[128];
	struct db_pool pool = { "guest", "address4", 0, 0, 1, what,
		"enlarge network.pool4 in vm2.conf" };
	struct pool4 range;
	uint64_t value = 0;
	int r = pool4_parse(config->pool4, &range, err);

	if (r != 0)
		return r;
	if (range.count == 0) {
		*ret = -1;
		return 0;
	}
	snprintf(what, sizeof(what), "the address pool %s", config->pool4);
	pool.first = range.first;
	pool.count = range.count;
	r = db_smallest_free(store, &pool, &value, err);
	if (r == 0)
		*ret = (int64_t)value;
	return r;
}

static int insert_guest(struct store *store, int64_t tenant, struct store_guest *g,
	int64_t address4, struct err *err)
{
	const char *sql = address4 < 0 ?
		"INSERT INTO guest (tenant, template, number, uid_base, address6, type, intent,"
		" driver, created)"
		" VALUES (?, ?, ?, ?, ?, ?, 'creating', ?, ?)" :
		"INSERT INTO guest (tenant, template, number, uid_base, address6, type, intent,"
		" driver, created, address4) VALUES (?, ?, ?, ?, ?, ?, 'creating', ?, ?, ?)";
	struct in_addr a = { .s_addr = htonl((uint32_t)address4) };

	if (address4 >= 0)
		inet_ntop(AF_INET, &a, g->address4, sizeof(g->address4));
	return db_run(store, NULL, err, sql, address4 < 0 ? "isiisssi" : "isiisssii",
		tenant, g->template[0] ? g->template : NULL, (int64_t)g->number, (int64_t)g->uid_base,
		g->address6[0] ? g->address6 : NULL, g->type, g->driver, g->created,
		address4);
}

static int allocate(struct store *store, const struct config *config, const char *tenant,
	const char *driver, bool whole, struct store_guest *g, struct err *err)
{
	uint64_t number = 0, range = 0;
	struct store_template template = { 0 };
	struct store_tenant t;
	int64_t address4 = -1;
	int r = store_tenant_get(store, tenant, &t, err);

	if (r == 0 && !whole)
		r = store_template_get(
			store, t.template[0] ? t.template : config->template, &template, err);
	if (r == 0)
		r = free_number(store, config, &number, err);
	if (r == 0)
		r = free_range(store, config, &range, err);
	if (r == 0 && t.limits.ipv4 != LIMITS_ADDRESS_NONE)
		r = free_address4(store, config, &address4, err);
	if (r == 0 && t.limits.ipv6 != LIMITS_ADDRESS_NONE)
		r = pool6_address(config->pool6, (uint32_t)number, g->address6, err);
	if (r != 0)
		return r;
	memcpy(g->more, t.guest.more, sizeof(g->more));
	g->intent = STORE_GUEST_CREATING;
	g->number = (uint32_t)number;
	g->uid_base = (uint32_t)range;
	g->created = time(NULL);
	snprintf(g->type, sizeof(g->type), "container");
	snprintf(g->driver, sizeof(g->driver), "%s", driver);
	memcpy(g->template, template.name, sizeof(g->template));
	r = insert_guest(store, t.id, g, address4, err);
	if (r == ERR_EXISTS)
		err_set(err, r, "tenant '%s' has a guest already", tenant);
	return r;
}

int store_guest_allocate(struct store *store, const struct config *config, const char *tenant,
	const char *driver, bool whole, struct store_guest *ret, struct err *err)
{
	struct store_guest guest = { 0 };
	int r = db_begin(store, err);

	if (r != 0)
		return r;
	r = db_end(store, allocate(store, config, tenant, driver, whole, &guest, err), err);
	if (r == 0)
		*ret = guest;
	return r;
}

int store_guest_intent(
	struct store *store, const char *tenant, enum store_intent intent, struct err *err)
{
	static const char *const words[] = { [STORE_GUEST_CREATING] = "creating",
		[STORE_GUEST_PRESENT] = "present",
		[STORE_GUEST_DESTROYING] = "destroying" };
	int changes = 0;
	int r = db_run(store, &changes, err,
		"UPDATE guest SET intent = ?, up = ?"
		" WHERE tenant = (SELECT id FROM tenant WHERE name = ?)",
		"sis", words[intent], (int64_t)(intent == STORE_GUEST_PRESENT), tenant);

	if (r == 0 && changes == 0)
		return err_set(err, ERR_NOT_FOUND, "tenant '%s' has no guest", tenant);
	return r;
}

int store_guest_up(struct store *store, const char *tenant, bool up, struct err *err)
{
	return db_run(store, NULL, err,
		"UPDATE guest SET up = ? WHERE tenant = (SELECT id FROM tenant WHERE name = ?)",
		"is", (int64_t)up, tenant);
}

int store_guest_remove(struct store *store, const char *tenant, struct err *err)
{
	int changes = 0;
	int r = db_run(store, &changes, err,
		"DELETE FROM guest WHERE tenant = (SELECT id FROM tenant WHERE name = ?)", "s",
		tenant);

	if (r == 0 && changes == 0)
		return err_set(err, ERR_NOT_FOUND, "tenant '%s' has no guest", tenant);
	return r;
}

/* 1 when the guest has this list already, or there is no guest; 0 when not. */
static int has_inside(struct store *store, const char *tenant, const char *list, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err,
		"SELECT coalesce(i.list, '') = ? FROM guest g LEFT JOIN inside i ON i.id = g.inside"
		" WHERE g.tenant = (SELECT id FROM tenant WHERE name = ?)",
		"ss", list, tenant);

	if (r == 0)
		r = db_step(store, s, err);
	if (r == 1)
		return db_u64(s, 0) != 0;
	return r == 0 ? 1 : r;
}

static int set_inside(struct store *store, const char *tenant, const char *list, struct err *err)
{
	int r = 0;

	if (list[0])
		r = db_run(store, NULL, err, "INSERT OR IGNORE INTO inside (list) VALUES (?)", "s",
			list);
	return r == 0 ? db_run(store, NULL, err,
				"UPDATE guest SET inside = (SELECT id FROM inside WHERE list = ?)"
				" WHERE tenant = (SELECT id FROM tenant WHERE name = ?)",
				"ss", list, tenant) :
			r;
}

int store_guest_inside(struct store *store, const char *tenant, const char *list, bool *ret_changed,
	struct err *err)
{
	/* The usual case writes nothing. */
	int r = has_inside(store, tenant, list, err);

	if (r < 0 || r > 1)
		return r;
	if (r == 1) {
		*ret_changed = false;
		return 0;
	}
	r = db_begin(store, err);
	if (r == 0)
		r = db_end(store, set_inside(store, tenant, list, err), err);
	if (r == 0)
		*ret_changed = true;
	return r;
}
