/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/link_parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "firewall/address.h"
#include "firewall/netlink.h"
#include "firewall/offload.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

#define GUEST_INTERFACE "eth0"
#define LOOPBACK_INDEX	1 /* LOOPBACK_IFINDEX of the kernel: the same in each namespace */

/* How long an IPv6 address is waited for until it is at work; it comes to it later in any case. */
#define LOCAL_MS 5000
/* The first pause meanwhile; the last is 64 times as long. */
#define LOCAL_PAUSE_NS 50000L

const struct link_setting link_settings[LINK_SETTINGS] = {
	/* strict: a source must be routed back to this link (RFC 3704) */
	{ "ipv4", "rp_filter", "1", IPV4_DEVCONF_RP_FILTER },
	{ "ipv4", "accept_redirects", "0", IPV4_DEVCONF_ACCEPT_REDIRECTS },
	{ "ipv4", "send_redirects", "0", IPV4_DEVCONF_SEND_REDIRECTS },
	{ "ipv4", "accept_source_route", "0", IPV4_DEVCONF_ACCEPT_SOURCE_ROUTE },
	{ "ipv4", "proxy_arp", "0", IPV4_DEVCONF_PROXY_ARP },
	/* answer for this link's address only, not the host's others */
	{ "ipv4", "arp_ignore", "1", IPV4_DEVCONF_ARP_IGNORE },
	{ "ipv4", "forwarding", "1", IPV4_DEVCONF_FORWARDING },
	{ "ipv6", "accept_ra", "0", DEVCONF_ACCEPT_RA },
	{ "ipv6", "accept_redirects", "0", DEVCONF_ACCEPT_REDIRECTS },
	{ "ipv6", "accept_source_route", "0", DEVCONF_ACCEPT_SOURCE_ROUTE },
	{ "ipv6", "autoconf", "0", DEVCONF_AUTOCONF },
	{ "ipv6", "forwarding", "1", DEVCONF_FORWARDING },
};

/* A constant of ours as an address. */
static struct address constant(int family, const char *text, uint8_t prefix)
{
	struct address a = {
		.family = family, .len = family == AF_INET6 ? 16 : 4, .prefix = prefix
	};

	if (inet_pton(family, text, a.bytes) != 1)
		abort();
	return a;
}

static int parse_more(const char *text, struct link *l, struct err *err)
{
	struct address a;
	int r;

	while ((r = address_next(&text, &a, err)) == 1) {
		if (l->n_more == LINK_MORE_MAX)
			return err_set(err, ERR_USAGE, "%s: more than %d further addresses",
				       l->name, LINK_MORE_MAX);
		l->more[l->n_more++] = a;
		l->has4 |= a.family == AF_INET;
		l->has6 |= a.family == AF_INET6;
	}
	return r;
}

int link_prepare(const struct link_spec *spec, struct link *ret, struct err *err)
{
	struct link l = { 0 };
	int r;

	r = link_check_name(spec->instance, spec->number, l.name, err);
	if (!r)
		r = address_parse(spec->address4, AF_INET, &l.address4, err);
	if (!r)
		r = address_parse(spec->address6, AF_INET6, &l.address6, err);
	l.has4 = l.address4.family;
	l.has6 = l.address6.family;
	if (!r)
		r = parse_more(spec->more, &l, err);
	if (r)
		return r;
	l.host.index = link_index_base(spec->instance) | spec->number;
	link_mac(spec->number, false, l.host.mac);
	link_mac(spec->number, true, l.guest.mac);
	l.gateway4 = constant(AF_INET, LINK_GATEWAY4, 32);
	l.gateway6 = constant(AF_INET6, LINK_GATEWAY6, 128);
	l.local6 = constant(AF_INET6, LINK_GUEST6, 64);
	*ret = l;
	ret->host.name = ret->name;
	ret->guest.name = GUEST_INTERFACE;
	return 0;
}

