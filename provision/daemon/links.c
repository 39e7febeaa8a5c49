/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/links.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "firewall/link.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/daemon/locks.h"
#include "provision/daemon/names.h"
#include "provision/daemon/settle.h"
#include "provision/guest/guest.h"
#include "provision/guest/run.h"

/* From the first notice to the look: what is done at once is one thing, and a lock may be let go of. */
#define PAUSE_MS 100

typedef void (*fault_fn)(void *data, enum links_fault fault, const char *what);

static struct link_spec spec_of(const struct config *config, const struct store_tenant *t)
{
	return (struct link_spec){
		.instance = config->instance,
		.number = t->guest.number,
		.address4 = t->guest.address4[0] ? t->guest.address4 : NULL,
		.address6 = t->guest.address6[0] ? t->guest.address6 : NULL,
		.more = t->guest.more[0] ? t->guest.more : NULL,
		.mtu = (uint32_t)(t->limits.mtu ?: config->mtu),
	};
}

/* --- looking --- */

struct looking {
	const char *name, *tenant;
	fault_fn fn;
	void *data;
	bool changed, further;
};

/* link_verify() */
static void add_fault(void *data, enum link_fault fault, const char *what)
{
	struct looking *l = data;
	CLEANUP_FREE char *text = xasprintf("%s of %s: %s", l->name, l->tenant, what);

	l->changed |= fault == LINK_CHANGED;
	l->further |= fault == LINK_FURTHER;
	l->fn(l->data, fault == LINK_CHANGED ? LINKS_CHANGED : LINKS_FURTHER, text);
}

/* Of a running guest, under its lock. 0, -ENODEV: it has none; or -errno. */
static int look_at(const struct config *config, const struct store_tenant *t, struct looking *l,
		   struct err *err)
{
	const struct link_spec spec = spec_of(config, t);
	CLEANUP_FREE char *text = NULL;
	char name[16];
	int r;

	link_name(config->instance, t->guest.number, name);
	l->name = name;
	l->tenant = t->name;
	r = link_verify(&spec, add_fault, l, err);
	if (r != -ENODEV)
		return r;
	text = xasprintf("%s of %s: it is not there", name, t->name);
	l->fn(l->data, LINKS_GONE, text);
	return r;
}

/* Its lock, row and processes. 0: *ret_lock and *ret_run are to be closed. ERR_BUSY: another works on it. */
static int take_running(const struct config *config, struct store *store, const char *name,
			struct store_tenant *ret, int *ret_lock, struct guest_run *ret_run)
{
	CLEANUP_CLOSE int lock = -1;
	int r = lock_take(config, name, false, 0, &lock, NULL);

	if (r == 0)
		r = store_tenant_get(store, name, ret, NULL);
	if (r == 0 && ret->guest.intent != STORE_GUEST_PRESENT)
		r = -ENOENT;
	if (r == 0)
		r = guest_find(config, name, ret_run, NULL);
	if (r == 0)
		*ret_lock = steal_fd(&lock);
	return r;
}

static bool is_present(const struct store_tenant *t, const void *unused)
{
	return t->guest.intent == STORE_GUEST_PRESENT;
}

static void ignore(void *unused, enum links_fault fault, const char *what)
{
}

/*
 * Without its lock, which others may want, and who takes none that is held would not do its work: what is seen
 * wrong is looked at again under it. *further: a route of a further address is not there.
 */
static bool seems_right(const struct config *config, struct store *store, const char *name,
			bool *further)
{
	struct looking l = { .fn = ignore };
	struct store_tenant t;
	struct guest_run run;
	int r;

	if (store_tenant_get(store, name, &t, NULL) != 0 || !is_present(&t, NULL) ||
	    guest_find(config, name, &run, NULL) != 0)
		return true;
	guest_run_close(&run);
	r = look_at(config, &t, &l, NULL);
	*further |= l.further;
	return r == 0 && !l.changed;
}

int links_find(const struct config *config, struct store *store, fault_fn fn, void *data,
	       struct err *err)
{
	CLEANUP_NAMES struct names names = { 0 };
	int r = names_collect(store, is_present, NULL, &names, err);

	for (size_t i = 0; r == 0 && i < names.n; i++) {
		struct looking l = { .fn = fn, .data = data };
		CLEANUP_CLOSE int lock = -1;
		struct store_tenant t;
		struct guest_run run;
		bool further = false;

		if (seems_right(config, store, names.of[i], &further) && !further)
			continue;
		if (take_running(config, store, names.of[i], &t, &lock, &run) != 0)
			continue;
		guest_run_close(&run);
		r = look_at(config, &t, &l, err);
		if (r == -ENODEV)
			r = 0;
	}
	return r;
}

/* --- mending --- */

static void note_change(void *unused, enum links_fault fault, const char *what)
{
	if (fault != LINKS_FURTHER)
		log_warn("somebody changed %s; restoring it", what);
}

static void note_failure(void *unused, enum links_fault fault, const char *what)
{
	if (fault != LINKS_FURTHER)
		log_err("cannot restore %s", what);
}

