/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/api/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "provision/api/client.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

/* Bytes on their way in one direction: as many as a terminal's own queue holds (N_TTY_BUF_SIZE). */
struct flow {
	int from; /* -1: nothing more will come */
	int to;	  /* -1: nobody wants it */
	size_t at, len;
	char data[4096];
};

struct terminal {
	int control;	  /* the connection to vm2d, then to vm2-session */
	int signals;	  /* signalfd(2) */
	int far[3];	  /* the session's ends of our pipes, until they are sent */
	struct flow flow[3]; /* standard input to the session, its output and errors to ours */
	bool pty;
	bool opened;
	bool ended;
	bool raw;
	bool line_shown; /* a line of progress stands on the terminal */
	int status;
	struct termios saved_mode;
	sigset_t saved_mask;
	struct sigaction saved_pipe;
};

enum { CONTROL, SIGNALS, FLOWS, POLLS = FLOWS + 6 };

static const int watched[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH };

/*
 * Signals are read from a descriptor: no handler, no race with poll(2), and the terminal is put
 * right by ordinary code. One that the caller's caller chose to ignore (nohup) stays ignored.
 */
static int take_signals(struct terminal *t, struct err *err)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN }, now;
	sigset_t mask;

	sigemptyset(&mask);
	for (size_t i = 0; i < ARRAY_LEN(watched); i++)
		if (sigaction(watched[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
			sigaddset(&mask, watched[i]);
	t->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (t->signals < 0)
		return err_sys(err, errno, "cannot watch for signals");
	sigprocmask(SIG_BLOCK, &mask, &t->saved_mask);
	sigaction(SIGPIPE, &ignore, &t->saved_pipe);
	return 0;
}

static void give_back(struct terminal *t)
{
	struct signalfd_siginfo left;

	if (t->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &t->saved_mode);
	for (int i = 0; i < 3; i++) {
		fd_close(t->far[i]);
		fd_close(i == 0 ? t->flow[i].to : t->flow[i].from);
	}
	if (t->signals >= 0) {
		/* What came in the meantime was meant for the session that is over. */
		while (read(t->signals, &left, sizeof(left)) > 0)
			;
		fd_close(t->signals);
		sigaction(SIGPIPE, &t->saved_pipe, NULL);
		sigprocmask(SIG_SETMASK, &t->saved_mask, NULL);
	}
	fd_close(t->control);
}

/* A line of progress, on a terminal only; the next one and the session's own output replace it. */
static void show_progress(struct terminal *t, const char *text)
{
	struct err line = { 0 };
	char out[ERR_TEXT_MAX + 8];
	int len;

	if (!isatty(STDERR_FILENO))
		return;
	/* err_set() makes control characters harmless. */
	err_set(&line, ERR_FAILED, "%s", text);
	len = snprintf(out, sizeof(out), "\r%s\033[K", line.text);
	fd_write_all(STDERR_FILENO, out, (size_t)len);
	t->line_shown = true;
}

static void clear_progress(struct terminal *t)
{
	if (t->line_shown)
		fd_write_all(STDERR_FILENO, "\r\033[K", 4);
	t->line_shown = false;
}

/* The window's size into a request or a resize message. */
static void add_size(struct msg *m)
{
	struct winsize w;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &w) < 0 || w.ws_col == 0 || w.ws_row == 0)
		return;
	msg_add_u64(m, "cols", w.ws_col);
	msg_add_u64(m, "rows", w.ws_row);
	if (w.ws_xpixel && w.ws_ypixel) {
		msg_add_u64(m, "xpixel", w.ws_xpixel);
		msg_add_u64(m, "ypixel", w.ws_ypixel);
	}
}

/*
 * Our three descriptors for the session. A file, pipe or socket is handed over as it is; a
 * terminal never is, since what holds it in the guest could type into the host's own session
 * (TIOCSTI, ioctl_tty(2)): it gets one end of a pipe, and we carry the bytes.
 */