/* Whether an interface has IPv6. Like all of a proc's sys/net it tells of the caller's namespace. */
static bool has_ipv6(int proc, const char *interface)
{
	char path[80], value[8];

	snprintf(path, sizeof(path), "sys/net/ipv6/conf/%s/disable_ipv6", interface);
	return fd_read_path(proc, path, value, sizeof(value)) > 0 && value[0] == '0';
}

int link_apply_settings(const struct link *l, int proc, struct err *err)
{
	char path[96];

	for (size_t i = 0; i < ARRAY_LEN(link_settings); i++) {
		const struct link_setting *s = &link_settings[i];
		int r;

		if (!l->ipv6 && !strcmp(s->family, "ipv6"))
			continue;
		snprintf(path, sizeof(path), "sys/net/%s/conf/%s/%s", s->family, l->name, s->name);
		r = fd_write_path(proc, path, s->value);
		if (r < 0)
			return err_sys(err, -r, "cannot write %s to /proc/%s", s->value, path);
	}
	return 0;
}

/*
 * Go to the guest's network namespace for a moment, and bring back a socket that stays there.
 * Safe: nothing of the guest's runs or is read meanwhile, the mount and user namespaces remain the
 * host's, and a caller that could not come back would act on the wrong network: it ends instead.
 * The proc is of fd_proc().
 */
static int visit_by(
	struct link *l, int proc, int netns_fd, struct netlink *ret, struct err *err)
{
	CLEANUP_CLOSE int own = -1;
	int r;

	if (proc < 0)
		return err_sys(err, -proc, "cannot make a proc to look at %s with", l->name);
	own = openat(proc, "thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (own < 0)
		return err_sys(err, errno, "cannot open /proc/thread-self/ns/net");
	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return err_sys(
			err, errno, "%s: cannot enter the guest's network namespace", l->name);
	r = netlink_open(ret, NETLINK_ROUTE, err);
	l->guest_index = if_nametoindex(GUEST_INTERFACE);
	l->ipv6 = has_ipv6(proc, GUEST_INTERFACE);
	if (setns(own, CLONE_NEWNET) < 0)
		abort();
	if (r == 0 && l->guest_index == 0)
		r = err_set(err, -ENODEV, "%s: %s is not in the guest's network namespace", l->name,
			GUEST_INTERFACE);
	return r;
}

static int visit_guest(struct link *l, int netns_fd, struct netlink *ret, struct err *err)
{
	CLEANUP_CLOSE int proc = fd_proc();

	return visit_by(l, proc, netns_fd, ret, err);
}

void link_each_of(const struct link *l, struct netlink *nl, int family,
		  void (*fn)(const struct link *l, struct netlink *nl, const struct address *a))
{
	const struct address *first = family == AF_INET ? &l->address4 : &l->address6;

	if (first->family)
		fn(l, nl, first);
	for (int i = 0; i < l->n_more; i++)
		if (l->more[i].family == family)
			fn(l, nl, &l->more[i]);
}

static void put_in_guest(const struct link *l, struct netlink *nl, const struct address *a)
{
	route_add_address(nl, l->guest_index, a);
}

static void lead_to_guest(const struct link *l, struct netlink *nl, const struct address *a)
{
	route_add_neighbour(nl, l->host_index, a, l->guest.mac);
	if (!l->again)
		route_add_route(nl, l->host_index, a, NULL);
	else if (a == &l->address4 || a == &l->address6)
		route_put_route(nl, l->host_index, a);
}

static void ask_in_guest(const struct link *l, struct netlink *nl, const struct address *a)
{
	route_ask_local(nl, l->guest_index, a);
}

/* Until all IPv6 addresses that the caller asks for are at work. No error: what it waits for comes by itself. */
static void await_local(const struct link *l, struct netlink *nl, int count,
			void (*ask)(const struct link *l, struct netlink *nl))
{
	struct timespec pause = { 0, LOCAL_PAUSE_NS };
	int64_t end = clock_ms() + LOCAL_MS;

	for (;;) {
		int there = 0;

		ask(l, nl);
		/* Without any route to one of them it fails: that is not yet, too. */
		netlink_exchange(nl, l->name, route_count_local, &there, NULL);
		if (there >= count || clock_ms() >= end)
			return;
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < LOCAL_PAUSE_NS << 6)
			pause.tv_nsec *= 2;
	}
}

