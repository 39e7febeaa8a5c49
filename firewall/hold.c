/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The owner's socket in the hands of those that run guests: owner_hold(), owner_take(). */
#include <errno.h>
#include <fcntl.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "firewall/owner.h"
#include "firewall/policy.h"
#include "provision/base/cleanup.h"

/* mnl_cb_t */
static int take_flags(const struct nlmsghdr *msg, void *ret)
{
	struct nftnl_table *t = nftnl_table_alloc();

	if (!t)
		abort();
	if (nftnl_table_nlmsg_parse(msg, t) == 0)
		*(uint32_t *)ret = nftnl_table_get_u32(t, NFTNL_TABLE_FLAGS);
	nftnl_table_free(t);
	return MNL_CB_OK;
}

static int ask_flags(
	struct netlink *nl, const struct rules_base *base, uint32_t *ret, struct err *err)
{
	struct nftnl_table *t = nftnl_table_alloc();
	struct nlmsghdr *msg;

	if (!t)
		abort();
	nftnl_table_set_str(t, NFTNL_TABLE_NAME, base->instance);
	msg = nftnl_nlmsg_build_hdr(netlink_room(nl, POLICY_ROOM, "look at it"), NFT_MSG_GETTABLE,
		NFPROTO_INET, NLM_F_ACK, nl->next_seq);
	nftnl_table_nlmsg_build_payload(msg, t);
	netlink_commit(nl, msg);
	nftnl_table_free(t);
	return netlink_exchange(nl, "the firewall's table", take_flags, ret, err);
}

/* Nobody keeps the table: it must be there, and be one that needs nobody. */
static int do_without(struct netlink *nl, const struct rules_base *base, struct err *err)
{
	uint32_t flags = 0;
	int r = ask_flags(nl, base, &flags, err);

	if (r == 0 && (flags & POLICY_TABLE_OWNER) && !(flags & POLICY_TABLE_PERSIST))
		return err_set(err, ERR_BUSY, "vm2d is not there to keep the firewall's table; try again");
	return r;
}

int owner_hold(const struct rules_base *base, struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	int r = netlink_borrow(&nl, base->run, 0, err);

	if (r != 0)
		return r;
	if (!nl.turn)
		return fcntl(OWNER_HELD_FD, F_GETFD) >= 0 ? 0 : do_without(&nl, base, err);
	if (nl.hold && dup3(mnl_socket_get_fd(nl.sock), OWNER_HELD_FD, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot hold the firewall's socket");
	return 0;
}

static bool is_firewall_socket(int fd)
{
	int domain = 0, protocol = 0;
	socklen_t len = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_NETLINK &&
		getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 &&
		protocol == NETLINK_NETFILTER;
}

int owner_take(int pidfd)
{
	int fd = (int)syscall(SYS_pidfd_getfd, pidfd, OWNER_HELD_FD, 0);

	if (fd < 0)
		return -errno;
	if (is_firewall_socket(fd))
		return fd;
	close(fd);
	return -EBADF;
}
