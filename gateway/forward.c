/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Forwarded ports: one session of kind "forward" in the guest serves all of a connection. Its
 * sockets are the guest's; they go to the wire as a session's pipes do, and no byte passes here.
 */
#include "gateway/monitor.h"

#include <errno.h>
#include <string.h>

#include "provision/api/client.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"

/* RFC 1035, 2.3.4. */
#define HOST_MAX 255

/* unix(7): sun_path, with its end. */
#define PATH_LEN_MAX 107

/* In place of a port: the "host" is the path of a socket. */
#define PATH UINT64_MAX

static int tell_wire(struct monitor *m, struct msg *message, const char *op, const char *key,
		     uint64_t id)
{
	msg_add(message, "op", op);
	msg_add_u64(message, key, id);
	return monitor_send(m, message, NULL);
}

/* An order to the forwarding session. That it is gone is told by its own end. */
static void tell_session(struct monitor *m, const char *op, uint64_t id, const char *host,
			 uint64_t port)
{
	CLEANUP_MSG struct msg order = { 0 };

	if (m->forward < 0)
		return;
	msg_add(&order, "op", op);
	msg_add_u64(&order, "id", id);
	if (host && port == PATH) {
		msg_add(&order, "path", host);
	} else if (host) {
		msg_add(&order, "host", host);
		msg_add_u64(&order, "port", port);
	}
	msg_send(m->forward, &order, NULL);
}

/* Have the session: it is opened for the first forward, and again when the guest has ended it. */
static int have_session(struct monitor *m, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };
	int r;

	if (m->forward >= 0)
		return 0;
	if (pam_session_open(m, 0, false) != PAM_SUCCESS)
		return err_set(err, ERR_FAILED, "the guest of %.64s does not run", m->user);
	msg_add(&request, "op", "session.open");
	msg_add(&request, "tenant", m->user);
	msg_add(&request, "kind", "forward");
	msg_add(&request, "source", m->source);
	msg_add(&request, "local", m->local);
	msg_add(&request, "via", "gateway");
	msg_add(&request, "credential", m->credential);
	r = client_connect(m->config->socket, &m->forward, err);
	if (r == 0)
		r = msg_send(m->forward, &request, err);
	if (r != 0)
		m->forward = fd_close(m->forward);
	return r;
}

/* The host and port of a request, as a wire process may give them. */
static int read_target(const struct msg *request, const char **ret_host, uint64_t *ret_port,
		       struct err *err)
{
	int r = msg_need(request, "host", ret_host, err);

	if (r == 0)
		r = msg_get_u64(request, "port", 0, UINT16_MAX, ret_port, err);
	if (r != 0)
		return r;
	if (strlen(*ret_host) > HOST_MAX)
		return err_set(err, ERR_USAGE, "the wire process names too long a host");
	for (const char *p = *ret_host; *p; p++)
		if (*p <= ' ' || *p >= 0x7f)
			return err_set(err, ERR_USAGE, "the wire process names no host");
	return 0;
}

/* The same, or the path of a socket of the guest's file system: then the port is PATH. */
static int read_place(const struct msg *request, const char **ret_host, uint64_t *ret_port,
		      struct err *err)
{
	const char *path = msg_get(request, "path");

	if (!path)
		return read_target(request, ret_host, ret_port, err);
	if (!*path || strlen(path) > PATH_LEN_MAX)
		return err_set(err, ERR_USAGE, "the wire process names no path of a socket");
	for (const char *p = path; *p; p++)
		if (*p < ' ' || *p >= 0x7f)
			return err_set(err, ERR_USAGE, "the wire process names no path of a socket");
	*ret_host = path;
	*ret_port = PATH;
	return 0;
}

/* Whether the key that they came in with allows it. */
static int check_key(const struct monitor *m, const char *op, const char *host, uint64_t port,
		     struct err *err)
{
	bool may = !strcmp(op, "listen") ? keyopts_may_listen(&m->may, host, port) :
					   keyopts_may_open(&m->may, host, port);

