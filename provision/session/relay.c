/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/session/relay.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/session/pty.h"

enum { WATCH_CONTROL, WATCH_SIGNALS, WATCH_CHILD, WATCH_IN, WATCH_OUT, WATCH_ERROR, WATCH_END };

/*
 * The child's number is safe to send to: it is ours and not reaped, so nobody else can have it,
 * neither as a process nor as a group.
 */
static void signal_group(struct relay *r, int sig)
{
	kill(-r->child, sig);
}

static void close_flows(struct relay *r)
{
	flow_close(&r->in);
	flow_close(&r->out);
	flow_close(&r->error);
	r->master = -1;
}

/* The line has dropped. Closing the master makes the kernel hang up the terminal's processes. */
static void hang_up(struct relay *r, const char *reason)
{
	if (r->hung_up)
		return;
	r->hung_up = true;
	r->reason = reason;
	close_flows(r);
	if (!r->exited) {
		signal_group(r, SIGHUP);
		signal_group(r, SIGCONT);
		r->kill_at = clock_ms() + RELAY_GRACE;
	}
}

static bool is_full(const struct relay *r)
{
	return recording_bytes(r->recording) > RELAY_RECORDING_MAX;
}

/* Why a session whose recording was cut is ended. */
static const char *cut_reason(const struct relay *r)
{
	return is_full(r) ? "the session was ended: its recording has reached its largest size" :
			    "the session was ended: its recording cannot be written";
}

static int record(void *data, const char *bytes, size_t len)
{
	struct relay *r = data;

	if (!r->recording || r->cut)
		return 0;
	if (recording_output(r->recording, clock_ms(), bytes, len, NULL) == 0 && !is_full(r))
		return 0;
	r->cut = true;
	return r->required ? -EIO : 0;
}

static void on_resize(struct relay *r, const struct msg *m)
{
	uint64_t cols, rows, xpixel, ypixel;

	if (r->master < 0 || msg_get_u64(m, "cols", 80, UINT16_MAX, &cols, NULL) != 0 ||
	    msg_get_u64(m, "rows", 24, UINT16_MAX, &rows, NULL) != 0 ||
	    msg_get_u64(m, "xpixel", 0, UINT16_MAX, &xpixel, NULL) != 0 ||
	    msg_get_u64(m, "ypixel", 0, UINT16_MAX, &ypixel, NULL) != 0)
		return;
	pty_resize(r->master, (unsigned int)cols, (unsigned int)rows, (unsigned int)xpixel,
		   (unsigned int)ypixel);
	if (!r->recording || r->cut)
		return;
	if (recording_resize(r->recording, clock_ms(), (unsigned int)cols, (unsigned int)rows, NULL) != 0 ||
	    is_full(r))
		r->cut = true;
	if (r->cut && r->required)
		hang_up(r, cut_reason(r));
}

static void on_signal_request(struct relay *r, const struct msg *m)
{
	const char *name = msg_get(m, "name");
	int sig = name ? status_signal_number(name) : 0;

	if (sig == 0 || r->exited)
		return;
	if (r->master >= 0)
		pty_signal(r->master, r->child, sig);
	else
		signal_group(r, sig);
}

static void on_control(struct relay *r)
{
	CLEANUP_MSG struct msg m = { 0 };
	const char *op;

	/* The end of the connection, or something that is no message. */
	if (msg_recv(r->control, &m, clock_ms() + 1000, NULL) != 0) {
		hang_up(r, NULL);
		return;
	}
	op = msg_get(&m, "op");
	if (op && strcmp(op, "resize") == 0)
		on_resize(r, &m);
	else if (op && strcmp(op, "signal") == 0)
		on_signal_request(r, &m);
}

static void on_signals(struct relay *r)
{
	struct signalfd_siginfo info;

	if (read(r->signals, &info, sizeof(info)) == sizeof(info))
		hang_up(r, "the session was ended by the host's staff or by its guest's stop");
}

static void on_child(struct relay *r)
{
	siginfo_t info = { 0 };

	/*
	 * Reaped at once, whatever the client has yet to take: the kernel lets no guest's init end
	 * before all of its processes are reaped. From here on nothing is sent to the number.
	 */
	if (waitid(P_PID, (id_t)r->child, &info, WEXITED | WNOHANG) < 0 || !info.si_pid)
		return;
	r->status = status_from(&info);
	r->exited = true;
	flow_close(&r->in);
}

/*
 * The client will send nothing more. A pipe is closed. A terminal cannot be, but its end-of-file
 * character says the same to who reads it (after half a line it must be given twice).
 */
