/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "firewall/owner.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/daemon/fence.h"
#include "provision/daemon/recover.h"
#include "provision/daemon/traffic.h"
#include "provision/guest/guest.h"

#define LISTEN_FDS_START 3 /* sd_listen_fds(3) */
#define BACKLOG		 1024
#define PENDING_MAX	 512  /* connections that have not asked yet */
#define PENDING_USER	 32   /* of one uid that is neither root nor the gateway */
#define PENDING_OTHERS	 384  /* of all such uids */
#define PENDING_MS	 5000 /* how long one may say nothing */

/* Workers that wait for a request: so many are forked, and so many are kept. */
#define SPARES 4
#define SPARES_MAX 12

/*
 * One that is missing is forked so long after it was taken: not while the request that took it wants all
 * of what may be few processors. So many there always are.
 */
#define REFILL_MS 25
#define SPARES_MIN 2

/* So many requests a worker serves, one after the other, of those that leave it as it was. */
#define SERVED_MAX 64

/* Where a worker has its link to the listener, and the queue of vm2-guests. */
#define LINK_FD	 3
#define QUEUE_FD 4

/* A vm2-guest that is missing is begun so long after a worker has ended, which may have taken it. */
#define QUEUE_MS 100

#define FENCE_PAUSE_MS 100

/* A connection waiting for its request; or a worker, then fd is the listener's end of its link. */
struct client {
	int fd;
	uid_t uid;
	int64_t deadline;
};

struct server {
	struct host *host;
	int listener, signals;
	struct client *pending, *workers;
	struct client spares[SPARES_MAX];
	size_t n_pending, n_workers, n_spares;
	int64_t refill_at; /* clock_ms() when spares that are missing are forked */
	struct pollfd *polls;
	int queue_put;	  /* the other end of host->queue */
	int64_t queue_at; /* clock_ms() when to look whether one is missing; 0: no need */
	int fence_listener;
	pid_t keeper, fence;
};

static int passed_socket(int *ret)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	uint64_t number = 0, count = 0;
	int type = 0;
	socklen_t len = sizeof(type);

	if (!pid || !fds || parse_u64(pid, INT32_MAX, &number) < 0 || (pid_t)number != getpid() ||
		parse_u64(fds, 1, &count) < 0 || count != 1)
		return -ENOENT;
	if (getsockopt(LISTEN_FDS_START, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
		type != SOCK_SEQPACKET)
		return -EINVAL;
	*ret = LISTEN_FDS_START;
	return fd_cloexec(LISTEN_FDS_START, 1);
}

/* The lock of the instance is held: what lies at the path is no living vm2d's. */
static int own_socket(const struct config *config, int *ret)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (strlen(config->socket) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, config->socket, strlen(config->socket) + 1);
	unlink(config->socket);
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
		chmod(config->socket, 0666) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*ret = steal_fd(&fd);
	return 0;
}

int server_listen(const struct config *config, int *ret, struct err *err)
{
	int r = passed_socket(ret);

	if (r == -ENOENT)
		r = own_socket(config, ret);
	if (r == 0)
		r = fd_nonblock(*ret, 1);
	return r < 0 ? err_sys(err, -r, "cannot listen at %s", config->socket) : 0;
}

static bool privileged(const struct server *s, uid_t uid)
{
	return uid == 0 || (s->host->access.has_gateway && uid == s->host->access.gateway);
}

static size_t count_uid(const struct client *of, size_t n, uid_t uid)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += of[i].uid == uid;
	return count;
}

/* Whether one more worker may run for a uid: root always finds some, a user never takes all. */
static bool may_work(const struct server *s, uid_t uid)
{
	size_t all = s->host->config->workers, reserve = (all + 7) / 8, share = (all + 3) / 4;

	if (s->n_workers >= all)
		return false;
	if (uid == 0 || all == 1)
		return true;
	if (s->n_workers + reserve >= all)
		return false;
	return privileged(s, uid) || count_uid(s->workers, s->n_workers, uid) < share;
}

static void refuse_busy(int fd)
{
	request_refuse(
		fd, ERR_BUSY, "vm2d serves as many requests as daemon.workers allows; try again");
	fd_close(fd);
}

