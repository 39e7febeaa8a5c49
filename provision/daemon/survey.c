/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is on the host, for the checker. */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "firewall/link.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/daemon/checker.h"
#include "provision/daemon/drafts.h"
#include "provision/daemon/drift.h"
#include "provision/daemon/fence.h"
#include "provision/daemon/life.h"
#include "provision/daemon/links.h"
#include "provision/daemon/locks.h"
#include "provision/daemon/names.h"
#include "provision/daemon/settle.h"
#include "provision/guest/cgroup.h"
#include "provision/guest/supervisors.h"
#include "provision/store/pool.h"

struct survey {
	const struct config *config;
	struct store *store;
	finding_fn fn;
	void *data;
	struct names names; /* of guests, from everywhere; sorted, each once */
	struct names interfaces;
	struct found {
		char name[STORE_NAME_SIZE];
		pid_t pid;
		uint64_t start;
	} *supervisors;
	size_t n_supervisors;
};

/* --- names --- */

static void add(void *data, const char *name)
{
	struct survey *s = data;

	if (name_valid(name))
		names_add(&s->names, name);
}

static void add_supervisor(void *data, const struct supervisor_found *found)
{
	struct survey *s = data;
	struct found *more =
		reallocarray(s->supervisors, s->n_supervisors + 1, sizeof(*s->supervisors));

	if (!more)
		return;
	s->supervisors = more;
	more += s->n_supervisors++;
	*more = (struct found){ .pid = found->pid, .start = found->start };
	snprintf(more->name, sizeof(more->name), "%s", found->name);
	add(s, found->name);
}

/* Of GUESTS, ".NAME.new" stands for NAME. */
static void add_entry(struct survey *s, const char *entry)
{
	char name[STORE_NAME_SIZE];
	size_t len = strlen(entry);

	if (entry[0] != '.') {
		add(s, entry);
		return;
	}
	if (len < 6 || len - 5 >= sizeof(name) || strcmp(entry + len - 4, ".new") != 0)
		return;
	memcpy(name, entry + 1, len - 5);
	name[len - 5] = '\0';
	add(s, name);
}

static void add_folder(struct survey *s, const char *path)
{
	CLEANUP_CLOSEDIR DIR *dir = opendir(path);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		add_entry(s, e->d_name);
}

static bool everyone(const struct store_tenant *t, const void *unused)
{
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int collect(struct survey *s, struct err *err)
{
	const struct config *c = s->config;
	const struct cgroup_manager *manager = cgroup_pick(NULL);
	CLEANUP_FREE char *run = xasprintf("%s/guests", c->run);
	CLEANUP_FREE char *locks = xasprintf("%s/locks", c->run);
	CLEANUP_FREE char *snapshots = xasprintf("%s/.snapshots", c->guests);
	size_t kept = 0;
	int r = names_collect(s->store, everyone, NULL, &s->names, err);

	if (r != 0)
		return r;
	add_folder(s, c->guests);
	add_folder(s, snapshots);
	add_folder(s, run);
	add_folder(s, locks);
	if (manager)
		manager->each(c->instance, add, s);
	supervisors_each(c, add_supervisor, s);
	if (s->names.n)
		qsort(s->names.of, s->names.n, sizeof(*s->names.of), by_name);
	for (size_t i = 0; i < s->names.n; i++)
		if (i == 0 || strcmp(s->names.of[i], s->names.of[kept - 1]) != 0)
			memmove(s->names.of[kept++], s->names.of[i], STORE_NAME_SIZE);
	s->names.n = kept;
	return 0;
}

/* --- facts --- */

static bool there(const char *folder, const char *between, const char *name, const char *after)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s%s%s", folder, between, name, after);

	return access(path, F_OK) == 0;
}