static void ask_all_in_guest(const struct link *l, struct netlink *nl)
{
	ask_in_guest(l, nl, &l->local6);
	link_each_of(l, nl, AF_INET6, ask_in_guest);
}

static void ask_on_host(const struct link *l, struct netlink *nl)
{
	route_ask_local(nl, l->host_index, &l->gateway6);
}

static void await_addresses(const struct link *l, struct netlink *host, struct netlink *guest)
{
	int count = 1 + (l->address6.family != 0);

	for (int i = 0; i < l->n_more; i++)
		count += l->more[i].family == AF_INET6;
	await_local(l, guest, count, ask_all_in_guest);
	await_local(l, host, 1, ask_on_host);
}

static int configure_guest(const struct link *l, struct netlink *nl, struct err *err)
{
	int index = l->guest_index;

	route_set_up(nl, LOOPBACK_INDEX);
	if (l->ipv6)
		route_no_own_address(nl, index);
	route_set_up(nl, index);
	if (l->has4) {
		link_each_of(l, nl, AF_INET, put_in_guest);
		route_add_route(nl, index, &l->gateway4, NULL);
		route_add_route(nl, index, NULL, &l->gateway4);
		route_add_neighbour(nl, index, &l->gateway4, l->host.mac);
	}
	if (l->ipv6 && l->has6) {
		route_add_address(nl, index, &l->local6);
		link_each_of(l, nl, AF_INET6, put_in_guest);
		route_add_route(nl, index, NULL, &l->gateway6);
		route_add_neighbour(nl, index, &l->gateway6, l->host.mac);
	}
	return netlink_exchange(nl, "guest's " GUEST_INTERFACE, NULL, NULL, err);
}

int link_configure_host(const struct link *l, struct netlink *nl, struct err *err)
{
	struct address gateway6 = constant(AF_INET6, LINK_GATEWAY6, 64);
	int index = l->host_index;

	if (l->ipv6)
		route_no_own_address(nl, index);
	route_set_up(nl, index);
	if (l->has4) {
		route_add_address(nl, index, &l->gateway4);
		link_each_of(l, nl, AF_INET, lead_to_guest);
	}
	if (l->ipv6 && l->has6) {
		route_add_address(nl, index, &gateway6);
		/* Neither can be forged, or late: what a guest sends from its link is answered at once. */
		route_add_neighbour(nl, index, &l->local6, l->guest.mac);
		link_each_of(l, nl, AF_INET6, lead_to_guest);
	}
	route_await_carrier(nl, index);
	return netlink_exchange(nl, l->name, NULL, NULL, err);
}

static int delete_link(struct netlink *nl, const char *name, struct err *err)
{
	struct err why = { 0 };
	int r;

	route_delete_link(nl, name);
	r = netlink_exchange(nl, name, NULL, NULL, &why);
	if (r == -ENODEV)
		return 0;
	return r ? err_set(err, r, "%s", why.text) : 0;
}

static int make_pair(
	const struct link *l, struct netlink *nl, int netns_fd, uint32_t mtu, struct err *err)
{
	struct err why = { 0 };
	int r;

	route_add_pair(nl, &l->host, &l->guest, netns_fd, mtu);
	r = netlink_exchange(nl, l->name, NULL, NULL, &why);
	if (r == -EEXIST && if_nametoindex(l->name)) {
		r = delete_link(nl, l->name, err);
		if (r)
			return r;
		route_add_pair(nl, &l->host, &l->guest, netns_fd, mtu);
		r = netlink_exchange(nl, l->name, NULL, NULL, &why);
	}
	return r ? err_set(err, r, "%s", why.text) : 0;
}

struct link_begun {
	struct link link;
	struct netlink host, guest;
};

