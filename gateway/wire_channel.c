/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a client asks on a session channel: RFC 4254, 6. */
#include "gateway/wire.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "provision/base/cleanup.h"

#define ENVS_MAX 64
#define ENV_LEN_MAX 1024
#define TERM_LEN_MAX 64

static void add_size(struct msg *m, int cols, int rows, int xpixel, int ypixel)
{
	const struct {
		const char *key;
		int value;
	} sizes[] = { { "cols", cols }, { "rows", rows }, { "xpixel", xpixel }, { "ypixel", ypixel } };

	/* A terminal's size is four unsigned shorts: ioctl_tty(2), TIOCSWINSZ. */
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		msg_add_u64(m, sizes[i].key,
			    sizes[i].value < 0 ? 0 : sizes[i].value > 65535 ? 65535 : sizes[i].value);
}

static int on_pty(ssh_session session, ssh_channel ssh, const char *term, int cols, int rows,
		  int xpixel, int ypixel, void *data)
{
	CLEANUP_BUF struct buf modes = { 0 };
	struct channel *c = data;

	if (c->opened || c->pty || c->wire->no_pty || !term || strlen(term) > TERM_LEN_MAX)
		return 1;
	c->pty = true;
	msg_add(&c->open, "term", term);
	add_size(&c->open, cols, rows, xpixel, ypixel);
	wire_tap_modes(&modes);
	if (modes.len)
		msg_add(&c->open, "modes", modes.data);
	return 0;
}

/* What a client may set: accept-env, of the configuration and of its plan. */
static int on_env(ssh_session session, ssh_channel ssh, const char *name, const char *value,
		  void *data)
{
	struct channel *c = data;
	CLEANUP_BUF struct buf text = { 0 };

	if (c->opened || c->envs >= ENVS_MAX || !name || !value)
		return 1;
	if (!str_fits(c->wire->accept_env, name) || strchr(name, '=') ||
	    strlen(name) + strlen(value) > ENV_LEN_MAX)
		return 1;
	buf_printf(&text, "%s=%s", name, value);
	msg_add(&c->open, "env", text.data);
	c->envs++;
	return 0;
}

/* libssh says yes for us. One that cannot be had is not there: SSH_AUTH_SOCK is not set. */
static void on_agent(ssh_session session, ssh_channel ssh, void *data)
{
	struct channel *c = data;

	if (!c->opened && !msg_get(&c->open, "agent") && wire_forward_agent(c->wire))
		msg_add(&c->open, "agent", "1");
}

/* The client is told "yes" at once; if it cannot be, the reason follows on the channel. */
static int open_session(struct channel *c, const char *kind, const char *command)
{
	if (c->opened || c->wire->finished)
		return 1;
	c->opened = true;
	msg_add(&c->open, "op", "open");
	msg_add_u64(&c->open, "channel", c->number);
	msg_add(&c->open, "kind", kind);
	msg_add(&c->open, "command", command);
	msg_add(&c->open, "pty", c->pty ? "1" : "0");
	if (c->open.data.len > MSG_MAX) {
		wire_relay_text(c, "the command line is too long", true);
		c->status = 255;
		c->ended = true;
		return 0;
	}
	wire_tell(c->wire, &c->open);
	msg_free(&c->open);
	return 0;
}

static int on_shell(ssh_session session, ssh_channel ssh, void *data)
{
	return open_session(data, "shell", NULL);
}

static int on_exec(ssh_session session, ssh_channel ssh, const char *command, void *data)
{
	return open_session(data, "exec", command);
}

static int on_subsystem(ssh_session session, ssh_channel ssh, const char *name, void *data)
{
	return open_session(data, "subsystem", name);
}

static int on_resize(ssh_session session, ssh_channel ssh, int cols, int rows, int xpixel, int ypixel,
		     void *data)
{
	struct channel *c = data;
	CLEANUP_MSG struct msg m = { 0 };

	if (!c->opened || c->ended || !c->pty)
		return 0;
	msg_add(&m, "op", "resize");
	msg_add_u64(&m, "channel", c->number);
	add_size(&m, cols, rows, xpixel, ypixel);
	wire_tell(c->wire, &m);
	return 0;
}

static void on_signal(ssh_session session, ssh_channel ssh, const char *name, void *data)
{
	struct channel *c = data;
	CLEANUP_MSG struct msg m = { 0 };

	if (!c->opened || c->ended || !name || strlen(name) > 16)
		return;
	msg_add(&m, "op", "signal");
	msg_add_u64(&m, "channel", c->number);
	msg_add(&m, "name", name);
	wire_tell(c->wire, &m);
}

/*
 * len: of all that waits. Of a client that sends more than its window allows libssh before 0.12 keeps all,
 * until there is no memory.
 */
static int on_data(ssh_session session, ssh_channel ssh, void *bytes, uint32_t len, int is_stderr,
		   void *data)
{
	struct channel *c = data;

	if (len > WIRE_WINDOW_MAX) {
		wire_break(c->wire, "more data than the window allows");
		return (int)len;
	}
	return is_stderr ? (int)len : (int)wire_relay_input(c, bytes, len);
}

