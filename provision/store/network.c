/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Published ports. */
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
