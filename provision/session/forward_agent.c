/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The agent of a forwarding session. It is the guest's root in the guest's namespaces, so what it
 * reaches is what any program of the guest reaches. It has not exec'd, and stays not dumpable: the
 * guest can end it, and no more. Whatever takes time is done by a child, one for each connection.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nss.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/session/forward.h"

/* What a resolver and a peer that do not answer may take, seconds: as ssh's own patience. */
#define CONNECT_LIMIT 60
#define XAUTH "/usr/bin/xauth"
#define BACKLOG 128 /* as OpenSSH's SSH_LISTEN_BACKLOG */

static void answer(int sock, const struct forward_answer *a, const int *fds, int n)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)a, .iov_len = sizeof(*a) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	size_t bytes = (size_t)n * sizeof(int);

	if (n > 0) {
		h.msg_control = &control;
		h.msg_controllen = CMSG_SPACE(bytes);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(bytes);
		memcpy(CMSG_DATA(&control.header), fds, bytes);
	}
	sendmsg(sock, &h, MSG_NOSIGNAL);
}

static void refuse(int sock, uint64_t id, int error, const char *text)
{
	struct forward_answer a = { .id = id, .error = error };

	if (text)
		snprintf(a.text, sizeof(a.text), "%s", text);
	answer(sock, &a, NULL, 0);
}

/* The first address that answers. A socket, or -errno of the last one that did not. */
static int connect_any(const struct addrinfo *list)
{
	int error = EADDRNOTAVAIL, yes = 1;

	for (const struct addrinfo *a = list; a; a = a->ai_next) {
		int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);

		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0) {
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
			return fd;
		}
		error = errno;
		fd_close(fd);
	}
	return -error;
}

static _Noreturn void connect_one(int sock, const struct forward_order *o)
{
	struct addrinfo *list = NULL, hints = { .ai_socktype = SOCK_STREAM,
						.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG };
	struct forward_answer a = { .id = o->id };
	char port[8];
	int fd, r;

	/* A resolver or a file of the guest's may make us wait for ever. */
	signal(SIGALRM, SIG_DFL);
	alarm(CONNECT_LIMIT);
	snprintf(port, sizeof(port), "%u", o->port);
	r = getaddrinfo(o->host, port, &hints, &list);
	if (r != 0) {
		refuse(sock, o->id, -1, gai_strerror(r));
		_exit(0);
	}
	fd = connect_any(list);
	if (fd < 0)
		refuse(sock, o->id, -fd, NULL);
	else
		answer(sock, &a, &fd, 1);
	_exit(0);
}

/*
 * By a name of the guest's: what it leads to is the guest's, too, for that is where we are. One whose
 * other side accepts nothing would keep us waiting.
 */
static _Noreturn void connect_path(int sock, const struct forward_order *o)
{
	struct forward_answer a = { .id = o->id };
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	signal(SIGALRM, SIG_DFL);
	alarm(CONNECT_LIMIT);
	snprintf(to.sun_path, sizeof(to.sun_path), "%.*s", FORWARD_PATH_MAX, o->host);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		refuse(sock, o->id, errno, NULL);
	else
		answer(sock, &a, &fd, 1);
	_exit(0);
}

static int listen_at(int family, uint16_t port)
{
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port),
				    .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	const struct sockaddr *address = family == AF_INET ? (const struct sockaddr *)&four :
							     (const struct sockaddr *)&six;
	socklen_t len = family == AF_INET ? sizeof(four) : sizeof(six);
	int yes = 1, fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, address, len) < 0 || listen(fd, BACKLOG) < 0) {
		int error = errno;

		close(fd);
		return -error;
	}
	return fd;
}

/*
 * On the guest's loopback, whatever address is asked for: as sshd without GatewayPorts. Port 0
 * takes a free one. A guest without IPv6, or whose port is taken there, has IPv4 alone.
 */
static void listen_one(int sock, const struct forward_order *o)
{
	struct forward_answer a = { .id = o->id };
	struct sockaddr_in bound = { 0 };
	socklen_t len = sizeof(bound);
	int fds[2] = { listen_at(AF_INET, o->port), -1 };

	if (fds[0] < 0) {
		refuse(sock, o->id, -fds[0], NULL);
		return;
	}
	if (getsockname(fds[0], (struct sockaddr *)&bound, &len) < 0)
		bound.sin_port = htons(o->port);
	a.port = ntohs(bound.sin_port);
	fds[1] = listen_at(AF_INET6, a.port);
	answer(sock, &a, fds, fds[1] < 0 ? 1 : 2);
	fd_close(fds[0]);
	if (fds[1] >= 0)
		fd_close(fds[1]);
}

/*
 * For the client's ssh-agent: a socket in a folder that is root's alone. Its path is told, and kept in
 * *made, to be removed at the end.
 */
