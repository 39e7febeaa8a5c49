/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whether the host's side of a link is as it was made, and how it comes to be so again. */
#include "firewall/link_parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/ipv6.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

#define ROOM	   256 /* more than any request here is long */
#define CONF_MAX   128 /* more settings of an interface than the kernel has of a family */
#define MAC_FORMAT "%02x:%02x:%02x:%02x:%02x:%02x"
#define MAC_OF(m)  (m)[0], (m)[1], (m)[2], (m)[3], (m)[4], (m)[5]

/* What the kernel says of the interface. */
struct seen {
	char name[IFNAMSIZ];
	bool up;
	uint8_t mac[6];
	uint32_t mtu, master;
	uint32_t conf4[CONF_MAX], conf6[CONF_MAX]; /* settings */
	size_t n4, n6;				   /* 0: it has nothing of the family */
};

struct look {
	const struct link *l;
	void (*fn)(void *data, enum link_fault fault, const char *what);
	void *data;
};

static void tell(const struct look *k, enum link_fault fault, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void tell(const struct look *k, enum link_fault fault, const char *fmt, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	k->fn(k->data, fault, text);
}

/* --- the interface --- */

static size_t take_conf(const struct nlattr *family, uint16_t type, uint32_t ret[CONF_MAX])
{
	struct nlattr *a;

	mnl_attr_for_each_nested(a, family)
	{
		size_t n = mnl_attr_get_payload_len(a) / sizeof(*ret);

		if (mnl_attr_get_type(a) != type)
			continue;
		n = n < CONF_MAX ? n : CONF_MAX;
		memcpy(ret, mnl_attr_get_payload(a), n * sizeof(*ret));
		return n;
	}
	return 0;
}

static void take_families(const struct nlattr *spec, struct seen *s)
{
	struct nlattr *a;

	mnl_attr_for_each_nested(a, spec)
	{
		if (mnl_attr_get_type(a) == AF_INET)
			s->n4 = take_conf(a, IFLA_INET_CONF, s->conf4);
		else if (mnl_attr_get_type(a) == AF_INET6)
			s->n6 = take_conf(a, IFLA_INET6_CONF, s->conf6);
	}
}

/* mnl_cb_t */
static int take_link(const struct nlmsghdr *msg, void *data)
{
	const struct ifinfomsg *head = mnl_nlmsg_get_payload(msg);
	struct seen *s = data;
	struct nlattr *a;

	s->up = head->ifi_flags & IFF_UP;
	mnl_attr_for_each(a, msg, sizeof(*head))
	{
		uint16_t type = mnl_attr_get_type(a), len = mnl_attr_get_payload_len(a);

		if (type == IFLA_IFNAME)
			snprintf(s->name, sizeof(s->name), "%s", mnl_attr_get_str(a));
		else if (type == IFLA_ADDRESS && len == sizeof(s->mac))
			memcpy(s->mac, mnl_attr_get_payload(a), len);
		else if (type == IFLA_MTU)
			s->mtu = mnl_attr_get_u32(a);
		else if (type == IFLA_MASTER)
			s->master = mnl_attr_get_u32(a);
		else if (type == IFLA_AF_SPEC)
			take_families(a, s);
	}
	return MNL_CB_OK;
}

static struct nlmsghdr *start(struct netlink *nl, uint16_t type, uint16_t flags, const char *what)
{
	struct nlmsghdr *msg = mnl_nlmsg_put_header(netlink_room(nl, ROOM, what));

	msg->nlmsg_type = type;
	msg->nlmsg_flags = NLM_F_REQUEST | flags;
	msg->nlmsg_seq = nl->next_seq;
	return msg;
}

/* The link by its index, with IPv6 if its host side has; -ENODEV without words. */
static int see(const struct link_spec *spec, struct link *ret, struct netlink *nl,
	       struct seen *seen, struct err *err)
{
	struct err why = { 0 };
	int r = link_prepare(spec, ret, err);

	if (r == 0)
		r = netlink_open(nl, NETLINK_ROUTE, err);
	if (r != 0)
		return r;
	ret->again = true;
	ret->host_index = (int)ret->host.index;
	route_await_carrier(nl, ret->host_index);
	*seen = (struct seen){ 0 };
	r = netlink_exchange(nl, ret->name, take_link, seen, &why);
	if (r == -ENODEV)
		return r;
	ret->ipv6 = seen->n6 > DEVCONF_DISABLE_IPV6 && !seen->conf6[DEVCONF_DISABLE_IPV6];
	return r ? err_set(err, r, "%s", why.text) : 0;
}

static void compare_settings(const struct look *k, const struct seen *s)
{
	for (size_t i = 0; i < ARRAY_LEN(link_settings); i++) {
		const struct link_setting *x = &link_settings[i];
		bool six = !strcmp(x->family, "ipv6");
		/* Of IPv4 the kernel counts from 1. */
		size_t at = (size_t)(six ? x->index : x->index - 1), n = six ? s->n6 : s->n4;
		uint32_t is;

		if ((six && !k->l->ipv6) || at >= n)
			continue;
		is = six ? s->conf6[at] : s->conf4[at];
		if (is != (uint32_t)(x->value[0] - '0'))
			tell(k, LINK_CHANGED, "net.%s.conf.%s.%s is %d, not %s", x->family, s->name,
			     x->name, (int)is, x->value);
	}
}

static void compare_link(const struct look *k, const struct seen *s, uint32_t mtu)
{
	const uint8_t *mac = k->l->host.mac;
	char master[IFNAMSIZ] = "?";

	if (strcmp(s->name, k->l->name) != 0)
		tell(k, LINK_CHANGED, "it is named %s", s->name);
	if (memcmp(s->mac, mac, sizeof(s->mac)) != 0)
		tell(k, LINK_CHANGED, "its MAC is " MAC_FORMAT ", not " MAC_FORMAT, MAC_OF(s->mac),
		     MAC_OF(mac));
	if (mtu && s->mtu != mtu)
		tell(k, LINK_CHANGED, "its MTU is %u, not %u", s->mtu, mtu);
	if (s->master)
		tell(k, LINK_CHANGED, "it is a port of %s",
		     if_indextoname(s->master, master) ?: "?");
	compare_settings(k, s);
}

/* --- its addresses --- */

struct wanted {
	const struct address *address;
	int index;
	bool there;
};

/* mnl_cb_t */
static int take_address(const struct nlmsghdr *msg, void *data)
{
	const struct ifaddrmsg *head = mnl_nlmsg_get_payload(msg);
	struct wanted *w = data;
	struct nlattr *a;

	if ((int)head->ifa_index != w->index)
		return MNL_CB_OK;
	mnl_attr_for_each(a, msg, sizeof(*head))
	{
		if (mnl_attr_get_type(a) == IFA_ADDRESS && mnl_attr_get_payload_len(a) == w->address->len &&
			!memcmp(mnl_attr_get_payload(a), w->address->bytes, w->address->len))
			w->there = true;
	}
	return MNL_CB_OK;
}

static int compare_address(const struct look *k, struct netlink *nl, const struct address *a,
			   struct err *err)
{
	struct wanted w = { a, k->l->host_index, false };
	struct nlmsghdr *msg = start(nl, RTM_GETADDR, NLM_F_DUMP, "list its addresses");
	struct ifaddrmsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));
	char text[INET6_ADDRSTRLEN];
	int r;

	head->ifa_family = (uint8_t)a->family;
	head->ifa_index = (uint32_t)w.index;
	netlink_commit(nl, msg);
	r = netlink_exchange(nl, k->l->name, take_address, &w, err);
	if (r == 0 && !w.there)
		tell(k, LINK_CHANGED, "it has not the address %s",
		     inet_ntop(a->family, a->bytes, text, sizeof(text)));
	return r;
}

