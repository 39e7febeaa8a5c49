/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A store of the test's own. */
#ifndef VM2_TESTS_STORE_PLACE_H
#define VM2_TESTS_STORE_PLACE_H

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>

#include "provision/base/fd.h"
#include "provision/store/store.h"

/* A folder, a configuration in it, and an open store. */
struct place {
	char folder[64];
	const struct config *config;
	struct store *store;
	struct err err;
};

static inline void place_open(struct place *p, const char *settings)
{
	char path[128];
	FILE *f;

	snprintf(p->folder, sizeof(p->folder), "/tmp/vm2-test-store.XXXXXX");
	cr_assert(mkdtemp(p->folder));
	snprintf(path, sizeof(path), "%s/vm2.conf", p->folder);
	f = fopen(path, "we");
	cr_assert(f);
	fprintf(f, "[paths]\nstate = %s\nrun = %s\n%s\n", p->folder, p->folder, settings);
	fclose(f);
	cr_assert_eq(config_load(path, &p->config, &p->err), 0, "%s", p->err.text);
	cr_assert_eq(store_open(p->config->database, &p->store, &p->err), 0, "%s", p->err.text);
}

static inline void place_close(struct place *p)
{
	p->store = store_close(p->store);
	p->config = config_free(p->config);
	if (p->folder[0])
		fd_remove_tree(AT_FDCWD, p->folder);
}
#define PLACE(name, settings)                                            \
	__attribute__((cleanup(place_close))) struct place name = { 0 }; \
	place_open(&name, settings)

static inline int add_tenant(struct place *p, const char *name)
{
	struct store_tenant t = { .plan.name = "small" };

	snprintf(t.name, sizeof(t.name), "%s", name);
	return store_tenant_add(p->store, p->config, &t, NULL, 0, &p->err);
}

#endif