/* The listener's word to a spare worker: the connection, and how many are busy. */
static int hand_over(const struct server *s, int spare, int fd)
{
	CLEANUP_MSG struct msg m = { 0 };
	int r;

	msg_add_u64(&m, "workers", s->n_workers + 1);
	r = msg_add_fd(&m, fd);
	return r == 0 ? msg_send(spare, &m, NULL) : r;
}

/* The spare worker's side: -1 when the listener has ended. */
static int take_over(struct host *host, int link)
{
	CLEANUP_MSG struct msg m = { 0 };
	uint64_t workers = 0;

	if (msg_recv(link, &m, 0, NULL) != 0 ||
		msg_get_u64(&m, "workers", 1, UINT32_MAX, &workers, NULL) != 0)
		return -1;
	host->workers = (unsigned int)workers;
	return msg_take_fd(&m, 0);
}

/*
 * Serve one request, and others like it while the listener sends some: each of them has said that it left
 * the process as it was (struct request, again), as those do of which every login makes several.
 */
static void serve_some(struct server *s, struct store *store)
{
	for (int n = 1;; n++) {
		int fd = take_over(s->host, LINK_FD);
		bool again;

		if (fd < 0)
			break;
		again = request_serve(s->host, fd, &store);
		fd_close(fd);
		/* Who ends does not say so before: it would be handed another, and take that along. */
		if (!again || n == SERVED_MAX || send(LINK_FD, "", 1, MSG_NOSIGNAL) != 1)
			break;
	}
	store_close(store);
}

/*
 * A worker: a session of its own, so that a terminal's ^C at vm2d ends no customer's; the signals
 * as they were; no descriptor but 0-2, the queue of vm2-guests, and the link, which tells the listener of
 * its end (it closes by itself at exit). It opens the database before there is a request, and asks it what most of them
 * do first, since that and the fork are most of what a request costs.
 */
static void __attribute__((noreturn)) work(struct server *s, int link)
{
	struct store *store = NULL;
	sigset_t none;
	int queue;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE,
		SIG_DFL); /* what is ignored stays so over execve, up to a customer's shell */
	setsid();
	/* First away from the numbers that are written next. */
	link = fcntl(link, F_DUPFD_CLOEXEC, QUEUE_FD + 1);
	queue = fcntl(s->host->queue, F_DUPFD_CLOEXEC, QUEUE_FD + 1);
	if (dup3(link, LINK_FD, O_CLOEXEC) < 0 || dup3(queue, QUEUE_FD, O_CLOEXEC) < 0)
		_exit(1);
	s->host->queue = QUEUE_FD;
	fd_close_from(QUEUE_FD + 1);
	/* Should that fail, the request tries again and says so. */
	if (store_open(s->host->config->database, &store, NULL) == 0)
		store_warm(store);
	serve_some(s, store);
	_exit(0);
}

static void start_spare(struct server *s)
{
	int links[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, links) < 0)
		return;
	pid = fork();
	if (pid == 0)
		work(s, links[1]);
	fd_close(links[1]);
	if (pid < 0) {
		log_err("cannot fork a worker: %s", strerror(errno));
		fd_close(links[0]);
		return;
	}
	s->spares[s->n_spares++] = (struct client){ .fd = links[0] };
}

/* A spare that died meanwhile (somebody killed it) is passed over; at most one is forked for it. */
static void start_worker(struct server *s, const struct client *c)
{
	for (int tries = 0; tries <= SPARES; tries++) {
		struct client spare;

		if (s->n_spares == 0)
			start_spare(s);
		if (s->n_spares == 0)
			break;
		/* The oldest: the others may not be ready yet. */
		if (s->n_spares == SPARES)
			s->refill_at = clock_ms() + REFILL_MS;
		spare = s->spares[0];
		memmove(s->spares, s->spares + 1, --s->n_spares * sizeof(*s->spares));
		if (hand_over(s, spare.fd, c->fd) == 0) {
			fd_close(c->fd);
			spare.uid = c->uid;
			s->workers[s->n_workers++] = spare;
			return;
		}
		fd_close(spare.fd);
	}
	refuse_busy(c->fd);
}

/* Whether users without a role, one or all together, have as many connections as they may. */
static bool crowded(const struct server *s, uid_t uid)
{
	return s->n_pending >= PENDING_OTHERS ||
		count_uid(s->pending, s->n_pending, uid) >= PENDING_USER;
}