static void listen_socket(int sock, const struct forward_order *o, struct sockaddr_un *made)
{
	struct forward_answer a = { .id = o->id };
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char folder[] = "/tmp/ssh-XXXXXXXXXX";
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || *made->sun_path || !mkdtemp(folder)) {
		refuse(sock, o->id, fd < 0 || !*made->sun_path ? errno : EEXIST, NULL);
		fd_close(fd);
		return;
	}
	snprintf(at.sun_path, sizeof(at.sun_path), "%s/agent.%d", folder, (int)getpid());
	*made = at;
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, BACKLOG) < 0) {
		refuse(sock, o->id, errno, NULL);
	} else {
		/* Shorter than the room for it: said for the compiler. */
		snprintf(a.text, sizeof(a.text), "%.95s", at.sun_path);
		answer(sock, &a, &fd, 1);
	}
	fd_close(fd);
}

/* xauth(1) is the guest's own program, run as any of its programs might. Whether it did it. */
static bool tell_xauth(unsigned int display, const char *cookie)
{
	char name[] = "xauth", quiet[] = "-q", input[] = "-";
	char *argv[] = { name, quiet, input, NULL };
	int ends[2], status;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;
	/* As sshd: X(7) looks a display of localhost's up by this name. */
	dprintf(ends[1], "remove unix:%u.0\nadd unix:%u.0 %s\n", display, display, cookie);
	fd_close(ends[1]);
	signal(SIGCHLD, SIG_DFL);
	pid = fork();
	if (pid == 0) {
		dup2(ends[0], 0);
		execv(XAUTH, argv);
		_exit(127);
	}
	fd_close(ends[0]);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* Both protocols' loopback at one port, or none: another's display must not be taken for this one. */
static bool listen_both(uint16_t port, int fds[2], int *ret_n)
{
	fds[0] = listen_at(AF_INET, port);
	if (fds[0] < 0)
		return false;
	fds[1] = listen_at(AF_INET6, port);
	*ret_n = fds[1] < 0 ? 1 : 2;
	if (fds[1] != -EADDRINUSE)
		return true;
	fd_close(fds[0]);
	return false;
}

static _Noreturn void listen_display(int sock, const struct forward_order *o)
{
	struct forward_answer a = { .id = o->id };
	unsigned int display = FORWARD_DISPLAY_FIRST;
	int fds[2], n;

	signal(SIGALRM, SIG_DFL);
	alarm(CONNECT_LIMIT);
	while (display <= FORWARD_DISPLAY_LAST &&
	       !listen_both((uint16_t)(FORWARD_DISPLAY_PORT + display), fds, &n))
		display++;
	if (display > FORWARD_DISPLAY_LAST) {
		refuse(sock, o->id, -1, "no display is free");
	} else if (!tell_xauth(display, o->host)) {
		refuse(sock, o->id, -1, "the guest has no xauth, or it failed");
	} else {
		a.port = (uint16_t)(FORWARD_DISPLAY_PORT + display);
		answer(sock, &a, fds, n);
	}
	_exit(0);
}

static void remove_socket(struct sockaddr_un *made)
{
	char *slash = strrchr(made->sun_path, '/');

	if (!slash)
		return;
	unlink(made->sun_path);
	*slash = '\0';
	rmdir(made->sun_path);
}

static void serve(int sock, const struct forward_order *o, struct sockaddr_un *made)
{
	pid_t pid;

	if (o->kind == FORWARD_LISTEN) {
		listen_one(sock, o);
		return;
	}
	if (o->kind == FORWARD_SOCKET) {
		listen_socket(sock, o, made);
		return;
	}
	pid = fork();
	if (pid == 0 && o->kind == FORWARD_PATH)
		connect_path(sock, o);
	if (pid == 0 && o->kind == FORWARD_X11)
		listen_display(sock, o);
	if (pid == 0)
		connect_one(sock, o);
	if (pid < 0)
		refuse(sock, o->id, errno, NULL);
}

_Noreturn void forward_agent(int sock)
{
	struct sockaddr_un made = { 0 };
	struct forward_order o;
	ssize_t n;

	prctl(PR_SET_NAME, "vm2-forward");
	signal(SIGCHLD, SIG_IGN); /* reaped by the kernel */
	/*
	 * What resolves names is in libc itself; other services would be programs of the guest's,
	 * loaded into this process.
	 */
	__nss_configure_lookup("hosts", "files dns");
	while ((n = recv(sock, &o, sizeof(o), 0)) > 0 || (n < 0 && errno == EINTR)) {
		if (n != sizeof(o))
			continue;
		o.host[FORWARD_HOST_MAX] = '\0';
		serve(sock, &o, &made);
	}
	remove_socket(&made);
	_exit(0);
}
