/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which addresses lead to which guest: the host's routes, read back. */
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "firewall/address.h"
#include "firewall/link.h"
#include "firewall/netlink.h"
#include "provision/base/cleanup.h"

#define ROOM 256 /* more than the request is long */

struct listing {
	uint32_t base;
	void (*fn)(void *data, uint32_t number, const char *address);
	void *data;
};

/* mnl_cb_t: a route to a single address, by a guest's link */
static int take_route(const struct nlmsghdr *msg, void *data)
{
	const struct rtmsg *head = mnl_nlmsg_get_payload(msg);
	const struct listing *l = data;
	struct nlattr *a;
	const void *to = NULL;
	uint32_t index = 0, number;
	char text[INET6_ADDRSTRLEN];

	mnl_attr_for_each(a, msg, sizeof(*head))
	{
		if (mnl_attr_get_type(a) == RTA_DST)
			to = mnl_attr_get_payload(a);
		else if (mnl_attr_get_type(a) == RTA_OIF)
			index = mnl_attr_get_u32(a);
	}
	if (to && head->rtm_type == RTN_UNICAST && head->rtm_table == RT_TABLE_MAIN &&
	    head->rtm_dst_len == (head->rtm_family == AF_INET6 ? 128 : 32) &&
	    link_number(l->base, index, &number) &&
	    inet_ntop(head->rtm_family, to, text, sizeof(text)))
		l->fn(l->data, number, text);
	return MNL_CB_OK;
}

static int list_family(int family, struct listing *l, struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct nlmsghdr *msg;
	struct rtmsg *head;
	int r = netlink_open(&nl, NETLINK_ROUTE, err);

	if (r != 0)
		return r;
	msg = mnl_nlmsg_put_header(netlink_room(&nl, ROOM, "list the routes"));
	msg->nlmsg_type = RTM_GETROUTE;
	msg->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	msg->nlmsg_seq = nl.next_seq;
	head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));
	head->rtm_family = (uint8_t)family;
	netlink_commit(&nl, msg);
	return netlink_exchange(&nl, "the host", take_route, l, err);
}

int link_each_address(const char *instance,
		      void (*fn)(void *data, uint32_t number, const char *address), void *data,
		      struct err *err)
{
	struct listing l = { link_index_base(instance), fn, data };
	int r = address_check_instance(instance, err);

	if (r == 0)
		r = list_family(AF_INET, &l, err);
	return r == 0 ? list_family(AF_INET6, &l, err) : r;
}
