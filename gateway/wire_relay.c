/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes between the channels and the pipes of their sessions, with back-pressure both ways: a pipe
 * is read only when libssh has nothing left to send and the client's window is open; what a pipe
 * does not take stays in libssh, whose window then closes by itself.
 */
#include "gateway/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "provision/base/cleanup.h"

/*
 * A packet's payload (RFC 4253, 6.1): what one of several channels may send in its turn. One that is alone
 * sends WIRE_READ_MAX: whoever feeds its pipe is woken as seldom as that.
 */
#define PACKET_BYTES 32768

/* Memory above this is given back when it is not needed. */
#define HELD_KEEP 65536

static void held_reset(struct held *h)
{
	h->at = h->data.len = 0;
	if (h->data.cap > HELD_KEEP)
		buf_free(&h->data);
}

static bool held_any(const struct held *h)
{
	return h->at < h->data.len;
}

/* Whether a pipe can be read or written, as poll(2) said. */
static bool is_ready(const struct channel *c, int fd)
{
	for (int i = 0; i < c->n_polled; i++)
		if (c->polled[i].fd == fd)
			return c->polled[i].revents;
	return false;
}

/* The session reads its end of file; of a socket the other direction goes on. */
static void end_input(struct channel *c)
{
	if (c->forward)
		shutdown(c->in, SHUT_WR);
	c->in = fd_close(c->in);
}

/* Write to the session. How many bytes are dealt with: all of them when nobody reads any more. */
static size_t write_input(struct channel *c, const void *data, size_t len)
{
	ssize_t n;

	if (c->input_gone)
		return len;
	if (c->in < 0)
		return 0;
	do
		n = write(c->in, data, len);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return (size_t)n;
	if (errno == EAGAIN)
		return 0;
	end_input(c);
	c->input_gone = true;
	return len;
}

uint32_t wire_relay_input(struct channel *c, const void *data, uint32_t len)
{
	size_t n = 0;

	if (!held_any(&c->input))
		n = write_input(c, data, len);
	c->input_waits = n < len;
	return (uint32_t)n;
}

/*
 * The pipe has room again. All that libssh holds is taken at once: each read from it opens the
 * window anew, so that reading little by little would let it hold ever more.
 */
static void pull_input(struct channel *c)
{
	int n;

	if (held_any(&c->input))
		c->input.at += write_input(c, c->input.data.data + c->input.at,
					   c->input.data.len - c->input.at);
	if (held_any(&c->input))
		return;
	held_reset(&c->input);
	if (!c->input_waits)
		return;
	c->input_waits = false;
	n = ssh_channel_poll(c->ssh, 0);
	if (n > 0) {
		CLEANUP_FREE char *bytes = xcalloc(1, (size_t)n);
		size_t done;

		n = ssh_channel_read_nonblocking(c->ssh, bytes, (uint32_t)n, 0);
		if (n <= 0)
			return;
		done = write_input(c, bytes, (size_t)n);
		buf_add(&c->input.data, bytes + done, (size_t)n - done);
	}
}

static bool input_pending(const struct channel *c)
{
	return held_any(&c->input) || c->input_waits;
}

/* Whether libssh should be given more to send on this channel now. */
static bool may_send(const struct channel *c)
{
	return !c->wire->stalled && !c->output_eof && !c->closed &&
	       !(ssh_get_status(c->wire->session) & SSH_WRITE_PENDING) &&
	       ssh_channel_window_size(c->ssh) > 0;
}

/* Give libssh bytes, within the window. How many it took; none during a key exchange. */
static size_t send_output(struct channel *c, int is_error, const char *data, size_t len)
{
	uint32_t window = ssh_channel_window_size(c->ssh);
	uint32_t ask = len < window ? (uint32_t)len : window;
	int n;

	if (ask == 0)
		return 0;
	n = is_error ? ssh_channel_write_stderr(c->ssh, data, ask) : ssh_channel_write(c->ssh, data, ask);
	if (n < 0) {
		c->closed = true;
		return len;
	}
	if (n == 0)
		c->wire->stalled = true;
	return (size_t)n;
}

static void send_held(struct channel *c, int is_error)
{
	struct held *h = &c->output[is_error];

	if (!held_any(h) || !may_send(c))
		return;
	h->at += send_output(c, is_error, h->data.data + h->at, h->data.len - h->at);
	if (!held_any(h))
		held_reset(h);
}

