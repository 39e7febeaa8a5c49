/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm2-gateway: accepts connections, counts them, and starts a monitor for each. It reads no byte
 * from the network, and connections outlive it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "build.h"
#include "gateway/farewell.h"
#include "gateway/launch.h"
#include "gateway/listen.h"
#include "gateway/nursery.h"
#include "gateway/penalty.h"
#include "gateway/sandbox.h"
#include "gateway/sources.h"
#include "gateway/starting.h"
#include "provision/api/msg.h"
#include "provision/base/cleanup.h"
#include "provision/base/config.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/base/prefix.h"
#include "provision/base/str.h"

#define PROGRAM VM2_SBINDIR "/vm2-gateway"

/* The variable that says how many monitors are children already, after SIGUSR2. */
#define MONITORS "VM2_GATEWAY_MONITORS"

/*
 * Monitors that were started in advance, each with its wire process: libraries loaded, host keys
 * read, sandbox closed. Each serves one connection like any other. New ones are started when the
 * connections that took the old ones have had time to log in, so as not to compete with them.
 */
#define SPARES 2
#define SPARE_DELAY_MS 250

/* What is waited for besides connections: signals, and the ends of the nurseries. */
#define FDS_OWN 3

struct listener {
	const struct config *config;
	const char *config_path;
	int fds[LISTEN_MAX];
	int n_fds;
	int signals;
	int room[SANDBOX_ROOM_FDS];
	bool has_room;
	struct nursery wires, nursery; /* where wire processes, and monitors, come from */
	struct spare {
		int control; /* takes the connection */
		int pipe;    /* as in `starting` */
		pid_t pid;
	} spares[SPARES];
	uint64_t n_spares;
	int64_t spares_due; /* when to start new ones */
	uint64_t monitors;  /* processes: connections and spares */
	struct sources sources;	  /* of all connections */
	struct starting starting; /* connections that are not yet authenticated */
	struct penalties *penalties;
	int64_t penalty_told;	  /* when it was last logged that a source is not served */
	int64_t evicted_told;	  /* when it was last logged that some were sent away */
	struct farewells farewells;
	struct pollfd *polled;
};

/*
 * Bytes that the kernel takes before it has sent those it has: a keystroke's echo waits behind them,
 * whatever its channel. More would be no faster: what is on its way is not counted.
 */
#define UNSENT_MAX (128 * 1024)

static void set_options(int fd)
{
	int yes = 1, unsent = UNSENT_MAX;

	/* Packets are whole when libssh writes them; waiting for more would cost 40 ms each. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof(yes));
}

/* wire: its end of the socket to its wire process, and the leash of that. */
static int launch_monitor(struct listener *l, const int *wire, struct spare *ret, struct err *err)
{
	CLEANUP_CLOSE int pipe = -1, control = -1;
	int pipes[2], controls[2], r;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot make a pipe");
	pipe = pipes[0];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, controls) < 0) {
		fd_close(pipes[1]);
		return err_sys(err, errno, "cannot make a socket pair");
	}
	control = controls[0];
	r = nursery_monitor(&l->nursery, (const int[]){ controls[1], pipes[1], wire[0], wire[1] }, 4, &pid, err);
	fd_close(pipes[1]);
	fd_close(controls[1]);
	if (r == 0)
		*ret = (struct spare){ .control = steal_fd(&control), .pipe = steal_fd(&pipe), .pid = pid };
	return r;
}

static int start_monitor(struct listener *l, struct spare *ret, struct err *err)
{
	int wire[2], r = nursery_take(&l->wires, wire, err);

	if (r != 0)
		return r;
	r = launch_monitor(l, wire, ret, err);
	fd_close(wire[0]);
	fd_close(wire[1]);
	if (r == 0)
		l->monitors++;
	return r;
}

/* Give the connection to a monitor: one that waits, or a new one. */
static int hand_over(struct listener *l, int connection, uint64_t source, bool exempt,
		     struct err *err)
{
	int r = -EPIPE;

