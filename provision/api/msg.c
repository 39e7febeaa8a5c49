/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/api/msg.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

void msg_free(struct msg *m)
{
	for (int i = 0; i < m->n_fds; i++)
		fd_close(m->fds[i]);
	m->n_fds = 0;
	buf_free(&m->data);
}

void msg_add(struct msg *m, const char *key, const char *value)
{
	if (!value)
		return;
	buf_puts(&m->data, key);
	buf_add(&m->data, "=", 1);
	buf_add(&m->data, value, strlen(value) + 1);
}

void msg_add_u64(struct msg *m, const char *key, uint64_t value)
{
	char text[24], *p = text + sizeof(text) - 1;

	*p = '\0';
	do
		*--p = (char)('0' + value % 10);
	while (value /= 10);
	msg_add(m, key, p);
}

void msg_add_i64(struct msg *m, const char *key, int64_t value)
{
	char text[24];

	if (value >= 0) {
		msg_add_u64(m, key, (uint64_t)value);
		return;
	}
	snprintf(text, sizeof(text), "%" PRId64, value);
	msg_add(m, key, text);
}

int msg_add_fd(struct msg *m, int fd)
{
	int copy;

	if (m->n_fds == MSG_FDS_MAX)
		return -E2BIG;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return -errno;
	m->fds[m->n_fds++] = copy;
	return 0;
}

bool msg_next(const struct msg *m, size_t *pos, const char **key, size_t *key_len,
	      const char **value)
{
	const char *field, *equals;

	if (*pos >= m->data.len)
		return false;
	field = m->data.data + *pos;
	equals = strchr(field, '=');
	*key = field;
	*key_len = (size_t)(equals - field);
	*value = equals + 1;
	*pos += strlen(field) + 1;
	return true;
}

const char *msg_next_value(const struct msg *m, const char *key, size_t *pos)
{
	size_t want = strlen(key), len;
	const char *k, *value;

	while (msg_next(m, pos, &k, &len, &value))
		if (len == want && !memcmp(k, key, len))
			return value;
	return NULL;
}

const char *msg_get(const struct msg *m, const char *key)
{
	size_t pos = 0;

	return msg_next_value(m, key, &pos);
}

int msg_need(const struct msg *m, const char *key, const char **ret, struct err *err)
{
	const char *value = msg_get(m, key);

	if (!value)
		return err_set(err, ERR_USAGE, "the request lacks '%s'", key);
	*ret = value;
	return 0;
}

int msg_get_u64(const struct msg *m, const char *key, uint64_t fallback, uint64_t max,
		uint64_t *ret, struct err *err)
{
	const char *value = msg_get(m, key);

	if (!value) {
		*ret = fallback;
		return 0;
	}
	if (parse_u64(value, max, ret) < 0)
		return err_set(err, ERR_USAGE, "%s = '%.40s' is not a whole number up to %" PRIu64, key,
			       value, max);
	return 0;
}

int msg_take_fd(struct msg *m, int index)
{
	return index < m->n_fds ? steal_fd(&m->fds[index]) : -1;
}

static size_t key_len_of(const char *field)
{
	size_t len = 0;

	for (char c; (c = field[len]); len++)
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
			break;
	return len;
}

int msg_parse(struct msg *m, const void *data, size_t len)
{
	const char *p = data, *end = p + len;

	if (len == 0 || len > MSG_MAX || end[-1] != '\0')
		return -EBADMSG;
	while (p < end) {
		size_t key_len = key_len_of(p);

		if (key_len == 0 || p[key_len] != '=')
			return -EBADMSG;
		p += strlen(p) + 1;
	}
	buf_add(&m->data, data, len);
	return 0;
}

int msg_send(int sock, const struct msg *m, struct err *err)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int) * MSG_FDS_MAX)];
	} control = { 0 };
	struct iovec iov = { .iov_base = m->data.data, .iov_len = m->data.len };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (m->data.len > MSG_MAX)
		return err_set(err, ERR_USAGE, "the request is longer than %d bytes", MSG_MAX);
	if (m->n_fds > 0) {
		size_t size = sizeof(int) * (size_t)m->n_fds;

		h.msg_control = control.space;
		h.msg_controllen = CMSG_SPACE(size);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(size);
		memcpy(CMSG_DATA(&control.header), m->fds, size);
	}
	do
		n = sendmsg(sock, &h, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? err_sys(err, errno, "cannot send a message") : 0;
}

static int wait_readable(int sock, int64_t deadline_ms, struct err *err)
{
	while (deadline_ms > 0) {
		struct pollfd p = { .fd = sock, .events = POLLIN };
		int64_t left = deadline_ms - clock_ms();
		int n = poll(&p, 1, left > 0 ? (int)left : 0);

		if (n > 0)
			return 0;
		if (n == 0)
			return err_sys(err, ETIMEDOUT, "no message came");
		if (errno != EINTR)
			return err_sys(err, errno, "cannot wait for a message");
	}
	return 0;
}

static void take_fds(struct msg *m, struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (m->n_fds < MSG_FDS_MAX)
				m->fds[m->n_fds++] = fd;
			else
				fd_close(fd);
		}
	}
}

int msg_recv(int sock, struct msg *m, int64_t deadline_ms, struct err *err)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int) * MSG_FDS_MAX)];
	} control;
	CLEANUP_FREE char *data = xmalloc(MSG_MAX);
	struct iovec iov = { .iov_base = data, .iov_len = MSG_MAX };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space,
			    .msg_controllen = sizeof(control) };
	ssize_t n;
	int r = wait_readable(sock, deadline_ms, err);

	if (r < 0)
		return r;
	do
		n = recvmsg(sock, &h, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(err, errno, "cannot receive a message");
	take_fds(m, &h);
	if (n == 0)
		r = err_set(err, -EPIPE, "the other side closed the connection");
	else if ((h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || msg_parse(m, data, (size_t)n) < 0)
		r = err_set(err, -EBADMSG, "what came is no message");
	if (r < 0)
		msg_free(m);
	return r;
}
