/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/session/flow.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/str.h"

/* How long a terminal that takes no output may hold the relay, microseconds. */
#define TIMED_LIMIT 100000
/* How much one splice(2) may move: as much as a pipe of ours holds (relay.c). */
#define MOVE_MAX (1024 * 1024)

static void interrupt(int sig)
{
	(void)sig;
}

void flow_setup(void)
{
	struct sigaction sa = { .sa_handler = interrupt }; /* no SA_RESTART: it is to interrupt */

	sigaction(SIGALRM, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void timer(bool on)
{
	/* It repeats, so that a tick just before the call does not leave the call unguarded. */
	struct itimerval t = { { 0, on ? TIMED_LIMIT : 0 }, { 0, on ? TIMED_LIMIT : 0 } };

	setitimer(ITIMER_REAL, &t, NULL);
}

/*
 * Make a client's descriptor safe to use. A pipe is opened anew, with the access it has and no
 * more, which gives us a file description, and so an O_NONBLOCK, of our own. Nothing else is ever
 * opened anew: a terminal might have been taken from the client since (vhangup(2)).
 */
static enum flow_kind take_client(int fd)
{
	char path[32];
	struct stat st;
	int again, same, flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fstat(fd, &st) < 0)
		return FLOW_TIMED;
	if (S_ISSOCK(st.st_mode))
		return FLOW_SOCKET;
	if (S_ISREG(st.st_mode))
		return FLOW_OWN; /* never blocks */
	if (!S_ISFIFO(st.st_mode))
		return FLOW_TIMED;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, (flags & O_ACCMODE) | O_NONBLOCK | O_CLOEXEC);
	if (again < 0)
		return FLOW_TIMED;
	/* Under its old number, so that 5, 6 and 7 stay what order.h says. */
	same = dup3(again, fd, O_CLOEXEC);
	fd_close(again);
	return same < 0 ? FLOW_TIMED : FLOW_OWN;
}

static bool is_pipe(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

void flow_init(struct flow *f, int from, bool from_client, int to, bool to_client)
{
	f->from_owned = f->to_owned = true;
	f->from_kind = from_client ? take_client(from) : FLOW_OWN;
	f->to_kind = to_client ? take_client(to) : FLOW_OWN;
	f->moves = f->from_kind == FLOW_OWN && f->to_kind == FLOW_OWN && is_pipe(from) && is_pipe(to);
	f->from = from;
	f->to = to;
	f->last = '\n';
}

struct pollfd flow_poll(const struct flow *f)
{
	bool writing = f->moves ? f->wait_to : f->len > 0;
	struct pollfd p = { .fd = writing ? f->to : f->from, .events = writing ? POLLOUT : POLLIN };

	if (f->to < 0 || (f->ended && !writing))
		p.fd = -1;
	return p;
}

static ssize_t read_some(const struct flow *f)
{
	ssize_t n;

	if (f->from_kind == FLOW_SOCKET)
		return recv(f->from, f->buf, FLOW_BUFFER, MSG_DONTWAIT);
	if (f->from_kind == FLOW_OWN)
		return read(f->from, f->buf, FLOW_BUFFER);
	timer(true);
	n = read(f->from, f->buf, FLOW_BUFFER);
	timer(false);
	return n;
}

static ssize_t write_some(const struct flow *f)
{
	ssize_t n;

	if (f->to_kind == FLOW_SOCKET)
		return send(f->to, f->buf + f->pos, f->len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (f->to_kind == FLOW_OWN)
		return write(f->to, f->buf + f->pos, f->len);
	timer(true);
	n = write(f->to, f->buf + f->pos, f->len < PIPE_BUF ? f->len : PIPE_BUF);
	timer(false);
	return n;
}

static int step_write(struct flow *f)
{
	ssize_t n = write_some(f);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? FLOW_ON : -errno;
	f->pos += (size_t)n;
	f->len -= (size_t)n;
	f->bytes += (uint64_t)n;
	return FLOW_ON;
}

static int step_read(struct flow *f, bool drain)
{
	ssize_t n;
	int r = 0;

	if (!f->buf)
		f->buf = xmalloc(FLOW_BUFFER);
	n = read_some(f);
	if (n < 0 && errno == EINTR)
		return FLOW_ON;
	if (n < 0 && errno == EAGAIN && !drain)
		return FLOW_ON;
	/* EIO: the last one has closed the terminal's other side. Other errors end it too. */
	if (n <= 0) {
		f->ended = true;
		return FLOW_END;
	}
	f->pos = 0;
	f->len = (size_t)n;
	f->last = f->buf[n - 1];
	if (f->seen)
		r = f->seen(f->data, f->buf, f->len);
	return r != 0 ? r : step_write(f);
}

static int step_move(struct flow *f)
{
	ssize_t n = splice(f->from, NULL, f->to, NULL, MOVE_MAX, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);

	if (n > 0) {
		f->bytes += (uint64_t)n;
		f->wait_to = false;
		return FLOW_ON;
	}
	if (n == 0) {
		f->ended = true;
		f->wait_to = false;
		return FLOW_END;
	}
	if (errno == EAGAIN)
		f->wait_to = !f->wait_to;
	return errno == EAGAIN || errno == EINTR ? FLOW_ON : -errno;
}

int flow_step(struct flow *f, bool drain)
{
	if (f->to < 0)
		return FLOW_END;
	if (f->moves)
		return step_move(f);
	if (f->len > 0) {
		int r = step_write(f);

		return r != FLOW_ON || f->len > 0 || !f->ended ? r : FLOW_END;
	}
	return f->ended ? FLOW_END : step_read(f, drain);
}

void flow_close(struct flow *f)
{
	if (f->from_owned)
		fd_close(f->from);
	if (f->to_owned)
		fd_close(f->to);
	f->from = f->to = -1;
	f->ended = true;
	f->len = 0;
	free(f->buf);
	f->buf = NULL;
}
