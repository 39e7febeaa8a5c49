/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changed limits come into force. */
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/daemon/errand.h"
#include "provision/daemon/fence.h"
#include "provision/daemon/life.h"
#include "provision/daemon/locks.h"
#include "provision/daemon/names.h"
#include "provision/daemon/quota.h"
#include "provision/guest/rootfs.h"
#include "provision/guest/run.h"
#include "provision/guest/storage.h"
#include "provision/store/traffic.h"

static void write_inside(const void *text)
{
	files_follow_inside(text);
}

void life_follow(const struct config *config, const struct store_tenant *t)
{
	CLEANUP_TEXT struct files_text text;
	struct guest_spec spec;

	life_spec(t, &spec);
	files_text(config, &spec, &text);
	/* Entering takes ten times as long as looking. */
	if (t->guest.intent == STORE_GUEST_PRESENT && files_lag(config, &spec, &text))
		errand_run(config, t->name, write_inside, &text);
}

static void limit_mounts(const void *limits)
{
	const struct limits *l = limits;

	rootfs_limit(l->terminals, l->memory);
}

/* Whether it runs with other numbers than it is to have, of those that its mounts keep. */
static bool mounts_lag(const struct config *config, const struct guest_spec *spec)
{
	CLEANUP_CLOSE int dirfd = run_open(config, spec->name, false);
	struct limits now;

	return dirfd >= 0 && run_read_limits(dirfd, &now) == 0 &&
	       (now.terminals != spec->limits.terminals || now.memory != spec->limits.memory);
}

/* The lock first, then what the database says: whoever changes it last is who is obeyed. */
static int limit_locked(
	const struct config *config, struct store *store, const char *name, struct err *err)
{
	struct guest_spec spec;
	struct store_tenant t;
	bool lag;
	int r = store_tenant_get(store, name, &t, err);

	/* Another quota, too, may be one that is used up, or no longer. */
	if (r == 0)
		r = quota_decide(config, store, &t, err);
	if (r == 0)
		r = store_tenant_get(store, name, &t, err);
	if (r == 0 && t.guest.intent == STORE_GUEST_PRESENT) {
		life_spec(&t, &spec);
		lag = mounts_lag(config, &spec);
		r = guest_limit(config, &spec, err);
		if (r == 0 && lag)
			errand_run(config, name, limit_mounts, &spec.limits);
		if (r == 0)
			r = fence_siblings(config, store, &t, err);
		life_follow(config, &t);
	}
	return r == 0 && t.beyond != t.held ? store_traffic_held(store, name, t.beyond, err) : r;
}

int life_limit(const struct config *config, struct store *store, const char *name, struct err *err)
{
	CLEANUP_CLOSE int lock = -1;
	int r = life_lock(config, name, &lock, err);

	return r == 0 ? limit_locked(config, store, name, err) : r;
}

int life_limit_within(const struct config *config, struct store *store, const char *name,
	int patience_ms, struct err *err)
{
	CLEANUP_CLOSE int lock = -1;
	int r = lock_take(config, name, false, patience_ms, &lock, err);

	return r == 0 ? limit_locked(config, store, name, err) : r;
}

/* The guests' locks are waited for while nobody reads the database. */
static bool has_plan(const struct store_tenant *t, const void *plan)
{
	return t->guest.intent != STORE_GUEST_NONE && !strcmp(t->plan.name, plan);
}

int life_limit_all(
	const struct config *config, struct store *store, const char *plan, struct err *err)
{
	CLEANUP_NAMES struct names names = { 0 };
	struct err first = { 0 }, one;
	size_t failed = 0;
	int r = names_collect(store, has_plan, plan, &names, err);

	for (size_t i = 0; r == 0 && i < names.n; i++) {
		int n = life_limit(config, store, names.of[i], &one);

		/* Removed meanwhile is none. */
		if (n != 0 && n != ERR_NOT_FOUND && failed++ == 0)
			first = one;
	}
	if (r == 0 && failed)
		return err_set(err, first.code,
			"it is noted, but not in force in %zu of %zu guests; the first: %s", failed,
			names.n, first.text);
	return r;
}