/* --- its neighbours, and the routes to it --- */

/* mnl_cb_t: whether it is permanent, with the guest's MAC */
static int take_neighbour(const struct nlmsghdr *msg, void *data)
{
	const struct ndmsg *head = mnl_nlmsg_get_payload(msg);
	const uint8_t **mac = data;
	struct nlattr *a;

	mnl_attr_for_each(a, msg, sizeof(*head))
	{
		if (*mac && mnl_attr_get_type(a) == NDA_LLADDR && (head->ndm_state & NUD_PERMANENT) &&
			mnl_attr_get_payload_len(a) == 6 && !memcmp(mnl_attr_get_payload(a), *mac, 6))
			*mac = NULL;
	}
	return MNL_CB_OK;
}

static void compare_neighbour(const struct look *k, struct netlink *nl, const struct address *a)
{
	const uint8_t *mac = k->l->guest.mac;
	struct nlmsghdr *msg = start(nl, RTM_GETNEIGH, NLM_F_ACK, "look for a neighbour");
	struct ndmsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));
	char text[INET6_ADDRSTRLEN];

	head->ndm_family = (uint8_t)a->family;
	head->ndm_ifindex = k->l->host_index;
	mnl_attr_put(msg, NDA_DST, a->len, a->bytes);
	netlink_commit(nl, msg);
	(void)netlink_exchange(nl, k->l->name, take_neighbour, &mac, NULL);
	if (mac)
		tell(k, LINK_CHANGED, "%s is no permanent neighbour of its guest's MAC",
		     inet_ntop(a->family, a->bytes, text, sizeof(text)));
}

