/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Forwarded ports: RFC 4254, 7. A connection to the guest is told to be open at once, since libssh
 * takes no later answer; one that cannot be made is closed. A listener is waited for: its port may
 * be part of the answer.
 */
#include "gateway/wire.h"

#include <errno.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

/* How long a guest may take to listen, ms; it may have to be started first. */
#define LISTEN_MS 60000
#define HOST_LEN_MAX 255
#define PATH_LEN_MAX 107 /* unix(7) */

static void tell_target(struct wire *w, const char *op, const char *key, uint64_t id,
			const char *host, int port)
{
	CLEANUP_MSG struct msg m = { 0 };

	msg_add(&m, "op", op);
	msg_add_u64(&m, key, id);
	msg_add(&m, "host", host);
	msg_add_u64(&m, "port", (uint64_t)port);
	wire_tell(w, &m);
}

/* What the monitor would end the connection for: a name that is none is refused here. */
static bool legible(const char *name, char least)
{
	while (*name >= least && *name < 0x7f)
		name++;
	return !*name;
}

/* A channel for what is asked for, or NULL: it is refused, or the connection is finished. */
static struct channel *accept_open(struct wire *w, ssh_message message)
{
	struct channel *c = wire_channel_make(w, true);

	if (!c)
		return NULL;
	c->opened = true;
	if (ssh_message_channel_request_open_reply_accept_channel(message, c->ssh) != SSH_OK)
		w->finished = true;
	return c;
}

static int open_port(struct wire *w, ssh_message message)
{
	const char *host = ssh_message_channel_request_open_destination(message);
	int port = ssh_message_channel_request_open_destination_port(message);
	struct channel *c;

	if (!host || !*host || strlen(host) > HOST_LEN_MAX || port <= 0 || port > 65535 ||
	    !legible(host, '!'))
		return 1;
	c = accept_open(w, message);
	if (c && !w->finished)
		tell_target(w, "forward", "channel", c->number, host, port);
	return !c;
}

/*
 * A socket of the guest's file system. libssh reads no more of the request than that it does not know
 * it. While bulk passed nobody looked at packets: then this one is refused, and none from now on.
 */
static int open_socket(struct wire *w, ssh_message message)
{
	CLEANUP_MSG struct msg m = { 0 };
	CLEANUP_BUF struct buf path = { 0 };
	struct channel *c;

	w->sockets = true;
	if (!wire_tap_socket(&path) || path.len > PATH_LEN_MAX || !legible(path.data, ' ') ||
	    !(c = accept_open(w, message)))
		return 1;
	msg_add(&m, "op", "forward");
	msg_add_u64(&m, "channel", c->number);
	msg_add(&m, "path", path.data);
	if (!w->finished)
		wire_tell(w, &m);
	return 0;
}

int wire_forward_open(struct wire *w, ssh_message message)
{
	switch (ssh_message_subtype(message)) {
	case SSH_CHANNEL_DIRECT_TCPIP:
		return open_port(w, message);
	case SSH_CHANNEL_UNKNOWN:
		return open_socket(w, message);
	default:
		return 1;
	}
}

/* --- listeners --- */

static struct listener *find_id(struct wire *w, uint64_t id)
{
	struct listener *l = w->listeners;

	while (l && l->id != id)
		l = l->next;
	return l;
}

static void forget(struct wire *w, struct listener *l)
{
	struct listener **at = &w->listeners;

	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
	w->n_listeners--;
	free(l->host);
	free(l);
}

/* Wait for the monitor's word on a listener; what it says about others meanwhile is taken, too. */
static void await(struct wire *w, const struct listener *l)
{
	int64_t deadline = clock_ms() + LISTEN_MS, left;

	while (l->waits && !w->finished && (left = deadline - clock_ms()) > 0) {
		struct pollfd p = { .fd = w->link, .events = POLLIN };

		if (poll(&p, 1, (int)left) > 0)
			wire_link_receive(w);
	}
}

static struct listener *add(struct wire *w, const char *host, int port)
{
	struct listener *l;

	if (w->n_listeners >= w->max_forwards)
		return NULL;
	l = xcalloc(1, sizeof(*l));
	*l = (struct listener){ .next = w->listeners, .id = ++w->last_number, .host = xstrdup(host),
				.asked = (uint16_t)port, .waits = true };
	w->listeners = l;
	w->n_listeners++;
	return l;
}

/* Wait until it is up; one that does not come up is forgotten. */
static bool comes_up(struct wire *w, struct listener *l)
{
	await(w, l);
	if (l->up)
		return true;
	wire_forward_unlisten(w, l->id);
	forget(w, l);
	return false;
}

static int start(struct wire *w, ssh_message message, const char *host, int port)
{
	struct listener *l = add(w, host, port);
	int r;

	if (!l)
		return 1;
	tell_target(w, "listen", "listener", l->id, host, port);
	if (!comes_up(w, l))
		return 1;
	r = ssh_message_global_request_reply_success(message, l->port);
	if (r != SSH_OK)
		w->finished = true;
	return 0;
}

bool wire_forward_agent(struct wire *w)
{
	CLEANUP_MSG struct msg m = { 0 };
	struct listener *l = w->listeners;

	while (l && !(l->agent && l->up))
		l = l->next;
	if (l || w->finished || !(l = add(w, "", 0)))
		return l;
	l->agent = true;
	msg_add(&m, "op", "agent");
	msg_add_u64(&m, "listener", l->id);
	wire_tell(w, &m);
	return comes_up(w, l);
}