/* Whether it is our own user namespace that has power over this network. */
static bool is_the_hosts(int net)
{
	CLEANUP_CLOSE int owner = ioctl(net, NS_GET_USERNS);
	struct stat its, own;

	return owner >= 0 && fstat(owner, &its) == 0 && stat("/proc/self/ns/user", &own) == 0 &&
	       its.st_dev == own.st_dev && its.st_ino == own.st_ino;
}

/*
 * A running guest whose link somebody deleted: it keeps its processes, and has a new one. Its init may have gone
 * to a network that it has made itself, and the one with the link has ended with that: there the guest's root
 * could do with it what it likes.
 */
static int replace(const struct link_spec *spec, const struct store_tenant *t,
		   const struct guest_run *run, struct err *err)
{
	CLEANUP_FREE char *path = xasprintf("/proc/%d/ns/net", run->init_pid);
	CLEANUP_CLOSE int net = open(path, O_RDONLY | O_CLOEXEC);

	/* Safe: the number is its init's as long as that lives, which is asked once more. */
	if (net < 0 || process_wait(run->init_pidfd, 0) == 0)
		return 0;
	if (t->limits.network != LIMITS_NETWORK_OWN && !is_the_hosts(net))
		return err_set(err, ERR_FAILED,
			       "its init has left the network that the host made for it; "
			       "'vm2 guest restart %s' makes another",
			       t->name);
	return link_up(spec, net, err);
}

/* ERR_BUSY: another works on it. *further: a route of a further address is not there. */
static int mend_one(const struct config *config, struct store *store, const char *name,
		    bool *further)
{
	struct looking before = { .fn = note_change }, after = { .fn = note_failure };
	CLEANUP_CLOSE int lock = -1;
	struct err err = { 0 };
	struct link_spec spec;
	struct store_tenant t;
	struct guest_run run;
	int r;

	/* Further addresses are not mended here. */
	if (seems_right(config, store, name, further))
		return 0;
	r = take_running(config, store, name, &t, &lock, &run);
	if (r != 0)
		return r;
	spec = spec_of(config, &t);
	r = look_at(config, &t, &before, &err);
	if (r == -ENODEV)
		r = replace(&spec, &t, &run, &err);
	else if (r == 0 && before.changed)
		r = link_mend(&spec, run.init_pidfd, &err);
	guest_run_close(&run);
	if (r == 0 && before.changed)
		r = look_at(config, &t, &after, &err);
	if (r != 0 && r != -ENODEV)
		log_err("cannot restore the link of the guest of '%s': %s", name, err.text);
	*further |= before.further || after.further;
	return 0;
}

void links_mend(const struct config *config, struct store *store)
{
	CLEANUP_NAMES struct names names = { 0 };
	struct err err = { 0 };
	bool further = false;

	if (names_collect(store, is_present, NULL, &names, &err) != 0)
		log_err("cannot look for guests' links: %s", err.text);
	for (size_t i = 0; i < names.n; i++)
		(void)mend_one(config, store, names.of[i], &further);
}

/* --- watching --- */

void links_watch(struct links_watch *ret)
{
	struct err err = { 0 };

	*ret = (struct links_watch){ .fd = -1 };
	if (link_watch_open(&ret->fd, &err) != 0)
		log_err("%s", err.text);
}

/* link_watch_read() */
static void touch(void *data, uint32_t number)
{
	struct links_watch *w = data;

	for (size_t i = 0; i < w->n; i++)
		if (w->of[i] == number)
			return;
	if (w->n == w->cap) {
		w->cap = w->cap ? 2 * w->cap : 64;
		w->of = reallocarray(w->of, w->cap, sizeof(*w->of));
		if (!w->of)
			abort();
	}
	w->of[w->n++] = number;
}

/* Those that another works on stay touched, and are looked at again. */
static void mend_touched(struct links_watch *w, const struct config *config, struct store *store)
{
	bool further = w->all;
	size_t busy = 0;

	if (w->all)
		links_mend(config, store);
	for (size_t i = 0; !w->all && i < w->n; i++) {
		char name[STORE_NAME_SIZE];

		if (store_tenant_by_number(store, w->of[i], name, NULL) == 0 &&
		    mend_one(config, store, name, &further) == ERR_BUSY)
			w->of[busy++] = w->of[i];
	}
	if (further)
		settle_addresses(config, store);
	w->all = false;
	w->n = busy;
}

void links_await(struct links_watch *w, const struct config *config, struct store *store,
		 int timeout_ms)
{
	int64_t end = clock_ms() + timeout_ms, left;

	while ((left = end - clock_ms()) > 0) {
		struct pollfd p = { .fd = w->fd, .events = POLLIN };
		int wait = w->n || w->all ? PAUSE_MS : (int)left;

		/* A negative descriptor is none. */
		if (poll(&p, w->n ? 0 : 1, wait) > 0)
			poll(NULL, 0, PAUSE_MS);
		if (w->fd >= 0 && link_watch_read(w->fd, config->instance, touch, w) == -ENOBUFS)
			w->all = true;
		if (w->n || w->all)
			mend_touched(w, config, store);
	}
}