	while (r == -EPIPE) {
		CLEANUP_MSG struct msg message = { 0 };
		bool waited = l->n_spares > 0;
		struct spare monitor;

		r = 0;
		if (waited)
			monitor = l->spares[--l->n_spares];
		else
			r = start_monitor(l, &monitor, err);
		if (r != 0)
			return r;
		msg_add(&message, "op", "connection");
		r = msg_add_fd(&message, connection);
		if (r == 0)
			r = msg_send(monitor.control, &message, err);
		fd_close(monitor.control);
		if (r == 0)
			sources_add(&l->sources, monitor.pid, source);
		if (r == 0)
			starting_add(&l->starting, &(struct starting_one){ monitor.pipe, monitor.pid,
									    source, clock_ms(), exempt });
		else
			fd_close(monitor.pipe);
		if (!waited)
			break;
	}
	l->spares_due = clock_ms() + SPARE_DELAY_MS;
	return r;
}

/* Fill up when it is time. A failure is told when a connection meets it. */
static void fill_spares(struct listener *l)
{
	if (clock_ms() < l->spares_due)
		return;
	while (l->n_spares < SPARES && start_monitor(l, &l->spares[l->n_spares], NULL) == 0)
		l->n_spares++;
	l->spares_due = INT64_MAX;
}

static uint64_t connections(const struct listener *l)
{
	return l->monitors > l->n_spares ? l->monitors - l->n_spares : 0;
}

/* Whether one more may start to log in, if need be in place of another, or by lot. */
static bool make_room(struct listener *l, uint64_t source)
{
	const struct config *config = l->config;
	int64_t now = clock_ms();
	pid_t pid;

	if (starting_drops(&l->starting, config->early_drop, config->early_drop_rate, arc4random_uniform(100)))
		return false;
	if (l->starting.n < l->starting.max)
		return true;
	pid = starting_evict(&l->starting, source, now);
	if (pid > 0)
		kill(pid, SIGTERM);
	if (pid && now - l->evicted_told > STARTING_PATIENCE_MS) {
		log_notice("too many connections are logging in: some that wait make room for others");
		l->evicted_told = now;
	}
	return pid != 0;
}

/* Whether a source has to wait for its penalties to pass. */
static bool penalised(struct listener *l, uint64_t source)
{
	int64_t now = clock_ms();

	if (!penalty_closed(l->penalties, source, now))
		return false;
	if (now - l->penalty_told > STARTING_PATIENCE_MS) {
		log_notice("a source with too many failed logins is turned away for a while");
		l->penalty_told = now;
	}
	return true;
}

/* Whether a source has as many connections as one may have. */
static bool crowds(const struct listener *l, uint64_t source)
{
	uint64_t most = l->config->max_per_source;

	return most && sources_count(&l->sources, source) >= most;
}

/* Whether failed logins from there are held against nobody. */
static bool is_exempt(const struct listener *l, const struct sockaddr_storage *from)
{
	char text[INET6_ADDRSTRLEN] = "";

	if (from->ss_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)from)->sin_addr, text, sizeof(text));
	else
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)from)->sin6_addr, text, sizeof(text));
	return prefix_listed(l->config->penalty_exempt, text);
}

