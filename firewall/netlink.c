/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

/* One answer: with NETLINK_CAP_ACK it does not carry the request back. */
#define ANSWER_MAX 8192

/* The longest words of the kernel's that are passed on. */
#define KERNEL_TEXT_MAX 160

/* Each holds the socket for one exchange. */
#define BORROW_MS 60000

/* Of a batch, with a pause between that doubles: 30 ms in all. */
#define TRIES	 5
#define PAUSE_MS 1

/* What the answers said. */
struct answers {
	struct netlink *nl;
	const char *subject;
	struct err *err;
	mnl_cb_t reply;
	void *arg;
	int result; /* of the first request that failed */
	size_t ends; /* of answers */
};

int netlink_open(struct netlink *nl, int protocol, struct err *err)
{
	int one = 1;

	*nl = (struct netlink){ .sock = mnl_socket_open2(protocol, SOCK_CLOEXEC) };
	if (!nl->sock)
		return err_sys(err, errno, "cannot open a netlink socket");
	if (mnl_socket_bind(nl->sock, 0, MNL_SOCKET_AUTOPID) < 0) {
		int errnum = errno;

		netlink_close(nl);
		return err_sys(err, errnum, "cannot bind a netlink socket");
	}
	/* Both only improve errors; a kernel without them is served as well. */
	(void)mnl_socket_setsockopt(nl->sock, NETLINK_CAP_ACK, &one, sizeof(one));
	(void)mnl_socket_setsockopt(nl->sock, NETLINK_EXT_ACK, &one, sizeof(one));
	nl->first_seq = nl->next_seq = 1;
	return 0;
}

/* -ENOENT: nobody listens there, or who did has ended. */
static int connect_owner(const char *run)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	CLEANUP_CLOSE int fd = -1;
	int len = snprintf(address.sun_path, sizeof(address.sun_path), "%s/fence.sock", run);

	if (len < 0 || (size_t)len >= sizeof(address.sun_path))
		return -ENOENT;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == ECONNREFUSED ? -ENOENT : -errno;
	return steal_fd(&fd);
}

