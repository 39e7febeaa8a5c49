/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The half of a forwarding session that stays outside. */
#include "provision/session/forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h> /* struct tcp_info with bytes_sent, which libc's lacks */
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "provision/api/msg.h"
#include "provision/audit/ledger.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/session/leaf.h"
#include "provision/session/slots.h"

/* Connections and listeners of one forwarding session, with those that are on their way. */
#define ENTRIES_MAX 1024
/* Ids of accepted connections are ours to give: those of the client are smaller. */
#define ACCEPTED_FIRST (1ULL << 62)
/* How long the agent, which the guest can stop, may take for what waits for nobody else, ms. */
#define ANSWER_LIMIT 8000
/* The rest of a connection: who is connected to may be slow. The agent has a limit of its own. */
#define CONNECT_LIMIT 57000
/* net/tcp_states.h of the kernel; libc names them in a header that cannot stand beside the other. */
enum { TCP_TIME_WAIT = 6, TCP_CLOSE = 7, TCP_CLOSE_WAIT = 8, TCP_LAST_ACK = 9, TCP_CLOSING = 11 };
/* Descriptors beside those of the entries. */
#define FDS_FIXED 32

enum state { FREE, ASKED, OPEN, LISTENING };

struct entry {
	enum state state;
	uint64_t id;
	int64_t deadline;  /* of ASKED, clock_ms() */
	bool connects;	   /* the agent has taken its order, and connects */
	bool inbound;	   /* accepted, or a listener */
	bool socket;	   /* a listener for the client's ssh-agent, or a socket of the file system */
	uint16_t port;	   /* of a listener: where it listens */
	char *target;	   /* for the ledger: HOST:PORT */
	int fds[2];	   /* OPEN: a second descriptor; LISTENING: one or two */
	int64_t slot;	   /* of those that the tenant may have */
};

struct desk {
	struct forwarding *f;
	struct entry entries[ENTRIES_MAX];
	size_t used; /* those from here on are FREE */
	uint64_t last_accepted;
	struct slots slots;
	bool full; /* and the gateway knows */
	struct pollfd polls[3 + 2 * ENTRIES_MAX];
	struct entry *owners[3 + 2 * ENTRIES_MAX];
};

static struct entry *find(struct desk *d, uint64_t id)
{
	for (size_t i = 0; i < d->used; i++)
		if (d->entries[i].state != FREE && d->entries[i].id == id)
			return &d->entries[i];
	return NULL;
}

static void tell(struct desk *d, struct msg *m, const char *event, uint64_t id, int fd)
{
	msg_add(m, "event", event);
	msg_add_u64(m, "id", id);
	if (fd >= 0)
		msg_add_fd(m, fd);
	msg_send(d->f->control, m, NULL);
}

static void refuse(struct desk *d, uint64_t id, const char *reason)
{
	CLEANUP_MSG struct msg m = { 0 };

	msg_add(&m, "reason", reason);
	tell(d, &m, "refused", id, -1);
}

/* Once until there is room again: who asks and asks is to fill no log. */
static void refuse_more(struct desk *d, uint64_t id, bool here)
{
	CLEANUP_FREE char *of_all = xasprintf("the plan allows no more than %llu forwarded connections and "
					      "listeners", (unsigned long long)d->slots.most);
	CLEANUP_MSG struct msg m = { 0 };

	msg_add(&m, "reason", here ? "too many forwarded connections" : of_all);
	if (!d->full)
		msg_add(&m, "limit", "1");
	d->full = true;
	tell(d, &m, "refused", id, -1);
}

/* NULL: there are too many, and the gateway is told. */
static struct entry *add(struct desk *d, uint64_t id, enum state state, char *target)
{
	int64_t slot = -EAGAIN;
	size_t i = 0;

	while (i < d->used && d->entries[i].state != FREE)
		i++;
	if (i < ENTRIES_MAX)
		slot = slots_take(&d->slots);
	if (slot < 0) {
		free(target);
		refuse_more(d, id, i == ENTRIES_MAX);
		return NULL;
	}
	if (i == d->used)
		d->used++;
	d->full = false;
	d->entries[i] = (struct entry){ .state = state, .id = id, .target = target, .fds = { -1, -1 },
					.slot = slot };
	return &d->entries[i];
}

