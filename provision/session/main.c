/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm2-session: one session inside a guest. It forks a child that enters the guest and becomes the
 * customer's shell or command; what stays outside gives up its privileges, relays, records, and
 * reports how it ended. The contract with vm2d is provision/session/order.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "provision/api/client.h"
#include "provision/audit/ledger.h"
#include "provision/base/cleanup.h"
#include "provision/base/config.h"
#include "provision/base/fd.h"
#include "provision/session/child.h"
#include "provision/session/fence.h"
#include "provision/session/forward.h"
#include "provision/session/leaf.h"
#include "provision/session/pty.h"
#include "provision/session/relay.h"

/* How long the guest may take to run the session's process, milliseconds. */
#define START_LIMIT 8000
/* How long vm2d may take to hear how it ended. */
#define REPORT_LIMIT 2000
/* How long what forwards in the guest has to clean up. */
#define FAREWELL_LIMIT 500
/* Pipes on both sides: larger than the default 64 KiB, which is what bulk copying likes. */
#define PIPE_BYTES (256 * 1024)

struct session {
	const struct config *config;
	struct order order;
	struct guest_run run;
	struct relay relay;
	struct forwarding forwarding;
	struct child_fds child; /* closed after the fork */
	int sock;		/* our end of the pair with the child */
	int pid;		/* the child's number in the guest, as it says */
	int line;		/* its terminal there, /dev/pts/N; -1 without one */
};

/* 0 to 2 become /dev/null: what is opened next must not become our standard error. */
static int prepare_descriptors(struct err *err)
{
	int fd = open("/dev/null", O_RDWR);

	if (fd < 0 || dup2(fd, 0) < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		return err_sys(err, errno, "cannot open /dev/null");
	fd_close_from(ORDER_FD_END);
	/* Those that a kind of session lacks: fill the gaps, so that nothing else lands there. */
	for (fd = ORDER_FD_INPUT; fd < ORDER_FD_END; fd++)
		if (fd != ORDER_FD_GO && fcntl(fd, F_GETFD) < 0)
			dup2(0, fd);
	for (fd = ORDER_FD_CONTROL; fd < ORDER_FD_END; fd++)
		if (fd_cloexec(fd, 1) < 0)
			return err_sys(err, EBADF, "vm2-session is started by vm2d: descriptor %d", fd);
	return 0;
}

static int prepare_signals(struct session *s, struct err *err)
{
	sigset_t ours;

	flow_setup();
	sigemptyset(&ours);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGHUP);
	sigprocmask(SIG_BLOCK, &ours, NULL);
	signal(SIGCHLD, SIG_DFL); /* ignored, it would reap the child behind our back */
	s->relay.signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->relay.signals < 0 ? err_sys(err, errno, "cannot watch for signals") : 0;
}

/* One pipe between the relay and the child; our end does not wait. */
static int make_pipe(int *ours, int *theirs, bool to_child)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	*ours = ends[to_child ? 1 : 0];
	*theirs = ends[to_child ? 0 : 1];
	fcntl(*ours, F_SETPIPE_SZ, PIPE_BYTES); /* as is, when the limits do not allow it */
	return fd_nonblock(*ours, 1);
}

/*
 * The front door's pipes count for its user, who may have so many pages of them (pipe(7),
 * pipe-user-pages-soft) and gets tiny ones beyond; we still may have more. Other doors' pipes are
 * their callers'.
 */
static void widen_pipes(const struct order *o)
{
	if (!o->via || strcmp(o->via, "gateway") != 0 || o->pty || o->forward)
		return;
	fcntl(ORDER_FD_INPUT, F_SETPIPE_SZ, PIPE_BYTES);
	fcntl(ORDER_FD_OUTPUT, F_SETPIPE_SZ, PIPE_BYTES);
}

/*
 * The client's side of a terminal's flows, while we may still open its pipes anew (drop_privileges());
 * the other side, the master, the child sends later.
 */
static void prepare_terminal(struct relay *r)
{
	flow_init(&r->out, -1, false, ORDER_FD_OUTPUT, true);
	flow_init(&r->in, ORDER_FD_INPUT, true, -1, false);
	r->in.to_owned = false;
	flow_init(&r->error, -1, false, -1, false);
	r->error.ended = true;
}

static int make_links(struct session *s, struct err *err)
{
	int pair[2], in = -1, out = -1, error = -1, r = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "cannot make the session's sockets");
	s->sock = pair[0];
	s->child = (struct child_fds){ .sock = pair[1], .in = -1, .out = -1, .err = -1 };
	if (s->order.pty || s->order.forward) {
		s->child.in = s->child.out = s->child.err = 0; /* /dev/null until the terminal is there */
		if (s->order.pty)
			prepare_terminal(&s->relay);
		return 0;
	}
	r = make_pipe(&in, &s->child.in, true);
	if (r == 0)
		r = make_pipe(&out, &s->child.out, false);
	if (r == 0)
		r = make_pipe(&error, &s->child.err, false);
	if (r < 0)
		return err_sys(err, -r, "cannot make the session's pipes");
	widen_pipes(&s->order);
	flow_init(&s->relay.in, ORDER_FD_INPUT, true, in, false);
	flow_init(&s->relay.out, out, false, ORDER_FD_OUTPUT, true);
	flow_init(&s->relay.error, error, false, ORDER_FD_ERROR, true);
	return 0;
}