/* The socket, once it is our turn: 0, -ENOENT when who listens ended, -ETIMEDOUT, -errno. */
static int take_turn(int turn, int *ret, uint8_t *ret_own)
{
	union {
		struct cmsghdr head;
		char data[CMSG_SPACE(sizeof(int))];
	} control;
	uint8_t own = 0;
	struct iovec iov = { &own, 1 };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	struct pollfd p = { turn, POLLIN, 0 };
	struct cmsghdr *c;
	ssize_t n;

	if (poll(&p, 1, BORROW_MS) != 1)
		return -ETIMEDOUT;
	n = recvmsg(turn, &msg, MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return n < 0 && errno != ECONNRESET ? -errno : -ENOENT;
	c = CMSG_FIRSTHDR(&msg);
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EBADMSG;
	memcpy(ret, CMSG_DATA(c), sizeof(int));
	*ret_own = own;
	return 0;
}

int netlink_use(struct netlink *nl, int sock, struct err *err)
{
	*nl = (struct netlink){ .sock = sock < 0 ? NULL : mnl_socket_fdopen(sock) };
	if (!nl->sock) {
		err_sys(err, errno, "cannot use the firewall's socket");
		fd_close(sock);
		return -EBADF;
	}
	nl->shared = true;
	nl->first_seq = nl->next_seq = 1;
	return 0;
}

int netlink_borrow(struct netlink *nl, const char *run, int held, struct err *err)
{
	CLEANUP_CLOSE int turn = run ? connect_owner(run) : -ENOENT;
	CLEANUP_CLOSE int sock = -1;
	uint8_t own = 0;
	int r = turn < 0 ? turn : take_turn(turn, &sock, &own);

	if (r == -ENOENT)
		return held ? netlink_use(nl, fcntl(held, F_DUPFD_CLOEXEC, 0), err) :
			      netlink_open(nl, NETLINK_NETFILTER, err);
	if (r == -ETIMEDOUT)
		return err_set(err, ERR_BUSY,
			"vm2d does not lend the firewall's socket in time; try again");
	if (r < 0)
		return err_sys(err, -r, "cannot get the firewall's socket at %s/fence.sock", run);
	r = netlink_use(nl, steal_fd(&sock), err);
	if (r < 0)
		return r;
	nl->turn = steal_fd(&turn);
	nl->own = own & ~NETLINK_HOLD;
	nl->hold = own & NETLINK_HOLD;
	return 0;
}

/* The socket first: whoever has the next turn finds no other with it. */
void netlink_close(struct netlink *nl)
{
	if (nl->sock)
		mnl_socket_close(nl->sock);
	if (nl->turn > 0)
		close(nl->turn);
	free(nl->data);
	*nl = (struct netlink){ 0 };
}

void *netlink_room(struct netlink *nl, size_t room, const char *what)
{
	if (nl->cap - nl->len < room) {
		nl->cap = (nl->len + room) * 2;
		nl->data = realloc(nl->data, nl->cap);
		if (!nl->data)
			abort();
	}
	memset(nl->data + nl->len, 0, room);
	if (nl->next_seq - nl->first_seq < NETLINK_NAMED_MAX)
		nl->what[nl->next_seq - nl->first_seq] = what;
	return nl->data + nl->len;
}

void netlink_commit(struct netlink *nl, const struct nlmsghdr *msg)
{
	nl->last = nl->len;
	nl->len += MNL_ALIGN(msg->nlmsg_len);
	nl->next_seq++;
}

void netlink_want_ack(struct netlink *nl)
{
	if (nl->len)
		((struct nlmsghdr *)(void *)(nl->data + nl->last))->nlmsg_flags |= NLM_F_ACK;
}

/* mnl_attr_cb_t: keep the text among an answer's attributes. */
static int take_text(const struct nlattr *attr, void *ret)
{
	size_t len = mnl_attr_get_payload_len(attr);

	if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG && len < KERNEL_TEXT_MAX)
		memcpy(ret, mnl_attr_get_payload(attr), len);
	return MNL_CB_OK;
}

/* The kernel's own words for an error, "" when it has none. */
static void kernel_text(const struct nlmsghdr *msg, char ret[KERNEL_TEXT_MAX])
{
	memset(ret, 0, KERNEL_TEXT_MAX);
	if ((msg->nlmsg_flags & NLM_F_ACK_TLVS) && (msg->nlmsg_flags & NLM_F_CAPPED))
		mnl_attr_parse(msg, sizeof(struct nlmsgerr), take_text, ret);
}

/* The end of an answer: of a dump, or that a request was done. */
static bool is_end(const struct nlmsghdr *msg)
{
	return msg->nlmsg_type == NLMSG_ERROR || msg->nlmsg_type == NLMSG_DONE;
}

static void take_answer(struct answers *a, const struct nlmsghdr *msg)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(msg);
	uint32_t index = msg->nlmsg_seq - a->nl->first_seq;
	char text[KERNEL_TEXT_MAX];
	const char *what = NULL;

	/* Of an earlier exchange: nobody's. */
	if (index >= a->nl->next_seq - a->nl->first_seq)
		return;
	a->ends += is_end(msg);
	if (msg->nlmsg_type != NLMSG_ERROR) {
		if (a->reply && msg->nlmsg_type >= NLMSG_MIN_TYPE)
			a->reply(msg, a->arg);
		return;
	}
	if (mnl_nlmsg_get_payload_len(msg) < sizeof(*e) || e->error == 0 || a->result < 0)
		return;
	if (index < NETLINK_NAMED_MAX)
		what = a->nl->what[index];
	kernel_text(msg, text);
	a->result = err_sys(a->err, -e->error, "%s: cannot %s%s%s%s", a->subject,
		what ?: "change it", *text ? " (" : "", text, *text ? ")" : "");
}