/* The kernel's own count of what passed: nobody can say less. */
static void count(const struct entry *e, uint64_t *ret_in, uint64_t *ret_out)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	*ret_in = *ret_out = 0;
	if (getsockopt(e->fds[0], IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return;
	/*
	 * In: towards the guest. What was sent again counts once. The end of the stream, which the
	 * guest has sent in the states below, takes a number of its own, as if it were a byte.
	 */
	*ret_in = info.tcpi_bytes_sent - info.tcpi_bytes_retrans;
	*ret_out = info.tcpi_bytes_received;
	if (*ret_out && (info.tcpi_state == TCP_CLOSE || info.tcpi_state == TCP_CLOSE_WAIT ||
			 info.tcpi_state == TCP_LAST_ACK || info.tcpi_state == TCP_CLOSING ||
			 info.tcpi_state == TCP_TIME_WAIT))
		--*ret_out;
}

static int record(struct desk *d, const struct entry *e, bool end, struct err *err)
{
	struct leaf_forward leaf = { .target = e->target, .inbound = e->inbound, .end = end };
	CLEANUP_BUF struct buf text = { 0 };

	if (end) {
		count(e, &leaf.bytes_in, &leaf.bytes_out);
		d->f->bytes_in += leaf.bytes_in;
		d->f->bytes_out += leaf.bytes_out;
	}
	leaf_forward(&text, d->f->order, &leaf, time(NULL));
	return ledger_append(d->f->config->ledger, text.data, text.len, NULL, err);
}

static void release(struct desk *d, struct entry *e)
{
	if (e->state == OPEN)
		record(d, e, true, NULL);
	for (size_t i = 0; i < ARRAY_LEN(e->fds); i++)
		if (e->fds[i] >= 0)
			fd_close(e->fds[i]);
	free(e->target);
	slots_give(&d->slots, e->slot);
	*e = (struct entry){ 0 };
	while (d->used && d->entries[d->used - 1].state == FREE)
		d->used--;
}

/* --- the client's orders --- */

static void order_agent(struct desk *d, struct entry *e, const struct forward_order *o)
{
	e->deadline = clock_ms() + ANSWER_LIMIT;
	/* An agent that is stopped takes no orders; it must not stop us, too. */
	if (send(d->f->agent, o, sizeof(*o), MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(*o)) {
		release(d, e);
		refuse(d, o->id, "the guest does not answer");
	}
}

/* The number that the client gave it, which must be new. */
static bool take_id(struct desk *d, const struct msg *m, uint64_t *ret)
{
	return msg_get_u64(m, "id", 0, ACCEPTED_FIRST - 1, ret, NULL) == 0 && *ret != 0 && !find(d, *ret);
}

static void ask_agent(struct desk *d, const struct msg *m, int kind)
{
	struct forward_order o = { .kind = kind };
	const char *host = msg_get(m, "host");
	struct entry *e;
	uint64_t port;

	if (!take_id(d, m, &o.id))
		return;
	if (msg_get_u64(m, "port", 0, UINT16_MAX, &port, NULL) != 0 || !host ||
	    strlen(host) > FORWARD_HOST_MAX || (kind == FORWARD_CONNECT && (port == 0 || !*host))) {
		refuse(d, o.id, "that is no host and port");
		return;
	}
	o.port = (uint16_t)port;
	snprintf(o.host, sizeof(o.host), "%s", host);
	e = add(d, o.id, ASKED, xasprintf("%s:%u", host, o.port));
	if (!e)
		return;
	e->inbound = kind == FORWARD_LISTEN;
	order_agent(d, e, &o);
}

/* To a socket of the guest's file system. */
static void ask_path(struct desk *d, const struct msg *m, const char *path)
{
	struct forward_order o = { .kind = FORWARD_PATH };
	struct entry *e;

	if (!take_id(d, m, &o.id))
		return;
	if (!*path || strlen(path) > FORWARD_PATH_MAX) {
		refuse(d, o.id, "that is no path of a socket");
		return;
	}
	snprintf(o.host, sizeof(o.host), "%s", path);
	e = add(d, o.id, ASKED, xstrdup(path));
	if (!e)
		return;
	e->socket = true;
	order_agent(d, e, &o);
}

static void on_connect(struct desk *d, const struct msg *m)
{
	const char *path = msg_get(m, "path");

	if (path)
		ask_path(d, m, path);
	else
		ask_agent(d, m, FORWARD_CONNECT);
}

static void on_listen(struct desk *d, const struct msg *m)
{
	ask_agent(d, m, FORWARD_LISTEN);
}

/* A socket in the guest, for the client's ssh-agent. */
static void on_agent(struct desk *d, const struct msg *m)
{
	struct forward_order o = { .kind = FORWARD_SOCKET };
	struct entry *e;

	if (!take_id(d, m, &o.id))
		return;
	e = add(d, o.id, ASKED, xstrdup("ssh-agent"));
	if (!e)
		return;
	e->inbound = e->socket = true;
	order_agent(d, e, &o);
}

/* Words of what an X server asks for, which xauth(1) takes for one each. MIT-MAGIC-COOKIE-1 has 16 bytes. */
#define PROTOCOL_MAX 64
#define COOKIE_MAX   128
static bool is_cookie(const char *protocol, const char *cookie)
{
	return protocol && cookie && *protocol && *cookie &&
	       strlen(protocol) <= PROTOCOL_MAX && strlen(cookie) <= COOKIE_MAX &&
	       !protocol[strspn(protocol, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					  "0123456789-_.")] &&
	       !cookie[strspn(cookie, "0123456789abcdefABCDEF")];
}

/* A display in the guest, for the client's X server. */
static void on_x11(struct desk *d, const struct msg *m)
{
	const char *protocol = msg_get(m, "protocol"), *cookie = msg_get(m, "cookie");
	struct forward_order o = { .kind = FORWARD_X11 };
	struct entry *e;

	if (!take_id(d, m, &o.id))
		return;
	if (!d->f->order->x11_allowed || !is_cookie(protocol, cookie)) {
		refuse(d, o.id, d->f->order->x11_allowed ? "that is no cookie of an X server's" :
							  "the plan does not allow X11");
		return;
	}
	snprintf(o.host, sizeof(o.host), "%.*s %.*s", PROTOCOL_MAX, protocol, COOKIE_MAX, cookie);
	e = add(d, o.id, ASKED, xstrdup("X11"));
	if (!e)
		return;
	e->inbound = true;
	order_agent(d, e, &o);
}

static void on_close(struct desk *d, const struct msg *m)
{
	struct entry *e;
	uint64_t id;

	if (msg_get_u64(m, "id", 0, UINT64_MAX, &id, NULL) == 0 && (e = find(d, id)))
		release(d, e);
}

static const struct {
	const char *op;
	void (*serve)(struct desk *d, const struct msg *m);
} orders[] = {
	{ "connect", on_connect },
	{ "listen", on_listen },
	{ "agent", on_agent },
	{ "x11", on_x11 },
	{ "close", on_close },
};

/* Whether the client is still there. */
static bool take_order(struct desk *d)
{
	CLEANUP_MSG struct msg m = { 0 };
	const char *op;

	if (msg_recv(d->f->control, &m, clock_ms() + 1000, NULL) != 0)
		return false;
	op = msg_get(&m, "op");
	for (size_t i = 0; op && i < ARRAY_LEN(orders); i++)
		if (!strcmp(orders[i].op, op))
			orders[i].serve(d, &m);
	return true;
}

/* --- the agent's answers --- */

/*
 * The agent is a process in the guest: its socket is taken for what it is only after a look. It
 * could be of no other network than the guest's, which is where the agent lives.
 */
static bool is_right(int fd, bool listens, bool local)
{
	int type = 0, domain = 0, protocol = 0, accepts = 0;
	socklen_t len = sizeof(int);

	return fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &len) == 0 && type == SOCK_STREAM &&
	       (local ? domain == AF_UNIX :
			(domain == AF_INET || domain == AF_INET6) && protocol == IPPROTO_TCP) &&
	       !accepts == !listens;
}

/* The agent is gone: false. Its sockets, -1 for none, are the caller's. */
static bool receive(int sock, struct forward_answer *a, int fds[2], bool *ret_whole)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = a, .iov_len = sizeof(*a) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof(control.space) };
	ssize_t n = recvmsg(sock, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&h) : NULL;

	fds[0] = fds[1] = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len >= CMSG_LEN(sizeof(int)))
		memcpy(fds, CMSG_DATA(c),
		       c->cmsg_len >= CMSG_LEN(2 * sizeof(int)) ? 2 * sizeof(int) : sizeof(int));
	a->text[sizeof(a->text) - 1] = '\0';
	*ret_whole = n == sizeof(*a);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void connected(struct desk *d, struct entry *e)
{
	CLEANUP_MSG struct msg m = { 0 };
	struct err err = { 0 };
	uint64_t id = e->id;

	/* Without its record there is no connection, where one is required. */
	if (record(d, e, false, &err) != 0 && d->f->order->required) {
		release(d, e);
		refuse(d, id, err.text);
		return;
	}
	e->state = OPEN;
	fd_nonblock(e->fds[0], 1);
	tell(d, &m, "connected", id, e->fds[0]);
}