static int lay_streams(struct terminal *t, struct msg *request, struct err *err)
{
	for (int i = 0; i < (t->pty ? 2 : 3); i++) {
		int ends[2], r;

		if (!isatty(i)) {
			r = msg_add_fd(request, i);
			if (r < 0)
				return err_sys(err, -r, "cannot pass on descriptor %d", i);
			continue;
		}
		if (pipe2(ends, O_CLOEXEC) < 0)
			return err_sys(err, errno, "cannot make a pipe");
		t->far[i] = ends[i != 0];
		t->flow[i].from = i == 0 ? STDIN_FILENO : ends[0];
		t->flow[i].to = i == 0 ? ends[1] : i;
		fd_nonblock(ends[i == 0], 1);
		r = msg_add_fd(request, t->far[i]);
		t->far[i] = fd_close(t->far[i]);
		if (r < 0)
			return err_sys(err, -r, "cannot pass on a pipe");
	}
	return 0;
}

static int send_request(struct terminal *t, const char *socket_path, struct msg *request,
			struct err *err)
{
	const char *said = msg_get(request, "pty");
	int r;

	t->pty = said ? !strcmp(said, "1") : isatty(STDIN_FILENO);
	if (!said)
		msg_add(request, "pty", t->pty ? "1" : "0");
	if (t->pty && !msg_get(request, "term"))
		msg_add(request, "term", getenv("TERM"));
	if (t->pty && !msg_get(request, "cols"))
		add_size(request);
	r = client_connect(socket_path, &t->control, err);
	if (r == 0)
		r = lay_streams(t, request, err);
	if (r == 0)
		r = msg_send(t->control, request, err);
	/* Ours must go, or the pipes would never end. */
	for (int i = 0; i < request->n_fds; i++)
		fd_close(msg_take_fd(request, i));
	request->n_fds = 0;
	return r == -EPIPE ? 0 : r;
}

/* From here on each key belongs to the guest. */
static int session_opened(struct terminal *t, struct err *err)
{
	struct termios mode;

	clear_progress(t);
	t->opened = true;
	if (!t->pty || t->flow[0].from < 0)
		return 0;
	if (tcgetattr(STDIN_FILENO, &t->saved_mode) < 0)
		return err_sys(err, errno, "cannot read the terminal's settings");
	mode = t->saved_mode;
	cfmakeraw(&mode);
	if (tcsetattr(STDIN_FILENO, TCSADRAIN, &mode) < 0)
		return err_sys(err, errno, "cannot set the terminal");
	t->raw = true;
	return 0;
}

/* 128 + the number of the signal of this name; 255 for one that this system does not know. */
static int signal_status(const char *name)
{
	for (int i = 1; i < NSIG; i++)
		if (sigabbrev_np(i) && !strcmp(sigabbrev_np(i), name))
			return 128 + i;
	return 255;
}

static int session_ended(struct terminal *t, const struct msg *m, struct err *err)
{
	const char *name = msg_get(m, "signal"), *error = msg_get(m, "error");
	uint64_t status, code;
	int r;

	clear_progress(t);
	t->ended = true;
	r = msg_get_u64(m, "status", ERR_FAILED, 255, &status, err);
	if (r == 0 && status != 0)
		r = err_set(err, (int)status, "%s", error ? error : "vm2d did not say why");
	if (r == 0)
		r = msg_get_u64(m, "exit", 255, 255, &code, err);
	if (r == 0)
		t->status = name ? signal_status(name) : (int)code;
	return r;
}

static int on_control(struct terminal *t, struct err *err)
{
	CLEANUP_MSG struct msg m = { 0 };
	const char *event;
	int r = msg_recv(t->control, &m, clock_ms() + 1000, err);

	if (r != 0) {
		t->ended = true;
		clear_progress(t);
		return err_set(err, ERR_BUSY, "the session was cut off: vm2d or vm2-session ended");
	}
	event = msg_get(&m, "event");
	if (event && !strcmp(event, "progress") && msg_get(&m, "text"))
		show_progress(t, msg_get(&m, "text"));
	if (event && !strcmp(event, "open"))
		return session_opened(t, err);
	if (event && !strcmp(event, "end"))
		return session_ended(t, &m, err);
	return 0;
}

/*
 * The window's size goes to the session. The others: with a terminal of its own the guest hears of
 * our end by the closing of the line; without one they are meant for the command, once there is one.
 */