/* All but what lets packets pass. */
static int lay(struct link_begun *b, int netns_fd, int proc, struct err *err)
{
	struct link *l = &b->link;
	int r;

	l->host_index = if_nametoindex(l->name);
	if (!l->host_index)
		return err_sys(err, errno, "%s: the interface is gone", l->name);
	r = visit_by(l, proc, netns_fd, &b->guest, err);
	l->ipv6 = l->ipv6 && has_ipv6(proc, l->name);
	if (!r)
		r = link_apply_settings(l, proc, err);
	if (!r)
		r = offload_no_datagrams(mnl_socket_get_fd(b->guest.sock), GUEST_INTERFACE, err);
	return r ?: configure_guest(l, &b->guest, err);
}

int link_begin(const struct link_spec *spec, int netns_fd, int proc, struct link_begun **ret,
	       struct err *err)
{
	struct link_begun *b = xcalloc(1, sizeof(*b));
	int r = link_prepare(spec, &b->link, err);

	*ret = NULL;
	if (!r)
		r = netlink_open(&b->host, NETLINK_ROUTE, err);
	if (!r)
		r = make_pair(&b->link, &b->host, netns_fd, spec->mtu, err);
	if (!r) {
		r = lay(b, netns_fd, proc, err);
		if (r)
			(void)delete_link(&b->host, b->link.name, NULL);
	}
	if (r)
		link_begun_free(b);
	else
		*ret = b;
	return r;
}

int link_open(struct link_begun *b, struct err *err)
{
	int r = link_configure_host(&b->link, &b->host, err);

	if (r)
		(void)delete_link(&b->host, b->link.name, NULL);
	return r;
}

void link_at_work(struct link_begun *b)
{
	const struct link *l = &b->link;

	/* The guest's carrier came with the host's side. */
	route_await_carrier(&b->guest, l->guest_index);
	(void)netlink_exchange(&b->guest, "guest's " GUEST_INTERFACE, NULL, NULL, NULL);
	if (l->ipv6 && l->has6)
		await_addresses(l, &b->host, &b->guest);
}

void link_begun_free(struct link_begun *b)
{
	if (!b)
		return;
	netlink_close(&b->host);
	netlink_close(&b->guest);
	free(b);
}

void link_await(const struct link *l, struct netlink *host, int proc, int netns_fd)
{
	CLEANUP_NETLINK struct netlink guest = { 0 };
	struct link other = *l;

	/* A guest that configures its own network may have renamed its side. */
	if (visit_by(&other, proc, netns_fd, &guest, NULL) == 0) {
		route_await_carrier(&guest, other.guest_index);
		(void)netlink_exchange(&guest, "guest's " GUEST_INTERFACE, NULL, NULL, NULL);
	}
	if (l->ipv6 && l->has6)
		await_local(l, host, 1, ask_on_host);
}

int link_up(const struct link_spec *spec, int netns_fd, struct err *err)
{
	CLEANUP_CLOSE int proc = fd_proc();
	struct link_begun *begun;
	int r = link_begin(spec, netns_fd, proc, &begun, err);

	if (!r)
		r = link_open(begun, err);
	if (!r)
		link_at_work(begun);
	link_begun_free(begun);
	return r;
}

int link_down(const char *instance, uint32_t number, struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	char name[IFNAMSIZ];
	int r;

	r = link_check_name(instance, number, name, err);
	if (!r)
		r = netlink_open(&nl, NETLINK_ROUTE, err);
	return r ?: delete_link(&nl, name, err);
}

static void ask_first_in_guest(const struct link *l, struct netlink *nl)
{
	ask_in_guest(l, nl, &l->more[0]);
}

/* The host's side of a link that is there, and one address of it. -ENODEV: there is none. */
static int reach(const char *instance, uint32_t number, const char *address, struct link *ret,
	struct netlink *host, struct err *err)
{
	const struct link_spec spec = { .instance = instance, .number = number, .more = address };
	int r = link_prepare(&spec, ret, err);

	if (r == 0 && ret->n_more != 1)
		r = err_set(err, ERR_USAGE, "'%s' is not one address", address);
	if (r != 0)
		return r;
	ret->host_index = if_nametoindex(ret->name);
	if (!ret->host_index)
		return err_set(err, -ENODEV, "%s: there is no such interface", ret->name);
	return netlink_open(host, NETLINK_ROUTE, err);
}

