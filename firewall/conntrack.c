/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <string.h>

#include "firewall/address.h"
#include "firewall/netlink.h"

#define SUBJECT	   "connection tracking"
#define ROOM	   256
#define TUPLE_MAX  160
#define DELETE_MAX 256 /* deletions that are sent at once: their answers must fit the queue */

/* One direction of a connection. */
struct tuple {
	uint8_t protocol;
	uint16_t source_port, destination_port; /* network order */
	uint8_t source[16];
	size_t len; /* of source */
};

/* What is looked for, and the deletions that are gathered meanwhile. */
struct search {
	const struct rules_port *ports;
	uint32_t count;
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

	return a && mnl_attr_get_payload_len(a) >= 2 ? mnl_attr_get_u16(a) : 0;
}

static void read_tuple(const struct nlattr *nest, struct tuple *ret)
{
	const struct nlattr *ip = within(nest, CTA_TUPLE_IP), *proto = within(nest, CTA_TUPLE_PROTO);
	const struct nlattr *source = within(ip, CTA_IP_V4_SRC) ?: within(ip, CTA_IP_V6_SRC);
	const struct nlattr *number = within(proto, CTA_PROTO_NUM);

	*ret = (struct tuple){ .source_port = port_of(proto, CTA_PROTO_SRC_PORT),
		.destination_port = port_of(proto, CTA_PROTO_DST_PORT) };
	if (number && mnl_attr_get_payload_len(number) >= 1)
		ret->protocol = mnl_attr_get_u8(number);
	if (source && mnl_attr_get_payload_len(source) <= sizeof(ret->source)) {
		ret->len = mnl_attr_get_payload_len(source);
		memcpy(ret->source, mnl_attr_get_payload(source), ret->len);
	}
}

static bool is_of(const struct rules_port *port, const struct tuple *there, const struct tuple *back)
{
	struct address guest = { 0 };
	int family = back->len == 16 ? AF_INET6 : AF_INET;

	if (there->protocol != port->protocol ||
		there->destination_port != htons(port->host_port) ||
		back->source_port != htons(port->guest_port))
		return false;
	return address_parse(family == AF_INET ? port->address4 : port->address6, family, &guest,
		       NULL) == 0 &&
		guest.family && !memcmp(guest.bytes, back->source, guest.len);
}

/* mnl_cb_t: a connection of the list; one that is looked for is to be deleted, by its own tuple. */
static int look(const struct nlmsghdr *msg, void *data)
{
	struct search *s = data;
	const struct nfgenmsg *head = mnl_nlmsg_get_payload(msg);
	struct wanted orig = { .type = CTA_TUPLE_ORIG }, reply = { .type = CTA_TUPLE_REPLY };
	struct tuple there, back;

	if (mnl_nlmsg_get_payload_len(msg) < sizeof(*head) ||
		mnl_attr_parse(msg, sizeof(*head), find, &orig) < 0 ||
		mnl_attr_parse(msg, sizeof(*head), find, &reply) < 0 || !orig.found || !reply.found)
		return MNL_CB_OK;
	read_tuple(orig.found, &there);
	read_tuple(reply.found, &back);
	for (uint32_t i = 0; i < s->count; i++) {
		struct nlmsghdr *d;

		if (s->found >= DELETE_MAX || !is_of(&s->ports[i], &there, &back) ||
			mnl_attr_get_len(orig.found) > TUPLE_MAX)
			continue;
		d = start(s->deletions, IPCTNL_MSG_CT_DELETE, NLM_F_ACK, head->nfgen_family,
			"end a connection");
		memcpy(mnl_nlmsg_get_payload_tail(d), orig.found,
			MNL_ALIGN(mnl_attr_get_len(orig.found)));
		d->nlmsg_len += MNL_ALIGN(mnl_attr_get_len(orig.found));
		netlink_commit(s->deletions, d);
		s->found++;
		break;
	}
	return MNL_CB_OK;
}

/* One round: at most DELETE_MAX connections. How many were found, or -errno. */
static int end_some(const struct rules_port *ports, uint32_t count, struct err *err)
{
	CLEANUP_NETLINK struct netlink list = { 0 }, deletions = { 0 };
	struct search search = { ports, count, &deletions, 0 };
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

int conntrack_end_published(const struct rules_port *ports, uint32_t count, struct err *err)
{
	int r = DELETE_MAX;

	/* Bounded: the map leads nobody new there, so each round leaves fewer. */
	for (int round = 0; count && r == DELETE_MAX && round < 4096; round++)
		r = end_some(ports, count, err);
	return r < 0 ? r : 0;
}