static void close_child_side(struct session *s)
{
	fd_close(s->child.sock);
	if (s->order.pty || s->order.forward)
		return;
	fd_close(s->child.in);
	fd_close(s->child.out);
	fd_close(s->child.err);
}

static int start_child(struct session *s, struct err *err)
{
	int r = guest_enter_prepare(s->config, s->order.tenant, &s->run, err);

	if (r != 0)
		return r;
	s->relay.child = guest_fork(&s->run);
	if (s->relay.child < 0)
		return err_sys(err, -s->relay.child, "cannot start a process in the guest");
	if (s->relay.child == 0)
		child_run(&s->order, &s->run, &s->child);
	close_child_side(s);
	guest_leave(&s->run);
	/* Our own child, not reaped: the number cannot mean another. */
	s->relay.pidfd = (int)syscall(SYS_pidfd_open, s->relay.child, 0);
	return s->relay.pidfd < 0 ? err_sys(err, errno, "cannot hold the session's process") : 0;
}

/*
 * What stays outside needs one privilege: to signal the guest's processes, whose uids are others
 * (CAP_KILL). As uid 0 without capabilities it still owns the recording, the ledger and vm2d's
 * socket, and nothing that it may run could give anything back (no_new_privs).
 */
static int drop_privileges(struct err *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { .effective = 1U << CAP_KILL,
						    .permitted = 1U << CAP_KILL } };

	if (setgroups(0, NULL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot give up privileges");
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return err_sys(err, errno, "cannot give up privileges");
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, data) < 0)
		return err_sys(err, errno, "cannot give up privileges");
	return 0;
}

/* The record of the session's beginning. Without it there is no session, where one is required. */
static int open_records(struct session *s, struct err *err)
{
	const struct order *o = &s->order;
	struct recording_header header = { .cols = o->cols, .rows = o->rows, .started = o->started,
					   .title = o->session, .term = o->term };
	CLEANUP_BUF struct buf leaf = { 0 };
	int r;

	leaf_open(&leaf, o, time(NULL));
	r = ledger_append(s->config->ledger, leaf.data, leaf.len, NULL, err);
	if (r == 0 && o->pty && o->record)
		r = recording_create(ORDER_FD_FOLDER, &header, &s->relay.recording, err);
	if (r == 0)
		return 0;
	if (o->required)
		return err_wrap(err, "no session without its record");
	s->relay.cut = o->pty && o->record;
	return 0;
}

/* The child is the agent now; it ends with us. */
static int forward(struct session *s, struct err *err)
{
	int r;

	s->forwarding = (struct forwarding){ .config = s->config, .order = &s->order,
					     .control = ORDER_FD_CONTROL,
					     .signals = s->relay.signals, .agent = s->sock };
	if (send(s->sock, "G", 1, MSG_NOSIGNAL) != 1)
		return err_set(err, ERR_FAILED, "the session's process ended while it entered the guest");
	r = forward_run(&s->forwarding, err);
	/* It takes its socket away and ends, unless the guest keeps it from that. */
	shutdown(s->sock, SHUT_RDWR);
	process_wait(s->relay.pidfd, FAREWELL_LIMIT);
	/* Our own child, not reaped: neither its number nor its group's can be another's. */
	kill(-s->relay.child, SIGKILL);
	waitid(P_PID, (id_t)s->relay.child, &(siginfo_t){ 0 }, WEXITED);
	s->relay.exited = true;
	s->relay.in.bytes = s->forwarding.bytes_in;
	s->relay.out.bytes = s->forwarding.bytes_out;
	s->relay.reason = s->forwarding.reason;
	return r;
}

static int run(struct session *s, struct err *err)
{
	int64_t deadline = clock_ms() + START_LIMIT;
	int r = make_links(s, err);

	if (r == 0)
		r = start_child(s, err);
	/* While the child enters the guest; it waits there until we say go. */
	if (r == 0)
		r = drop_privileges(err);
	if (r == 0)
		r = fence_raise(s->config->ledger,
				s->order.pty && s->order.record ? ORDER_FD_FOLDER : -1, err);
	if (r == 0)
		r = open_records(s, err);
	if (r == 0)
		r = child_wait_ready(s->sock, deadline, &s->relay.master, &s->pid, err);
	if (r == 0 && s->order.forward)
		return forward(s, err);
	if (r == 0 && s->order.pty)
		r = pty_check_master(s->relay.master, &s->line, err);
	if (r == 0)
		r = child_go(s->sock, deadline, err);
	if (r != 0)
		return r;
	if (s->order.pty)
		s->relay.out.from = s->relay.in.to = s->relay.master;
	s->relay.begun_by = deadline;
	return relay_run(&s->relay, err);
}

