/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sessions: each is one connection to vm2d, which becomes the session's control channel, and three
 * pipes between the session and the wire, whose bytes do not pass through here.
 */
#include "gateway/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "provision/api/client.h"
#include "provision/base/cleanup.h"
#include "provision/base/log.h"

/* What a session that could not be started ends with, as ssh(1) for its own failures. */
#define STATUS_FAILED 255

#define ENVS_MAX 64

/* Where display 0 listens. */
#define X11_PORT 6000

int session_text(struct monitor *m, uint64_t channel, const char *text, bool as_error)
{
	CLEANUP_MSG struct msg message = { 0 };

	msg_add(&message, "op", "text");
	msg_add_u64(&message, "channel", channel);
	msg_add(&message, "text", text);
	if (as_error)
		msg_add(&message, "error", "1");
	return monitor_send(m, &message, NULL);
}

static int send_exit(struct monitor *m, uint64_t channel, const struct msg *end)
{
	CLEANUP_MSG struct msg message = { 0 };
	const char *name = end ? msg_get(end, "signal") : NULL;
	const char *status = end ? msg_get(end, "exit") : NULL;

	msg_add(&message, "op", "exit");
	msg_add_u64(&message, "channel", channel);
	if (name)
		msg_add(&message, "signal", name);
	else if (status)
		msg_add(&message, "status", status);
	else
		msg_add_u64(&message, "status", STATUS_FAILED);
	if (end)
		msg_add(&message, "core", msg_get(end, "core"));
	return monitor_send(m, &message, NULL);
}

/* Tell the person why, and end the channel. */
static int fail(struct monitor *m, uint64_t channel, const char *reason)
{
	CLEANUP_BUF struct buf text = { 0 };
	int r;

	log_notice("%s: session of '%.64s' failed: %s", m->source, m->user, reason);
	buf_printf(&text, "vm2: %s", reason);
	r = session_text(m, channel, text.data, true);
	return r == 0 ? send_exit(m, channel, NULL) : r;
}

static struct session *find(struct monitor *m, uint64_t channel)
{
	struct session *s = m->sessions;

	while (s && s->channel != channel)
		s = s->next;
	return s;
}

static void drop(struct monitor *m, struct session *s)
{
	struct session **at = &m->sessions;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	m->n_sessions--;
	fd_close(s->control);
	free(s);
}

static bool one_of(const char *text, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(text, words[i]))
			return true;
	}
	return false;
}

/*
 * What is to run: what is asked for, or what the key has in its place. The sftp subsystem is then
 * known by the name of the program that it is elsewhere, as sshd has it.
 */
static void add_program(const struct monitor *m, const struct msg *from, struct msg *to)
{
	const char *kind = msg_get(from, "kind"), *command = msg_get(from, "command");
	bool sftp = !strcmp(kind, "subsystem") && !strcmp(command, "sftp");

	if (!m->may.command) {
		msg_add(to, "kind", kind);
		msg_add(to, "command", command);
		return;
	}
	if (!strcmp(m->may.command, KEYOPTS_SFTP)) {
		msg_add(to, "kind", "subsystem");
		msg_add(to, "command", "sftp");
	} else {
		msg_add(to, "kind", "exec");
		msg_add(to, "command", m->may.command);
	}
	if (strcmp(kind, "shell"))
		msg_add(to, "original", sftp ? KEYOPTS_SFTP : command);
}

/* X(7): the display in the guest, and of it the screen that the client named. */
static int add_display(const struct monitor *m, const struct msg *from, struct msg *to, struct err *err)
{
	CLEANUP_FREE char *display = NULL;
	uint64_t screen;
	int r = msg_get_u64(from, "x11", 0, UINT16_MAX, &screen, err);

	if (r != 0 || m->display_port < X11_PORT)
		return r;
	display = xasprintf("localhost:%u.%u", (unsigned int)m->display_port - X11_PORT, (unsigned int)screen);
	msg_add(to, "x11", display);
	return 0;
}