static void listening(struct desk *d, struct entry *e, uint16_t port, const char *path)
{
	CLEANUP_MSG struct msg m = { 0 };

	e->state = LISTENING;
	e->port = port;
	msg_add_u64(&m, "port", port);
	if (e->socket)
		msg_add(&m, "path", path);
	tell(d, &m, "listening", e->id, -1);
}

static bool take_answer(struct desk *d)
{
	struct forward_answer a = { 0 };
	struct entry *e;
	bool whole;
	int fds[2];

	if (!receive(d->f->agent, &a, fds, &whole))
		return false;
	e = whole ? find(d, a.id) : NULL;
	if (e && e->state == ASKED && a.error == 0 && is_right(fds[0], e->inbound, e->socket) &&
	    (fds[1] < 0 || (e->inbound && is_right(fds[1], true, e->socket)))) {
		e->fds[0] = fds[0];
		e->fds[1] = fds[1];
		if (e->inbound)
			listening(d, e, a.port, a.text);
		else
			connected(d, e);
		return true;
	}
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			fd_close(fds[i]);
	if (e && e->state == ASKED) {
		release(d, e);
		refuse(d, a.id, a.error > 0 ? strerror(a.error) : a.error < 0 ? a.text : "no socket");
	}
	return true;
}

/* --- what arrives at listeners --- */

