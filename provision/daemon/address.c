/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Further addresses of guests, from the further pools. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>

#include "firewall/link.h"
#include "firewall/pools.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/daemon/fence.h"
#include "provision/daemon/handlers.h"
#include "provision/daemon/life.h"

/* What is asked for, and who has the address: "" for nobody. */
struct change {
	const char *tenant, *which;
	char address[POOLS_TEXT_MAX], holder[STORE_NAME_SIZE];
	int locks[2];
};

static void unlock(struct change *c)
{
	for (size_t i = 0; i < ARRAY_LEN(c->locks); i++)
		fd_close(c->locks[i]);
}
#define CLEANUP_CHANGE __attribute__((cleanup(unlock)))

static int parse(struct request *r, struct change *c)
{
	int n = request_name(r, "tenant", &c->tenant);

	return n ? n : msg_need(&r->in, "address", &c->which, &r->err);
}

static int find_holder(struct request *r, const char *address, char ret[STORE_NAME_SIZE])
{
	int n = store_address_get(r->store, address, ret, &r->err);

	if (n != ERR_NOT_FOUND)
		return n;
	r->err = (struct err){ 0 };
	ret[0] = '\0';
	return 0;
}

/* Whether the host has it on an interface: a pool may be of the network that the host is in. */
static bool is_hosts(const char *address)
{
	struct ifaddrs *all = NULL;
	bool found = false;

	if (getifaddrs(&all) < 0)
		return false;
	for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
		int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;
		char text[INET6_ADDRSTRLEN] = "";

		if (family == AF_INET)
			inet_ntop(family, &((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr, text, sizeof(text));
		else if (family == AF_INET6)
			inet_ntop(family, &((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr, text, sizeof(text));
		found = !strcmp(text, address);
	}
	freeifaddrs(all);
	return found;
}

/* The address itself, or the smallest of the prefix that nobody has. */
static int choose(struct request *r, struct change *c)
{
	const struct rules_base base = fence_base(r->config);
	bool single = !strchr(c->which, '/');
	int n;

	for (uint64_t i = 0;; i++) {
		n = pools_address(&base, c->which, i, c->address, &r->err);
		if (n == ERR_NOT_FOUND)
			return err_set(&r->err, ERR_BUSY,
				"%s is full: add a pool to network.pools in vm2.conf", c->which);
		if (n == 0)
			n = find_holder(r, c->address, c->holder);
		if (n == 0 && is_hosts(c->address)) {
			if (single)
				return err_set(&r->err, ERR_EXISTS, "%s is in use: the host itself has it",
					c->address);
			continue;
		}
		if (n != 0 || single || !c->holder[0])
			return n;
	}
}

/* Both tenants' locks, always in the same order: nobody waits for somebody who waits for him. */
static int lock(struct request *r, struct change *c)
{
	const char *names[2] = { c->tenant, c->holder };
	bool other = c->holder[0] && strcmp(c->holder, c->tenant);
	int n = 0;

	if (other && strcmp(names[0], names[1]) > 0) {
		names[0] = c->holder;
		names[1] = c->tenant;
	}
	for (int i = 0; n == 0 && i < (other ? 2 : 1); i++)
		n = life_lock(r->config, names[i], &c->locks[i], &r->err);
	return n;
}

static int check_room(struct request *r, const struct change *c, const struct store_tenant *t)
{
	int count = 0;

	for (const char *p = t->guest.more; *p; count++) {
		p += strcspn(p, " ");
		p += strspn(p, " ");
	}
	if (count >= STORE_ADDRESSES_MAX)
		return err_set(&r->err, ERR_FAILED, "'%s' has %d further addresses, which is the most",
			c->tenant, STORE_ADDRESSES_MAX);
	return 0;
}

static int check_free(struct request *r, const struct change *c)
{
	if (c->holder[0] && !strcmp(c->holder, c->tenant))
		return err_set(&r->err, ERR_EXISTS, "'%s' has %s already", c->tenant, c->address);
	if (c->holder[0] && !msg_get(&r->in, "move"))
		return err_set(&r->err, ERR_EXISTS, "%s is in use: '%s' has it; --move takes it from there",
			c->address, c->holder);
	return 0;
}

/* A guest that runs without the family has no route of it: it gets one when it starts. */
static int check_family(struct request *r, const struct change *c, const struct store_tenant *t)
{
	bool six = strchr(c->address, ':');
	struct guest_run run;

	if ((six ? t->guest.address6[0] : t->guest.address4[0]) ||
		guest_find(r->config, t->name, &run, NULL) != 0)
		return 0;
	guest_run_close(&run);
	return err_set(&r->err, ERR_BUSY,
		"the guest of '%s' runs without %s: stop it, add the address, and start it", t->name,
		six ? "IPv6" : "IPv4");
}

static int send_address(struct request *r, const char *tenant, const char *address, const char *kind)
{
	CLEANUP_MSG struct msg row = { 0 };

	request_row_begin(&row);
	msg_add(&row, "tenant", tenant);
	msg_add(&row, "address", address);
	msg_add(&row, "kind", kind);
	return request_row(r, &row);
}

/* What the database says of it goes before: a guest that starts meanwhile is as it is meant to be. */
static int change_guest(struct request *r, const struct change *c, const char *tenant, bool on)
{
	struct guest_run run;
	struct store_tenant t;
	int n = store_tenant_get(r->store, tenant, &t, &r->err);

	if (n != 0 || t.guest.intent == STORE_GUEST_NONE)
		return n;
	n = fence_address(r->config, &t.guest, c->address, on, &r->err);
	if (n == 0 && guest_find(r->config, tenant, &run, NULL) == 0) {
		n = on ? link_add_address(r->config->instance, t.guest.number, run.init_pidfd,
				 c->address, &r->err) :
			 link_remove_address(r->config->instance, t.guest.number, run.init_pidfd,
				 c->address, &r->err);
		guest_run_close(&run);
	}
	if (n == 0 && !on)
		n = fence_end_address(r->config, &t.guest, c->address, &r->err);
	life_follow(r->config, &t);
	if (n != 0)
		err_wrap(&r->err, "it is changed in the database, but not in the guest of '%s': restart it",
			tenant);
	return n;
}

static int give(struct request *r, struct change *c)
{
	char holder[STORE_NAME_SIZE];
	int n = find_holder(r, c->address, holder);

	if (n == 0 && strcmp(holder, c->holder))
		n = err_set(&r->err, ERR_BUSY, "%s has just gone elsewhere: try again", c->address);
	if (n == 0)
		n = store_address_set(r->store, c->address, c->tenant, &r->err);
	if (n == 0 && c->holder[0])
		n = change_guest(r, c, c->holder, false);
	return n == 0 ? change_guest(r, c, c->tenant, true) : n;
}

int address_add(struct request *r)
{
	CLEANUP_CHANGE struct change c = { .locks = { -1, -1 } };
	struct store_tenant t;
	int n = parse(r, &c);

	if (n == 0)
		n = store_tenant_get(r->store, c.tenant, &t, &r->err);
	if (n == 0)
		n = choose(r, &c);
	if (n == 0)
		n = check_free(r, &c);
	if (n == 0)
		n = check_room(r, &c, &t);
	if (n == 0)
		n = check_family(r, &c, &t);
	if (n == 0 && !msg_get(&r->in, "dry_run")) {
		n = lock(r, &c);
		if (n == 0)
			n = give(r, &c);
	}
	return n == 0 ? send_address(r, c.tenant, c.address, "further") : n;
}

/* An address may be taken away that is in no pool any more. */
static int write_as_kernel(struct request *r, struct change *c)
{
	int family = strchr(c->which, ':') ? AF_INET6 : AF_INET;
	uint8_t bytes[16];

	if (inet_pton(family, c->which, bytes) != 1)
		return err_set(&r->err, ERR_USAGE, "'%.64s' is no address", c->which);
	inet_ntop(family, bytes, c->address, sizeof(c->address));
	return 0;
}

int address_remove(struct request *r)
{
	CLEANUP_CHANGE struct change c = { .locks = { -1, -1 } };
	int n = parse(r, &c);

	if (n == 0)
		n = write_as_kernel(r, &c);
	if (n == 0)
		n = life_lock(r->config, c.tenant, &c.locks[0], &r->err);
	if (n == 0)
		n = find_holder(r, c.address, c.holder);
	if (n == 0 && strcmp(c.holder, c.tenant))
		n = err_set(&r->err, ERR_NOT_FOUND, "'%s' has no further address %s: see vm2 address list",
			c.tenant, c.address);
	if (n == 0 && !msg_get(&r->in, "dry_run")) {
		n = store_address_set(r->store, c.address, NULL, &r->err);
		if (n == 0)
			n = change_guest(r, &c, c.tenant, false);
	}
	return n == 0 ? send_address(r, c.tenant, c.address, "further") : n;
}

static int send_all(void *data, const struct store_tenant *t)
{
	char more[sizeof(t->guest.more)], *save = NULL;
	int n = 0;

	if (t->guest.address4[0])
		n = send_address(data, t->name, t->guest.address4, "first");
	if (n == 0 && t->guest.address6[0])
		n = send_address(data, t->name, t->guest.address6, "first");
	memcpy(more, t->guest.more, sizeof(more));
	for (char *a = strtok_r(more, " ", &save); n == 0 && a; a = strtok_r(NULL, " ", &save))
		n = send_address(data, t->name, a, "further");
	return n;
}

int address_list(struct request *r)
{
	const char *tenant = NULL;
	struct store_tenant t;
	int n;

	if (!msg_get(&r->in, "tenant"))
		return store_tenant_each(r->store, send_all, r, &r->err);
	n = request_name(r, "tenant", &tenant);
	if (n == 0)
		n = store_tenant_get(r->store, tenant, &t, &r->err);
	return n == 0 ? send_all(r, &t) : n;
}
