/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/life.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "firewall/rules.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/daemon/check.h"
#include "provision/daemon/fence.h"
#include "provision/daemon/locks.h"
#include "provision/daemon/quota.h"
#include "provision/daemon/reserve.h"
#include "provision/daemon/traffic.h"
#include "provision/guest/freeze.h"
#include "provision/guest/passwd.h"
#include "provision/guest/snapshot.h"
#include "provision/guest/storage.h"
#include "provision/store/accounts.h"

/*
 * Stopping guests hold it shared for as long as they take: only a replacement of the table waits.
 */
#define RULES_WAIT_MS 60000

void life_spec(const struct store_tenant *t, struct guest_spec *ret)
{
	*ret = (struct guest_spec){
		.name = t->name,
		.number = t->guest.number,
		.uid_base = t->guest.uid_base,
		.template = t->guest.template,
		.driver = t->guest.driver,
		.address4 = t->guest.address4[0] ? t->guest.address4 : NULL,
		.address6 = t->guest.address6[0] ? t->guest.address6 : NULL,
		.more = t->guest.more[0] ? t->guest.more : NULL,
		.nameservers = t->lists.nameservers,
		.search = t->lists.search,
		.limits = t->limits,
	};
	quota_rates(t, &ret->up, &ret->down);
}

/* What it is, but for whether one that is there runs: NULL. */
static const char *intent_word(const struct store_tenant *tenant)
{
	if (tenant->guest.intent == STORE_GUEST_NONE)
		return "none";
	if (tenant->guest.intent == STORE_GUEST_CREATING)
		return "creating";
	return tenant->guest.intent == STORE_GUEST_DESTROYING ? "destroying" : NULL;
}

const char *life_state(const struct config *config, const struct store_tenant *tenant)
{
	return intent_word(tenant) ?: guest_runs(config, tenant->name) ? "running" : "stopped";
}

const char *life_state_in(const struct guest_view *view, const struct store_tenant *tenant,
	struct guest_look *look)
{
	return intent_word(tenant) ?: guest_view_look(view, tenant->name, look) ? "running" : "stopped";
}

/* Names in the snapshot are for ps(1) on the host: that it could not be written stops no login. */
static void publish(const struct config *config, struct store *store)
{
	struct err err = { 0 };

	if (accounts_publish(store, config, &err) != 0)
		log_warn("%s", err.text);
}

/* Have the store know the accounts inside a guest. Whether they were others before. */
static bool learn(const struct config *config, struct store *store, const struct store_tenant *t)
{
	char list[PASSWD_LIST_SIZE];
	struct guest_spec spec;
	struct err err = { 0 };
	bool changed = false;

	life_spec(t, &spec);
	passwd_read(config, &spec, list);
	if (store_guest_inside(store, t->name, list, &changed, &err) != 0)
		log_warn("cannot note the accounts inside the guest of '%s': %s", t->name, err.text);
	return changed;
}

void life_learn(const struct config *config, struct store *store, const char *name)
{
	struct store_tenant t;

	if (store_tenant_get(store, name, &t, NULL) == 0 && t.guest.intent == STORE_GUEST_PRESENT &&
		learn(config, store, &t))
		publish(config, store);
}

/* A start that is under way, and what it has its caller do. */
struct beginning {
	const struct config *config;
	struct store *store;
	const struct store_tenant *tenant;
	const struct life_waiting *waiting;
	bool fresh; /* the guest's first: its names are in no snapshot yet */
	struct guest_begun begun;
};

static void tell_progress(void *data, const char *text)
{
	const struct beginning *b = data;

	if (b->waiting->progress)
		b->waiting->progress(b->waiting->data, text);
}

/*
 * While the guest comes up: its files are there, and its row is. Should it not come up, who takes a fresh
 * one back publishes again.
 */
static void learn_meanwhile(void *data)
{
	const struct beginning *b = data;

	if (b->waiting->meanwhile)
		b->waiting->meanwhile(b->waiting->data);
	if (learn(b->config, b->store, b->tenant) || b->fresh)
		publish(b->config, b->store);
}

static int admit(struct store *store, const char *name, struct store_tenant *t, struct err *err)
{
	int r = store_tenant_get(store, name, t, err);

	if (r == 0 && t->suspended)
		return err_set(
			err, ERR_DENIED, "suspended%s%s", t->reason[0] ? ": " : "", t->reason);
	return r;
}

/* What is the tenant's own is there before the guest: nothing gets by its rules meanwhile. */
static int start_once(struct beginning *b, struct guest_run *run, struct err *err)
{
	const struct guest_starting starting = { tell_progress, learn_meanwhile, b, &b->begun };
	CLEANUP_CLOSE int lock = -1;
	struct guest_spec spec;
	int r = lock_take(b->config, LOCK_RULES, true, RULES_WAIT_MS, &lock, err);

	life_spec(b->tenant, &spec);
	if (r == 0)
		r = fence_arrange(b->config, b->store, b->tenant, true, err);
	return r == 0 ? guest_start(b->config, &spec, &starting, run, err) : r;
}

