/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

/* At least so often it is looked, should the guest have removed the group that is watched. */
#define LOOK_MS 60000

void watch_begin(struct watch *w, const char *instance, const char *name)
{
	*w = (struct watch){ .manager = cgroup_pick(NULL),
			     .instance = instance,
			     .name = name,
			     .oom = -1,
			     .sessions = -1,
			     .needed_at = clock_ms() };
	if (!w->manager)
		return;
	w->oom = w->manager->open_oom(instance, name, &w->oom_events);
	watch_kills(w);
}

void watch_renew(struct watch *w)
{
	if (!w->manager)
		return;
	fd_close(w->oom);
	w->oom = w->manager->open_oom(w->instance, w->name, &w->oom_events);
	watch_kills(w);
}

void watch_end(struct watch *w)
{
	w->oom = fd_close(w->oom);
	w->sessions = fd_close(w->sessions);
}

void watch_poll(const struct watch *w, struct pollfd *oom, struct pollfd *sessions)
{
	*oom = (struct pollfd){ .fd = w->oom, .events = w->oom_events };
	*sessions = (struct pollfd){ .fd = w->sessions, .events = POLLPRI };
}

void watch_heard(struct watch *w)
{
	uint64_t value;

	/*
	 * An eventfd is readable until it has been read; of memory.events this reads its start. That of a
	 * group which somebody has removed would be so for ever, and cannot be read.
	 */
	if (w->oom >= 0 && read(w->oom, &value, sizeof(value)) > 0)
		lseek(w->oom, 0, SEEK_SET);
	else if (errno == ENODEV)
		w->oom = fd_close(w->oom);
}

uint64_t watch_kills(struct watch *w)
{
	uint64_t before = w->kills;

	if (!w->manager)
		return 0;
	w->kills = w->manager->kills(w->instance, w->name);
	return w->kills > before ? w->kills - before : 0;
}

/* The group is made by the first session, and the guest may remove it. */
static void reopen(struct watch *w)
{
	const char *tree = w->manager ? w->manager->session_tree(w->instance, w->name) : NULL;
	CLEANUP_CLOSE int group = tree ? cgroup_open(tree, w->instance, w->name) : -1;

	fd_close(w->sessions);
	w->sessions = group < 0 ? -1 : openat(group, "vm2/cgroup.events", O_RDONLY | O_CLOEXEC);
}

/* 1: somebody is there, 0: nobody, -1: not known. */
static int look(struct watch *w)
{
	char text[256];
	ssize_t n = w->sessions < 0 ? -1 : pread(w->sessions, text, sizeof(text) - 1, 0);

	if (n <= 0) {
		reopen(w);
		n = w->sessions < 0 ? -1 : pread(w->sessions, text, sizeof(text) - 1, 0);
	}
	if (n <= 0)
		return w->manager && w->manager->session_tree(w->instance, w->name) ? 0 : -1;
	text[n] = '\0';
	return strstr(text, "populated 0") ? 0 : 1;
}

int64_t watch_idle(struct watch *w, uint64_t seconds)
{
	int64_t now = clock_ms(), left;

	if (look(w) != 0)
		w->needed_at = now;
	left = w->needed_at + (int64_t)seconds * 1000 - now;
	if (left <= 0)
		return 0;
	return left < LOOK_MS ? left : LOOK_MS;
}