/* Only what a wire process may choose is copied; who it is for is the monitor's knowledge. */
static int make_request(const struct monitor *m, const struct msg *from, struct msg *to,
			struct err *err)
{
	static const char *const kinds[] = { "shell", "exec", "subsystem" };
	static const char *const sizes[] = { "cols", "rows", "xpixel", "ypixel" };
	const char *kind, *value;
	size_t at = 0;
	uint64_t n;
	int r = msg_need(from, "kind", &kind, err), envs = 0;

	if (r == 0 && (!one_of(kind, kinds, ARRAY_LEN(kinds)) ||
		       (strcmp(kind, "shell") && !msg_get(from, "command"))))
		r = err_set(err, ERR_USAGE, "the wire process opens a session of no known kind");
	msg_add(to, "op", "session.open");
	msg_add(to, "tenant", m->user);
	if (r == 0)
		add_program(m, from, to);
	msg_add(to, "term", msg_get(from, "term"));
	msg_add(to, "modes", msg_get(from, "modes"));
	for (size_t i = 0; i < ARRAY_LEN(sizes) && r == 0; i++) {
		r = msg_get_u64(from, sizes[i], 0, 65535, &n, err);
		if (r == 0 && msg_get(from, sizes[i]))
			msg_add_u64(to, sizes[i], n);
	}
	while (envs++ < ENVS_MAX && (value = msg_next_value(from, "env", &at))) {
		CLEANUP_FREE char *name = xasprintf("%.*s", (int)strcspn(value, "="), value);

		if (str_fits(m->config->accept_env, name) || str_fits(m->accept_env ?: "", name))
			msg_add(to, "env", value);
	}
	if (msg_get(from, "agent"))
		msg_add(to, "agent", m->agent);
	if (msg_get(from, "x11"))
		r = r == 0 ? add_display(m, from, to, err) : r;
	msg_add(to, "source", m->source);
	msg_add(to, "local", m->local);
	msg_add(to, "via", "gateway");
	msg_add(to, "credential", m->credential);
	return r;
}

/* A pipe: one end goes into each message. Both ends here are closed when the messages are. */
static int add_pipe(struct msg *reader, struct msg *writer, struct err *err)
{
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot make a pipe");
	r = msg_add_fd(reader, fds[0]);
	if (r == 0)
		r = msg_add_fd(writer, fds[1]);
	fd_close(fds[0]);
	fd_close(fds[1]);
	return r == 0 ? 0 : err_sys(err, -r, "cannot pass a pipe on");
}

static int connect_session(struct monitor *m, struct session *s, struct msg *request, struct err *err)
{
	CLEANUP_MSG struct msg streams = { 0 };
	int r;

	msg_add(&streams, "op", "streams");
	msg_add_u64(&streams, "channel", s->channel);
	r = add_pipe(request, &streams, err);
	if (r == 0)
		r = add_pipe(&streams, request, err);
	if (r == 0 && !s->pty)
		r = add_pipe(&streams, request, err);
	if (r == 0)
		r = client_connect(m->config->socket, &s->control, err);
	if (r == 0)
		r = msg_send(s->control, request, err);
	return r == 0 ? monitor_send(m, &streams, err) : r;
}

/* Start what is asked for. What fails is told on the channel: the connection itself goes on. */
static int start(struct monitor *m, struct session *s, struct msg *request)
{
	struct err why = { 0 };
	int r;

	if (pam_session_open(m, s->channel, s->pty) != PAM_SUCCESS)
		r = err_set(&why, ERR_FAILED, "the guest of %.64s does not run", m->user);
	else
		r = connect_session(m, s, request, &why);
	if (r == 0)
		return 0;
	r = fail(m, s->channel, why.text);
	drop(m, s);
	return r;
}