/* One display for a connection, which clients know by one cookie. */
bool wire_forward_x11(struct wire *w, const struct wire_x11 *x)
{
	CLEANUP_MSG struct msg m = { 0 };
	struct listener *l = w->listeners;

	if (w->finished || strlen(x->protocol) + strlen(x->cookie) > HOST_LEN_MAX)
		return false;
	while (l && !(l->x11 && l->up))
		l = l->next;
	if (l)
		return !x->single && !l->single && !strcmp(l->host, x->cookie);
	l = add(w, x->cookie, 0);
	if (!l)
		return false;
	l->x11 = true;
	l->single = x->single;
	msg_add(&m, "op", "x11");
	msg_add_u64(&m, "listener", l->id);
	msg_add(&m, "protocol", x->protocol);
	msg_add(&m, "cookie", x->cookie);
	wire_tell(w, &m);
	return comes_up(w, l);
}

static int cancel(struct wire *w, ssh_message message, const char *host, int port)
{
	struct listener *l = w->listeners;

	while (l && (l->agent || l->x11 || strcmp(l->host, host) || (l->port != port && l->asked != port)))
		l = l->next;
	if (!l)
		return 1;
	wire_forward_unlisten(w, l->id);
	forget(w, l);
	ssh_message_global_request_reply_success(message, 0);
	return 0;
}

int wire_forward_global(struct wire *w, ssh_message message)
{
	const char *host = ssh_message_global_request_address(message);
	int port = ssh_message_global_request_port(message);

	if (!w->authenticated || w->finished || !host || strlen(host) > HOST_LEN_MAX || port < 0 ||
	    port > 65535 || !legible(host, '!'))
		return 1;
	if (ssh_message_subtype(message) == SSH_GLOBAL_REQUEST_TCPIP_FORWARD)
		return start(w, message, host, port);
	if (ssh_message_subtype(message) == SSH_GLOBAL_REQUEST_CANCEL_TCPIP_FORWARD)
		return cancel(w, message, host, port);
	return 1;
}

void wire_forward_unlisten(struct wire *w, uint64_t id)
{
	CLEANUP_MSG struct msg m = { 0 };

	if (w->finished)
		return;
	msg_add(&m, "op", "unlisten");
	msg_add_u64(&m, "listener", id);
	wire_tell(w, &m);
}

/* --- what the monitor says --- */

void wire_forward_listening(struct wire *w, struct msg *m)
{
	uint64_t id, port;
	struct listener *l;

	if (msg_get_u64(m, "listener", 0, INT64_MAX, &id, NULL) != 0 ||
	    msg_get_u64(m, "port", 0, UINT16_MAX, &port, NULL) != 0 || !(l = find_id(w, id)))
		return;
	l->port = (uint16_t)port;
	l->up = true;
	l->waits = false;
}

/* A listener that cannot be, or a connection: their numbers come from one row. */
void wire_forward_refused(struct wire *w, struct msg *m)
{
	struct listener *l;
	uint64_t id;

	if (msg_get_u64(m, "listener", 0, INT64_MAX, &id, NULL) != 0)
		return;
	l = find_id(w, id);
	if (l)
		l->waits = false;
	for (struct channel *c = w->channels; c; c = c->next)
		if (c->forward && c->number == id)
			c->ended = true;
}

void wire_forward_accepted(struct wire *w, struct msg *m)
{
	const char *host = msg_get(m, "host");
	uint64_t id, port, listener;
	struct listener *l;
	struct channel *c;

	if (msg_get_u64(m, "channel", 0, INT64_MAX, &id, NULL) != 0 ||
	    msg_get_u64(m, "listener", 0, INT64_MAX, &listener, NULL) != 0 ||
	    msg_get_u64(m, "port", 0, UINT16_MAX, &port, NULL) != 0)
		return;
	l = find_id(w, listener);
	c = l && host ? wire_channel_make(w, true) : NULL;
	if (!c) {
		CLEANUP_MSG struct msg no = { 0 };

		msg_add(&no, "op", "close");
		msg_add_u64(&no, "channel", id);
		wire_tell(w, &no);
		return;
	}
	c->number = id;
	c->opened = c->opening = true;
	c->agent = l->agent;
	c->x11 = l->x11;
	c->origin = xstrdup(host);
	c->origin_port = (uint16_t)port;
	c->target = xstrdup(l->host);
	c->target_port = l->port;
	wire_channel_take(c, m);
	if (l->single) {
		wire_forward_unlisten(w, l->id);
		forget(w, l);
	}
}

/* The session that forwards has ended: connections that it had handed out are cut, as by a reset. */
void wire_forward_gone(struct wire *w)
{
	for (struct channel *c = w->channels; c; c = c->next)
		if (c->forward)
			c->ended = true;
	for (struct listener *l = w->listeners; l; l = l->next)
		l->waits = l->up = false;
}

bool wire_forward_ready(struct channel *c)
{
	int r = SSH_OK;

	if (c->opening && c->agent)
		r = ssh_channel_open_auth_agent(c->ssh);
	else if (c->opening && c->x11)
		r = ssh_channel_open_x11(c->ssh, c->origin, c->origin_port);
	else if (c->opening)
		r = ssh_channel_open_reverse_forward(c->ssh, c->target, c->target_port, c->origin,
						     c->origin_port);
	if (r == SSH_OK)
		c->opening = false;
	else if (r != SSH_AGAIN)
		c->ended = true;
	return r == SSH_OK;
}