/*
 * The rules are put in first when the table is not there: somebody flushed it, or it is the first.
 */
static int start(struct beginning *b, struct guest_run *run, struct err *err)
{
	const struct rules_base base = fence_base(b->config);
	int r = start_once(b, run, err);

	if (r >= 0 || rules_present(&base, NULL) != 0)
		return r;
	r = fence_restore(b->config, b->store, err);
	return r == 0 ? start_once(b, run, err) : r;
}

/* No packet of it passes any more; whoever has its addresses next gets none of its connections. */
static void end_connections(const struct config *config, const struct store_tenant *t)
{
	struct err err = { 0 };

	if (fence_end_guest(config, &t->guest, &err) != 0)
		log_warn("cannot end the connections of '%s': %s", t->name, err.text);
}

/* Under the lock: nothing of it is left on the host, and then no row. */
static int destroy_locked(const struct config *config, struct store *store,
	const struct store_tenant *t, struct err *err)
{
	CLEANUP_CLOSE int rules = -1;
	struct guest_spec spec;
	int r = store_guest_intent(store, t->name, STORE_GUEST_DESTROYING, err);

	life_spec(t, &spec);
	if (r == 0)
		r = lock_take(config, LOCK_RULES, true, RULES_WAIT_MS, &rules, err);
	if (r == 0)
		r = fence_arrange(config, store, t, false, err);
	if (r == 0)
		r = guest_destroy(config, &spec, err);
	if (r == 0)
		end_connections(config, t);
	if (r == 0)
		r = traffic_settle(config, store, t, err);
	if (r == 0)
		r = store_guest_remove(store, t->name, err);
	return r;
}

void life_take_back(
	const struct config *config, struct store *store, const struct store_tenant *t)
{
	struct err err = { 0 };

	if (destroy_locked(config, store, t, &err) != 0)
		log_err("cannot take back the guest of '%s': %s; vm2d's next start tries again",
			t->name, err.text);
	publish(config, store);
}

static int create(
	struct beginning *b, struct store_tenant *t, struct guest_run *run, struct err *err)
{
	const struct config *config = b->config;
	struct store *store = b->store;
	const struct storage_driver *driver = storage_pick(config, err);
	int r = reserve_check(config, store, &t->limits, err);

	if (r == 0)
		r = driver ? store_guest_allocate(store, config, t->name, driver->name, false,
				 &t->guest, err) :
			 ERR_FAILED;
	if (r != 0)
		return r;
	r = check_before_use(config, store, t->guest.template, b->waiting->progress,
			b->waiting->data, err);
	b->fresh = true;
	if (r == 0)
		r = start(b, run, err);
	if (r == 0) {
		r = store_guest_intent(store, t->name, STORE_GUEST_PRESENT, err);
		if (r != 0)
			guest_run_close(run);
	}
	if (r != 0) {
		life_take_back(config, store, t);
		return r;
	}
	t->guest.intent = STORE_GUEST_PRESENT;
	return 0;
}

static bool runs(const struct config *config, const struct store_tenant *t, struct guest_run *run)
{
	return t->guest.intent == STORE_GUEST_PRESENT && guest_find(config, t->name, run, NULL) == 0;
}

static int up_locked(const struct config *config, struct store *store, const char *name,
	const struct life_waiting *waiting, struct store_tenant *t, struct guest_run *run,
	struct err *err)
{
	struct beginning b = { config, store, t, waiting, false, { 0 } };
	int r = admit(store, name, t, err);

	if (r != 0)
		return r;
	/*
	 * Whoever began this is gone, since we have the lock: finish taking it back, then start
	 * anew.
	 */
	if (t->guest.intent == STORE_GUEST_CREATING || t->guest.intent == STORE_GUEST_DESTROYING) {
		r = destroy_locked(config, store, t, err);
		if (r != 0)
			return r;
		t->guest = (struct store_guest){ 0 };
	}
	if (runs(config, t, run))
		return 0;
	guest_begin(config, waiting->queue, &b.begun);
	if (t->guest.intent == STORE_GUEST_NONE) {
		r = create(&b, t, run, err);
	} else {
		r = t->guest.up ? 0 : store_guest_up(store, name, true, err);
		if (r == 0)
			r = start(&b, run, err);
	}
	guest_begun_end(&b.begun);
	return r;
}

bool life_is_up(const struct config *config, struct store *store, const char *name,
	struct store_tenant *tenant, struct guest_run *run)
{
	return admit(store, name, tenant, NULL) == 0 && runs(config, tenant, run);
}

int life_up(const struct config *config, struct store *store, const char *name,
	const struct life_waiting *waiting, struct store_tenant *tenant, struct guest_run *run,
	struct err *err)
{
	static const struct life_waiting silent = { .queue = -1 };
	CLEANUP_CLOSE int seat = -1, lock = -1;
	int r = admit(store, name, tenant, err);

