/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm2-gateway-monitor: started by the listener for one connection, which it gets in a message on
 * descriptor 3; 4 is the pipe that says "not yet authenticated", and 5 and on the empty room, when
 * there is one. Usage: vm2-gateway-monitor CONFIG|- [room]
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

#include "build.h"
#include "gateway/sandbox.h"
#include "gateway/launch.h"
#include "gateway/penalty.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"

#define FD_LISTENER LAUNCH_FD_FIRST
#define FD_STARTING (LAUNCH_FD_FIRST + 1)
#define FD_ROOM (LAUNCH_FD_FIRST + 2)

#define WIRE VM2_LIBEXECDIR "/vm2-gateway-wire"

/* So long a wire process may leave a message unread, in seconds: one that does is not ours. */
#define WIRE_PATIENCE_S 30

/* A private key file; RSA with 16,384 bits takes 13 KB. */
#define KEY_FILE_MAX 32768

/* Bytes of a banner; what is longer is not shown. */
#define BANNER_MAX 8192

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

/* The host's private keys, for the wire, which cannot open a file. */
static int add_hostkeys(const struct config *config, struct msg *settings, struct err *err)
{
	static const char *const types[] = { "ed25519", "ecdsa", "rsa" };
	char text[KEY_FILE_MAX];
	int n = 0;

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		CLEANUP_FREE char *path = xasprintf("%s/ssh_host_%s_key", config->hostkeys, types[i]);
		ssize_t len = fd_read_path(AT_FDCWD, path, text, sizeof(text));

		if (len == -ENOENT)
			continue;
		if (len < 0)
			return err_sys(err, (int)-len, "cannot read the host key %s", path);
		msg_add(settings, "hostkey", text);
		n++;
	}
	explicit_bzero(text, sizeof(text));
	return n ? 0 : err_set(err, ERR_FAILED, "there is no host key in %s; make them: vm2 host setup",
			       config->hostkeys);
}

static int start_wire(struct monitor *m, bool room, struct err *err)
{
	char program[] = WIRE, word[] = "room";
	char *argv[] = { program, room ? word : NULL, NULL };
	int pair[2], fds[1 + SANDBOX_ROOM_FDS], n = 1, r;
	struct timeval patience = { .tv_sec = WIRE_PATIENCE_S };

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	m->wire = pair[0];
	setsockopt(m->wire, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	fds[0] = pair[1];
	for (int i = 0; room && i < SANDBOX_ROOM_FDS; i++)
		fds[n++] = FD_ROOM + i;
	r = launch_program(argv, fds, n, &m->wire_pid, err);
	fd_close(pair[1]);
	for (int i = 0; room && i < SANDBOX_ROOM_FDS; i++)
		fd_close(FD_ROOM + i);
	return r;
}

/* With commas between, as SSH has them. */
static void add_algorithms(struct msg *settings, const char *name, const char *words)
{
	CLEANUP_FREE char *copy = xstrdup(words);
	CLEANUP_BUF struct buf list = { 0 };
	char *rest = copy, *word;

	while ((word = strsep(&rest, " \t,")))
		if (*word)
			buf_printf(&list, "%s%s", list.len ? "," : "", word);
	msg_add(settings, name, list.data);
}

/* What is shown before a login. That it cannot be read keeps nobody out. */
static void add_banner(const struct config *config, struct msg *settings)
{
	char text[BANNER_MAX];
	ssize_t len;

	if (!*config->banner)
		return;
	len = fd_read_path(AT_FDCWD, config->banner, text, sizeof(text));
	if (len >= 0)
		msg_add(settings, "banner", text);
	else
		log_err("cannot read the banner %s: %s", config->banner, strerror((int)-len));
}

static int send_settings(struct monitor *m, struct err *err)
{
	CLEANUP_MSG struct msg settings = { 0 };
	int r = add_hostkeys(m->config, &settings, err);

	msg_add_u64(&settings, "max-sessions", m->config->max_sessions);
	msg_add_u64(&settings, "max-forwards", m->config->max_forwards);
	msg_add(&settings, "accept-env", m->config->accept_env);
	msg_add_u64(&settings, "client-alive", m->config->client_alive);
	add_algorithms(&settings, "kex", m->config->kex);
	add_algorithms(&settings, "ciphers", m->config->ciphers);
	add_algorithms(&settings, "macs", m->config->macs);
	add_algorithms(&settings, "host-key-algorithms", m->config->host_key_algorithms);
	add_algorithms(&settings, "public-key-algorithms", m->config->public_key_algorithms);
	add_banner(m->config, &settings);
	if (r == 0)
		r = monitor_send(m, &settings, err);
	if (settings.data.data)
		explicit_bzero(settings.data.data, settings.data.len);
	return r;
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
	int status = 0;

	m->wire = fd_close(m->wire);
	if (m->wire_pid <= 0)
		return false;
	kill(m->wire_pid, SIGKILL);
	if (waitpid(m->wire_pid, &status, 0) != m->wire_pid || !WIFSIGNALED(status) ||
	    WTERMSIG(status) == SIGKILL)
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

static int run(struct monitor *m, bool room, struct err *err)
{
	int r = start_wire(m, room, err);

	if (r == 0)
		r = send_settings(m, err);
	/* Before there is a connection, or while the wire exchanges keys on another processor. */
	if (r == 0)
		pam_prepare(m);
	if (r == 0)
		r = take_connection(m, err);
	if (r == 0)
		r = serve(m, err);
	if (r == -EPIPE || r == -ECONNRESET)
		r = 0;
	if (r == -ETIMEDOUT)
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
	struct monitor m = { .state = STATE_STARTING, .wire = -1, .forward = -1,
			     .starting = FD_STARTING,
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
	fd_cloexec(FD_STARTING, 1);
	if (config_load(strcmp(argv[1], "-") ? argv[1] : NULL, &config, &err) != 0) {
		log_err("%s", err.text);
		return 1;
	}
	m.config = config;
	return run(&m, argc > 2 && !strcmp(argv[2], "room"), &err) == 0 ? 0 : 1;
}