	if (port == PATH)
		return may ? 0 : err_set(err, ERR_DENIED, "the key does not allow it for %.107s", host);
	return may ? 0 : err_set(err, ERR_DENIED, "the key does not allow it for %.255s, port %u", host,
				 (unsigned int)port);
}

static int serve(struct monitor *m, const struct msg *request, const char *key, const char *op,
		 const char *refusal, struct err *err)
{
	struct err why = { 0 };
	const char *host;
	uint64_t id, port;
	int r = msg_get_u64(request, key, 0, INT64_MAX, &id, err);

	if (r == 0)
		r = strcmp(op, "connect") ? read_target(request, &host, &port, err) :
					    read_place(request, &host, &port, err);
	if (r == 0 && id == 0)
		r = err_set(err, ERR_USAGE, "the wire process forwards without a number");
	if (r != 0)
		return r;
	if (check_key(m, op, host, port, &why) == 0 && have_session(m, &why) == 0) {
		tell_session(m, op, id, host, port);
	} else {
		CLEANUP_MSG struct msg message = { 0 };

		log_notice("%s: '%.64s' cannot forward: %s", m->source, m->user, why.text);
		return tell_wire(m, &message, refusal, key, id);
	}
	return 0;
}

int forward_open(struct monitor *m, const struct msg *request, struct err *err)
{
	return serve(m, request, "channel", "connect", "exit", err);
}

int forward_listen(struct monitor *m, const struct msg *request, struct err *err)
{
	return serve(m, request, "listener", "listen", "refused", err);
}

/* One socket a connection, for the client's ssh-agent. */
int forward_agent(struct monitor *m, const struct msg *request, struct err *err)
{
	CLEANUP_MSG struct msg message = { 0 };
	struct err why = { 0 };
	uint64_t id;
	int r = msg_get_u64(request, "listener", 0, INT64_MAX, &id, err);

	if (r == 0 && id == 0)
		r = err_set(err, ERR_USAGE, "the wire process forwards without a number");
	if (r != 0)
		return r;
	if (m->may.no & KEYOPTS_NO_AGENT)
		r = err_set(&why, ERR_DENIED, "the key does not allow it");
	else
		r = have_session(m, &why);
	if (r == 0) {
		tell_session(m, "agent", id, NULL, 0);
		return 0;
	}
	log_notice("%s: the agent of '%.64s' cannot be forwarded: %s", m->source, m->user, why.text);
	return tell_wire(m, &message, "refused", "listener", id);
}

/* One display a connection. The protocol and the cookie are the client's, for xauth in the guest. */
int forward_x11(struct monitor *m, const struct msg *request, struct err *err)
{
	CLEANUP_MSG struct msg message = { 0 };
	const char *protocol, *cookie;
	struct err why = { 0 };
	uint64_t id;
	int r = msg_get_u64(request, "listener", 0, INT64_MAX, &id, err);

	if (r == 0)
		r = msg_need(request, "protocol", &protocol, err);
	if (r == 0)
		r = msg_need(request, "cookie", &cookie, err);
	if (r == 0 && id == 0)
		r = err_set(err, ERR_USAGE, "the wire process forwards without a number");
	if (r != 0)
		return r;
	if (m->may.no & KEYOPTS_NO_X11)
		r = err_set(&why, ERR_DENIED, "the key does not allow it");
	else if (m->display)
		r = err_set(&why, ERR_DENIED, "there is a display already");
	else
		r = have_session(m, &why);
	if (r == 0) {
		CLEANUP_MSG struct msg order = { 0 };

		m->display = id;
		msg_add(&order, "op", "x11");
		msg_add_u64(&order, "id", id);
		msg_add(&order, "protocol", protocol);
		msg_add(&order, "cookie", cookie);
		msg_send(m->forward, &order, NULL);
		return 0;
	}
	log_notice("%s: X11 of '%.64s' cannot be forwarded: %s", m->source, m->user, why.text);
	return tell_wire(m, &message, "refused", "listener", id);
}

