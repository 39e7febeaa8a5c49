/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "provision/base/cleanup.h"

int names_add(struct names *names, const char *name)
{
	if (names->n == names->cap) {
		size_t cap = names->cap ? 2 * names->cap : 64;
		void *more = reallocarray(names->of, cap, sizeof(*names->of));

		if (!more)
			return -ENOMEM;
		names->of = more;
		names->cap = cap;
	}
	snprintf(names->of[names->n++], STORE_NAME_SIZE, "%s", name);
	return 0;
}

void names_free(struct names *names)
{
	free(names->of);
	*names = (struct names){ 0 };
}

struct choice {
	bool (*want)(const struct store_tenant *t, const void *data);
	const void *data;
	struct names *names;
};

static int choose(void *data, const struct store_tenant *t)
{
	const struct choice *c = data;

	return c->want(t, c->data) ? names_add(c->names, t->name) : 0;
}

int names_collect(struct store *store, bool (*want)(const struct store_tenant *t, const void *data),
	const void *data, struct names *ret, struct err *err)
{
	struct choice choice = { want, data, ret };

	return store_tenant_each(store, choose, &choice, err);
}
