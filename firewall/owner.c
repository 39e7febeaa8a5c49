/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/owner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "firewall/netlink.h"
#include "firewall/policy.h"
#include "firewall/restore.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

#define BACKLOG		1024
#define NOTICES_BYTES	(8 << 20) /* of notifications that wait to be read */
#define NOTICE_MAX	16384
#define TABLE_ATTRIBUTE 1 /* NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE…: all are 1 */

#ifndef NFTA_GEN_PROC_PID
#define NFTA_GEN_PROC_PID  2
#define NFTA_GEN_PROC_NAME 3
#endif

struct owner {
	struct rules_base base;
	int listener, turn; /* turn: the connection of the borrower, or -1 */
	struct netlink nl;  /* what is lent */
	struct mnl_socket *watch;
	uint32_t port; /* of nl: what it does is ours */
	enum owner_how how;
	bool touched;  /* by somebody else, since the last restore */
	bool told;     /* the notices of that change are complete */
	struct owner_change change;
};

int owner_listen(const char *run, int *ret, struct err *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int len = snprintf(address.sun_path, sizeof(address.sun_path), "%s/fence.sock", run);

	if (fd < 0)
		return err_sys(err, errno, "cannot open a socket");
	if (len < 0 || (size_t)len >= sizeof(address.sun_path))
		return err_sys(err, ENAMETOOLONG, "cannot listen at %s/fence.sock", run);
	/* The caller holds the instance's lock: what lies there is no living process's. */
	unlink(address.sun_path);
	/* Safe: the mode is there before anybody can connect, since that takes listen(2). */
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		chmod(address.sun_path, 0600) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(err, errno, "cannot listen at %s", address.sun_path);
	*ret = steal_fd(&fd);
	return 0;
}

/*
 * To what everybody but we ourselves does, from now on without a gap: what comes by our own socket the kernel
 * does not even queue, since that many notices would overflow it.
 */
static int subscribe(struct owner *o)
{
	struct sock_filter others[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_pid)),
		/* It is loaded as if it were big-endian. */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(o->port), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	const struct sock_fprog program = { ARRAY_LEN(others), others };
	int fd = mnl_socket_get_fd(o->watch), group = NFNLGRP_NFTABLES;

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ||
			setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) < 0 ?
		-errno :
		0;
}

static int open_watch(struct owner *o, struct err *err)
{
	int size = NOTICES_BYTES;

	o->watch = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!o->watch || mnl_socket_bind(o->watch, 0, MNL_SOCKET_AUTOPID) < 0)
		return err_sys(err, errno, "cannot watch the firewall");
	/* Root may exceed the limit; with a small queue more is restored than was changed. */
	(void)setsockopt(mnl_socket_get_fd(o->watch), SOL_SOCKET, SO_RCVBUFFORCE, &size,
		sizeof(size));
	return subscribe(o) < 0 ? err_sys(err, errno, "cannot watch the firewall") : 0;
}

static int open_socket(struct owner *o, int socket, struct err *err)
{
	int r;

	if (socket >= 0)
		return netlink_use(&o->nl, socket, err);
	r = netlink_open(&o->nl, NETLINK_NETFILTER, err);
	o->nl.shared = true;
	return r;
}

int owner_open(const struct rules_base *base, int listener, int socket, enum owner_how how,
	struct owner **ret, struct err *err)
{
	struct owner *o = xcalloc(1, sizeof(*o));
	int r;

	*o = (struct owner){ .base = *base, .listener = listener, .turn = -1, .how = how };
	r = open_socket(o, socket, err);
	if (r == 0) {
		o->port = mnl_socket_get_portid(o->nl.sock);
		r = open_watch(o, err);
	}
	if (r != 0) {
		owner_close(o);
		return r;
	}
	*ret = o;
	return 0;
}

struct owner *owner_close(struct owner *o)
{
	if (!o)
		return NULL;
	fd_close(o->turn);
	netlink_close(&o->nl);
	if (o->watch)
		mnl_socket_close(o->watch);
	free(o);
	return NULL;
}

bool owner_owns(const struct owner *o)
{
	return o->nl.own;
}

/* --- what others do --- */

/* nlmsg type without its subsystem; the words follow "nft (pid 7) ". */
static const char *const words[] = {
	[NFT_MSG_NEWTABLE] = "changed the table",
	[NFT_MSG_DELTABLE] = "deleted the table",
	[NFT_MSG_NEWCHAIN] = "added or changed a chain",
	[NFT_MSG_DELCHAIN] = "deleted a chain",
	[NFT_MSG_NEWRULE] = "added a rule",
	[NFT_MSG_DELRULE] = "deleted a rule",
	[NFT_MSG_NEWSET] = "added a set",
	[NFT_MSG_DELSET] = "deleted a set",
	[NFT_MSG_NEWSETELEM] = "added an element",
	[NFT_MSG_DELSETELEM] = "deleted an element",
	[NFT_MSG_NEWOBJ] = "added an object",
	[NFT_MSG_DELOBJ] = "deleted an object",
};

struct notice {
	const char *table, *program;
	uint32_t pid;
	bool generation;
};