static void take(struct listener *l, int fd)
{
	struct sockaddr_storage from = { 0 };
	socklen_t len = sizeof(from);
	CLEANUP_CLOSE int connection = accept4(fd, (struct sockaddr *)&from, &len, SOCK_CLOEXEC);
	uint64_t source = starting_source(&from);
	bool exempt = is_exempt(l, &from);
	struct err err = { 0 };

	if (connection < 0) {
		/* Out of descriptors, say: that passes; do not spin on it. */
		if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			poll(NULL, 0, 50);
		return;
	}
	set_options(connection);
	if (connections(l) >= l->config->max_connections) {
		farewell_say(&l->farewells, steal_fd(&connection), "too many connections");
	} else if (!exempt && crowds(l, source)) {
		farewell_say(&l->farewells, steal_fd(&connection), "too many connections from where you are");
	} else if (!exempt && penalised(l, source)) {
		farewell_say(&l->farewells, steal_fd(&connection), "too many failed logins from where you are");
	} else if (!make_room(l, source)) {
		farewell_say(&l->farewells, steal_fd(&connection), "too many connections are logging in");
	} else if (hand_over(l, connection, source, exempt, &err) != 0) {
		log_err("%s", err.text);
		farewell_say(&l->farewells, steal_fd(&connection), "the gateway cannot serve you now");
	}
}

/* Those that wait have read the old configuration and host keys: they go, and new ones come. */
static void replace_spares(struct listener *l)
{
	while (l->n_spares > 0) {
		l->n_spares--;
		fd_close(l->spares[l->n_spares].control);
		fd_close(l->spares[l->n_spares].pipe);
	}
	nursery_retire(&l->wires);
	nursery_retire(&l->nursery);
	l->spares_due = 0;
}

/* Whether a new program would start at all: it is asked, with the sockets left to this one. */
static bool would_start(const struct listener *l)
{
	char program[] = PROGRAM, check[] = "--check", config[] = "--config";
	CLEANUP_FREE char *path = xstrdup(l->config_path ? l->config_path : "");
	char *argv[] = { program, check, l->config_path ? config : NULL, path, NULL };
	int status = -1;
	pid_t pid;

	return launch_program(argv, NULL, 0, &pid, NULL) == 0 && waitpid(pid, &status, 0) == pid &&
	       status == 0;
}

/*
 * Make room for a new program of the same process: it takes over the listening sockets, as from a
 * service manager (sd_listen_fds(3)), so that no connection meets a closed door; monitors stay its
 * children. What is forgotten: penalties, and who is connected from where. Returns if it would not start.
 */
static void become_new(struct listener *l)
{
	char program[] = PROGRAM, config[] = "--config";
	CLEANUP_FREE char *path = xstrdup(l->config_path ? l->config_path : "");
	char *argv[] = { program, l->config_path ? config : NULL, path, NULL };
	char number[24];

	if (!would_start(l)) {
		log_err("a new %s would not start: this one goes on", PROGRAM);
		return;
	}
	replace_spares(l);
	listen_hand_over(l->fds, l->n_fds);
	/* Nurseries of old are among them: they end with their last connection. */
	snprintf(number, sizeof(number), "%lu", 
		 (unsigned long)(l->monitors + l->wires.n_pids + l->nursery.n_pids));
	setenv(MONITORS, number, 1);
	log_info("a new vm2-gateway takes over");
	execv(program, argv);
	/* It was run a moment ago. The descriptors have moved: whoever supervises us starts anew. */
	log_err("cannot run %s: %s", PROGRAM, strerror(errno));
	_exit(1);
}

static int check_hostkeys(const struct config *config, struct err *err)
{
	static const char *const types[] = { "ed25519", "ecdsa", "rsa" };
	int n = 0;

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		CLEANUP_FREE char *path = xasprintf("%s/ssh_host_%s_key", config->hostkeys, types[i]);

		if (access(path, R_OK) == 0)
			n++;
		else if (errno != ENOENT)
			return err_sys(err, errno, "cannot read the host key %s", path);
	}
	return n ? 0 : err_set(err, ERR_FAILED, "there is no host key in %s; make them: vm2 host setup",
			       config->hostkeys);
}

/*
 * New settings are for connections from now on; ours, which are for all of them, are the next program's. Those
 * that are not in order change nothing: a monitor that read them would end.
 */
