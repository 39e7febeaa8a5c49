/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The end of a tenant's sessions, when staff says so. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/daemon/hostlog.h"
#include "provision/daemon/life.h"

/* vm2-session has so long to hang up, to close the recording and to say how it ended. */
#define POLITE_MS 3000
#define KILLED_MS 1000

/* At most so many at once; then the list is read again. */
#define BATCH 64

struct batch {
	int n;
	struct {
		char id[STORE_SESSION_LEN + 1];
		pid_t pid;
		uint64_t pid_start;
		int pidfd; /* negative: gone */
	} of[BATCH];
};

static int collect(void *data, const struct store_session *s)
{
	struct batch *b = data;

	if (b->n == BATCH)
		return ERR_BUSY;
	snprintf(b->of[b->n].id, sizeof(b->of[b->n].id), "%s", s->id);
	b->of[b->n].pid = s->pid;
	b->of[b->n].pid_start = s->pid_start;
	b->n++;
	return 0;
}

/* By pidfd and start time: the number may be another process's by now. */
static void end_batch(struct batch *b)
{
	int64_t deadline = clock_ms() + POLITE_MS;

	for (int i = 0; i < b->n; i++) {
		b->of[i].pidfd = process_open(b->of[i].pid, b->of[i].pid_start);
		if (b->of[i].pidfd >= 0)
			process_signal(b->of[i].pidfd, SIGTERM);
	}
	for (int i = 0; i < b->n; i++) {
		int64_t left = deadline - clock_ms();

		if (b->of[i].pidfd < 0)
			continue;
		if (process_wait(b->of[i].pidfd, left > 0 ? (int)left : 0) == -ETIMEDOUT) {
			process_signal(b->of[i].pidfd, SIGKILL);
			process_wait(b->of[i].pidfd, KILLED_MS);
		}
		fd_close(b->of[i].pidfd);
	}
}

int life_end_sessions(struct store *store, const char *name, struct err *err)
{
	int r;

	do {
		struct batch batch = { 0 };

		r = store_session_each(store, name, true, BATCH + 1, collect, &batch, err);
		if (r != 0 && r != ERR_BUSY)
			return r;
		end_batch(&batch);
		/*
		 * Those that said how they ended are closed already: then there is nothing to
		 * change.
		 */
		for (int i = 0; i < batch.n; i++)
			if (store_session_lost(store, batch.of[i].id, time(NULL), NULL) == 0)
				hostlog_end(batch.of[i].id, batch.of[i].pid);
	} while (r == ERR_BUSY);
	return 0;
}