/* The socket's queue must hold the whole batch: root may exceed the limit (SO_SNDBUFFORCE). */
static int send_all(struct netlink *nl)
{
	int fd = mnl_socket_get_fd(nl->sock), size = nl->len + 65536;

	if (nl->len > 65536 && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		return -errno;
	if (mnl_socket_sendto(nl->sock, nl->data, nl->len) < 0)
		return -errno;
	return 0;
}

/* How many answers have an end that was asked for. */
static size_t count_wanted(const struct netlink *nl)
{
	const struct nlmsghdr *msg = (const struct nlmsghdr *)(const void *)nl->data;
	int left = (int)nl->len;
	size_t n = 0;

	for (; mnl_nlmsg_ok(msg, left); msg = mnl_nlmsg_next(msg, &left))
		n += (msg->nlmsg_flags & NLM_F_ACK) != 0 ||
			(msg->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	return n;
}

/* A full queue (ENOBUFS) is told once, and what is in it stays there to be read. */
static void read_answers(struct answers *a)
{
	_Alignas(struct nlmsghdr) char buf[ANSWER_MAX];

	for (;;) {
		const struct nlmsghdr *msg = (const struct nlmsghdr *)buf;
		ssize_t len = recv(mnl_socket_get_fd(a->nl->sock), buf, sizeof(buf), MSG_DONTWAIT);
		int left = (int)len;

		if (len < 0 && (errno == ENOBUFS || errno == EINTR))
			continue;
		if (len <= 0)
			return;
		for (; mnl_nlmsg_ok(msg, left); msg = mnl_nlmsg_next(msg, &left))
			take_answer(a, msg);
	}
}

/* Answers to a borrower that did not live to read them are nobody's. */
static void drain(int fd)
{
	char buf[ANSWER_MAX];

	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0 || errno == ENOBUFS)
		continue;
}

/*
 * Who shares a socket would take the answers to the other: between sending and reading it is locked. A lock of
 * fcntl(2) is the process's, whichever descriptor it comes by, and goes with it. type: F_WRLCK or F_UNLCK.
 */
static int lock(const struct netlink *nl, short type)
{
	struct flock whole = { .l_type = type, .l_whence = SEEK_SET };
	int r;

	do
		r = nl->shared ? fcntl(mnl_socket_get_fd(nl->sock), F_SETLKW, &whole) : 0;
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static int ask(struct answers *a)
{
	int r = lock(a->nl, F_WRLCK);

	if (r < 0)
		return r;
	if (a->nl->shared)
		drain(mnl_socket_get_fd(a->nl->sock));
	r = send_all(a->nl);
	if (r == 0)
		read_answers(a);
	(void)lock(a->nl, F_UNLCK);
	return r;
}

static int exchange_once(struct answers *a)
{
	int r = ask(a);

	if (r < 0)
		return err_sys(a->err, -r, "%s: cannot send to the kernel", a->subject);
	if (a->result == 0 && a->ends < count_wanted(a->nl))
		return err_set(a->err, -ENOBUFS, "%s: the kernel's answer was lost", a->subject);
	return a->result;
}

static bool is_batch(const struct netlink *nl)
{
	const struct nlmsghdr *first = (const struct nlmsghdr *)(const void *)nl->data;

	return nl->len >= sizeof(*first) && first->nlmsg_type == NFNL_MSG_BATCH_BEGIN;
}

int netlink_exchange(
	struct netlink *nl, const char *subject, mnl_cb_t reply, void *arg, struct err *err)
{
	bool again = is_batch(nl);
	int r = 0;

	for (int i = 0; i < TRIES; i++) {
		struct answers a = { nl, subject, err, reply, arg, 0, 0 };

		if (i > 0)
			poll(NULL, 0, PAUSE_MS << i);
		r = exchange_once(&a);
		if (!again || (r != -ENOBUFS && r != -EBUSY && r != -EAGAIN))
			break;
	}
	nl->first_seq = nl->next_seq;
	nl->len = 0;
	return r;
}