static void peer_of(int fd, char host[INET6_ADDRSTRLEN], uint16_t *ret_port)
{
	struct sockaddr_storage a = { 0 };
	socklen_t len = sizeof(a);
	const struct sockaddr_in *four = (const struct sockaddr_in *)&a;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&a;

	snprintf(host, INET6_ADDRSTRLEN, "unknown");
	*ret_port = 0;
	if (getpeername(fd, (struct sockaddr *)&a, &len) < 0)
		return;
	if (a.ss_family == AF_INET)
		inet_ntop(AF_INET, &four->sin_addr, host, INET6_ADDRSTRLEN);
	else if (a.ss_family == AF_INET6)
		inet_ntop(AF_INET6, &six->sin6_addr, host, INET6_ADDRSTRLEN);
	*ret_port = ntohs(a.ss_family == AF_INET ? four->sin_port : six->sin6_port);
}

static void accept_one(struct desk *d, const struct entry *listener, int at)
{
	CLEANUP_MSG struct msg m = { 0 };
	char host[INET6_ADDRSTRLEN];
	int fd = accept4(at, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), yes = 1;
	uint64_t of = listener->id;
	struct entry *e;
	uint16_t port;

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	peer_of(fd, host, &port);
	e = add(d, ACCEPTED_FIRST + ++d->last_accepted, OPEN,
		listener->socket ? xstrdup("ssh-agent") :
				   xasprintf("%s:%u at port %u", host, port, listener->port));
	if (!e) {
		fd_close(fd);
		return;
	}
	e->inbound = true;
	e->fds[0] = fd;
	if (record(d, e, false, NULL) != 0 && d->f->order->required) {
		release(d, e);
		return;
	}
	msg_add_u64(&m, "listener", of);
	msg_add(&m, "host", host);
	msg_add_u64(&m, "port", port);
	tell(d, &m, "accepted", e->id, fd);
}