/* mnl_attr_cb_t */
static int take_attribute(const struct nlattr *attr, void *data)
{
	uint16_t type = mnl_attr_get_type(attr);
	struct notice *n = data;

	if (n->generation) {
		if (type == NFTA_GEN_PROC_NAME && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0)
			n->program = mnl_attr_get_str(attr);
		if (type == NFTA_GEN_PROC_PID && mnl_attr_validate(attr, MNL_TYPE_U32) >= 0)
			n->pid = ntohl(mnl_attr_get_u32(attr));
	} else if (type == TABLE_ATTRIBUTE && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) >= 0) {
		n->table = mnl_attr_get_str(attr);
	}
	return MNL_CB_OK;
}

/* The end of a transaction names the process that made it. */
static void take_generation(struct owner *o, const struct notice *n)
{
	if (!o->touched || o->told)
		return;
	o->told = true;
	if (n->program && n->pid)
		snprintf(o->change.who, sizeof(o->change.who), "%.20s (pid %u)", n->program, n->pid);
}

static void touch(struct owner *o, const char *what)
{
	if (o->touched)
		return;
	o->touched = true;
	o->told = false;
	o->change = (struct owner_change){ 0 };
	snprintf(o->change.what, sizeof(o->change.what), "%s", what);
}

static void take_notice(struct owner *o, const struct nlmsghdr *msg)
{
	uint16_t type = msg->nlmsg_type & 0xff;
	struct notice n = { .generation = type == NFT_MSG_NEWGEN };

	if (msg->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || msg->nlmsg_pid == o->port ||
		mnl_attr_parse(msg, sizeof(struct nfgenmsg), take_attribute, &n) < 0)
		return;
	if (n.generation)
		take_generation(o, &n);
	else if (n.table && !strcmp(n.table, o->base.instance))
		touch(o, type < ARRAY_LEN(words) && words[type] ? words[type] : "changed it");
}

static void read_notices(struct owner *o)
{
	_Alignas(struct nlmsghdr) char buf[NOTICE_MAX];
	ssize_t len;

	for (;;) {
		const struct nlmsghdr *msg = (const struct nlmsghdr *)buf;
		int left;

		len = recv(mnl_socket_get_fd(o->watch), buf, sizeof(buf), MSG_DONTWAIT);
		if (len < 0 && errno == ENOBUFS) {
			touch(o, "did more than could be followed");
			continue;
		}
		if (len <= 0)
			return;
		left = (int)len;
		for (; mnl_nlmsg_ok(msg, left); msg = mnl_nlmsg_next(msg, &left))
			take_notice(o, msg);
	}
}

/* --- the table --- */

/* -EOPNOTSUPP: the kernel does not know it, or the table is still an earlier owner's. */
static int restore_as_can_be(struct owner *o, const struct rules_state *state, struct err *err)
{
	static const uint8_t ways[] = { POLICY_TABLE_OWNER | POLICY_TABLE_PERSIST, POLICY_TABLE_OWNER, 0 };
	int r = -EOPNOTSUPP;

	for (size_t i = 0; r == -EOPNOTSUPP && i < ARRAY_LEN(ways); i++) {
		if ((ways[i] && o->how == OWNER_WATCHES) ||
			(ways[i] == POLICY_TABLE_OWNER && o->how != OWNER_IS_HELD))
			continue;
		o->nl.own = ways[i];
		r = rules_restore_on(&o->nl, &o->base, state, err);
	}
	return r;
}

int owner_restore(struct owner *o, const struct rules_state *state, struct err *err)
{
	int r;

	/* What was done before is replaced; what is done from here on is read later. */
	read_notices(o);
	r = restore_as_can_be(o, state, err);
	if (r == 0)
		o->touched = false;
	return r;
}

/* --- turns --- */

static void lend(struct owner *o)
{
	union {
		struct cmsghdr head;
		char data[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	bool hold = o->how != OWNER_WATCHES && !(o->nl.own & POLICY_TABLE_PERSIST);
	uint8_t own = (uint8_t)(o->nl.own | (hold ? NETLINK_HOLD : 0));
	struct iovec iov = { &own, 1 };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fd = mnl_socket_get_fd(o->nl.sock);
	struct ucred peer;
	socklen_t len = sizeof(peer);

	o->turn = accept4(o->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (o->turn < 0)
		return;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	/* Safe: only root can connect (mode 0600 in root's folder), and it is looked at once more. */
	if (getsockopt(o->turn, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.uid != 0 ||
		sendmsg(o->turn, &msg, MSG_NOSIGNAL) < 0)
		o->turn = fd_close(o->turn);
}

int owner_serve(struct owner *o, int timeout_ms, struct owner_change *ret, struct err *err)
{
	int64_t deadline = clock_ms() + timeout_ms;

	for (;;) {
		struct pollfd p[2] = { { mnl_socket_get_fd(o->watch), POLLIN, 0 },
			{ o->turn >= 0 ? o->turn : o->listener, POLLIN, 0 } };
		int64_t left = deadline - clock_ms();

		read_notices(o);
		if (o->touched && o->turn < 0) {
			*ret = o->change;
			return 1;
		}
		if (timeout_ms >= 0 && left <= 0)
			return 0;
		if (poll(p, 2, timeout_ms < 0 ? -1 : (int)left) < 0 && errno != EINTR)
			return err_sys(err, errno, "cannot wait for changes of the firewall");
		/* What was done before somebody asked is looked at before the socket is lent. */
		read_notices(o);
		if (p[1].revents && o->turn >= 0)
			o->turn = fd_close(o->turn);
		else if (p[1].revents && !o->touched)
			lend(o);
	}
}
