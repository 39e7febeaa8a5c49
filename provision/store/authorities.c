/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Authorities whose certificates let users in: a tenant's, or all tenants' of this host. */
#include <string.h>
#include <time.h>

#include "provision/store/db.h"

/* The tenant's id in *ret; 0 for all tenants. */
static int whose(struct store *store, const char *tenant, int64_t *ret, struct err *err)
{
	*ret = 0;
	return tenant ? db_tenant_id(store, tenant, ret, err) : 0;
}

int store_ca_add(struct store *store, const char *tenant, struct store_ca *ca, struct err *err)
{
	int64_t id;
	int r = whose(store, tenant, &id, err);

	if (r != 0)
		return r;
	ca->created = time(NULL);
	r = db_run(store, NULL, err,
		"INSERT INTO ca (tenant, type, blob, fingerprint, comment, principals, created)"
		" VALUES (nullif(?, 0), ?, ?, ?, ?, ?, ?)",
		"isbsssi", id, ca->type, ca->blob, ca->blob_len, ca->fingerprint, ca->comment,
		ca->principals, ca->created);
	if (r == ERR_EXISTS)
		return err_set(err, r, "the authority %s is registered there already", ca->fingerprint);
	if (r == 0)
		ca->id = sqlite3_last_insert_rowid(store->db);
	return r;
}

#define CA_COLUMNS                                                                                 \
	"SELECT c.id, t.name, c.type, c.fingerprint, c.comment, c.principals, c.created FROM ca c" \
	" LEFT JOIN tenant t ON t.id = c.tenant "

static void read_ca(sqlite3_stmt *s, struct store_ca *ca)
{
	memset(ca, 0, sizeof(*ca));
	ca->id = sqlite3_column_int64(s, 0);
	db_text(s, 1, ca->tenant, sizeof(ca->tenant));
	db_text(s, 2, ca->type, sizeof(ca->type));
	db_text(s, 3, ca->fingerprint, sizeof(ca->fingerprint));
	db_text(s, 4, ca->comment, sizeof(ca->comment));
	db_text(s, 5, ca->principals, sizeof(ca->principals));
	ca->created = sqlite3_column_int64(s, 6);
}

/* fn for each row that is left, until it returns other than 0. */
static int each_row(
	struct store *store, sqlite3_stmt *s, store_ca_fn fn, void *data, struct err *err)
{
	struct store_ca ca;
	int r;

	while ((r = db_step(store, s, err)) == 1) {
		read_ca(s, &ca);
		r = fn(data, &ca);
		if (r != 0)
			return r;
	}
	return r;
}

int store_ca_each(
	struct store *store, const char *tenant, store_ca_fn fn, void *data, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int64_t id;
	int r = whose(store, tenant, &id, err);

	if (r == 0)
		r = db_prepare(store, &s, err,
			CA_COLUMNS "WHERE ?1 = 0 OR c.tenant = ?1 OR c.tenant IS NULL ORDER BY c.id",
			"i", id);
	return r == 0 ? each_row(store, s, fn, data, err) : r;
}

int store_ca_match(struct store *store, const char *tenant, const void *blob, size_t len,
	store_ca_fn fn, void *data, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	/* The tenant must be there: an authority of all tenants lets in nobody else. */
	int r = db_prepare(store, &s, err,
		CA_COLUMNS "WHERE c.blob = ?2 AND EXISTS (SELECT 1 FROM tenant o WHERE o.name = ?1"
			   " AND (c.tenant IS NULL OR c.tenant = o.id))",
		"sb", tenant, blob, len);

	return r == 0 ? each_row(store, s, fn, data, err) : r;
}

int store_ca_remove(struct store *store, const char *which, struct err *err)
{
	uint64_t number = 0;
	int changes = 0, r;

	if (parse_u64(which, INT64_MAX, &number) == 0)
		r = db_run(store, &changes, err, "DELETE FROM ca WHERE id = ?", "i", (int64_t)number);
	else
		r = db_run(store, &changes, err, "DELETE FROM ca WHERE fingerprint = ?", "s", which);
	if (r == 0 && changes == 0)
		return err_set(err, ERR_NOT_FOUND, "there is no authority '%s': see vm2 ca list", which);
	return r;
}
