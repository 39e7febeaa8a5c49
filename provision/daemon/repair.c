/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm2 host repair: what vm2d does when it starts, and what only the checker finds. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "firewall/link.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/daemon/checker.h"
#include "provision/daemon/fence.h"
#include "provision/daemon/handlers.h"
#include "provision/daemon/life.h"
#include "provision/daemon/locks.h"
#include "provision/daemon/recover.h"
#include "provision/guest/regroup.h"
#include "provision/guest/storage.h"
#include "provision/guest/supervisors.h"

struct one {
	char kind[24], state[8], name[256];
	bool again; /* it was found again after the repair */
};

struct list {
	size_t n, cap;
	struct one *of;
};

static void keep(void *data, const struct finding *f)
{
	struct list *list = data;

	if (list->n == list->cap) {
		void *more = reallocarray(list->of, list->cap + 64, sizeof(*list->of));

		if (!more)
			return;
		list->of = more;
		list->cap += 64;
	}
	list->of[list->n] = (struct one){ 0 };
	snprintf(list->of[list->n].kind, sizeof(list->of->kind), "%s", f->kind);
	snprintf(list->of[list->n].state, sizeof(list->of->state), "%s", f->state);
	snprintf(list->of[list->n++].name, sizeof(list->of->name), "%s", f->name);
}

static void mark(void *data, const struct finding *f)
{
	struct list *list = data;

	for (size_t i = 0; i < list->n; i++)
		if (!strcmp(list->of[i].kind, f->kind) &&
			!strncmp(list->of[i].name, f->name, sizeof(list->of->name) - 1))
			list->of[i].again = true;
}

/* Whose name is looked for, and how many were ended. */
struct stray {
	const struct config *config;
	const char *name;
	int ended;
};

static void end_stray(void *data, const struct supervisor_found *found)
{
	struct stray *s = data;

	if (strcmp(found->name, s->name) != 0 || !supervisors_stray(s->config, found))
		return;
	log_warn("a vm2-guest of '%s' (process %d) was out of reach: killed", s->name, found->pid);
	if (supervisors_end(found) == 0)
		s->ended++;
}

/* Under the guest's lock. What it had goes with it, unless the guest runs anew and has it now. */
static void end_strays(struct request *r, const struct store_tenant *t, const char *name)
{
	struct stray stray = { .config = r->config, .name = name };
	struct guest_spec spec;

	supervisors_each(r->config, end_stray, &stray);
	if (!stray.ended || guest_alive(r->config, name))
		return;
	life_spec(t, &spec);
	spec.name = name;
	guest_stop(r->config, &spec, NULL);
}

/* A running guest that is held to nothing any more: it keeps its processes, and its plan holds again. */
static void mend_group(struct request *r, const struct store_tenant *t)
{
	struct guest_spec spec;
	struct guest_run run;
	struct err err = { 0 };

	life_spec(t, &spec);
	if (t->guest.intent != STORE_GUEST_PRESENT ||
	    guest_find(r->config, t->name, &run, NULL) != 0)
		return;
	guest_run_close(&run);
	if (regroup(r->config, &spec, &err) == 0)
		log_warn(
			"the guest of '%s' was in no control group of its own: its processes were moved back; "
			"it sees its own groups again when it is restarted",
			t->name);
	else
		log_err("cannot have a control group for the guest of '%s' again: %s", t->name,
			err.text);
}

/*
 * What belongs to no row goes, but for files: a database that was restored from a copy may not know
 * a customer's, and only a person can tell.
 */
static void mend_guest(struct request *r, const struct one *o)
{
	const struct guest_spec spec = { .name = o->name };
	CLEANUP_FREE char *new = xasprintf(".%s.new", o->name);
	CLEANUP_CLOSE int lock = -1, guests = -1;
	struct store_tenant t = { 0 };

	if (lock_take(r->config, o->name, false, LOCK_LOOK_MS, &lock, NULL) != 0)
		return;
	if (store_tenant_get(r->store, o->name, &t, NULL) != 0)
		lock_remove(r->config, o->name);
	if (!strcmp(o->kind, "process"))
		end_strays(r, &t, o->name);
	if (t.guest.intent == STORE_GUEST_NONE)
		guest_stop(r->config, &spec, NULL);
	if (!strcmp(o->kind, "cgroup") && !strcmp(o->state, "lost"))
		mend_group(r, &t);
	if (!strcmp(o->kind, "unfinished files")) {
		guests = storage_open_guests(r->config, NULL);
		if (guests >= 0)
			storage_discard(guests, new);
	}
}

/* One of them stands for all: the whole table is put in. */
static void mend_rules(struct request *r, const struct list *list)
{
	for (size_t i = 0; i < list->n; i++)
		if (!strcmp(list->of[i].kind, "rule") || !strcmp(list->of[i].kind, "rules")) {
			fence_restore(r->config, r->store, NULL);
			return;
		}
}

static int has_number(void *data, const struct store_tenant *t)
{
	const uint64_t *number = data;

	return t->guest.intent != STORE_GUEST_NONE && t->guest.number == *number;
}

/* Unless somebody has been given its number meanwhile. */
static void mend_stray(struct request *r, const char *interface)
{
	uint64_t number;

	if (parse_u64(strrchr(interface, '-') + 1, UINT32_MAX, &number) == 0 &&
		store_tenant_each(r->store, has_number, &number, NULL) == 0)
		link_down(r->config->instance, (uint32_t)number, NULL);
}

static void mend(struct request *r, const struct one *o)
{
	if (!strcmp(o->kind, "stray interface")) {
		mend_stray(r, o->name);
	} else if (!strstr(o->kind, "template") && name_valid(o->name)) {
		mend_guest(r, o);
	}
}

static const char *outcome(const struct one *o, bool dry)
{
	bool kept = !strcmp(o->kind, "files") || !strcmp(o->kind, "snapshots") ||
		    !strcmp(o->kind, "mount") || !strcmp(o->kind, "loop device") ||
		    !strcmp(o->kind, "uids") || !strcmp(o->kind, "template");

	if (dry)
		return kept ? "would be kept: look at it" : "would be mended";
	if (!o->again)
		return "mended";
	return kept ? "kept: look at it" : "not mended: see vm2d's log";
}

static int send_all(struct request *r, const struct list *list, bool dry)
{
	int n = 0;

	for (size_t i = 0; n == 0 && i < list->n; i++) {
		CLEANUP_MSG struct msg row = { 0 };

		request_row_begin(&row);
		msg_add(&row, "kind", list->of[i].kind);
		msg_add(&row, "name", list->of[i].name);
		msg_add(&row, "state", list->of[i].state);
		msg_add(&row, "outcome", outcome(&list->of[i], dry));
		n = request_row(r, &row);
	}
	return n;
}

int host_repair(struct request *r)
{
	bool dry = msg_get(&r->in, "dry") != NULL;
	struct list list = { 0 };
	int n = checker_survey(r->config, r->store, keep, &list, &r->err);

	if (n == 0 && !dry) {
		recover_all(r->config, r->store);
		for (size_t i = 0; i < list.n; i++)
			mend(r, &list.of[i]);
		mend_rules(r, &list);
		n = checker_survey(r->config, r->store, mark, &list, &r->err);
	}
	if (n == 0)
		n = send_all(r, &list, dry);
	free(list.of);
	return n;
}
