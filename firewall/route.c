/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/route.h"

#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

/* More than any request here is long. */
#define ROOM 512

static struct nlmsghdr *start(struct netlink *nl, uint16_t type, uint16_t flags, const char *what)
{
	struct nlmsghdr *msg = mnl_nlmsg_put_header(netlink_room(nl, ROOM, what));

	msg->nlmsg_type = type;
	msg->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	msg->nlmsg_seq = nl->next_seq;
	return msg;
}

static void put_side(struct nlmsghdr *msg, const struct route_side *side, uint32_t mtu)
{
	mnl_attr_put_strz(msg, IFLA_IFNAME, side->name);
	mnl_attr_put(msg, IFLA_ADDRESS, sizeof(side->mac), side->mac);
	/*
	 * A veth has no queue that could be full: more than one are used by XDP alone, and the kernel's
	 * own choice, one for each processor, is some KiB each, on both sides.
	 */
	mnl_attr_put_u32(msg, IFLA_NUM_TX_QUEUES, 1);
	mnl_attr_put_u32(msg, IFLA_NUM_RX_QUEUES, 1);
	if (mtu)
		mnl_attr_put_u32(msg, IFLA_MTU, mtu);
}

void route_add_pair(struct netlink *nl, const struct route_side *host,
	const struct route_side *guest, int netns_fd, uint32_t mtu)
{
	struct nlmsghdr *msg = start(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, "make the pair");
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));
	struct nlattr *info, *data, *peer;

	head->ifi_index = (int)host->index;
	put_side(msg, host, mtu);
	info = mnl_attr_nest_start(msg, IFLA_LINKINFO);
	mnl_attr_put_strz(msg, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(msg, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(msg, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(msg, sizeof(struct ifinfomsg));
	put_side(msg, guest, mtu);
	mnl_attr_put_u32(msg, IFLA_NET_NS_FD, netns_fd);
	mnl_attr_nest_end(msg, peer);
	mnl_attr_nest_end(msg, data);
	mnl_attr_nest_end(msg, info);
	netlink_commit(nl, msg);
}

void route_delete_link(struct netlink *nl, const char *name)
{
	struct nlmsghdr *msg = start(nl, RTM_DELLINK, 0, "delete it");

	mnl_nlmsg_put_extra_header(msg, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(msg, IFLA_IFNAME, name);
	netlink_commit(nl, msg);
}

void route_no_own_address(struct netlink *nl, int ifindex)
{
	struct nlmsghdr *msg = start(nl, RTM_NEWLINK, 0, "turn IPv6 autoconfiguration off");
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));
	struct nlattr *spec, *inet6;

	head->ifi_index = ifindex;
	spec = mnl_attr_nest_start(msg, IFLA_AF_SPEC);
	inet6 = mnl_attr_nest_start(msg, AF_INET6);
	mnl_attr_put_u8(msg, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(msg, inet6);
	mnl_attr_nest_end(msg, spec);
	netlink_commit(nl, msg);
}

void route_set_up(struct netlink *nl, int ifindex)
{
	struct nlmsghdr *msg = start(nl, RTM_NEWLINK, 0, "set it up");
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));

	head->ifi_index = ifindex;
	head->ifi_flags = head->ifi_change = IFF_UP;
	netlink_commit(nl, msg);
}

void route_set_mtu(struct netlink *nl, int ifindex, uint32_t mtu)
{
	struct nlmsghdr *msg = start(nl, RTM_NEWLINK, 0, "set its MTU");
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));

	head->ifi_index = ifindex;
	mnl_attr_put_u32(msg, IFLA_MTU, mtu);
	netlink_commit(nl, msg);
}

void route_set_down(struct netlink *nl, int ifindex)
{
	struct nlmsghdr *msg = start(nl, RTM_NEWLINK, 0, "set it down");
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));

	head->ifi_index = ifindex;
	head->ifi_change = IFF_UP;
	netlink_commit(nl, msg);
}

void route_rename(struct netlink *nl, int ifindex, const char *name)
{
	struct nlmsghdr *msg = start(nl, RTM_NEWLINK, 0, "give it its name");
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));

	head->ifi_index = ifindex;
	mnl_attr_put_strz(msg, IFLA_IFNAME, name);
	netlink_commit(nl, msg);
}

void route_set_mac(struct netlink *nl, int ifindex, const uint8_t mac[6])
{
	struct nlmsghdr *msg = start(nl, RTM_NEWLINK, 0, "set its MAC");
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));

	head->ifi_index = ifindex;
	mnl_attr_put(msg, IFLA_ADDRESS, 6, mac);
	netlink_commit(nl, msg);
}

void route_set_free(struct netlink *nl, int ifindex)
{
	struct nlmsghdr *msg = start(nl, RTM_NEWLINK, 0, "take it from what it is a port of");
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));

	head->ifi_index = ifindex;
	mnl_attr_put_u32(msg, IFLA_MASTER, 0);
	netlink_commit(nl, msg);
}

void route_await_carrier(struct netlink *nl, int ifindex)
{
	struct nlmsghdr *msg = start(nl, RTM_GETLINK, 0, "look for its carrier");
	struct ifinfomsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));

	head->ifi_index = ifindex;
	netlink_commit(nl, msg);
}