static bool in_pools(const struct config *c, const struct store_guest *g)
{
	struct pool4 pool = { 0 };
	struct in_addr a;
	uint64_t offset = (uint64_t)g->uid_base - c->guest_base;

	if (g->uid_base < c->guest_base || offset % GUEST_IDS || offset / GUEST_IDS >= c->guest_count)
		return false;
	if (!g->address4[0] || pool4_parse(c->pool4, &pool, NULL) != 0)
		return true;
	return inet_pton(AF_INET, g->address4, &a) == 1 && ntohl(a.s_addr) >= pool.first &&
		ntohl(a.s_addr) - pool.first < pool.count;
}

static bool has_stray(const struct survey *s, const char *name)
{
	for (size_t i = 0; i < s->n_supervisors; i++) {
		const struct found *f = &s->supervisors[i];
		const struct supervisor_found found = { f->name, f->pid, f->start };

		if (!strcmp(f->name, name) && supervisors_stray(s->config, &found))
			return true;
	}
	return false;
}

static void look(struct survey *s, const char *name, struct facts *f)
{
	const struct config *c = s->config;
	const struct cgroup_manager *manager = cgroup_pick(NULL);
	struct store_tenant t = { 0 };
	struct guest_run run;

	*f = (struct facts){ .name = name };
	f->tenant = store_tenant_get(s->store, name, &t, NULL) == 0;
	f->intent = f->tenant ? t.guest.intent : STORE_GUEST_NONE;
	f->range = in_pools(c, &t.guest);
	f->files = there(c->guests, "", name, "");
	f->making = there(c->guests, ".", name, ".new");
	f->snapshots = there(c->guests, ".snapshots/", name, "");
	f->folder = there(c->run, "guests/", name, "");
	f->state = there(c->run, "guests/", name, "/state");
	f->alive = guest_alive(c, name);
	f->running = guest_find(c, name, &run, NULL) == 0;
	f->held = f->running && manager && manager->holds(c->instance, name, run.init_pid);
	if (f->running)
		guest_run_close(&run);
	f->stray = has_stray(s, name);
	f->cgroup = manager && manager->there(c->instance, name);
	f->interface = f->intent != STORE_GUEST_NONE && link_there(c->instance, t.guest.number);
}

/* Under its lock, so that nothing half done is seen that somebody is still at. */
static void look_at(struct survey *s, const char *name)
{
	CLEANUP_CLOSE int lock = -1;
	bool had = there(s->config->run, "locks/", name, "");
	struct facts f;

	if (lock_take(s->config, name, false, 0, &lock, NULL) != 0)
		return;
	look(s, name, &f);
	f.lock = had;
	if (!had && !f.tenant)
		lock_remove(s->config, name);
	checker_judge(&f, s->fn, s->data);
}

/* --- what is no guest's --- */

static bool ours(const struct survey *s, const char *interface)
{
	for (size_t i = 0; i < s->interfaces.n; i++)
		if (!strcmp(s->interfaces.of[i], interface))
			return true;
	return false;
}

static int add_interface(void *data, const struct store_tenant *t)
{
	struct survey *s = data;
	char interface[16] = "";

	if (t->guest.intent != STORE_GUEST_NONE)
		link_name(s->config->instance, t->guest.number, interface);
	return interface[0] ? names_add(&s->interfaces, interface) : 0;
}

/*
 * A row is there before its interface is: so of those that are there now, each that is somebody's has one,
 * also of a guest that is just being started.
 */
static void look_at_interfaces(struct survey *s)
{
	size_t len = strlen(s->config->instance);
	struct if_nameindex *all = if_nameindex();
	bool known = store_tenant_each(s->store, add_interface, s, NULL) == 0;

	for (struct if_nameindex *i = all; known && i && i->if_name; i++)
		if (!strncmp(i->if_name, s->config->instance, len) && i->if_name[len] == '-' &&
			i->if_name[len + 1] >= '1' && i->if_name[len + 1] <= '9' &&
			!ours(s, i->if_name)) {
			const struct finding f = { "stray interface", i->if_name, "left" };

			s->fn(s->data, &f);
		}
	if (all)
		if_freenameindex(all);
}