static void on_input_end(struct relay *r)
{
	struct termios t;
	char eof[2];

	if (r->master >= 0 && !r->end_of_input && tcgetattr(r->master, &t) == 0 &&
	    t.c_cc[VEOF] != _POSIX_VDISABLE && r->in.buf) {
		r->end_of_input = true;
		eof[0] = eof[1] = (char)t.c_cc[VEOF];
		r->in.pos = 0;
		r->in.len = r->in.last == '\n' || !(t.c_lflag & ICANON) ? 1 : 2;
		memcpy(r->in.buf, eof, r->in.len);
		return;
	}
	flow_close(&r->in);
}

static void step_input(struct relay *r)
{
	int n = flow_step(&r->in, false);

	if (n == FLOW_END)
		on_input_end(r);
	else if (n < 0)
		flow_close(&r->in);
}

/* FLOW_END or an error of one output. Nobody reading a terminal is a line that dropped. */
static void step_output(struct relay *r, struct flow *f)
{
	int n = flow_step(f, r->exited && r->master >= 0);

	if (n < 0 && r->master >= 0)
		hang_up(r, r->cut && r->required ? cut_reason(r) : NULL);
	else if (n < 0 || (n == FLOW_END && r->master < 0))
		flow_close(f);
	/* The master stays open at the output's end: the child may still be there. */
}

/* Over: the child has ended, and there is no more output to come or to be handed on. */
static bool is_over(const struct relay *r)
{
	if (!r->exited)
		return false;
	return (r->out.ended && r->out.len == 0) && (r->error.ended && r->error.len == 0);
}

/* After the child's end a terminal is drained without waiting for more. */
static bool draining(const struct relay *r)
{
	return r->exited && r->master >= 0 && !r->out.ended && r->out.len == 0;
}

static int timeout_of(const struct relay *r)
{
	int64_t next = r->kill_at ?: r->begun_by, left;

	if (draining(r))
		return 0;
	if (next == 0 || r->exited)
		return -1;
	left = next - clock_ms();
	return left > 0 ? (int)left : 0;
}

static bool is_stopped(const struct relay *r)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)r->child, &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 && info.si_pid;
}

/*
 * The guest's root can stop whoever comes in. Until its exec the child has a limit of time; one that
 * stands still later, and has not said a word, has not come further.
 */
static void check_beginning(struct relay *r)
{
	if (r->begun_by == 0 || clock_ms() < r->begun_by)
		return;
	r->begun_by = 0;
	if (r->exited || r->hung_up || r->out.bytes || r->error.bytes || !is_stopped(r))
		return;
	hang_up(r, "the session's process was stopped in the guest as it began");
	r->kill_at = clock_ms();
}

/* The grace is over. Twice is enough: what SIGKILL does not end is stuck in the kernel. */
static bool out_of_patience(struct relay *r)
{
	if (r->kill_at == 0 || r->exited || clock_ms() < r->kill_at)
		return false;
	signal_group(r, SIGKILL);
	if (r->status.signal == SIGKILL)
		return true;
	r->status.signal = SIGKILL;
	r->kill_at = clock_ms() + RELAY_GRACE;
	return false;
}

static int turn(struct relay *r, struct err *err)
{
	struct pollfd p[WATCH_END] = {
		[WATCH_CONTROL] = { .fd = r->hung_up ? -1 : r->control, .events = POLLIN },
		[WATCH_SIGNALS] = { .fd = r->signals, .events = POLLIN },
		[WATCH_CHILD] = { .fd = r->exited ? -1 : r->pidfd, .events = POLLIN },
		[WATCH_IN] = flow_poll(&r->in),
		[WATCH_OUT] = flow_poll(&r->out),
		[WATCH_ERROR] = flow_poll(&r->error),
	};

	if (poll(p, WATCH_END, timeout_of(r)) < 0 && errno != EINTR)
		return err_sys(err, errno, "cannot wait for the session");
	if (p[WATCH_IN].revents)
		step_input(r);
	if (p[WATCH_OUT].revents || draining(r))
		step_output(r, &r->out);
	if (p[WATCH_ERROR].revents)
		step_output(r, &r->error);
	if (p[WATCH_CHILD].revents)
		on_child(r);
	if (p[WATCH_SIGNALS].revents)
		on_signals(r);
	if (p[WATCH_CONTROL].revents)
		on_control(r);
	return 0;
}

int relay_run(struct relay *r, struct err *err)
{
	int code = 0;

	r->out.seen = record;
	r->out.data = r;
	while (code == 0 && !is_over(r) && !out_of_patience(r)) {
		code = turn(r, err);
		check_beginning(r);
	}
	close_flows(r);
	if (code != 0 && !r->exited)
		signal_group(r, SIGKILL);
	if (!r->exited)
		waitid(P_PID, (id_t)r->child, &(siginfo_t){ 0 }, WEXITED | WNOHANG);
	return code;
}
