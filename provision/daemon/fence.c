/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/fence.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "firewall/owner.h"
#include "provision/audit/ledger.h"
#include "provision/base/cleanup.h"
#include "provision/base/log.h"
#include "provision/daemon/locks.h"

/* Those that start or stop a guest hold the lock shared for as long as that takes. */
#define RULES_WAIT_MS 60000

#define RETRY_MS 500

/* The guests; their addresses belong to the array of rows. */
struct guests {
	struct store_guest *rows;
	struct rules_guest *of;
	uint32_t count, cap;
};

static void free_guests(struct guests *g)
{
	free(g->rows);
	free(g->of);
}
#define CLEANUP_GUESTS __attribute__((cleanup(free_guests)))

struct rules_base fence_base(const struct config *config)
{
	return (struct rules_base){ config->instance, config->pool4, config->pool6, config->run };
}

/*
 * The row is written before a guest's rules are, and says so before they are taken away: what a row
 * means is never less than what may run, and nothing that is being destroyed comes back.
 */
static int add_guest(void *data, const struct store_tenant *t)
{
	struct guests *g = data;

	if (t->guest.intent != STORE_GUEST_CREATING && t->guest.intent != STORE_GUEST_PRESENT)
		return 0;
	if (g->count == g->cap) {
		g->cap = g->cap ? 2 * g->cap : 64;
		g->rows = reallocarray(g->rows, g->cap, sizeof(*g->rows));
		if (!g->rows)
			return -ENOMEM;
	}
	g->rows[g->count++] = t->guest;
	return 0;
}

static int collect(struct store *store, struct guests *ret, struct err *err)
{
	int r = store_tenant_each(store, add_guest, ret, err);

	ret->of = xcalloc(ret->count + 1, sizeof(*ret->of));
	for (uint32_t i = 0; i < ret->count; i++) {
		const struct store_guest *g = &ret->rows[i];

		ret->of[i] = (struct rules_guest){ g->number, g->address4[0] ? g->address4 : NULL,
			g->address6[0] ? g->address6 : NULL };
	}
	return r;
}

/* Exclusive: no guest comes or goes between reading what there is and putting it into the kernel. */
int fence_restore(const struct config *config, struct store *store, struct err *err)
{
	const struct rules_base base = fence_base(config);
	CLEANUP_GUESTS struct guests guests = { 0 };
	CLEANUP_CLOSE int lock = -1;
	int r = lock_take(config, LOCK_RULES, false, RULES_WAIT_MS, &lock, err);

	if (r == 0)
		r = collect(store, &guests, err);
	return r == 0 ? rules_restore(&base, guests.of, guests.count, err) : r;
}

/* Canonical JSON: sorted keys, no spaces. */
static void note(const struct config *config, const struct owner_change *change)
{
	CLEANUP_BUF struct buf leaf = { 0 };
	time_t now = time(NULL);
	struct err err = { 0 };
	char text[32];
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	buf_puts(&leaf, "{\"by\":");
	buf_json(&leaf, change->who);
	buf_puts(&leaf, ",\"change\":");
	buf_json(&leaf, change->what);
	buf_printf(&leaf, ",\"time\":\"%s\",\"type\":\"firewall\"}", text);
	if (ledger_append(config->ledger, leaf.data, leaf.len, NULL, &err) != 0)
		log_err("cannot note it in the ledger: %s", err.text);
}

/* Nobody has the socket meanwhile: what is read is what the kernel gets. */
static int restore(struct owner *owner, struct store *store, struct err *err)
{
	CLEANUP_GUESTS struct guests guests = { 0 };
	int r = collect(store, &guests, err);

	return r == 0 ? owner_restore(owner, guests.of, guests.count, err) : r;
}

/* Until it works: nothing is lent before, so that no guest starts without its rules. */
static void restore_surely(struct owner *owner, struct store *store)
{
	char said[ERR_TEXT_MAX] = "";
	struct err err = { 0 };

	while (restore(owner, store, &err) != 0) {
		if (strcmp(said, err.text))
			log_err("cannot restore the firewall's rules: %s", err.text);
		memcpy(said, err.text, sizeof(said));
		poll(NULL, 0, RETRY_MS);
	}
}

static int keep(const struct config *config, struct owner *owner, struct store *store,
	struct err *err)
{
	struct owner_change change;
	int r;

	restore_surely(owner, store);
	if (!owner_owns(owner))
		log_notice("the firewall's table is not protected against others%s",
			strcmp(config->table, "watched") ? ": that takes Linux 6.9" : "");
	while ((r = owner_serve(owner, -1, &change, err)) >= 0) {
		if (r == 0)
			continue;
		restore_surely(owner, store);
		log_warn("%s %s of the firewall; restored", change.who[0] ? change.who : "somebody",
			change.what);
		note(config, &change);
	}
	return r;
}

int fence_keep(const struct config *config, int listener)
{
	const struct rules_base base = fence_base(config);
	CLEANUP_STORE struct store *store = NULL;
	struct owner *owner = NULL;
	struct err err = { 0 };
	int r = store_open(config->database, &store, &err);

	if (r == 0)
		r = owner_open(
			&base, listener, strcmp(config->table, "watched") != 0, &owner, &err);
	if (r == 0)
		r = keep(config, owner, store, &err);
	log_err("%s", err.text);
	owner_close(owner);
	return err_exit_status(r);
}