static void take_settings(struct listener *l)
{
	const struct config *config = NULL;
	struct err err = { 0 };

	if (config_load(l->config_path, &config, &err) != 0 || check_hostkeys(config, &err) != 0) {
		log_err("the settings stay as they were: %s", err.text);
		config_free(config);
		return;
	}
	if (l->wires.config != l->config)
		config_free(l->wires.config);
	l->wires.config = config;
	replace_spares(l);
}

/* A monitor that ended so has met a bug, or somebody who tries addresses: the next find them elsewhere. */
static bool crashed(int status)
{
	return WIFSIGNALED(status) && WTERMSIG(status) != SIGTERM && WTERMSIG(status) != SIGKILL;
}

/* Monitors that have ended, and the signals that end this process. False: stop. */
static bool on_signal(struct listener *l)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(l->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			take_settings(l);
		else if (info.ssi_signo == SIGUSR2)
			become_new(l);
		else if (info.ssi_signo != SIGCHLD)
			return false;
	}
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (nursery_reaped(&l->wires, pid) || nursery_reaped(&l->nursery, pid))
			continue;
		if (crashed(status))
			replace_spares(l);
		starting_reaped(&l->starting, pid);
		sources_drop(&l->sources, pid);
		if (l->monitors > 0)
			l->monitors--;
	}
	return true;
}

/* How it ended, for those that did not log in. One that was sent away or killed says nothing. */
static void read_reason(struct listener *l, const struct starting_one *one)
{
	char reason;

	if (!one->exempt && read(one->pipe, &reason, 1) == 1)
		penalty_add(l->penalties, one->source, reason, clock_ms());
}

/* Whoever has logged in, or given up, closed the pipe. */
static void count_starting(struct listener *l, const struct pollfd *fds)
{
	uint64_t kept = 0;

	for (uint64_t i = 0; i < l->starting.n; i++) {
		if (fds[i].revents) {
			read_reason(l, &l->starting.of[i]);
			fd_close(l->starting.of[i].pipe);
		} else {
			l->starting.of[kept++] = l->starting.of[i];
		}
	}
	l->starting.n = kept;
}

/* How long to wait, in ms: until there is something to do without being asked. */
static int patience(const struct listener *l)
{
	int64_t left = l->spares_due - clock_ms();

	if (l->farewells.n)
		return FAREWELL_MS / 4;
	if (l->spares_due == INT64_MAX)
		return -1;
	return left > 0 ? (int)left : 0;
}

static void serve(struct listener *l)
{
	struct pollfd *fds = l->polled;

	for (;;) {
		nfds_t n = 0;

		fds[n++] = (struct pollfd){ .fd = l->signals, .events = POLLIN };
		fds[n++] = (struct pollfd){ .fd = l->wires.link, .events = 0 };
		fds[n++] = (struct pollfd){ .fd = l->nursery.link, .events = 0 };
		for (int i = 0; i < l->n_fds; i++)
			fds[n++] = (struct pollfd){ .fd = l->fds[i], .events = POLLIN };
		for (uint64_t i = 0; i < l->starting.n; i++)
			fds[n++] = (struct pollfd){ .fd = l->starting.of[i].pipe, .events = 0 };
		if (poll(fds, n, patience(l)) < 0 && errno != EINTR)
			return;
		if (fds[0].revents && !on_signal(l))
			return;
		count_starting(l, fds + FDS_OWN + l->n_fds);
		/* One makes no more: what waits has the same layout. */
		if (fds[1].revents || fds[2].revents)
			replace_spares(l);
		for (int i = 0; i < l->n_fds; i++) {
			if (fds[FDS_OWN + i].revents)
				take(l, l->fds[i]);
		}
		farewell_part(&l->farewells);
		fill_spares(l);
	}
}

/*
 * Be the gateway's user for good: no supplementary group, both ids at once and irrevocably.
 * Sockets for ports below 1024 are open by then.
 */