/* A start that failed: the child is ended, waited for as long as SIGKILL takes, and let go. */
static void abandon_child(struct session *s)
{
	if (s->relay.child <= 0)
		return;
	kill(s->relay.child, SIGKILL);
	if (s->relay.pidfd >= 0)
		process_wait(s->relay.pidfd, REPORT_LIMIT);
	waitpid(s->relay.child, NULL, WNOHANG);
}

/* The end for the client: first its output ends, then it hears why, then the line closes. */
static void say_end(const struct session *s, int code, const struct err *err)
{
	const struct status *status = &s->relay.status;
	CLEANUP_MSG struct msg m = { 0 };
	char name[16];

	for (int fd = ORDER_FD_INPUT; fd <= ORDER_FD_ERROR; fd++)
		fd_close(fd);
	msg_add(&m, "event", "end");
	msg_add_u64(&m, "status", (uint64_t)err_exit_status(code));
	if (code != 0) {
		msg_add(&m, "error", err->text);
	} else if (status->signal) {
		msg_add(&m, "signal", status_signal_name(status->signal, name));
		msg_add_u64(&m, "core", status->core);
	} else {
		msg_add_u64(&m, "exit", (uint64_t)status->exit);
	}
	msg_send(ORDER_FD_CONTROL, &m, NULL);
	fd_close(ORDER_FD_CONTROL);
}

/* Best effort: vm2d may be down, and looks for sessions without an end when it starts. */
static void tell_vm2d(const struct session *s, const struct leaf_close *c)
{
	CLEANUP_MSG struct msg m = { 0 };
	char name[16];

	msg_add(&m, "op", "session.close");
	msg_add(&m, "id", s->order.session);
	if (c->status.signal)
		msg_add(&m, "signal", status_signal_name(c->status.signal, name));
	else
		msg_add_u64(&m, "status", c->error ? 255 : (uint64_t)c->status.exit);
	msg_add(&m, "error", c->error);
	msg_add_u64(&m, "bytes_in", c->bytes_in);
	msg_add_u64(&m, "bytes_out", c->bytes_out);
	msg_add_u64(&m, "recorded", c->recorded);
	if (s->line >= 0 && s->pid > 0) {
		msg_add_u64(&m, "line", (uint64_t)s->line);
		msg_add_u64(&m, "pid", (uint64_t)s->pid);
	}
	client_call(s->config->socket, &m, REPORT_LIMIT, NULL, NULL, NULL);
}

static void close_records(struct session *s, int code, const struct err *err)
{
	CLEANUP_BUF struct buf leaf = { 0 };
	struct leaf_close c = { .status = s->relay.status,
				.error = code != 0 ? err->text : NULL,
				.bytes_in = s->relay.in.bytes,
				.bytes_out = s->relay.out.bytes + s->relay.error.bytes,
				.recorded = s->relay.recording != NULL,
				.cut = s->relay.cut };

	if (s->relay.recording) {
		recording_finish(s->relay.recording, NULL);
		c.recording_bytes = recording_bytes(s->relay.recording);
		recording_digest(s->relay.recording, c.recording_digest);
		s->relay.recording = recording_close(s->relay.recording);
	}
	leaf_close(&leaf, &s->order, &c, time(NULL));
	/* Also when the opening could not be written: an end without a beginning shows the gap. */
	ledger_append(s->config->ledger, leaf.data, leaf.len, NULL, NULL);
	tell_vm2d(s, &c);
}

static void say_open(const struct session *s)
{
	CLEANUP_MSG struct msg m = { 0 };

	msg_add(&m, "event", "open");
	msg_add(&m, "session", s->order.session);
	msg_send(ORDER_FD_CONTROL, &m, NULL);
}

static const char *config_option(int argc, char **argv)
{
	return argc > 2 && strcmp(argv[1], "--config") == 0 && *argv[2] ? argv[2] : NULL;
}

int main(int argc, char **argv)
{
	struct session s = { .sock = -1,
			     .line = -1,
			     .run = { .init_pidfd = ORDER_FD_INIT, .supervisor_pidfd = -1 },
			     .relay = { .control = ORDER_FD_CONTROL, .pidfd = -1, .master = -1 } };
	const char *path = config_option(argc, argv);
	struct err err = { 0 };
	int code = prepare_descriptors(&err);

	if (code != 0)
		return err_exit_status(code);
	code = prepare_signals(&s, &err);
	if (code == 0)
		code = order_read(ORDER_FD_ORDER, &s.order, &err);
	if (code == 0)
		code = config_load(s.order.config ? s.order.config : path, &s.config, &err);
	if (order_await() < 0)
		return ERR_FAILED;
	say_open(&s);
	if (code == 0) {
		s.relay.required = s.order.required;
		code = run(&s, &err);
	}
	if (code != 0)
		abandon_child(&s);
	else if (s.relay.reason)
		code = err_set(&err, ERR_BUSY, "%s", s.relay.reason);
	say_end(&s, code, &err);
	if (s.config)
		close_records(&s, code, &err);
	return err_exit_status(code);
}