/* mnl_cb_t: by which interface, if no router is between */
static int take_way(const struct nlmsghdr *msg, void *data)
{
	const struct rtmsg *head = mnl_nlmsg_get_payload(msg);
	bool via = head->rtm_type != RTN_UNICAST;
	struct nlattr *a;

	mnl_attr_for_each(a, msg, sizeof(*head))
	{
		via |= mnl_attr_get_type(a) == RTA_GATEWAY;
		if (mnl_attr_get_type(a) == RTA_OIF)
			*(int *)data = (int)mnl_attr_get_u32(a);
	}
	if (via)
		*(int *)data = -1;
	return MNL_CB_OK;
}

static void compare_route(const struct look *k, struct netlink *nl, const struct address *a)
{
	struct nlmsghdr *msg = start(nl, RTM_GETROUTE, NLM_F_ACK, "look for a route");
	struct rtmsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));
	bool first = a == &k->l->address4 || a == &k->l->address6;
	char text[INET6_ADDRSTRLEN];
	int index = 0;

	head->rtm_family = (uint8_t)a->family;
	head->rtm_dst_len = (uint8_t)(8 * a->len);
	mnl_attr_put(msg, RTA_DST, a->len, a->bytes);
	netlink_commit(nl, msg);
	/* Without any route, or by one that refuses, it fails: that is an answer, too. */
	(void)netlink_exchange(nl, k->l->name, take_way, &index, NULL);
	if (index != k->l->host_index)
		tell(k, first ? LINK_CHANGED : LINK_FURTHER, "no route leads to %s by it",
		     inet_ntop(a->family, a->bytes, text, sizeof(text)));
}

static int compare_family(const struct look *k, struct netlink *nl, int family, struct err *err)
{
	const struct link *l = k->l;
	const struct address *first = family == AF_INET ? &l->address4 : &l->address6;
	int r = compare_address(k, nl, family == AF_INET ? &l->gateway4 : &l->gateway6, err);

	if (r != 0)
		return r;
	if (family == AF_INET6)
		compare_neighbour(k, nl, &l->local6);
	for (int i = -1; i < l->n_more; i++) {
		const struct address *a = i < 0 ? first : &l->more[i];

		if (a->family != family)
			continue;
		compare_neighbour(k, nl, a);
		compare_route(k, nl, a);
	}
	return 0;
}

int link_verify(const struct link_spec *spec,
		void (*fn)(void *data, enum link_fault fault, const char *what), void *data,
		struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct seen seen;
	struct link l;
	struct look k = { &l, fn, data };
	int on = 1, r = see(spec, &l, &nl, &seen, err);

	if (r != 0)
		return r;
	if (!seen.up) {
		tell(&k, LINK_CHANGED, "it is down");
		return 0;
	}
	/* So that of addresses the kernel lists this interface's alone; without, more is read. */
	(void)setsockopt(mnl_socket_get_fd(nl.sock), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on,
			 sizeof(on));
	compare_link(&k, &seen, spec->mtu);
	if (l.has4)
		r = compare_family(&k, &nl, AF_INET, err);
	if (r == 0 && l.ipv6 && l.has6)
		r = compare_family(&k, &nl, AF_INET6, err);
	return r;
}

int link_mend(const struct link_spec *spec, int netns_fd, struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	CLEANUP_CLOSE int proc = -1;
	struct seen seen;
	struct link l;
	int index, r = see(spec, &l, &nl, &seen, err);

	if (r != 0)
		return r;
	index = l.host_index;
	if (strcmp(seen.name, l.name) != 0) {
		route_set_down(&nl, index);
		route_rename(&nl, index, l.name);
	}
	if (seen.master)
		route_set_free(&nl, index);
	if (memcmp(seen.mac, l.host.mac, sizeof(seen.mac)) != 0)
		route_set_mac(&nl, index, l.host.mac);
	if (spec->mtu && seen.mtu != spec->mtu)
		route_set_mtu(&nl, index, spec->mtu);
	if (nl.len)
		r = netlink_exchange(&nl, l.name, NULL, NULL, err);
	if (r != 0)
		return r;
	proc = fd_proc();
	if (proc < 0)
		return err_sys(err, -proc, "cannot make a proc to look at %s with", l.name);
	r = link_apply_settings(&l, proc, err);
	if (r == 0)
		r = link_configure_host(&l, &nl, err);
	if (r == 0)
		link_await(&l, &nl, proc, netns_fd);
	return r;
}

bool link_there(const char *instance, uint32_t number)
{
	char name[IFNAMSIZ];

	link_name(instance, number, name);
	return (name[0] && if_nametoindex(name)) ||
	       if_indextoname(link_index_base(instance) | number, name);
}
