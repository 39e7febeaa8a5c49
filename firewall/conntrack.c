/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <string.h>

#include "firewall/netlink.h"

#define SUBJECT	   "connection tracking"
#define ROOM	   256
#define TUPLE_MAX  160
#define DELETE_MAX 256 /* deletions that are sent at once: their answers must fit the queue */

/* What is looked for, and the deletions that are gathered meanwhile. */
struct search {
	conntrack_fn fn;
	const void *data;
	struct netlink *deletions;
	uint32_t found;
};

static struct nlmsghdr *start(struct netlink *nl, uint8_t type, uint16_t flags, int family,
	const char *what)
{
	struct nlmsghdr *msg = mnl_nlmsg_put_header(netlink_room(nl, ROOM, what));
	struct nfgenmsg *head;

	msg->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | type;
	msg->nlmsg_flags = NLM_F_REQUEST | flags;
	msg->nlmsg_seq = nl->next_seq;
	head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));
	head->nfgen_family = (uint8_t)family;
	head->version = NFNETLINK_V0;
	return msg;
}

/* mnl_attr_cb_t: the attribute of a type, out of those of a message or nest. */
struct wanted {
	uint16_t type;
	const struct nlattr *found;
};

static int find(const struct nlattr *attr, void *data)
{
	struct wanted *w = data;

	if (mnl_attr_get_type(attr) == w->type)
		w->found = attr;
	return MNL_CB_OK;
}

static const struct nlattr *within(const struct nlattr *nest, uint16_t type)
{
	struct wanted w = { .type = type };

	if (nest)
		mnl_attr_parse_nested(nest, find, &w);
	return w.found;
}

static uint16_t port_of(const struct nlattr *proto, uint16_t type)
{
	const struct nlattr *a = within(proto, type);

	return a && mnl_attr_get_payload_len(a) >= 2 ? ntohs(mnl_attr_get_u16(a)) : 0;
}

static struct address address_of(const struct nlattr *a)
{
	struct address ret = { 0 };
	size_t len = a ? mnl_attr_get_payload_len(a) : 0;

	if (len != 4 && len != 16)
		return ret;
	ret.family = len == 16 ? AF_INET6 : AF_INET;
	ret.len = (uint8_t)len;
	ret.prefix = (uint8_t)(len * 8);
	memcpy(ret.bytes, mnl_attr_get_payload(a), len);
	return ret;
}

static struct conntrack_end sender(const struct nlattr *tuple)
{
	const struct nlattr *ip = within(tuple, CTA_TUPLE_IP);
	const struct nlattr *source = within(ip, CTA_IP_V4_SRC) ?: within(ip, CTA_IP_V6_SRC);

	return (struct conntrack_end){ address_of(source),
		port_of(within(tuple, CTA_TUPLE_PROTO), CTA_PROTO_SRC_PORT) };
}

static void read_flow(
	const struct nlattr *there, const struct nlattr *back, struct conntrack_flow *ret)
{
	const struct nlattr *proto = within(there, CTA_TUPLE_PROTO);
	const struct nlattr *number = within(proto, CTA_PROTO_NUM);
	const struct nlattr *ip = within(there, CTA_TUPLE_IP);
	struct address asked =
		address_of(within(ip, CTA_IP_V4_DST) ?: within(ip, CTA_IP_V6_DST));

	*ret = (struct conntrack_flow){ .asked_port = port_of(proto, CTA_PROTO_DST_PORT),
		.began = sender(there),
		.answers = sender(back) };
	ret->redirected = memcmp(&asked, &ret->answers.address, sizeof(asked)) != 0;
	if (number && mnl_attr_get_payload_len(number) >= 1)
		ret->protocol = mnl_attr_get_u8(number);
}

static void put_deletion(struct search *s, int family, const struct nlattr *tuple)
{
	struct nlmsghdr *d = start(
		s->deletions, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, family, "end a connection");

	memcpy(mnl_nlmsg_get_payload_tail(d), tuple, MNL_ALIGN(mnl_attr_get_len(tuple)));
	d->nlmsg_len += MNL_ALIGN(mnl_attr_get_len(tuple));
	netlink_commit(s->deletions, d);
	s->found++;
}

/* mnl_cb_t: a connection of the list; one that is looked for is to be deleted, by its own tuple. */
static int look(const struct nlmsghdr *msg, void *data)
{
	struct search *s = data;
	const struct nfgenmsg *head = mnl_nlmsg_get_payload(msg);
	struct wanted orig = { .type = CTA_TUPLE_ORIG }, reply = { .type = CTA_TUPLE_REPLY };
	struct conntrack_flow flow;

	if (mnl_nlmsg_get_payload_len(msg) < sizeof(*head) ||
		mnl_attr_parse(msg, sizeof(*head), find, &orig) < 0 ||
		mnl_attr_parse(msg, sizeof(*head), find, &reply) < 0 || !orig.found || !reply.found)
		return MNL_CB_OK;
	read_flow(orig.found, reply.found, &flow);
	if (s->found < DELETE_MAX && mnl_attr_get_len(orig.found) <= TUPLE_MAX &&
		s->fn(s->data, &flow))
		put_deletion(s, head->nfgen_family, orig.found);
	return MNL_CB_OK;
}

/* One round: at most DELETE_MAX connections. How many were found, or -errno. */
static int end_some(conntrack_fn fn, const void *data, struct err *err)
{
	CLEANUP_NETLINK struct netlink list = { 0 }, deletions = { 0 };
	struct search search = { fn, data, &deletions, 0 };
	int r = netlink_open(&list, NETLINK_NETFILTER, err);

	if (r == 0)
		r = netlink_open(&deletions, NETLINK_NETFILTER, err);
	if (r == 0) {
		netlink_commit(&list,
			start(&list, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC, "list connections"));
		r = netlink_exchange(&list, SUBJECT, look, &search, err);
	}
	if (r == 0 && search.found)
		r = netlink_exchange(&deletions, SUBJECT, NULL, NULL, NULL);
	/* -ENOENT: one ended by itself meanwhile; the others are ended. */
	return r == 0 || r == -ENOENT ? (int)search.found : r;
}

int conntrack_end_those(conntrack_fn fn, const void *data, struct err *err)
{
	int r = DELETE_MAX;

	/* Bounded: the rules let nothing new of these in, so each round leaves fewer. */
	for (int round = 0; r == DELETE_MAX && round < 4096; round++)
		r = end_some(fn, data, err);
	return r < 0 ? r : 0;
}