int session_open(struct monitor *m, const struct msg *request, struct err *err)
{
	CLEANUP_MSG struct msg message = { 0 };
	struct session *s;
	uint64_t channel, pty;
	int r = msg_get_u64(request, "channel", 0, UINT64_MAX, &channel, err);

	if (r == 0)
		r = msg_get_u64(request, "pty", 0, 1, &pty, err);
	if (r == 0)
		r = make_request(m, request, &message, err);
	if (r != 0)
		return r;
	if (channel == 0 || find(m, channel))
		return err_set(err, ERR_USAGE, "the wire process opens a channel twice");
	if (m->n_sessions >= m->config->max_sessions)
		return fail(m, channel, "too many sessions on this connection");
	if (pty && m->may.no & KEYOPTS_NO_PTY)
		return fail(m, channel, "the key that you logged in with allows no terminal");
	msg_add_u64(&message, "pty", pty);
	s = xcalloc(1, sizeof(*s));
	*s = (struct session){ .next = m->sessions, .channel = channel, .control = -1, .pty = pty };
	m->sessions = s;
	m->n_sessions++;
	return start(m, s, &message);
}

/* Find the session that a request is about; one that has just ended is no error. */
static int about(struct monitor *m, const struct msg *request, struct session **ret, struct err *err)
{
	uint64_t channel;
	int r = msg_get_u64(request, "channel", 0, UINT64_MAX, &channel, err);

	*ret = r == 0 ? find(m, channel) : NULL;
	return r;
}

/* A session whose other side is gone ends by its own event: not being able to tell it is no error. */
int session_resize(struct monitor *m, const struct msg *request, struct err *err)
{
	static const char *const sizes[] = { "cols", "rows", "xpixel", "ypixel" };
	CLEANUP_MSG struct msg message = { 0 };
	struct session *s;
	uint64_t n;
	int r = about(m, request, &s, err);

	msg_add(&message, "op", "resize");
	for (size_t i = 0; i < ARRAY_LEN(sizes) && r == 0; i++) {
		r = msg_get_u64(request, sizes[i], 0, 65535, &n, err);
		if (r == 0)
			msg_add_u64(&message, sizes[i], n);
	}
	if (r == 0 && s)
		msg_send(s->control, &message, NULL);
	return r;
}

int session_signal(struct monitor *m, const struct msg *request, struct err *err)
{
	static const char *const signals[] = { "ABRT", "ALRM", "FPE",  "HUP",  "ILL",  "INT", "KILL",
					       "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2" };
	CLEANUP_MSG struct msg message = { 0 };
	const char *name;
	struct session *s;
	int r = about(m, request, &s, err);

	if (r == 0)
		r = msg_need(request, "name", &name, err);
	if (r != 0 || !s || !one_of(name, signals, ARRAY_LEN(signals)))
		return r;
	msg_add(&message, "op", "signal");
	msg_add(&message, "name", name);
	msg_send(s->control, &message, NULL);
	return 0;
}

int session_close(struct monitor *m, const struct msg *request, struct err *err)
{
	struct session *s;
	uint64_t channel;
	int r = about(m, request, &s, err);

	if (r == 0 && s)
		drop(m, s);
	else if (r == 0 && msg_get_u64(request, "channel", 0, INT64_MAX, &channel, err) == 0)
		forward_drop(m, channel);
	return r;
}

static void ended(struct monitor *m, struct session *s, const struct msg *end)
{
	uint64_t status;
	const char *reason = msg_get(end, "error");

	if (msg_get_u64(end, "status", ERR_FAILED, 255, &status, NULL) != 0)
		status = ERR_FAILED;
	if (status == 0)
		send_exit(m, s->channel, end);
	else
		fail(m, s->channel, reason ? reason : "the session could not be started");
	drop(m, s);
}

void session_event(struct monitor *m, struct session *s)
{
	CLEANUP_MSG struct msg event = { 0 };
	const char *name;

	if (msg_recv(s->control, &event, 0, NULL) != 0 || !(name = msg_get(&event, "event"))) {
		fail(m, s->channel, "the session was cut off: its connection to vm2d broke");
		drop(m, s);
	} else if (!strcmp(name, "end")) {
		ended(m, s, &event);
	} else if (!strcmp(name, "progress") && s->pty && msg_get(&event, "text")) {
		session_text(m, s->channel, msg_get(&event, "text"), false);
	}
}

void session_close_all(struct monitor *m)
{
	while (m->sessions)
		drop(m, m->sessions);
	if (m->forward >= 0)
		m->forward = fd_close(m->forward);
}
