/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names that were collected from the database, to do something with each when it is no longer
 * being read.
 */
#ifndef VM2_DAEMON_NAMES_H
#define VM2_DAEMON_NAMES_H

#include "provision/store/store.h"

struct names {
	size_t n, cap;
	char (*of)[STORE_NAME_SIZE];
};

/* 0 or -ENOMEM. */
int names_add(struct names *names, const char *name);
void names_free(struct names *names);
#define CLEANUP_NAMES __attribute__((cleanup(names_free)))

/* Those of the tenants for which want() says so. As store_tenant_each(). */
int names_collect(struct store *store, bool (*want)(const struct store_tenant *t, const void *data),
	const void *data, struct names *ret, struct err *err);

#endif