/* The host itself mounts nothing below GUESTS: all of a guest's mounts are in its own namespace. */
static void look_at_mounts(struct survey *s)
{
	CLEANUP_FCLOSE FILE *f = fopen("/proc/self/mountinfo", "re");
	CLEANUP_FREE char *line = NULL;
	size_t cap = 0, len = strlen(s->config->guests);
	char at[4096];

	while (f && getline(&line, &cap, f) > 0)
		if (sscanf(line, "%*s %*s %*s %*s %4095s", at) == 1 &&
			!strncmp(at, s->config->guests, len) && at[len] == '/') {
			const struct finding finding = { "mount", at, "left" };

			s->fn(s->data, &finding);
		}
}

/* Loop devices of a pool whose file is gone, or of one that is in no row any more. */
static void look_at_loops(struct survey *s)
{
	CLEANUP_CLOSEDIR DIR *dir = opendir("/sys/block");
	size_t len = strlen(s->config->state);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		CLEANUP_FREE char *path = xasprintf("/sys/block/%s/loop/backing_file", e->d_name);
		const struct finding f = { "loop device", e->d_name, "left" };
		char file[4096];

		if (strncmp(e->d_name, "loop", 4) != 0 ||
			fd_read_path(AT_FDCWD, path, file, sizeof(file)) <= 0)
			continue;
		if (!strncmp(file, s->config->state, len) && file[len] == '/' &&
			strstr(file, " (deleted)"))
			s->fn(s->data, &f);
	}
}

static void look_at_rules(struct survey *s)
{
	const struct rules_base base = fence_base(s->config);
	const struct finding f = { "rules", s->config->instance, "lost" };
	CLEANUP_DRIFTS struct drifts drifts = { 0 };

	if (rules_present(&base, NULL) == 0) {
		s->fn(s->data, &f);
		return;
	}
	if (drifts_find(s->config, s->store, &drifts, NULL) != 0)
		return;
	for (size_t i = 0; i < drifts.n; i++) {
		bool left = !strcmp(drifts.of[i].how, "unexpected");
		const struct finding one = { "rule", drifts.of[i].what, left ? "left" : "lost" };

		s->fn(s->data, &one);
	}
}

/* links_find(): those that are gone, or want an address, are found otherwise. */
static void tell_link(void *data, enum links_fault fault, const char *what)
{
	const struct finding f = { "link", what, "changed" };
	const struct survey *s = data;

	if (fault == LINKS_CHANGED)
		s->fn(s->data, &f);
}

/* settle_find() */
static void tell_address(void *data, const struct store_tenant *t, const char *address, bool lost)
{
	const struct finding f = { "address", address, lost ? "lost" : "left" };
	const struct survey *s = data;
	CLEANUP_CLOSE int lock = -1;

	if (lock_take(s->config, t->name, false, 0, &lock, NULL) == 0)
		s->fn(s->data, &f);
}

static int look_at_session(void *data, const struct store_session *session)
{
	const struct finding f = { "session", session->id, "lost" };
	CLEANUP_CLOSE int pidfd = process_open(session->pid, session->pid_start);
	struct survey *s = data;

	if (pidfd < 0)
		s->fn(s->data, &f);
	return 0;
}

int checker_survey(
	const struct config *config, struct store *store, finding_fn fn, void *data, struct err *err)
{
	struct survey s = { .config = config, .store = store, .fn = fn, .data = data };
	int r = collect(&s, err);

	for (size_t i = 0; r == 0 && i < s.names.n; i++)
		look_at(&s, s.names.of[i]);
	if (r == 0) {
		look_at_interfaces(&s);
		look_at_mounts(&s);
		look_at_loops(&s);
		drafts_find(config, store, fn, data);
		look_at_rules(&s);
		r = links_find(config, store, tell_link, &s, err);
		(void)settle_find(config, store, tell_address, &s, NULL);
		if (r == 0)
			r = store_session_each(store, NULL, true, INT64_MAX, look_at_session, &s,
					       err);
	}
	names_free(&s.names);
	names_free(&s.interfaces);
	free(s.supervisors);
	return r;
}
