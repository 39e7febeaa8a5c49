/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/drift.h"

#include <poll.h>
#include <stdlib.h>

#include "provision/base/cleanup.h"
#include "provision/base/str.h"
#include "provision/daemon/fence.h"

#define TRIES	 4
#define PAUSE_MS 250

void drifts_free(struct drifts *d)
{
	for (size_t i = 0; i < d->n; i++) {
		free(d->of[i].how);
		free(d->of[i].what);
	}
	free(d->of);
	*d = (struct drifts){ 0 };
}

static void note(void *data, const char *how, const char *what)
{
	struct drifts *d = data;

	d->of = reallocarray(d->of, d->n + 1, sizeof(*d->of));
	if (!d->of)
		abort();
	d->of[d->n].how = xstrdup(how);
	d->of[d->n++].what = xstrdup(what);
}

int drifts_find(const struct config *config, struct store *store, struct drifts *ret, struct err *err)
{
	int n = fence_verify(config, store, note, ret, err);

	for (int i = 1; n > 0 && i < TRIES; i++) {
		drifts_free(ret);
		poll(NULL, 0, PAUSE_MS);
		n = fence_verify(config, store, note, ret, err);
	}
	return n < 0 ? n : 0;
}