static void on_eof(ssh_session session, ssh_channel ssh, void *data)
{
	struct channel *c = data;

	c->input_eof = true;
}

static void on_close(ssh_session session, ssh_channel ssh, void *data)
{
	struct channel *c = data;

	c->closed = true;
}

static struct channel *find(struct wire *w, ssh_channel ssh)
{
	struct channel *c = w->channels;

	while (c && c->ssh != ssh)
		c = c->next;
	return c;
}

/*
 * Not by libssh's function for it, which says yes for us whatever becomes of it; and a message's contents
 * it does not give out any more.
 */
static int on_x11(struct channel *c, ssh_message message)
{
	struct wire_x11 x;
	bool there;

	if (c->forward || c->opened || msg_get(&c->open, "x11") || !wire_tap_x11(&x))
		return 1;
	there = wire_forward_x11(c->wire, &x);
	if (there) {
		msg_add_u64(&c->open, "x11", x.screen);
		ssh_message_channel_request_reply_success(message);
	}
	free(x.protocol);
	free(x.cookie);
	return !there;
}

/*
 * A break is for a terminal's line, and a pseudo-terminal's has none: the kernel ignores it
 * (tty_ioctl(4), TCSBRK), and so the client hears what sshd would tell it.
 */
int wire_channel_message(struct wire *w, ssh_message message)
{
	struct channel *c = find(w, ssh_message_channel_request_channel(message));

	if (c && ssh_message_subtype(message) == SSH_CHANNEL_REQUEST_X11)
		return on_x11(c, message);
	if (!c || !c->pty || !wire_tap_request("break"))
		return 1;
	ssh_message_channel_request_reply_success(message);
	return 0;
}

static void set_session_callbacks(struct channel *c)
{
	c->callbacks.channel_pty_request_function = on_pty;
	c->callbacks.channel_env_request_function = on_env;
	c->callbacks.channel_shell_request_function = on_shell;
	c->callbacks.channel_exec_request_function = on_exec;
	c->callbacks.channel_subsystem_request_function = on_subsystem;
	c->callbacks.channel_pty_window_change_function = on_resize;
	c->callbacks.channel_signal_function = on_signal;
	c->callbacks.channel_auth_agent_req_function = on_agent;
}

static void set_callbacks(struct channel *c)
{
	ssh_callbacks_init(&c->callbacks);
	c->callbacks.userdata = c;
	c->callbacks.channel_data_function = on_data;
	c->callbacks.channel_eof_function = on_eof;
	c->callbacks.channel_close_function = on_close;
	if (!c->forward)
		set_session_callbacks(c);
	ssh_set_channel_callbacks(c->ssh, &c->callbacks);
}

static unsigned int *counter(struct wire *w, bool forward)
{
	return forward ? &w->n_forwards : &w->n_sessions;
}

struct channel *wire_channel_make(struct wire *w, bool forward)
{
	struct channel *c;

	if (!w->authenticated || w->finished ||
	    *counter(w, forward) >= (forward ? w->max_forwards : w->max_sessions))
		return NULL;
	c = xcalloc(1, sizeof(*c));
	c->forward = forward;
	c->wire = w;
	c->number = ++w->last_number;
	c->in = c->out = c->err = -1;
	c->ssh = ssh_channel_new(w->session);
	if (!c->ssh) {
		free(c);
		return NULL;
	}
	set_callbacks(c);
	c->next = w->channels;
	w->channels = c;
	(*counter(w, forward))++;
	return c;
}

ssh_channel wire_channel_new(ssh_session session, void *data)
{
	struct channel *c = wire_tap_no_more() ? NULL : wire_channel_make(data, false);

	return c ? c->ssh : NULL;
}

/* The monitor is told of channels that it knows and whose end it has not told itself. */
static void tell_close(struct channel *c)
{
	CLEANUP_MSG struct msg m = { 0 };

	if (!c->opened || (c->ended && !c->forward) || c->wire->finished)
		return;
	msg_add(&m, "op", "close");
	msg_add_u64(&m, "channel", c->number);
	wire_tell(c->wire, &m);
}

void wire_channel_free(struct channel *c)
{
	tell_close(c);
	/* libssh may keep its channel until the client's close arrives, but must not call us for it. */
	ssh_remove_channel_callbacks(c->ssh, &c->callbacks);
	/* In this order, and each once: ssh_channel_close() gives up when its own EOF has to wait. */
	if (ssh_channel_is_open(c->ssh)) {
		if (!c->output_eof)
			ssh_channel_send_eof(c->ssh);
		ssh_channel_close(c->ssh);
	}
	ssh_channel_free(c->ssh);
	/* Others hold this socket, too: who counts its bytes. */
	if (c->forward && (c->in >= 0 || c->out >= 0))
		shutdown(c->in >= 0 ? c->in : c->out, SHUT_RDWR);
	fd_close(c->in);
	fd_close(c->out);
	fd_close(c->err);
	free(c->origin);
	free(c->target);
	buf_free(&c->input.data);
	buf_free(&c->output[0].data);
	buf_free(&c->output[1].data);
	msg_free(&c->open);
	(*counter(c->wire, c->forward))--;
	free(c);
}
