/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages between the wire and its monitor. */
#include "gateway/wire.h"

#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

int wire_ask(struct wire *w, const struct msg *request, struct msg *reply)
{
	int r = msg_send(w->link, request, NULL);

	if (r == 0)
		r = msg_recv(w->link, reply, 0, NULL);
	if (r != 0)
		w->finished = true;
	return r;
}

void wire_tell(struct wire *w, const struct msg *request)
{
	if (msg_send(w->link, request, NULL) != 0)
		w->finished = true;
}

void wire_break(struct wire *w, const char *why)
{
	ssh_session_set_disconnect_message(w->session, why);
	w->broke = why;
	w->finished = true;
}

static int take_pipe(struct msg *m, int index)
{
	int fd = msg_take_fd(m, index);

	if (fd >= 0)
		fd_nonblock(fd, 1);
	return fd;
}

/* The session's pipes: input to write, output to read, and error output when it has no terminal. */
void wire_channel_take(struct channel *c, struct msg *m)
{
	if (c->in >= 0 || c->out >= 0)
		return;
	c->connected = true;
	c->in = take_pipe(m, 0);
	c->out = take_pipe(m, 1);
	c->err = take_pipe(m, 2);
}

static void take_exit(struct channel *c, struct msg *m)
{
	const char *name = msg_get(m, "signal");

	if (name)
		snprintf(c->signal, sizeof(c->signal), "%s", name);
	msg_get_u64(m, "status", 255, 0xffffffff, &c->status, NULL);
	c->core = msg_get(m, "core") && !strcmp(msg_get(m, "core"), "1");
	c->ended = true;
}

static void take_text(struct channel *c, struct msg *m)
{
	const char *text = msg_get(m, "text");

	if (text)
		wire_relay_text(c, text, !!msg_get(m, "error"));
}

/* What the monitor says about one channel. */
static const struct {
	const char *name;
	void (*handle)(struct channel *c, struct msg *m);
} messages[] = {
	{ "streams", wire_channel_take },
	{ "text", take_text },
	{ "exit", take_exit },
};

static void take_gone(struct wire *w, struct msg *m)
{
	wire_forward_gone(w);
}

/* What it says about forwarding. */
static const struct {
	const char *name;
	void (*handle)(struct wire *w, struct msg *m);
} forwards[] = {
	{ "listening", wire_forward_listening },
	{ "refused", wire_forward_refused },
	{ "accepted", wire_forward_accepted },
	{ "forwards-gone", take_gone },
};

static bool about_forwards(struct wire *w, const char *op, struct msg *m)
{
	for (size_t i = 0; i < ARRAY_LEN(forwards); i++) {
		if (strcmp(forwards[i].name, op))
			continue;
		forwards[i].handle(w, m);
		return true;
	}
	return false;
}

void wire_link_receive(struct wire *w)
{
	CLEANUP_MSG struct msg m = { 0 };
	const char *op;
	uint64_t number;

	if (msg_recv(w->link, &m, 0, NULL) != 0 || !(op = msg_get(&m, "op"))) {
		w->finished = true;
		return;
	}
	if (!strcmp(op, "disconnect")) {
		if (msg_get(&m, "reason"))
			ssh_session_set_disconnect_message(w->session, msg_get(&m, "reason"));
		w->finished = true;
		return;
	}
	if (about_forwards(w, op, &m) ||
	    msg_get_u64(&m, "channel", 0, UINT64_MAX, &number, NULL) != 0)
		return;
	for (struct channel *c = w->channels; c; c = c->next) {
		if (c->number != number)
			continue;
		for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
			if (!strcmp(messages[i].name, op))
				messages[i].handle(c, &m);
		}
	}
}