static void accept_one(struct server *s)
{
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
	uid_t uid = 0;

	if (fd < 0) {
		/* Out of descriptors, say: that passes; do not spin on it. */
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			poll(NULL, 0, 50);
		return;
	}
	if (access_peer_uid(fd, &uid) < 0) {
		fd_close(fd);
		return;
	}
	if (s->n_pending == PENDING_MAX || (!privileged(s, uid) && crowded(s, uid))) {
		refuse_busy(fd);
		return;
	}
	s->pending[s->n_pending++] = (struct client){ fd, uid, clock_ms() + PENDING_MS };
}

static void drop(struct client *of, size_t *n, size_t i)
{
	of[i] = of[--*n];
}

/* From the end: what is dropped is replaced by one that has been looked at. */
static void serve_pending(struct server *s, const struct pollfd *polls)
{
	int64_t now = clock_ms();

	for (size_t i = s->n_pending; i-- > 0;) {
		struct client c = s->pending[i];

		if (!polls[i].revents && now < c.deadline)
			continue;
		drop(s->pending, &s->n_pending, i);
		if (!polls[i].revents) {
			request_refuse(c.fd, ERR_USAGE, "no request came");
			fd_close(c.fd);
		} else if (!(polls[i].revents & POLLIN)) {
			fd_close(c.fd);
		} else if (may_work(s, c.uid)) {
			start_worker(s, &c);
		} else {
			refuse_busy(c.fd);
		}
	}
}

/* One that has served its request waits for another, or ends: then its link is closed, or we close it. */
static void end_workers(struct server *s, const struct pollfd *polls, size_t n)
{
	for (size_t i = n; i-- > 0;) {
		struct client worker = s->workers[i];
		char again;

		if (!polls[i].revents)
			continue;
		drop(s->workers, &s->n_workers, i);
		s->queue_at = clock_ms() + QUEUE_MS;
		if (s->n_spares < SPARES_MAX && recv(worker.fd, &again, 1, MSG_DONTWAIT) == 1)
			s->spares[s->n_spares++] = worker;
		else
			fd_close(worker.fd);
	}
}

/*
 * A child that works beside the workers, with one descriptor of ours (-1: none) as LINK_FD. It ends
 * with the listener, even with one that is killed: all that it does may be cut off. Returns 0 in
 * the child.
 */
static pid_t fork_helper(const char *name, int fd)
{
	sigset_t none;
	pid_t pid = fork();

	if (pid < 0)
		log_err("cannot fork the %s: %s", name, strerror(errno));
	if (pid != 0)
		return pid;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid();
	if (fd >= 0 && fd != LINK_FD && dup3(fd, LINK_FD, O_CLOEXEC) < 0)
		_exit(1);
	fd_close_from(fd >= 0 ? LINK_FD + 1 : LINK_FD);
	return 0;
}

static void start_keeper(struct server *s)
{
	s->keeper = fork_helper("keeper", -1);
	if (s->keeper == 0)
		_exit(recover_keep(s->host->config));
}

/* One that died is followed by another, not too fast; who wants the socket waits meanwhile. */
static void start_fence(struct server *s, bool again)
{
	s->fence = fork_helper("fence", s->fence_listener);
	if (s->fence != 0)
		return;
	if (again)
		poll(NULL, 0, FENCE_PAUSE_MS);
	_exit(fence_keep(s->host->config, LINK_FD));
}

static void reap(struct server *s)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
		if (pid == s->keeper) {
			log_err("the keeper died; workers go on without it");
			s->keeper = -1;
		}
		if (pid == s->fence) {
			log_err("the fence died; another begins");
			start_fence(s, true);
		}
	}
}

/* Whether to go on. */
static bool take_signal(struct server *s)
{
	struct signalfd_siginfo info;

	if (read(s->signals, &info, sizeof(info)) != sizeof(info))
		return true;
	if (info.ssi_signo == SIGCHLD) {
		reap(s);
		return true;
	}
	log_info("ends; sessions, guests and requests under way go on");
	return false;
}

