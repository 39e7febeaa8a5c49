/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm2-gateway-monitor: started by the listener with a socket as descriptor 3, it loads all that a monitor
 * needs and has one forked for each connection (monitor_nursery.c). That gets the connection in a message
 * on descriptor 3; 4 is the pipe that says "not yet authenticated", 5 the socket of its wire process, 6 that
 * one's leash (gateway/nursery.h). Usage: vm2-gateway-monitor CONFIG|-
 */
#include "gateway/monitor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "gateway/launch.h"
#include "gateway/penalty.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"

#define FD_LISTENER LAUNCH_FD_FIRST
#define FD_STARTING (LAUNCH_FD_FIRST + 1)
#define FD_WIRE (LAUNCH_FD_FIRST + 2)
#define FD_LEASH (LAUNCH_FD_FIRST + 3)

/* So long a wire process may leave a message unread, in seconds: one that does is not ours. */
#define WIRE_PATIENCE_S 30

/* So long, in ms, it may take until a wire process is killed and it is told how it ended. */
#define LEASH_MS 2000

int monitor_send(struct monitor *m, const struct msg *message, struct err *err)
{
	return msg_send(m->wire, message, err);
}

/* "192.0.2.1:50000", "[2001:db8::1]:50000"; an IPv4 address in IPv6 clothes is shown as IPv4. */
static void address_text(const struct sockaddr_storage *a, char *host, size_t host_len, char *text,
			 size_t len)
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a;
	const struct sockaddr_in *four = (const struct sockaddr_in *)a;

	if (a->ss_family == AF_INET) {
		inet_ntop(AF_INET, &four->sin_addr, host, (socklen_t)host_len);
		snprintf(text, len, "%s:%u", host, ntohs(four->sin_port));
	} else if (a->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &six->sin6_addr, host, (socklen_t)host_len);
		snprintf(text, len, "[%s]:%u", host, ntohs(six->sin6_port));
	} else {
		snprintf(host, host_len, "unknown");
		snprintf(text, len, "unknown");
	}
}

static void know_addresses(struct monitor *m, int connection)
{
	struct sockaddr_storage address = { 0 };
	socklen_t len = sizeof(address);
	char host[sizeof(m->host)];

	if (getpeername(connection, (struct sockaddr *)&address, &len) < 0)
		address.ss_family = AF_UNSPEC;
	address_text(&address, m->host, sizeof(m->host), m->source, sizeof(m->source));
	len = sizeof(address);
	if (getsockname(connection, (struct sockaddr *)&address, &len) < 0)
		address.ss_family = AF_UNSPEC;
	address_text(&address, host, sizeof(host), m->local, sizeof(m->local));
}

/*
 * Wait for the connection and hand it to the wire, whose alone it is from then on. -EPIPE when the
 * listener ended and there will be none.
 */
static int take_connection(struct monitor *m, struct err *err)
{
	CLEANUP_MSG struct msg message = { 0 };
	int r = msg_recv(FD_LISTENER, &message, 0, err);

	fd_close(FD_LISTENER);
	if (r != 0)
		return r;
	if (message.n_fds != 1)
		return err_set(err, -EBADMSG, "the listener sent no connection");
	know_addresses(m, message.fds[0]);
	m->deadline = clock_ms() + (int64_t)m->config->login_grace * 1000;
	return monitor_send(m, &message, err);
}

/* Serve one request of the wire, and the one that came in the middle of it. */
static int serve_wire(struct monitor *m, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };
	int r = msg_recv(m->wire, &request, 0, err);

	if (r == 0)
		r = requests_serve(m, &request, err);
	if (request.data.data)
		explicit_bzero(request.data.data, request.data.len);
	while (r == 0 && m->interrupt.data.len) {
		CLEANUP_MSG struct msg next = m->interrupt;

		m->interrupt = (struct msg){ 0 };
		r = requests_serve(m, &next, err);
	}
	return r;
}

