/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changed limits come into force. */
#include <errno.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/daemon/life.h"

/* The lock first, then what the database says: whoever changes it last is who is obeyed. */
int life_limit(const struct config *config, struct store *store, const char *name, struct err *err)
{
	CLEANUP_CLOSE int lock = -1;
	struct guest_spec spec;
	struct store_tenant t;
	int r = life_lock(config, name, &lock, err);

	if (r == 0)
		r = store_tenant_get(store, name, &t, err);
	if (r != 0 || t.guest.intent != STORE_GUEST_PRESENT)
		return r;
	life_spec(&t, &spec);
	return guest_limit(config, &spec, err);
}

/* Names first: the guests' locks are waited for while nobody reads the database. */
struct names {
	const char *plan;
	size_t n, cap;
	char (*of)[STORE_NAME_SIZE];
};

static int collect(void *data, const struct store_tenant *t)
{
	struct names *names = data;

	if (t->guest.intent == STORE_GUEST_NONE || strcmp(t->plan.name, names->plan) != 0)
		return 0;
	if (names->n == names->cap) {
		void *more = reallocarray(names->of, names->cap + 64, sizeof(*names->of));

		if (!more)
			return -ENOMEM;
		names->of = more;
		names->cap += 64;
	}
	memcpy(names->of[names->n++], t->name, STORE_NAME_SIZE);
	return 0;
}

int life_limit_all(
	const struct config *config, struct store *store, const char *plan, struct err *err)
{
	struct names names = { .plan = plan };
	struct err first = { 0 }, one;
	size_t failed = 0;
	int r = store_tenant_each(store, collect, &names, err);

	for (size_t i = 0; r == 0 && i < names.n; i++) {
		int n = life_limit(config, store, names.of[i], &one);

		/* Removed meanwhile is none. */
		if (n != 0 && n != ERR_NOT_FOUND && failed++ == 0)
			first = one;
	}
	free(names.of);
	if (r == 0 && failed)
		return err_set(err, first.code,
			"it is noted, but not in force in %zu of %zu guests; the first: %s", failed,
			names.n, first.text);
	return r;
}