static size_t fill_polls(struct server *s)
{
	size_t n = 0;

	s->polls[n++] = (struct pollfd){ .fd = s->signals, .events = POLLIN };
	s->polls[n++] = (struct pollfd){ .fd = s->listener, .events = POLLIN };
	for (size_t i = 0; i < s->n_pending; i++)
		s->polls[n++] = (struct pollfd){ .fd = s->pending[i].fd, .events = POLLIN };
	for (size_t i = 0; i < s->n_workers; i++)
		s->polls[n++] = (struct pollfd){ .fd = s->workers[i].fd, .events = POLLIN };
	return n;
}

static int next_timeout(const struct server *s)
{
	int64_t now = clock_ms(), least = PENDING_MS;

	if (s->n_pending == 0 && s->n_spares >= SPARES && !s->queue_at)
		return -1;
	for (size_t i = 0; i < s->n_pending; i++)
		if (s->pending[i].deadline - now < least)
			least = s->pending[i].deadline - now;
	if (s->n_spares < SPARES && s->refill_at - now < least)
		least = s->refill_at - now;
	if (s->queue_at && s->queue_at - now < least)
		least = s->queue_at - now;
	return least > 0 ? (int)least : 0;
}

static void refill(struct server *s)
{
	size_t wanted = clock_ms() >= s->refill_at ? SPARES : SPARES_MIN;

	while (s->n_spares < wanted) {
		size_t before = s->n_spares;

		start_spare(s);
		if (s->n_spares == before) {
			/* Not at once again, and not never. */
			s->refill_at = clock_ms() + PENDING_MS;
			return;
		}
	}
}

/* What cannot be begun ahead, the next start begins itself, and says why it could not. */
static void refill_queue(struct server *s)
{
	if (!s->queue_at || clock_ms() < s->queue_at)
		return;
	s->queue_at = 0;
	if (guest_queue_empty(s->host->queue))
		guest_queue_fill(s->host->config, s->queue_put, NULL);
}

static void loop(struct server *s)
{
	for (;;) {
		size_t n_pending, n_workers, n;

		refill(s);
		refill_queue(s);
		n_pending = s->n_pending;
		n_workers = s->n_workers;
		n = fill_polls(s);
		if (poll(s->polls, n, next_timeout(s)) < 0)
			continue;
		if (s->polls[0].revents && !take_signal(s))
			return;
		end_workers(s, s->polls + 2 + n_pending, n_workers);
		serve_pending(s, s->polls + 2);
		if (s->polls[1].revents)
			accept_one(s);
	}
}

static int block_signals(int *ret)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	*ret = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return *ret < 0 ? -errno : 0;
}

int server_run(struct host *host, int listener, struct err *err)
{
	size_t workers = host->config->workers;
	struct server s = { .host = host,
			    .listener = listener,
			    .signals = -1,
			    .queue_put = -1,
			    .queue_at = 1,
			    .fence_listener = -1,
			    .keeper = -1,
			    .fence = -1 };
	const struct rules_base base = fence_base(host->config);
	int r = block_signals(&s.signals);

	if (r < 0)
		return err_sys(err, -r, "cannot take signals");
	r = rules_check(&base, err);
	if (r == 0 && strcmp(host->config->table, "owned") && strcmp(host->config->table, "watched"))
		r = err_set(err, ERR_USAGE, "network.table: '%s' is neither owned nor watched",
			host->config->table);
	if (r != 0) {
		err_wrap(err, "[network] of the configuration");
		return r;
	}
	r = guest_queue_make(&host->queue, &s.queue_put);
	if (r < 0)
		return err_sys(err, -r, "cannot make the queue of vm2-guests");
	r = owner_listen(host->config->run, &s.fence_listener, err);
	if (r != 0)
		return r;
	log_info("serves instance '%s' at %s", host->config->instance, host->config->socket);
	s.pending = xcalloc(PENDING_MAX, sizeof(*s.pending));
	s.workers = xcalloc(workers, sizeof(*s.workers));
	s.polls = xcalloc(2 + PENDING_MAX + workers, sizeof(*s.polls));
	start_fence(&s, false);
	start_keeper(&s);
	loop(&s);
	traffic_save(host->config);
	/* These only: workers and sessions have their own lives. */
	if (s.keeper > 0)
		kill(s.keeper, SIGTERM);
	if (s.fence > 0)
		kill(s.fence, SIGTERM);
	free(s.pending);
	free(s.workers);
	free(s.polls);
	return 0;
}