	if (r != 0)
		return r;
	/* The usual case takes no lock: what runs needs nothing. */
	if (runs(config, tenant, run))
		return 0;
	r = lock_seat(config, name, &seat, err);
	if (r == 0)
		r = lock_take(config, name, false, (int)config->start_timeout * 1000, &lock, err);
	if (r != 0)
		return r;
	return up_locked(config, store, name, waiting ?: &silent, tenant, run, err);
}

int life_stop_held(
	const struct config *config, struct store *store, const char *name, struct err *err)
{
	CLEANUP_CLOSE int rules = -1;
	struct guest_spec spec;
	struct store_tenant t;
	int r = store_tenant_get(store, name, &t, err);

	if (r != 0 || t.guest.intent == STORE_GUEST_NONE)
		return r;
	if (t.guest.intent != STORE_GUEST_PRESENT)
		return destroy_locked(config, store, &t, err);
	life_spec(&t, &spec);
	r = lock_take(config, LOCK_RULES, true, RULES_WAIT_MS, &rules, err);
	if (r == 0)
		r = guest_stop(config, &spec, err);
	if (r == 0)
		end_connections(config, &t);
	fd_close(steal_fd(&rules));
	if (r == 0 && learn(config, store, &t))
		publish(config, store);
	return r;
}

/*
 * Whoever holds a tenant's lock may be starting its guest, and then stopping one: both have
 * limits.
 */
static int patience_ms(const struct config *config)
{
	return (int)(config->start_timeout + config->stop_timeout) * 1000;
}

int life_lock(const struct config *config, const char *name, int *ret, struct err *err)
{
	return lock_take(config, name, false, patience_ms(config), ret, err);
}

int life_stop(const struct config *config, struct store *store, const char *name, struct err *err)
{
	CLEANUP_CLOSE int lock = -1;
	int r = lock_take(config, name, false, patience_ms(config), &lock, err);

	if (r == 0)
		r = store_guest_up(store, name, false, err);
	return r == 0 ? life_stop_held(config, store, name, err) : r;
}

int life_lock_export(const struct config *config, const char *name, int *ret, struct err *err)
{
	char lock[NAME_LEN_MAX + 16];
	int r;

	snprintf(lock, sizeof(lock), "%s%s", LOCK_EXPORT, name);
	r = lock_take(config, lock, false, 0, ret, err);
	return r == ERR_BUSY ? err_set(err, r, "guest %s is being exported: wait, or end that", name) :
			       r;
}

int life_destroy(const struct config *config, struct store *store, const char *name,
	bool tenant_too, struct err *err)
{
	CLEANUP_CLOSE int lock = -1, export = -1;
	struct store_tenant t;
	int r = lock_take(config, name, false, patience_ms(config), &lock, err);

	/* An export that went on while the files vanish under it would look whole. */
	if (r == 0)
		r = life_lock_export(config, name, &export, err);
	if (r == 0)
		r = store_tenant_get(store, name, &t, err);
	if (r == 0 && t.guest.intent != STORE_GUEST_NONE)
		r = destroy_locked(config, store, &t, err);
	if (r == 0 && tenant_too)
		r = store_tenant_remove(store, name, err);
	if (r == 0 && tenant_too) {
		char other[NAME_LEN_MAX + 16];

		snprintf(other, sizeof(other), "%s%s", LOCK_EXPORT, name);
		lock_remove(config, other);
		lock_remove(config, name);
	}
	if (r == 0)
		publish(config, store);
	return r;
}

/* What killed workers left of snapshots. An export that still runs holds its own lock. */
static void tidy(const struct config *config, struct store *store, const char *name)
{
	CLEANUP_CLOSE int export = -1;
	struct store_tenant t;
	struct guest_spec spec;

	if (store_tenant_get(store, name, &t, NULL) != 0 || t.guest.intent != STORE_GUEST_PRESENT)
		return;
	life_spec(&t, &spec);
	snapshot_tidy(config, &spec, life_lock_export(config, name, &export, NULL) == 0);
}

int life_repair(const struct config *config, struct store *store, const char *name, struct err *err)
{
	CLEANUP_CLOSE int lock = -1;
	struct guest_run run;
	int r = lock_take(config, name, false, 0, &lock, err);

	if (r == ERR_BUSY)
		return 0;
	/* Nobody makes a snapshot of it, since we have the lock. */
	if (r == 0) {
		freeze_forget(config->instance, name);
		tidy(config, store, name);
	}
	if (r == 0 && guest_find(config, name, &run, NULL) == 0) {
		struct store_tenant t;

		guest_run_close(&run);
		r = store_tenant_get(store, name, &t, err);
		if (r != 0 || t.guest.intent == STORE_GUEST_PRESENT)
			return r;
	}
	return r == 0 ? life_stop_held(config, store, name, err) : r;
}
