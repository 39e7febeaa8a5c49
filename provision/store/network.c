/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Published ports, further addresses, and tenants' own rules. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "provision/store/db.h"

int store_port_add(struct store *store, const struct store_port *port, struct err *err)
{
	int64_t id = 0;
	int r = db_tenant_id(store, port->tenant, &id, err);

	if (r == 0)
		r = db_run(store, NULL, err,
			"INSERT INTO publish (protocol, host_port, guest_port, tenant, created)"
			" VALUES (?, ?, ?, ?, ?)",
			"siiii", port->protocol, (int64_t)port->host_port,
			(int64_t)port->guest_port, id, (int64_t)time(NULL));
	return r;
}

int store_port_remove(struct store *store, const struct store_port *port, struct err *err)
{
	int changes = 0;
	int r = db_run(store, &changes, err,
		"DELETE FROM publish WHERE protocol = ? AND host_port = ? AND"
		" tenant = (SELECT id FROM tenant WHERE name = ?)",
		"sis", port->protocol, (int64_t)port->host_port, port->tenant);

	if (r == 0 && changes == 0)
		return err_set(err, ERR_NOT_FOUND,
			"%s port %u is not published for '%s': see vm2 publish list",
			port->protocol, port->host_port, port->tenant);
	return r;
}

static void read_port(sqlite3_stmt *s, struct store_port *p)
{
	*p = (struct store_port){ .host_port = (uint16_t)db_u64(s, 2),
		.guest_port = (uint16_t)db_u64(s, 3),
		.created = sqlite3_column_int64(s, 4) };
	db_text(s, 0, p->tenant, sizeof(p->tenant));
	db_text(s, 1, p->protocol, sizeof(p->protocol));
	if (sqlite3_column_type(s, 5) != SQLITE_NULL) {
		struct in_addr a = { .s_addr = htonl((uint32_t)db_u64(s, 5)) };

		inet_ntop(AF_INET, &a, p->address4, sizeof(p->address4));
	}
	db_text(s, 6, p->address6, sizeof(p->address6));
}

/* A guest that is being destroyed has no ports any more. */
#define PORT_COLUMNS                                                                        \
	"SELECT t.name, p.protocol, p.host_port, p.guest_port, p.created, g.address4,"      \
	" g.address6 FROM publish p JOIN tenant t ON t.id = p.tenant LEFT JOIN guest g ON " \
	"g.tenant = t.id AND g.intent != 'destroying' "

int store_port_each(
	struct store *store, const char *tenant, store_port_fn fn, void *data, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	struct store_port port;
	int r = tenant ? db_prepare(store, &s, err,
				 PORT_COLUMNS "WHERE t.name = ? ORDER BY p.protocol, p.host_port",
				 "s", tenant) :
			 db_prepare(store, &s, err,
				 PORT_COLUMNS "ORDER BY p.protocol, p.host_port", "");

	while (r == 0 && (r = db_step(store, s, err)) == 1) {
		read_port(s, &port);
		r = fn(data, &port);
	}
	return r;
}

int store_port_get(struct store *store, const char *protocol, uint16_t host_port,
	struct store_port *ret, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err,
		PORT_COLUMNS "WHERE p.protocol = ? AND p.host_port = ?", "si", protocol,
		(int64_t)host_port);

	if (r == 0)
		r = db_step(store, s, err);
	if (r == 0)
		return err_set(err, ERR_NOT_FOUND, "%s port %u is not published", protocol, host_port);
	if (r != 1)
		return r;
	read_port(s, ret);
	return 0;
}

/* --- addresses --- */

int store_address_set(
	struct store *store, const char *address, const char *tenant, struct err *err)
{
	int64_t id = 0;
	int r;

	if (!tenant)
		return db_run(store, NULL, err, "DELETE FROM address WHERE address = ?", "s", address);
	r = db_tenant_id(store, tenant, &id, err);
	return r ? r :
		   db_run(store, NULL, err,
			   "INSERT INTO address (address, tenant, created) VALUES (?, ?, ?)"
			   " ON CONFLICT (address) DO UPDATE SET tenant = excluded.tenant,"
			   " created = excluded.created",
			   "sii", address, id, (int64_t)time(NULL));
}

int store_address_get(
	struct store *store, const char *address, char ret[STORE_NAME_SIZE], struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err,
		"SELECT t.name FROM address a JOIN tenant t ON t.id = a.tenant WHERE a.address = ?",
		"s", address);

	if (r == 0)
		r = db_step(store, s, err);
	if (r != 1)
		return r == 0 ? ERR_NOT_FOUND : r;
	db_text(s, 0, ret, STORE_NAME_SIZE);
	return 0;
}

