/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/settle.h"

#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firewall/link.h"
#include "firewall/pools.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/daemon/fence.h"
#include "provision/daemon/life.h"
#include "provision/daemon/locks.h"
#include "provision/daemon/names.h"

/* An address that leads to a guest's link. */
struct led {
	uint32_t number;
	char address[POOLS_TEXT_MAX];
};

struct finding_all {
	const struct config *config;
	void (*fn)(void *data, const struct store_tenant *t, const char *address, bool lost);
	void *data;
	struct led *of; /* sorted by number */
	size_t n, cap;
};

/* link_each_address() */
static void add_led(void *data, uint32_t number, const char *address)
{
	struct finding_all *all = data;

	if (all->n == all->cap) {
		all->cap = all->cap ? 2 * all->cap : 64;
		all->of = reallocarray(all->of, all->cap, sizeof(*all->of));
		if (!all->of)
			abort();
	}
	all->of[all->n].number = number;
	snprintf(all->of[all->n++].address, POOLS_TEXT_MAX, "%s", address);
}

static int compare_led(const void *a, const void *b)
{
	uint32_t x = ((const struct led *)a)->number, y = ((const struct led *)b)->number;

	return (x > y) - (x < y);
}

/* The first that leads to this guest; all->n: none does. */
static size_t first_of(const struct finding_all *all, uint32_t number)
{
	size_t low = 0, high = all->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (all->of[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low < all->n && all->of[low].number == number ? low : all->n;
}

static bool is_led(const struct finding_all *all, uint32_t number, const char *address)
{
	for (size_t i = first_of(all, number); i < all->n && all->of[i].number == number; i++)
		if (!strcmp(all->of[i].address, address))
			return true;
	return false;
}

static bool is_among(const char *address, const char *list)
{
	size_t len = strlen(address);

	for (; *list; list += strcspn(list, " "), list += strspn(list, " "))
		if (strcspn(list, " ") == len && !strncmp(list, address, len))
			return true;
	return false;
}

static bool means(const struct store_guest *g, const char *address)
{
	return !strcmp(g->address4, address) || !strcmp(g->address6, address) ||
	       is_among(address, g->more);
}

/* Whether its link is there, and has the address's family. */
static bool could_have(const struct config *config, const struct store_guest *g,
		       const char *address)
{
	char name[16], path[80], value[4] = "";

	link_name(config->instance, g->number, name);
	if (!if_nametoindex(name))
		return false;
	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
	return !strchr(address, ':') ||
	       (fd_read_path(AT_FDCWD, path, value, sizeof(value)) > 0 && value[0] == '0');
}

static int look_at(void *data, const struct store_tenant *t)
{
	struct finding_all *all = data;
	char more[sizeof(t->guest.more)], *save = NULL;

	if (t->guest.intent != STORE_GUEST_PRESENT)
		return 0;
	for (size_t i = first_of(all, t->guest.number);
	     i < all->n && all->of[i].number == t->guest.number; i++)
		if (!means(&t->guest, all->of[i].address))
			all->fn(all->data, t, all->of[i].address, false);
	memcpy(more, t->guest.more, sizeof(more));
	for (char *a = strtok_r(more, " ", &save); a; a = strtok_r(NULL, " ", &save))
		if (!is_led(all, t->guest.number, a) && could_have(all->config, &t->guest, a))
			all->fn(all->data, t, a, true);
	return 0;
}

int settle_find(const struct config *config, struct store *store,
		void (*fn)(void *data, const struct store_tenant *t, const char *address,
			   bool lost),
		void *data, struct err *err)
{
	struct finding_all all = { .config = config, .fn = fn, .data = data };
	int r = link_each_address(config->instance, add_led, &all, err);

	if (r == 0 && all.n)
		qsort(all.of, all.n, sizeof(*all.of), compare_led);
	if (r == 0)
		r = store_tenant_each(store, look_at, &all, err);
	free(all.of);
	return r;
}

/* Those of one guest that are lost, or those that are left. */
struct mending {
	const struct config *config;
	const char *name;
	bool lost;
};

static int change(const struct config *config, const struct store_tenant *t, const char *address,
		  bool on, struct err *err)
{
	struct guest_run run;
	int r = guest_find(config, t->name, &run, err);

	if (r != 0)
		return r;
	r = fence_address(config, &t->guest, address, on, err);
	if (r == 0 && on)
		r = link_add_address(config->instance, t->guest.number, run.init_pidfd, address,
				     err);
	else if (r == 0)
		r = link_remove_address(config->instance, t->guest.number, run.init_pidfd, address,
					err);
	if (r == 0 && !on)
		r = fence_end_address(config, &t->guest, address, err);
	guest_run_close(&run);
	life_follow(config, t);
	return r;
}

static void mend(void *data, const struct store_tenant *t, const char *address, bool lost)
{
	const struct mending *m = data;
	struct err err = { 0 };

	if (strcmp(t->name, m->name) != 0 || lost != m->lost)
		return;
	if (change(m->config, t, address, lost, &err) != 0)
		log_err("cannot %s %s %s the guest of '%s': %s", lost ? "give" : "take", address,
			lost ? "to" : "from", t->name, err.text);
	else
		log_notice("%s was %s the guest of '%s', where a change was cut short", address,
			   lost ? "given to" : "taken from", t->name);
}

/* settle_find(): whose guests differ, each once. */
static void add_name(void *data, const struct store_tenant *t, const char *address, bool lost)
{
	struct names *names = data;

	if (names->n == 0 || strcmp(names->of[names->n - 1], t->name) != 0)
		(void)names_add(names, t->name);
}

/* First all that is left: an address that still leads to another is given to nobody. */
void settle_addresses(const struct config *config, struct store *store)
{
	CLEANUP_NAMES struct names names = { 0 };
	struct err err = { 0 };
	int r = settle_find(config, store, add_name, &names, &err);

	for (size_t i = 0; r == 0 && i < 2 * names.n; i++) {
		struct mending m = { config, names.of[i % names.n], i >= names.n };
		CLEANUP_CLOSE int lock = -1;

		/* Under its lock it is looked at once more: no half of another's work is undone. */
		if (lock_take(config, m.name, false, LOCK_LOOK_MS, &lock, NULL) == 0)
			r = settle_find(config, store, mend, &m, &err);
	}
	if (r != 0)
		log_err("cannot look for guests' addresses: %s", err.text);
}