/* --- the loop --- */

static nfds_t watch(struct desk *d, int *ret_timeout)
{
	int64_t now = clock_ms(), next = INT64_MAX;
	nfds_t n = 3;

	d->polls[0] = (struct pollfd){ .fd = d->f->control, .events = POLLIN };
	d->polls[1] = (struct pollfd){ .fd = d->f->signals, .events = POLLIN };
	d->polls[2] = (struct pollfd){ .fd = d->f->agent, .events = POLLIN };
	for (size_t i = 0; i < d->used; i++) {
		struct entry *e = &d->entries[i];

		if (e->state == ASKED && e->deadline < next)
			next = e->deadline;
		for (int k = 0; e->state == LISTENING && k < 2; k++) {
			if (e->fds[k] < 0)
				continue;
			d->owners[n] = e;
			d->polls[n++] = (struct pollfd){ .fd = e->fds[k], .events = POLLIN };
		}
	}
	*ret_timeout = next == INT64_MAX ? -1 : next <= now ? 0 : (int)(next - now);
	return n;
}

/* Orders that it has not taken: it is stopped. */
static bool agent_is_behind(const struct desk *d)
{
	int unread = 0;

	return ioctl(d->f->agent, SIOCOUTQ, &unread) == 0 && unread > 0;
}

static void expire(struct desk *d)
{
	int64_t now = clock_ms();

	for (size_t i = 0; i < d->used; i++) {
		struct entry *e = &d->entries[i];
		uint64_t id = e->id;

		if (e->state != ASKED || e->deadline > now)
			continue;
		if (!e->inbound && !e->connects && !agent_is_behind(d)) {
			e->connects = true;
			e->deadline = now + CONNECT_LIMIT;
			continue;
		}
		release(d, e);
		refuse(d, id, "the guest does not answer");
	}
}

/* 1 to go on, 0 at the end, or -errno. */
static int turn(struct desk *d, struct err *err)
{
	int timeout;
	nfds_t n = watch(d, &timeout);

	if (poll(d->polls, n, timeout) < 0)
		return errno == EINTR ? 1 : err_sys(err, errno, "cannot wait for the session");
	/* Listeners first: what follows may release them. */
	for (nfds_t i = 3; i < n; i++)
		if (d->polls[i].revents)
			accept_one(d, d->owners[i], d->polls[i].fd);
	if (d->polls[1].revents) {
		d->f->reason = "the session was ended by the host's staff or by its guest's stop";
		return 0;
	}
	if (d->polls[2].revents && !take_answer(d)) {
		d->f->reason = "the guest ended the process that forwards";
		return 0;
	}
	if (d->polls[0].revents && !take_order(d))
		return 0;
	expire(d);
	return 1;
}

/* Room for all that may be open. Less, where the limit is lower, ends in a refusal. */
static void raise_limit(void)
{
	struct rlimit most;

	if (getrlimit(RLIMIT_NOFILE, &most) < 0 || most.rlim_cur >= ENTRIES_MAX + FDS_FIXED)
		return;
	most.rlim_cur = most.rlim_max < ENTRIES_MAX + FDS_FIXED ? most.rlim_max :
								  ENTRIES_MAX + FDS_FIXED;
	setrlimit(RLIMIT_NOFILE, &most);
}

int forward_run(struct forwarding *f, struct err *err)
{
	CLEANUP_FREE struct desk *d = xcalloc(1, sizeof(*d));
	int r;

	d->f = f;
	slots_begin(&d->slots, ORDER_FD_SLOTS, f->order->forwards);
	raise_limit();
	do
		r = turn(d, err);
	while (r > 0);
	for (size_t i = d->used; i-- > 0;)
		if (d->entries[i].state != FREE)
			release(d, &d->entries[i]);
	slots_end(&d->slots);
	return r;
}