/* --- rules --- */

/* By way of negative positions: no two rows may have the same, not even for a moment. */
static int shift(struct store *store, int64_t tenant, int64_t from, int64_t by, struct err *err)
{
	int r = db_run(store, NULL, err,
		"UPDATE rule SET position = -(position + ?) WHERE tenant = ? AND position >= ?",
		"iii", by, tenant, from);

	return r ? r :
		   db_run(store, NULL, err,
			   "UPDATE rule SET position = -position WHERE tenant = ? AND position < 0",
			   "i", tenant);
}

static int insert_rule(
	struct store *store, int64_t tenant, const struct store_rule *rule, struct err *err)
{
	int r = shift(store, tenant, rule->position, 1, err);

	return r ? r :
		   db_run(store, NULL, err,
			   "INSERT INTO rule (tenant, position, direction, verdict, protocol,"
			   " first_port, last_port, prefix, comment, created)"
			   " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			   "iisssiissi", tenant, (int64_t)rule->position, rule->direction,
			   rule->verdict, rule->protocol, (int64_t)rule->first_port,
			   (int64_t)rule->last_port, rule->prefix, rule->comment,
			   (int64_t)time(NULL));
}

int store_rule_add(struct store *store, const struct store_rule *rule, struct err *err)
{
	int64_t id = 0;
	int r = db_begin(store, err);

	if (r != 0)
		return r;
	r = db_tenant_id(store, rule->tenant, &id, err);
	if (r == 0)
		r = insert_rule(store, id, rule, err);
	return db_end(store, r, err);
}

static int delete_rule(struct store *store, int64_t tenant, uint32_t position, struct err *err)
{
	int changes = 0;
	int r = db_run(store, &changes, err, "DELETE FROM rule WHERE tenant = ? AND position = ?",
		"ii", tenant, (int64_t)position);

	if (r == 0 && changes == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no rule %u: see vm2 rule list", position);
	return r ? r : shift(store, tenant, position, -1, err);
}

int store_rule_remove(struct store *store, const char *tenant, uint32_t position, struct err *err)
{
	int64_t id = 0;
	int r = db_begin(store, err);

	if (r != 0)
		return r;
	r = db_tenant_id(store, tenant, &id, err);
	if (r == 0)
		r = delete_rule(store, id, position, err);
	return db_end(store, r, err);
}

static void read_rule(sqlite3_stmt *s, struct store_rule *rule)
{
	*rule = (struct store_rule){ .position = (uint32_t)db_u64(s, 1),
		.first_port = (uint16_t)db_u64(s, 5),
		.last_port = (uint16_t)db_u64(s, 6),
		.created = sqlite3_column_int64(s, 9),
		.number = (uint32_t)db_u64(s, 10) };
	db_text(s, 0, rule->tenant, sizeof(rule->tenant));
	db_text(s, 2, rule->direction, sizeof(rule->direction));
	db_text(s, 3, rule->verdict, sizeof(rule->verdict));
	db_text(s, 4, rule->protocol, sizeof(rule->protocol));
	db_text(s, 7, rule->prefix, sizeof(rule->prefix));
	db_text(s, 8, rule->comment, sizeof(rule->comment));
}

/* A guest that is being destroyed has no rules any more. */
#define RULE_COLUMNS                                                                           \
	"SELECT t.name, r.position, r.direction, r.verdict, r.protocol, r.first_port,"         \
	" r.last_port, r.prefix, r.comment, r.created, g.number FROM rule r"                   \
	" JOIN tenant t ON t.id = r.tenant"                                                    \
	" LEFT JOIN guest g ON g.tenant = t.id AND g.intent != 'destroying' "

int store_rule_each(
	struct store *store, const char *tenant, store_rule_fn fn, void *data, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	struct store_rule rule;
	int r = tenant ? db_prepare(store, &s, err,
				 RULE_COLUMNS "WHERE t.name = ? ORDER BY r.position", "s", tenant) :
			 db_prepare(store, &s, err,
				 RULE_COLUMNS "ORDER BY t.name, r.position", "");

	while (r == 0 && (r = db_step(store, s, err)) == 1) {
		read_rule(s, &rule);
		r = fn(data, &rule);
	}
	return r;
}
