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

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/daemon/recover.h"

#define LISTEN_FDS_START 3 /* sd_listen_fds(3) */
#define BACKLOG		 1024
#define PENDING_MAX	 512  /* connections that have not asked yet */
#define PENDING_USER	 32   /* of one uid that is neither root nor the gateway */
#define PENDING_MS	 5000 /* how long one may say nothing */

/* A connection waiting for its request, or a running worker: then fd is the read end of its pipe. */
struct client {
	int fd;
	uid_t uid;
	int64_t deadline;
};

struct server {
	struct host *host;
	int listener, signals;
	struct client *pending, *workers;
	size_t n_pending, n_workers;
	struct pollfd *polls;
	pid_t keeper;
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
	if (getsockopt(LISTEN_FDS_START, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_SEQPACKET)
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
	request_refuse(fd, ERR_BUSY, "vm2d serves as many requests as daemon.workers allows; try again");
	fd_close(fd);
}

/* Move both to 3 and 4, close-on-exec, and close all above. */
static int gather(int *fd, int *pipe_end)
{
	int a = fcntl(*fd, F_DUPFD_CLOEXEC, 5), b = fcntl(*pipe_end, F_DUPFD_CLOEXEC, 5);

	if (a < 0 || b < 0 || dup3(a, 3, O_CLOEXEC) < 0 || dup3(b, 4, O_CLOEXEC) < 0)
		return -errno;
	*fd = 3;
	*pipe_end = 4;
	return fd_close_from(5);
}

/*
 * The worker: a new session, so that a terminal's ^C at vm2d ends no customer's; the signals as they
 * were; no descriptor but 0-2, the connection and the pipe that tells the listener of its end (it
 * closes by itself at exit, and when the worker becomes a vm2-session).
 */
static void __attribute__((noreturn)) work(struct server *s, int fd, int pipe_end)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL); /* what is ignored stays so over execve, up to a customer's shell */
	setsid();
	if (gather(&fd, &pipe_end) < 0)
		_exit(1);
	request_serve(s->host, fd);
	_exit(0);
}

static void start_worker(struct server *s, struct client *c)
{
	CLEANUP_CLOSE int pipe_end = -1;
	int pipes[2];
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC) < 0) {
		refuse_busy(c->fd);
		return;
	}
	pipe_end = pipes[1];
	s->host->workers = (unsigned int)s->n_workers + 1;
	pid = fork();
	if (pid == 0)
		work(s, c->fd, pipe_end);
	if (pid < 0) {
		log_err("cannot fork a worker: %s", strerror(errno));
		refuse_busy(c->fd);
		fd_close(pipes[0]);
		return;
	}
	fd_close(c->fd);
	s->workers[s->n_workers++] = (struct client){ .fd = pipes[0], .uid = c->uid };
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
	if (s->n_pending == PENDING_MAX ||
	    (!privileged(s, uid) && count_uid(s->pending, s->n_pending, uid) >= PENDING_USER)) {
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

static void end_workers(struct server *s, const struct pollfd *polls, size_t n)
{
	for (size_t i = n; i-- > 0;) {
		if (!polls[i].revents)
			continue;
		fd_close(s->workers[i].fd);
		drop(s->workers, &s->n_workers, i);
	}
}

static void start_keeper(struct server *s)
{
	sigset_t none;
	pid_t pid = fork();

	if (pid < 0)
		log_err("cannot fork the keeper: %s", strerror(errno));
	if (pid != 0) {
		s->keeper = pid;
		return;
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* It ends with the listener, even with one that is killed: all that it does may be cut off. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid();
	fd_close_from(3);
	_exit(recover_keep(s->host->config));
}

static void reap(struct server *s)
{
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
		if (pid == s->keeper) {
			log_err("the keeper died; workers go on without it");
			s->keeper = -1;
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
		s->polls[n++] = (struct pollfd){ .fd = s->workers[i].fd };
	return n;
}

static int next_timeout(const struct server *s)
{
	int64_t now = clock_ms(), least = PENDING_MS;

	if (s->n_pending == 0)
		return -1;
	for (size_t i = 0; i < s->n_pending; i++)
		if (s->pending[i].deadline - now < least)
			least = s->pending[i].deadline - now;
	return least > 0 ? (int)least : 0;
}

static void loop(struct server *s)
{
	for (;;) {
		size_t n_pending = s->n_pending, n_workers = s->n_workers, n = fill_polls(s);

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
	struct server s = { .host = host, .listener = listener, .signals = -1, .keeper = -1 };
	int r = block_signals(&s.signals);

	if (r < 0)
		return err_sys(err, -r, "cannot take signals");
	s.pending = xcalloc(PENDING_MAX, sizeof(*s.pending));
	s.workers = xcalloc(workers, sizeof(*s.workers));
	s.polls = xcalloc(2 + PENDING_MAX + workers, sizeof(*s.polls));
	start_keeper(&s);
	loop(&s);
	/* The keeper only: workers and sessions have their own lives. */
	if (s.keeper > 0)
		kill(s.keeper, SIGTERM);
	free(s.pending);
	free(s.workers);
	free(s.polls);
	return 0;
}