int forward_unlisten(struct monitor *m, const struct msg *request, struct err *err)
{
	uint64_t id;
	int r = msg_get_u64(request, "listener", 0, INT64_MAX, &id, err);

	if (r == 0)
		forward_drop(m, id);
	return r;
}

void forward_drop(struct monitor *m, uint64_t id)
{
	if (id == m->display)
		m->display = m->display_port = 0;
	tell_session(m, "close", id, NULL, 0);
}

/* --- what the session says --- */

/* One socket, twice: what is read and what is written end apart. */
static void add_socket(struct msg *to, struct msg *event)
{
	int fd = msg_take_fd(event, 0);

	if (fd < 0)
		return;
	msg_add_fd(to, fd);
	msg_add_fd(to, fd);
	fd_close(fd);
}

static void on_connected(struct monitor *m, uint64_t id, struct msg *event)
{
	CLEANUP_MSG struct msg message = { 0 };

	add_socket(&message, event);
	tell_wire(m, &message, "streams", "channel", id);
}

/* Of a connection or of a listener: the wire knows by its number. */
static void on_refused(struct monitor *m, uint64_t id, struct msg *event)
{
	CLEANUP_MSG struct msg message = { 0 };
	const char *reason = msg_get(event, "reason");

	if (msg_get(event, "limit"))
		log_notice("%s: '%.64s' cannot forward more: %.96s", m->source, m->user, reason ? reason : "");
	if (id == m->display) {
		m->display = m->display_port = 0;
		log_notice("%s: X11 of '%.64s' cannot be forwarded: %.96s", m->source, m->user,
			   reason ? reason : "");
	}
	tell_wire(m, &message, "refused", "listener", id);
}

static void on_listening(struct monitor *m, uint64_t id, struct msg *event)
{
	CLEANUP_MSG struct msg message = { 0 };
	const char *path = msg_get(event, "path");

	if (path) {
		free(m->agent);
		m->agent = xstrdup(path);
	}
	if (id == m->display && msg_get_u64(event, "port", 0, UINT16_MAX, &m->display_port, NULL) != 0)
		m->display_port = 0;
	msg_add(&message, "port", msg_get(event, "port"));
	tell_wire(m, &message, "listening", "listener", id);
}

static void on_accepted(struct monitor *m, uint64_t id, struct msg *event)
{
	CLEANUP_MSG struct msg message = { 0 };

	msg_add(&message, "listener", msg_get(event, "listener"));
	msg_add(&message, "host", msg_get(event, "host"));
	msg_add(&message, "port", msg_get(event, "port"));
	add_socket(&message, event);
	tell_wire(m, &message, "accepted", "channel", id);
}

static const struct {
	const char *name;
	void (*handle)(struct monitor *m, uint64_t id, struct msg *event);
} events[] = {
	{ "connected", on_connected },
	{ "refused", on_refused },
	{ "listening", on_listening },
	{ "accepted", on_accepted },
};

/* All that it served is gone. The next forward opens another. */
static void gone(struct monitor *m, const char *reason)
{
	CLEANUP_MSG struct msg message = { 0 };

	if (reason)
		log_notice("%s: forwarding of '%.64s' ended: %s", m->source, m->user, reason);
	m->forward = fd_close(m->forward);
	cleanup_free(&m->agent);
	m->agent = NULL;
	m->display = m->display_port = 0;
	tell_wire(m, &message, "forwards-gone", "channel", 0);
}

void forward_event(struct monitor *m)
{
	CLEANUP_MSG struct msg event = { 0 };
	const char *name;
	uint64_t id;

	if (msg_recv(m->forward, &event, 0, NULL) != 0 || !(name = msg_get(&event, "event"))) {
		gone(m, "its connection to vm2d broke");
		return;
	}
	if (!strcmp(name, "end")) {
		gone(m, msg_get(&event, "error"));
		return;
	}
	if (msg_get_u64(&event, "id", 0, INT64_MAX, &id, NULL) != 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(events); i++)
		if (!strcmp(events[i].name, name))
			events[i].handle(m, id, &event);
}