static int remaining(const struct monitor *m)
{
	int64_t left = m->deadline - clock_ms();

	if (m->state == STATE_AUTHENTICATED)
		return -1;
	return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

static int late(const struct monitor *m, struct err *err)
{
	return err_set(err, -ETIMEDOUT, "nobody logged in within %lu s",
		       (unsigned long)m->config->login_grace);
}

/* Wait for the wire, for vm2d, or for the time to log in to be over. */
static int serve_once(struct monitor *m, struct pollfd *fds, struct session **waiting, struct err *err)
{
	int r, left = remaining(m);
	nfds_t n = 1;

	/* Also when there is something to do: a wire process that asks and asks gains no time by it. */
	if (left == 0)
		return late(m, err);
	fds[0] = (struct pollfd){ .fd = m->wire, .events = POLLIN };
	for (struct session *s = m->sessions; s; s = s->next) {
		waiting[n] = s;
		fds[n++] = (struct pollfd){ .fd = s->control, .events = POLLIN };
	}
	if (m->forward >= 0) {
		waiting[n] = NULL;
		fds[n++] = (struct pollfd){ .fd = m->forward, .events = POLLIN };
	}
	r = poll(fds, n, left);
	if (r < 0)
		return errno == EINTR ? 0 : err_sys(err, errno, "cannot wait");
	if (r == 0)
		return late(m, err);
	for (nfds_t i = 1; i < n; i++) {
		if (fds[i].revents && waiting[i])
			session_event(m, waiting[i]);
		else if (fds[i].revents)
			forward_event(m);
	}
	return fds[0].revents ? serve_wire(m, err) : 0;
}

static int serve(struct monitor *m, struct err *err)
{
	size_t most = m->config->max_sessions + 2;
	CLEANUP_FREE struct pollfd *fds = xcalloc(most, sizeof(*fds));
	CLEANUP_FREE struct session **waiting = xcalloc(most, sizeof(struct session *));
	int r = 0;

	while (r == 0)
		r = serve_once(m, fds, waiting, err);
	return r;
}

/* A wire process that the sandbox killed has met a bug, or an attack. */
static bool end_wire(struct monitor *m)
{
	struct pollfd end = { .fd = m->leash, .events = POLLIN };
	int status = 0;

	m->wire = fd_close(m->wire);
	/* Its parent kills it if it has not ended, and says how it did. */
	shutdown(m->leash, SHUT_WR);
	if (poll(&end, 1, LEASH_MS) <= 0 ||
	    recv(m->leash, &status, sizeof(status), MSG_DONTWAIT) != (ssize_t)sizeof(status) ||
	    !WIFSIGNALED(status) || WTERMSIG(status) == SIGKILL)
		return false;
	log_err("%s: the wire process was ended by signal %d (%s)", m->source, WTERMSIG(status),
		strsignal(WTERMSIG(status)));
	return true;
}

/* Who did not log in leaves the listener a byte that says why; who did has closed the pipe. */
static void leave_reason(const struct monitor *m, bool broken, bool late)
{
	char reason = broken ? PENALTY_BROKEN : late ? PENALTY_LATE : m->tries ? PENALTY_FAILED :
		      PENALTY_NO_LOGIN;

	/* A listener that has made room for a new one does not count any more. */
	if (m->starting >= 0 && m->deadline && write(m->starting, &reason, 1) < 0 && errno != EPIPE)
		log_err("%s: cannot tell the listener how it ended", m->source);
}

static int run(struct monitor *m, struct err *err)
{
	struct timeval patience = { .tv_sec = WIRE_PATIENCE_S };
	int r;

	setsockopt(m->wire, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	r = take_connection(m, err);
	if (r == 0)
		r = serve(m, err);
	if (r == -EPIPE || r == -ECONNRESET)
		r = 0;
	if (r == -ETIMEDOUT || r == -EPROTO)
		log_notice("%s: %s", m->source, err->text);
	else if (r != 0)
		log_err("%s: %s", m->source, err->text);
	session_close_all(m);
	leave_reason(m, end_wire(m), r == -ETIMEDOUT);
	pam_finish(m);
	return r;
}

int main(int argc, char **argv)
{
	CLEANUP_CONFIG const struct config *config = NULL;
	struct monitor m = { .state = STATE_STARTING, .wire = FD_WIRE, .leash = FD_LEASH,
			     .forward = -1, .starting = FD_STARTING,
			     .source = "(no connection yet)" };
	struct err err = { 0 };

	if (argc < 2) {
		log_err("vm2-gateway-monitor is started by vm2-gateway for a connection");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	/* Nobody of the same user may look into its memory, where passwords pass. */
	prctl(PR_SET_DUMPABLE, 0);
	fd_cloexec(FD_LISTENER, 1);
	if (config_load(strcmp(argv[1], "-") ? argv[1] : NULL, &config, &err) != 0) {
		log_err("%s", err.text);
		return 1;
	}
	m.config = config;
	/* The modules are loaded once for all; none of them has been asked anything. */
	pam_prepare(&m);
	pam_keep();
	monitor_nursery(FD_LISTENER);
	return run(&m, &err) == 0 ? 0 : 1;
}