int link_add_address(const char *instance, uint32_t number, int netns_fd, const char *address,
	struct err *err)
{
	CLEANUP_NETLINK struct netlink host = { 0 }, guest = { 0 };
	struct link l;
	int r = reach(instance, number, address, &l, &host, err);

	if (r == 0)
		r = visit_guest(&l, netns_fd, &guest, err);
	if (r != 0)
		return r;
	put_in_guest(&l, &guest, &l.more[0]);
	r = netlink_exchange(&guest, "guest's " GUEST_INTERFACE, NULL, NULL, err);
	if (r != 0)
		return r;
	if (l.more[0].family == AF_INET6)
		await_local(&l, &guest, 1, ask_first_in_guest);
	/* The route last: where there is one, all is there. */
	lead_to_guest(&l, &host, &l.more[0]);
	r = netlink_exchange(&host, l.name, NULL, NULL, err);
	if (r != 0) {
		route_remove_address(&guest, l.guest_index, &l.more[0]);
		(void)netlink_exchange(&guest, "guest's " GUEST_INTERFACE, NULL, NULL, NULL);
	}
	return r;
}

/* The guest's side first: it never sends more than the host's takes. */
int link_set_mtu(
	const char *instance, uint32_t number, int netns_fd, uint32_t mtu, struct err *err)
{
	CLEANUP_NETLINK struct netlink host = { 0 }, guest = { 0 };
	struct link l = { 0 };
	int r = link_check_name(instance, number, l.name, err);

	if (r != 0)
		return r;
	l.host_index = if_nametoindex(l.name);
	if (!l.host_index)
		return 0;
	r = visit_guest(&l, netns_fd, &guest, err);
	if (r == -ENODEV)
		return 0;
	if (r != 0)
		return r;
	route_set_mtu(&guest, l.guest_index, mtu);
	r = netlink_exchange(&guest, "guest's " GUEST_INTERFACE, NULL, NULL, err);
	if (r == 0)
		r = netlink_open(&host, NETLINK_ROUTE, err);
	if (r != 0)
		return r;
	route_set_mtu(&host, l.host_index, mtu);
	return netlink_exchange(&host, l.name, NULL, NULL, err);
}

/* What is not there has been taken away. */
static int take(struct netlink *nl, const char *subject, struct err *err)
{
	struct err why = { 0 };
	int r = netlink_exchange(nl, subject, NULL, NULL, &why);

	if (r == -ESRCH || r == -ENOENT || r == -EADDRNOTAVAIL)
		return 0;
	return r ? err_set(err, r, "%s", why.text) : 0;
}

static int take_from_guest(struct link *l, int netns_fd, struct err *err)
{
	CLEANUP_NETLINK struct netlink guest = { 0 };
	struct err why = { 0 };
	int r = visit_guest(l, netns_fd, &guest, &why);

	/* A guest that configures its own network may have renamed it, and keeps what leads nowhere. */
	if (r == -ENODEV)
		return 0;
	if (r != 0)
		return err_set(err, r, "%s", why.text);
	route_remove_address(&guest, l->guest_index, &l->more[0]);
	return take(&guest, "guest's " GUEST_INTERFACE, err);
}

int link_remove_address(const char *instance, uint32_t number, int netns_fd, const char *address,
	struct err *err)
{
	CLEANUP_NETLINK struct netlink host = { 0 };
	struct err why = { 0 };
	struct link l;
	int r = reach(instance, number, address, &l, &host, &why);

	if (r == -ENODEV)
		return 0;
	if (r != 0)
		return err_set(err, r, "%s", why.text);
	r = take_from_guest(&l, netns_fd, err);
	if (r == 0) {
		route_remove_neighbour(&host, l.host_index, &l.more[0]);
		r = take(&host, l.name, err);
	}
	/* The route last: where there is none, nothing is. */
	if (r == 0) {
		route_remove_route(&host, l.host_index, &l.more[0]);
		r = take(&host, l.name, err);
	}
	return r;
}