void route_add_address(struct netlink *nl, int ifindex, const struct address *a)
{
	struct nlmsghdr *msg = start(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE,
		a->family == AF_INET6 ? "add an IPv6 address" : "add an IPv4 address");
	struct ifaddrmsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));

	head->ifa_family = a->family;
	head->ifa_prefixlen = a->prefix;
	head->ifa_flags = a->family == AF_INET6 ? IFA_F_NODAD : 0;
	head->ifa_index = ifindex;
	if (a->family == AF_INET && a->bytes[0] == 169 && a->bytes[1] == 254)
		head->ifa_scope = RT_SCOPE_LINK;
	mnl_attr_put(msg, IFA_LOCAL, a->len, a->bytes);
	mnl_attr_put(msg, IFA_ADDRESS, a->len, a->bytes);
	netlink_commit(nl, msg);
}

static void route_to(struct netlink *nl, int ifindex, const struct address *to,
		     const struct address *via, uint16_t how)
{
	struct nlmsghdr *msg = start(nl, RTM_NEWROUTE, NLM_F_CREATE | how,
				     to ? "add a route to an address" : "add a default route");
	struct rtmsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));

	head->rtm_family = to ? to->family : via->family;
	head->rtm_dst_len = to ? to->prefix : 0;
	head->rtm_table = RT_TABLE_MAIN;
	head->rtm_protocol = RTPROT_STATIC;
	head->rtm_scope = via ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	head->rtm_type = RTN_UNICAST;
	if (to)
		mnl_attr_put(msg, RTA_DST, to->len, to->bytes);
	if (via)
		mnl_attr_put(msg, RTA_GATEWAY, via->len, via->bytes);
	mnl_attr_put_u32(msg, RTA_OIF, ifindex);
	netlink_commit(nl, msg);
}

void route_add_route(struct netlink *nl, int ifindex, const struct address *to,
		     const struct address *via)
{
	route_to(nl, ifindex, to, via, NLM_F_EXCL);
}

void route_put_route(struct netlink *nl, int ifindex, const struct address *to)
{
	route_to(nl, ifindex, to, NULL, NLM_F_REPLACE);
}

void route_ask_local(struct netlink *nl, int ifindex, const struct address *a)
{
	struct nlmsghdr *msg = start(nl, RTM_GETROUTE, 0, "look for an address");
	struct rtmsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));

	head->rtm_family = a->family;
	head->rtm_dst_len = (uint8_t)(8 * a->len);
	mnl_attr_put(msg, RTA_DST, a->len, a->bytes);
	mnl_attr_put_u32(msg, RTA_OIF, ifindex);
	netlink_commit(nl, msg);
}

int route_count_local(const struct nlmsghdr *msg, void *count)
{
	const struct rtmsg *head = mnl_nlmsg_get_payload(msg);

	if (msg->nlmsg_type == RTM_NEWROUTE && mnl_nlmsg_get_payload_len(msg) >= sizeof(*head))
		*(int *)count += head->rtm_type == RTN_LOCAL;
	return MNL_CB_OK;
}

void route_add_neighbour(
	struct netlink *nl, int ifindex, const struct address *a, const uint8_t mac[6])
{
	struct nlmsghdr *msg =
		start(nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, "add a neighbour");
	struct ndmsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));

	head->ndm_family = a->family;
	head->ndm_ifindex = ifindex;
	head->ndm_state = NUD_PERMANENT;
	mnl_attr_put(msg, NDA_DST, a->len, a->bytes);
	mnl_attr_put(msg, NDA_LLADDR, 6, mac);
	netlink_commit(nl, msg);
}

void route_remove_address(struct netlink *nl, int ifindex, const struct address *a)
{
	struct nlmsghdr *msg = start(nl, RTM_DELADDR, 0, "remove an address");
	struct ifaddrmsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));

	head->ifa_family = a->family;
	head->ifa_prefixlen = a->prefix;
	head->ifa_index = ifindex;
	mnl_attr_put(msg, IFA_LOCAL, a->len, a->bytes);
	mnl_attr_put(msg, IFA_ADDRESS, a->len, a->bytes);
	netlink_commit(nl, msg);
}

void route_remove_route(struct netlink *nl, int ifindex, const struct address *to)
{
	struct nlmsghdr *msg = start(nl, RTM_DELROUTE, 0, "remove a route to an address");
	struct rtmsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));

	head->rtm_family = to->family;
	head->rtm_dst_len = to->prefix;
	head->rtm_table = RT_TABLE_MAIN;
	head->rtm_scope = RT_SCOPE_NOWHERE; /* any */
	mnl_attr_put(msg, RTA_DST, to->len, to->bytes);
	mnl_attr_put_u32(msg, RTA_OIF, ifindex);
	netlink_commit(nl, msg);
}

void route_remove_neighbour(struct netlink *nl, int ifindex, const struct address *a)
{
	struct nlmsghdr *msg = start(nl, RTM_DELNEIGH, 0, "remove a neighbour");
	struct ndmsg *head = mnl_nlmsg_put_extra_header(msg, sizeof(*head));

	head->ndm_family = a->family;
	head->ndm_ifindex = ifindex;
	mnl_attr_put(msg, NDA_DST, a->len, a->bytes);
	netlink_commit(nl, msg);
}