static int become_user(const char *name, struct err *err)
{
	struct passwd *pw = getpwnam(name);

	if (!pw)
		return err_set(err, ERR_NOT_FOUND, "there is no user %s; make it: vm2 host setup", name);
	if (geteuid() == pw->pw_uid && pw->pw_uid != 0)
		return 0;
	if (geteuid() != 0 || pw->pw_uid == 0)
		return err_set(err, ERR_DENIED, "the gateway must run as user %s, never as root", name);
	if (setgroups(0, NULL) < 0 || setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 ||
	    setresuid(pw->pw_uid, pw->pw_uid, pw->pw_uid) < 0)
		return err_sys(err, errno, "cannot become user %s", name);
	return 0;
}

/* The monitors of the program whose place this one has taken. */
static uint64_t monitors_before(void)
{
	const char *text = getenv(MONITORS);
	uint64_t n = 0;

	if (text && parse_u64(text, INT32_MAX, &n) < 0)
		n = 0;
	unsetenv(MONITORS);
	return n;
}

static int prepare(struct listener *l, struct err *err)
{
	struct err why = { 0 };
	sigset_t set;
	int r = listen_open(l->config->listen, l->fds, &l->n_fds, err);

	if (r == 0)
		r = become_user(l->config->gateway_user, err);
	if (r == 0)
		r = check_hostkeys(l->config, err);
	if (r != 0)
		return r;
	if (sandbox_room(l->room, &why) == 0)
		l->has_room = true;
	else
		log_warn("%s; connections are handled without it", why.text);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	l->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (l->signals < 0)
		return err_sys(err, errno, "cannot receive signals");
	l->wires = (struct nursery){ .config = l->config, .room = l->has_room ? l->room : NULL, .link = -1 };
	l->nursery = (struct nursery){ .config = l->config, .monitors = l->config_path ?: "-", .link = -1 };
	l->monitors = monitors_before();
	sources_init(&l->sources, l->config->max_connections);
	starting_init(&l->starting, l->config->max_starting);
	l->penalties = xcalloc(1, sizeof(*l->penalties));
	l->polled = xcalloc(FDS_OWN + LISTEN_MAX + l->config->max_starting, sizeof(*l->polled));
	return 0;
}

static int run(struct listener *l, bool check, struct err *err)
{
	int r;

	if (check) {
		r = become_user(l->config->gateway_user, err);
		return r == 0 ? check_hostkeys(l->config, err) : r;
	}
	r = prepare(l, err);
	if (r != 0)
		return r;
	log_info("vm2-gateway %s listens on %s", VM2_VERSION, l->config->listen);
	serve(l);
	return 0;
}

static void usage(FILE *out)
{
	fputs("Usage: vm2-gateway [--config FILE] [--check]\n"
	      "The SSH front door of VM2: accepts connections on the addresses of the configuration.\n"
	      "  --config FILE  read FILE instead of " CONFIG_DEFAULT_PATH "\n"
	      "  --check        only check configuration, user and host keys\n"
	      "SIGTERM ends it; connections that are open go on. SIGHUP: connections from now on see new\n"
	      "settings and host keys; addresses need a restart. SIGUSR2: a new vm2-gateway takes over the\n"
	      "sockets, with new limits in all, and no connection is refused meanwhile.\n",
	      out);
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "config", required_argument, NULL, 'c' },
						 { "check", no_argument, NULL, 'k' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	CLEANUP_CONFIG const struct config *config = NULL;
	struct listener l = { 0 };
	struct err err = { 0 };
	bool check = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			usage(stdout);
			return 0;
		} else if (option == 'c') {
			l.config_path = optarg;
		} else if (option == 'k') {
			check = true;
		} else {
			usage(stderr);
			return ERR_USAGE;
		}
	}
	signal(SIGPIPE, SIG_IGN);
	if (config_load(l.config_path, &config, &err) == 0) {
		l.config = config;
		if (run(&l, check, &err) == 0)
			return 0;
	}
	log_err("%s", err.text);
	return err_exit_status(err.code);
}
