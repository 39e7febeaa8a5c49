/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gateway/listen.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

/* The first descriptor that a service manager hands over: sd_listen_fds(3). */
#define SD_LISTEN_FDS_START 3

/* The kernel cuts it to net.core.somaxconn. */
#define BACKLOG 1024

/* Split at the last colon; brackets around an IPv6 address are taken off. */
static int split(const char *text, char *host, size_t len, uint64_t *ret_port)
{
	const char *colon = strrchr(text, ':');
	size_t n = colon ? (size_t)(colon - text) : 0;

	if (n > 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
	} else if (n && memchr(text, ':', n)) {
		return -EINVAL;
	}
	if (n == 0 || n >= len || parse_u64(colon + 1, 65535, ret_port) != 0 || *ret_port == 0)
		return -EINVAL;
	memcpy(host, text, n);
	host[n] = '\0';
	return 0;
}

int listen_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len, struct err *err)
{
	struct sockaddr_in four = { .sin_family = AF_INET };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
	char host[INET6_ADDRSTRLEN];
	uint64_t port;

	if (split(text, host, sizeof(host), &port) != 0)
		return err_set(err, ERR_USAGE,
			       "'%.80s' is no address to listen on; write 0.0.0.0:2222 or [::]:2222", text);
	four.sin_port = six.sin6_port = htons((uint16_t)port);
	memset(ret, 0, sizeof(*ret));
	if (text[0] != '[' && inet_pton(AF_INET, host, &four.sin_addr) == 1) {
		memcpy(ret, &four, sizeof(four));
		*ret_len = sizeof(four);
	} else if (text[0] == '[' && inet_pton(AF_INET6, host, &six.sin6_addr) == 1) {
		memcpy(ret, &six, sizeof(six));
		*ret_len = sizeof(six);
	} else {
		return err_set(err, ERR_USAGE, "'%.80s' in '%.80s' is no IP address", host, text);
	}
	return 0;
}

static int open_one(const char *text, int *ret_fd, struct err *err)
{
	struct sockaddr_storage address;
	CLEANUP_CLOSE int fd = -1;
	socklen_t len;
	int yes = 1, r = listen_parse(text, &address, &len, err);

	if (r != 0)
		return r;
	fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(err, errno, "cannot make a socket for %s", text);
	/* Restarts must not wait for old connections; IPv4 has sockets of its own. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0 ||
	    (address.ss_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)) < 0) ||
	    bind(fd, (const struct sockaddr *)&address, len) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(err, errno, "cannot listen on %s", text);
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* How many sockets the service manager left for this process, 0 for none. */
static int handed_over(void)
{
	const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
	uint64_t n;

	if (!pid || !count || parse_u64(pid, INT32_MAX, &n) != 0 || (pid_t)n != getpid())
		return 0;
	return parse_u64(count, LISTEN_MAX, &n) == 0 ? (int)n : 0;
}

void listen_hand_over(int *fds, int n)
{
	char number[16];

	/* Above the targets first: no dup2 may close what a later one still needs. */
	for (int i = 0; i < n; i++)
		fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, SD_LISTEN_FDS_START + LISTEN_MAX);
	for (int i = 0; i < n; i++) {
		dup2(fds[i], SD_LISTEN_FDS_START + i);
		fds[i] = SD_LISTEN_FDS_START + i;
	}
	snprintf(number, sizeof(number), "%d", n);
	setenv("LISTEN_FDS", number, 1);
	snprintf(number, sizeof(number), "%d", (int)getpid());
	setenv("LISTEN_PID", number, 1);
}

int listen_open(const char *addresses, int *ret_fds, int *ret_n, struct err *err)
{
	CLEANUP_FREE char *text = xstrdup(addresses);
	char *rest = text, *word;
	int fds[LISTEN_MAX], n = handed_over(), r = 0;

	for (int i = 0; i < n; i++) {
		fds[i] = SD_LISTEN_FDS_START + i;
		fd_cloexec(fds[i], 1);
		fd_nonblock(fds[i], 1);
	}
	if (n == 0) {
		while (r == 0 && (word = strsep(&rest, " \t"))) {
			if (*word && n == LISTEN_MAX)
				r = err_set(err, ERR_USAGE, "more than %d addresses to listen on", n);
			else if (*word && (r = open_one(word, &fds[n], err)) == 0)
				n++;
		}
		if (r == 0 && n == 0)
			r = err_set(err, ERR_USAGE, "there is no address to listen on");
	}
	for (int i = 0; i < n; i++) {
		if (r == 0)
			ret_fds[i] = fds[i];
		else
			fd_close(fds[i]);
	}
	if (r == 0)
		*ret_n = n;
	return r;
}
