/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The tenants' public keys. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "provision/store/db.h"

int db_key_insert(struct store *store, int64_t tenant, struct store_key *key, struct err *err)
{
	int r;

	key->created = time(NULL);
	r = db_run(store, NULL, err,
		"INSERT INTO key (tenant, type, blob, fingerprint, comment, created, options)"
		" VALUES (?, ?, ?, ?, ?, ?, ?)",
		"isbssis", tenant, key->type, key->blob, key->blob_len, key->fingerprint,
		key->comment, key->created, key->options);
	if (r == ERR_EXISTS)
		return err_set(err, r, "the tenant has the key %s already", key->fingerprint);
	if (r == 0)
		key->id = sqlite3_last_insert_rowid(store->db);
	return r;
}

int store_key_add(struct store *store, const char *tenant, struct store_key *key, struct err *err)
{
	int64_t id = 0;
	int r = db_tenant_id(store, tenant, &id, err);

	return r == 0 ? db_key_insert(store, id, key, err) : r;
}

static void read_key(sqlite3_stmt *s, struct store_key *k)
{
	memset(k, 0, sizeof(*k));
	k->id = sqlite3_column_int64(s, 0);
	db_text(s, 1, k->type, sizeof(k->type));
	db_text(s, 2, k->fingerprint, sizeof(k->fingerprint));
	db_text(s, 3, k->comment, sizeof(k->comment));
	k->created = sqlite3_column_int64(s, 4);
	db_text(s, 5, k->options, sizeof(k->options));
}

#define KEY_COLUMNS "SELECT k.id, k.type, k.fingerprint, k.comment, k.created, k.options FROM key k "

int store_key_each(
	struct store *store, const char *tenant, store_key_fn fn, void *data, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	struct store_key key;
	int64_t id = 0;
	int r = db_tenant_id(store, tenant, &id, err);

	if (r == 0)
		r = db_prepare(
			store, &s, err, KEY_COLUMNS "WHERE k.tenant = ? ORDER BY k.id", "i", id);
	if (r != 0)
		return r;
	while ((r = db_step(store, s, err)) == 1) {
		read_key(s, &key);
		r = fn(data, &key);
		if (r != 0)
			return r;
	}
	return r;
}

int store_key_match(struct store *store, const char *tenant, const void *blob, size_t len,
	struct store_key *ret, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	int r = db_prepare(store, &s, err,
		KEY_COLUMNS "JOIN tenant t ON t.id = k.tenant WHERE t.name = ? AND k.blob = ?",
		"sb", tenant, blob, len);

	if (r == 0)
		r = db_step(store, s, err);
	if (r != 1)
		return r == 0 ? ERR_NOT_FOUND : r;
	read_key(s, ret);
	return 0;
}

int store_key_remove(struct store *store, const char *tenant, const char *which, struct err *err)
{
	uint64_t number = 0;
	int64_t id = 0;
	int changes = 0, r = db_tenant_id(store, tenant, &id, err);

	if (r != 0)
		return r;
	if (parse_u64(which, INT64_MAX, &number) == 0)
		r = db_run(store, &changes, err, "DELETE FROM key WHERE tenant = ? AND id = ?",
			"ii", id, (int64_t)number);
	else
		r = db_run(store, &changes, err,
			"DELETE FROM key WHERE tenant = ? AND fingerprint = ?", "is", id, which);
	if (r == 0 && changes == 0)
		return err_set(err, ERR_NOT_FOUND,
			"tenant '%s' has no key '%s': see vm2 key list %s", tenant, which, tenant);
	return r;
}
