/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is done to links, as the kernel tells. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <sys/socket.h>

#include "firewall/link.h"
#include "firewall/netlink.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

#define QUEUE_BYTES (1024 * 1024)
#define NOTICE_MAX  65536

/* An address that goes takes a route of its own with it. */
#define GROUPS (RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE)

/* What a guest's start adds, and what goes on elsewhere on the host, wakes nobody. */
static int only_losses(int fd)
{
	struct sock_filter losses[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
		/* It is loaded as if it were big-endian. */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWLINK), 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELLINK), 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELROUTE), 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELNEIGH), 1, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	const struct sock_fprog program = { ARRAY_LEN(losses), losses };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

int link_watch_open(int *ret, struct err *err)
{
	const struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = GROUPS };
	CLEANUP_CLOSE int fd =
		socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	int size = QUEUE_BYTES;

	if (fd < 0 || only_losses(fd) < 0 ||
	    bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return err_sys(err, errno, "cannot watch the guests' links");
	/* Root may exceed the limit; with a small queue more is looked at than was changed. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	*ret = steal_fd(&fd);
	return 0;
}

static uint32_t index_of_route(const struct nlmsghdr *msg)
{
	struct nlattr *a;

	mnl_attr_for_each(a, msg, sizeof(struct rtmsg))
	{
		if (mnl_attr_get_type(a) == RTA_OIF)
			return mnl_attr_get_u32(a);
	}
	return 0;
}

static uint32_t index_of(const struct nlmsghdr *msg)
{
	switch (msg->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return (uint32_t)((const struct ifinfomsg *)mnl_nlmsg_get_payload(msg))->ifi_index;
	case RTM_DELNEIGH:
		return (uint32_t)((const struct ndmsg *)mnl_nlmsg_get_payload(msg))->ndm_ifindex;
	default:
		return index_of_route(msg);
	}
}

int link_watch_read(int watch, const char *instance, void (*fn)(void *data, uint32_t number),
		    void *data)
{
	uint32_t base = link_index_base(instance), number;
	_Alignas(struct nlmsghdr) char buf[NOTICE_MAX];

	for (;;) {
		const struct nlmsghdr *msg = (const struct nlmsghdr *)buf;
		ssize_t len = recv(watch, buf, sizeof(buf), MSG_DONTWAIT);
		int left = (int)len;

		if (len < 0 && errno != EINTR)
			return errno == EAGAIN ? 0 : -errno;
		for (; mnl_nlmsg_ok(msg, left); msg = mnl_nlmsg_next(msg, &left))
			if (mnl_nlmsg_get_payload_len(msg) >= sizeof(struct rtmsg) &&
			    link_number(base, index_of(msg), &number))
				fn(data, number);
	}
}