static int on_signal(struct terminal *t, struct err *err)
{
	CLEANUP_MSG struct msg m = { 0 };
	struct signalfd_siginfo info;
	int r;

	if (read(t->signals, &info, sizeof(info)) != sizeof(info))
		return 0;
	if (info.ssi_signo == SIGWINCH) {
		if (!t->pty || !t->opened)
			return 0;
		msg_add(&m, "op", "resize");
		add_size(&m);
	} else if (t->pty || !t->opened) {
		clear_progress(t);
		t->status = 128 + (int)info.ssi_signo;
		t->ended = true;
		return 0;
	} else {
		msg_add(&m, "op", "signal");
		msg_add(&m, "name", sigabbrev_np((int)info.ssi_signo));
	}
	r = msg_send(t->control, &m, err);
	/* The session's end may be on its way to us: it will be read next. */
	return r == -EPIPE ? 0 : r;
}

/* Close our own end of a pipe; standard descriptors stay open. */
static void flow_close(int *fd)
{
	if (*fd > STDERR_FILENO)
		fd_close(*fd);
	*fd = -1;
}

static void flow_read(struct flow *f)
{
	ssize_t n = read(f->from, f->data, sizeof(f->data));

	if (n > 0) {
		f->at = 0;
		f->len = (size_t)n;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		flow_close(&f->from);
		flow_close(&f->to);
	}
}

static void flow_write(struct flow *f)
{
	ssize_t n = write(f->to, f->data + f->at, f->len - f->at);

	if (n > 0) {
		f->at += (size_t)n;
	} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
		flow_close(&f->from);
		flow_close(&f->to);
	}
	if (f->at >= f->len || f->to < 0)
		f->at = f->len = 0;
}

/* What to wait for: a flow reads when it is empty, and writes when it is not. */
static void fill_polls(const struct terminal *t, struct pollfd p[POLLS])
{
	p[CONTROL] = (struct pollfd){ .fd = t->control, .events = POLLIN };
	p[SIGNALS] = (struct pollfd){ .fd = t->signals, .events = POLLIN };
	for (int i = 0; i < 3; i++) {
		const struct flow *f = &t->flow[i];
		bool may_read = f->len == 0 && (i > 0 || t->opened);

		p[FLOWS + 2 * i] = (struct pollfd){ .fd = may_read ? f->from : -1,
						    .events = POLLIN };
		p[FLOWS + 2 * i + 1] = (struct pollfd){ .fd = f->len ? f->to : -1,
							.events = POLLOUT };
	}
}

static int relay(struct terminal *t, struct err *err)
{
	struct pollfd p[POLLS];
	int r = 0;

	while (!t->ended) {
		fill_polls(t, p);
		if (poll(p, POLLS, -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(err, errno, "cannot wait for the session");
		}
		for (int i = 0; i < 3; i++) {
			if (p[FLOWS + 2 * i].revents)
				flow_read(&t->flow[i]);
			if (p[FLOWS + 2 * i + 1].revents)
				flow_write(&t->flow[i]);
		}
		if (p[SIGNALS].revents)
			r = on_signal(t, err);
		if (r == 0 && p[CONTROL].revents)
			r = on_control(t, err);
		if (r != 0)
			return r;
	}
	return 0;
}

/*
 * What the session wrote before its end is in the pipes by now. Not until their end of file: what
 * was left running in the guest may hold them open for ever.
 */
static void drain(struct terminal *t)
{
	for (int i = 1; i < 3; i++) {
		struct flow *f = &t->flow[i];

		do {
			while (f->len > 0 && f->to >= 0)
				flow_write(f);
			if (f->from >= 0)
				flow_read(f);
		} while (f->len > 0);
	}
}

int terminal_session(const char *socket_path, struct msg *request, int *ret_status,
		     struct err *err)
{
	struct terminal t = {
		.control = -1,
		.signals = -1,
		.far = { -1, -1, -1 },
		.flow = { { .from = -1, .to = -1 }, { .from = -1, .to = -1 },
			  { .from = -1, .to = -1 } },
	};
	int r = take_signals(&t, err);

	if (r == 0)
		r = send_request(&t, socket_path, request, err);
	if (r == 0)
		r = relay(&t, err);
	drain(&t);
	give_back(&t);
	if (r == 0)
		*ret_status = t.status;
	return r;
}