/* Whether a pipe of the session is to be read: its bytes could be sent at once. */
static bool wants_output(const struct channel *c, int is_error)
{
	return (is_error ? c->err : c->out) >= 0 && !held_any(&c->output[is_error]) && may_send(c);
}

static void read_output(struct channel *c, int is_error, size_t most)
{
	int *fd = is_error ? &c->err : &c->out;
	char *bytes = c->wire->bytes;
	size_t window, sent;
	ssize_t n;

	if (!wants_output(c, is_error) || !is_ready(c, *fd))
		return;
	window = ssh_channel_window_size(c->ssh);
	n = read(*fd, bytes, window < most ? window : most);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		*fd = fd_close(*fd);
		return;
	}
	sent = send_output(c, is_error, bytes, (size_t)n);
	buf_add(&c->output[is_error].data, bytes + sent, (size_t)n - sent);
}

static bool output_done(const struct channel *c)
{
	return c->out < 0 && c->err < 0 && !held_any(&c->output[0]) && !held_any(&c->output[1]);
}

/* All output is sent and the end is known: tell it. */
static void send_end(struct channel *c)
{
	if (c->signal[0])
		ssh_channel_request_send_exit_signal(c->ssh, c->signal, c->core, "", "");
	else
		ssh_channel_request_send_exit_status(c->ssh, (int)c->status);
}

static void relay_channel(struct channel *c, size_t most)
{
	if (input_pending(c) && (c->input_gone || (c->in >= 0 && is_ready(c, c->in))))
		pull_input(c);
	if (c->input_eof && !input_pending(c) && c->in >= 0)
		end_input(c);
	for (int is_error = 0; is_error < 2; is_error++) {
		send_held(c, is_error);
		read_output(c, is_error, most);
	}
}

/* A forwarded connection's other side has said all: so it is told, and the client may go on. */
static void send_eof(struct channel *c)
{
	if (c->wire->stalled || c->output_eof)
		return;
	ssh_channel_send_eof(c->ssh);
	c->output_eof = true;
}

static bool is_over(struct channel *c)
{
	if (!c->forward)
		return c->ended && output_done(c);
	if (c->connected && output_done(c))
		send_eof(c);
	return c->ended || (c->output_eof && c->in < 0);
}

/*
 * The first channel of a turn is the last of the next one: what fills the socket each time it is its
 * turn must not be asked first again.
 */
static void take_turns(struct wire *w)
{
	struct channel *first = w->channels, *last = first;

	if (!first || !first->next)
		return;
	while (last->next)
		last = last->next;
	w->channels = first->next;
	first->next = NULL;
	last->next = first;
}

void wire_relay(struct wire *w)
{
	struct channel **at;
	size_t most;

	take_turns(w);
	most = w->channels && w->channels->next ? PACKET_BYTES : WIRE_READ_MAX;
	at = &w->channels;
	while (*at) {
		struct channel *c = *at;

		if (!c->opening || wire_forward_ready(c))
			relay_channel(c, most);
		if (is_over(c) && !c->closed && !w->stalled) {
			if (!c->forward)
				send_end(c);
		} else if (!c->closed) {
			at = &c->next;
			continue;
		}
		/* Freeing may handle packets, and a new channel may come first: find it anew. */
		for (at = &w->channels; *at != c;)
			at = &(*at)->next;
		*at = c->next;
		wire_channel_free(c);
	}
}

int wire_relay_poll(struct channel *c, struct pollfd *ret_fds)
{
	int n = 0;

	if (c->in >= 0 && input_pending(c))
		ret_fds[n++] = (struct pollfd){ .fd = c->in, .events = POLLOUT };
	if (wants_output(c, 0))
		ret_fds[n++] = (struct pollfd){ .fd = c->out, .events = POLLIN };
	if (wants_output(c, 1))
		ret_fds[n++] = (struct pollfd){ .fd = c->err, .events = POLLIN };
	c->polled = ret_fds;
	c->n_polled = n;
	return n;
}

void wire_relay_text(struct channel *c, const char *text, bool as_error)
{
	/* A client's terminal is raw: it wants the carriage return too. */
	buf_printf(&c->output[as_error].data, "%s%s\n", text, c->pty ? "\r" : "");
}
