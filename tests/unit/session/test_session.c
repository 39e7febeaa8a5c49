/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The real vm2-session (but for fake_guest.c) in a guest that is nothing but namespaces. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "provision/api/msg.h"
#include "provision/audit/ledger.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"
#include "provision/session/order.h"

struct rig {
	char folder[32]; /* config, ledger, the session's folder */
	pid_t keeper, init;
	int init_pidfd;
	int go; /* where it is told to begin */
	pid_t session;
	int control, in, out, err;
};

/* The guest's init: a proc and a devpts of its own, then nothing. */
static _Noreturn void guest_init(int ready)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", 0, NULL) < 0 ||
	    mount("devpts", "/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666,mode=620") < 0)
		_exit(1);
	if (write(ready, "R", 1) != 1)
		_exit(1);
	signal(SIGCHLD, SIG_IGN); /* reaps */
	for (;;)
		pause();
}

static void write_map(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	cr_assert_eq(fd_write_path(AT_FDCWD, path, "0 100000 65536\n"), 0);
}

static void keep_guest(int ready, int mapped, int tell)
{
	char byte;
	pid_t pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
		    CLONE_NEWNET) < 0 ||
	    write(tell, "U", 1) != 1 || read(mapped, &byte, 1) != 1 || setuid(0) < 0 || setgid(0) < 0)
		_exit(1);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		guest_init(ready);
	}
	waitpid(pid, NULL, 0);
	_exit(0);
}

/* The one child of the keeper, by the host's number. */
static pid_t child_of(pid_t pid)
{
	char path[64], text[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	cr_assert(fd_read_path(AT_FDCWD, path, text, sizeof(text)) > 0);
	return (pid_t)atoi(text);
}

static void make_guest(struct rig *g)
{
	int ready[2], mapped[2], tell[2];
	char byte;

	cr_assert(pipe2(ready, O_CLOEXEC) == 0 && pipe2(mapped, O_CLOEXEC) == 0 &&
		  pipe2(tell, O_CLOEXEC) == 0);
	g->keeper = fork();
	if (g->keeper == 0)
		keep_guest(ready[1], mapped[0], tell[1]);
	close(ready[1]);
	cr_assert_eq(read(tell[0], &byte, 1), 1);
	write_map(g->keeper, "uid_map");
	write_map(g->keeper, "gid_map");
	cr_assert_eq(write(mapped[1], "M", 1), 1);
	cr_assert_eq(read(ready[0], &byte, 1), 1, "the fake guest did not start");
	g->init = child_of(g->keeper);
	g->init_pidfd = (int)syscall(SYS_pidfd_open, g->init, 0);
	close(ready[0]);
	close(mapped[0]);
	close(mapped[1]);
	close(tell[0]);
	close(tell[1]);
}

static int make_order(const struct rig *g, const char *const *fields)
{
	CLEANUP_FREE char *config = xasprintf("config=%s/vm2.conf", g->folder);
	int fd = memfd_create("order", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	const char *const base[] = { "tenant=acme", "session=s1", "via=gateway", config };

	for (size_t i = 0; i < ARRAY_LEN(base); i++)
		cr_assert_eq(fd_write_all(fd, base[i], strlen(base[i]) + 1), 0);
	for (; *fields; fields++)
		cr_assert_eq(fd_write_all(fd, *fields, strlen(*fields) + 1), 0);
	return fd;
}

static _Noreturn void become_session(const struct rig *g, int control, int order, int in, int out,
				     int err, int go, int folder)
{
	const char *program = getenv("VM2_SESSION_PROGRAM");
	int fds[] = { control, order, in, out, err, go, folder };
	CLEANUP_FREE char *config = xasprintf("%s/vm2.conf", g->folder);

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = fcntl(fds[i], F_DUPFD, 100);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		dup2(fds[i], ORDER_FD_CONTROL + (int)i);
	close(0);
	close(1);
	close(2);
	fd_close_from(ORDER_FD_END);
	if (!program)
		program = BUILD_ROOT "/tests/unit/vm2-session-fake";
	execl(program, "vm2-session", "--config", config, "acme", "s1", (char *)NULL);
	_exit(99);
}

/* The front door's user is another: its pipes may be opened anew only by who may open all. */
static void make_pipe(int ret[2])
{
	setfsuid(65534);
	cr_assert_eq(pipe2(ret, O_CLOEXEC), 0);
	setfsuid(0);
}

/* It waits. spoilt: a file stands where the ledger's folder should be. */
static void begin(struct rig *g, const char *const *fields, bool spoilt)
{
	CLEANUP_FREE char *conf = NULL, *path = NULL;
	int control[2], go[2], in[2], out[2], err[2], order, folder;

	if (geteuid() != 0)
		cr_skip_test("entering namespaces takes root");
	memset(g, 0, sizeof(*g));
	strcpy(g->folder, "/tmp/vm2-session-XXXXXX");
	cr_assert_not_null(mkdtemp(g->folder));
	conf = xasprintf("[paths]\nstate = %s\nrun = %s\n", g->folder, g->folder);
	path = xasprintf("%s/vm2.conf", g->folder);
	{
		CLEANUP_CLOSE int fd = open(path, O_CREAT | O_WRONLY, 0600);

		cr_assert_eq(fd_write_all(fd, conf, strlen(conf)), 0);
	}
	if (spoilt) {
		CLEANUP_FREE char *ledger = xasprintf("%s/ledger", g->folder);

		close(open(ledger, O_CREAT | O_WRONLY, 0600));
	}
	make_guest(g);
	order = make_order(g, fields);
	folder = open(g->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, go), 0);
	make_pipe(in);
	make_pipe(out);
	make_pipe(err);
	g->session = fork();
	if (g->session == 0)
		become_session(g, control[1], order, in[0], out[1], err[1], go[1], folder);
	close(go[1]);
	close(control[1]);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	close(order);
	close(folder);
	g->control = control[0];
	g->in = in[1];
	g->out = out[0];
	g->err = err[0];
	g->go = go[0];
}

/* What vm2d says when the guest is there. */
static void say_go(struct rig *g)
{
	CLEANUP_MSG struct msg m = { 0 };

	msg_add(&m, "op", "go");
	cr_assert_eq(msg_add_fd(&m, g->init_pidfd), 0);
	cr_assert_eq(msg_send(g->go, &m, NULL), 0);
	close(g->go);
	msg_free(&m);
	m = (struct msg){ 0 };
	cr_assert_eq(msg_recv(g->control, &m, clock_ms() + 15000, NULL), 0);
	cr_assert_str_eq(msg_get(&m, "event"), "open");
}

static void start_spoilt(struct rig *g, const char *const *fields, bool spoilt)
{
	begin(g, fields, spoilt);
	say_go(g);
}

static void start(struct rig *g, const char *const *fields)
{
	start_spoilt(g, fields, false);
}

/* The end message must say key=value. */
static void expect_end(struct rig *g, const char *key, const char *value)
{
	CLEANUP_MSG struct msg m = { 0 };
	struct err err = { 0 };
	const char *got;

	cr_assert_eq(msg_recv(g->control, &m, clock_ms() + 15000, &err), 0, "%s", err.text);
	cr_assert_str_eq(msg_get(&m, "event"), "end");
	got = msg_get(&m, key);
	cr_assert(got && strcmp(got, value) == 0, "%s=%s, error=%s", key, got ? got : "(none)",
		  msg_get(&m, "error"));
}

/* Read until the end, or until `until` has come. */
static size_t read_until(int fd, char *buf, size_t cap, const char *until)
{
	size_t len = 0;

	buf[0] = '\0';
	while (len < cap - 1) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n = poll(&p, 1, 10000) == 1 ? read(fd, buf + len, cap - 1 - len) : -1;

		cr_assert_geq(n, 0, "nothing comes after '%s'", buf);
		len += (size_t)n;
		buf[len] = '\0';
		if (n == 0 || (until && strstr(buf, until)))
			break;
	}
	return len;
}

/* vm2-session ends, and nothing but the guest's init is left in the guest. */
static void finish(struct rig *g)
{
	CLEANUP_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, g->session, 0);
	CLEANUP_FREE char *cmd = xasprintf("for i in 1 2 3 4 5 6 7 8 9 10; do "
					   "[ \"$(nsenter -t %d -U -p -m ps -eo pid= | wc -l)\" -le 3 ] "
					   "&& exit 0; sleep 0.1; done; nsenter -t %d -U -p -m ps -ef >&2; "
					   "exit 1", (int)g->init, (int)g->init);

	cr_assert_eq(process_wait(pidfd, 15000), 0, "vm2-session does not end");
	waitpid(g->session, NULL, 0);
	close(g->in);
	close(g->out);
	close(g->err);
	close(g->control);
	cr_assert_eq(system(cmd), 0, "something is left in the guest");
	kill(g->init, SIGKILL);
	waitpid(g->keeper, NULL, 0);
	close(g->init_pidfd);
	cr_assert_eq(fd_remove_tree(AT_FDCWD, g->folder), 0);
}

#define FIELDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* Whether the session's own description of it does not wait; else each use is guarded by a timer. */
static bool does_not_wait(const struct rig *g, int fd)
{
	char path[64], text[256];
	unsigned int flags;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)g->session, fd);
	cr_assert(fd_read_path(AT_FDCWD, path, text, sizeof(text)) > 0);
	cr_assert_eq(sscanf(strstr(text, "flags:"), "flags: %o", &flags), 1);
	return flags & O_NONBLOCK;
}

static int join_leaves(void *data, uint64_t index, const char *json, size_t len)
{
	buf_add(data, json, len);
	buf_puts(data, "\n");
	return 0;
}

/* The guest did not come up, say: who waited for it leaves no word anywhere. */
Test(session, one_that_is_not_wanted_leaves_nothing)
{
	struct msg m = { 0 };
	CLEANUP_FREE char *cmd = NULL;
	struct rig g;

	begin(&g, FIELDS("kind=exec", "command=echo no"), false);
	cmd = xasprintf("! test -e %s/ledger", g.folder);
	close(g.go);
	cr_assert_neq(msg_recv(g.control, &m, clock_ms() + 15000, NULL), 0, "it said %s",
		      msg_get(&m, "event"));
	cr_assert_eq(system(cmd), 0);
	finish(&g);
}

Test(session, gives_back_the_exit_status_and_its_record, .timeout = 60)
{
	CLEANUP_BUF struct buf leaves = { 0 };
	CLEANUP_FREE char *ledger = NULL;
	char out[256], err[256];
	struct rig g;

	start(&g, FIELDS("kind=exec", "command=echo out; echo err >&2; id -u; exit 7"));
	read_until(g.out, out, sizeof(out), NULL);
	read_until(g.err, err, sizeof(err), NULL);
	cr_assert_str_eq(out, "out\n0\n");
	cr_assert_str_eq(err, "err\n");
	expect_end(&g, "exit", "7");
	waitid(P_PID, (id_t)g.session, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
	ledger = xasprintf("%s/ledger", g.folder);
	cr_assert_eq(ledger_each(ledger, 0, join_leaves, &leaves, NULL), 0);
	cr_assert_not_null(strstr(leaves.data, "{\"command\":\"echo out;"));
	cr_assert_not_null(strstr(leaves.data, "\n{\"bytes_in\":0,\"bytes_out\":10,\"kind\":\"exec\","
						"\"session\":\"s1\",\"status\":7,\"tenant\":\"acme\""));
	finish(&g);
}

Test(session, gives_back_signals_and_passes_them, .timeout = 60)
{
	CLEANUP_MSG struct msg m = { 0 };
	char out[64];
	struct rig g;

	start(&g, FIELDS("kind=exec", "command=echo up; exec sleep 100"));
	read_until(g.out, out, sizeof(out), "up\n");
	msg_add(&m, "op", "signal");
	msg_add(&m, "name", "USR1");
	cr_assert_eq(msg_send(g.control, &m, NULL), 0);
	expect_end(&g, "signal", "USR1");
	finish(&g);
}

Test(session, says_what_cannot_be_run, .timeout = 60)
{
	char err[256];
	struct rig g;

	start(&g, FIELDS("kind=exec", "argv=/no/such/program"));
	read_until(g.err, err, sizeof(err), NULL);
	cr_assert_str_eq(err, "vm2: cannot run /no/such/program: it is not there in the guest\n");
	expect_end(&g, "exit", "127");
	finish(&g);
	start(&g, FIELDS("kind=subsystem", "command=other"));
	expect_end(&g, "status", "2");
	finish(&g);
}

Test(session, has_no_descriptor_nor_environment_of_the_host, .timeout = 60)
{
	char out[1024];
	struct rig g;

	setenv("HOST_SECRET", "1", 1);
	start(&g, FIELDS("kind=exec", "argv=/bin/sh", "argv=-c",
			 "argv=ls /proc/self/fd | tr '\\n' ' '; env | grep -c SECRET; "
			 "grep SigIgn /proc/self/status; ps -o sid= -p $$"));
	read_until(g.out, out, sizeof(out), NULL);
	/* 3 is ls's own. */
	cr_assert(str_starts(out, "0 1 2 3 0\nSigIgn:\t0000000000000000\n"), "%s", out);
	expect_end(&g, "exit", "0");
	finish(&g);
}

Test(session, closes_the_input_and_carries_64_mib, .timeout = 120)
{
	enum { TOTAL = 64 << 20, BLOCK = 1 << 20 };
	CLEANUP_FREE char *block = xcalloc(1, BLOCK), *back = xcalloc(1, BLOCK);
	unsigned char sent[32], came[32];
	struct sha256_ctx ctx;
	size_t total = 0;
	struct rig g;
	pid_t feeder;
	int status;
	ssize_t n;

	start(&g, FIELDS("kind=exec", "argv=cat"));
	srandom(7);
	for (size_t i = 0; i < BLOCK; i++)
		block[i] = (char)random();
	feeder = fork();
	if (feeder == 0) {
		for (int i = 0; i < TOTAL / BLOCK; i++) {
			block[i]++;
			if (fd_write_all(g.in, block, BLOCK) != 0)
				_exit(1);
		}
		_exit(0);
	}
	close(g.in);
	g.in = -1;
	sha256_init(&ctx);
	while ((n = read(g.out, back, BLOCK)) > 0) {
		sha256_update(&ctx, (size_t)n, (const uint8_t *)back);
		total += (size_t)n;
	}
	sha256_digest(&ctx, 32, came);
	cr_assert_eq(waitpid(feeder, &status, 0), feeder);
	cr_assert_eq(status, 0);
	cr_assert_eq(total, TOTAL);
	sha256_init(&ctx);
	for (int i = 0; i < TOTAL / BLOCK; i++) {
		block[i]++;
		sha256_update(&ctx, BLOCK, (const uint8_t *)block);
	}
	sha256_digest(&ctx, 32, sent);
	cr_assert_eq(memcmp(sent, came, 32), 0);
	expect_end(&g, "exit", "0");
	finish(&g);
}

Test(session, gives_a_terminal_and_records_it, .timeout = 60)
{
	CLEANUP_MSG struct msg m = { 0 };
	CLEANUP_FREE char *path = NULL;
	char out[4096], cast[8192];
	struct rig g;

	start(&g, FIELDS("kind=exec", "pty=1", "term=vt100", "cols=101", "rows=33", "record=1",
			 "command=tty; stty size; echo $TERM; trap 'stty size; exit 3' WINCH; "
			 "echo up; while :; do sleep 0.1; done"));
	read_until(g.out, out, sizeof(out), "up\r\n");
	cr_assert(str_starts(out, "/dev/pts/0\r\n33 101\r\nvt100\r\nup\r\n"), "%s", out);
	cr_assert(does_not_wait(&g, ORDER_FD_INPUT) && does_not_wait(&g, ORDER_FD_OUTPUT));
	msg_add(&m, "op", "resize");
	msg_add(&m, "cols", "77");
	msg_add(&m, "rows", "22");
	cr_assert_eq(msg_send(g.control, &m, NULL), 0);
	read_until(g.out, out, sizeof(out), NULL);
	cr_assert_str_eq(out, "22 77\r\n");
	expect_end(&g, "exit", "3");
	path = xasprintf("%s/000000.cast", g.folder);
	cr_assert(fd_read_path(AT_FDCWD, path, cast, sizeof(cast)) > 0);
	cr_assert_not_null(strstr(cast, "up\\r\\n"));
	cr_assert_not_null(strstr(cast, ", \"r\", \"77x22\"]\n"));
	cr_assert_not_null(strstr(cast, "22 77\\r\\n"));
	finish(&g);
}

Test(session, ends_a_terminal_program_at_the_end_of_input, .timeout = 60)
{
	char out[4096];
	struct rig g;

	start(&g, FIELDS("kind=exec", "pty=1", "command=stty -echo; echo up; cat"));
	read_until(g.out, out, sizeof(out), "up\r\n");
	cr_assert_eq(write(g.in, "whole\nhalf", 10), 10);
	close(g.in);
	g.in = -1;
	read_until(g.out, out, sizeof(out), NULL);
	cr_assert_str_eq(out, "whole\r\nhalf");
	expect_end(&g, "exit", "0");
	finish(&g);
}

Test(session, interrupts_a_terminal_s_foreground, .timeout = 60)
{
	CLEANUP_MSG struct msg m = { 0 };
	char out[4096];
	struct rig g;

	start(&g, FIELDS("kind=exec", "pty=1", "command=set -m; echo up; sleep 100; echo $?; exit 5"));
	read_until(g.out, out, sizeof(out), "up\r\n");
	usleep(300000);
	msg_add(&m, "op", "signal");
	msg_add(&m, "name", "TERM");
	cr_assert_eq(msg_send(g.control, &m, NULL), 0);
	read_until(g.out, out, sizeof(out), NULL);
	cr_assert_not_null(strstr(out, "143\r\n"), "%s", out);
	expect_end(&g, "exit", "5");
	finish(&g);
}

Test(session, hangs_up_when_the_client_goes, .timeout = 60)
{
	static const char *const fields[][4] = {
		{ "kind=exec", "command=echo up; sleep 1000", NULL },
		{ "kind=exec", "pty=1", "command=echo up; sleep 1000", NULL },
		{ "kind=exec", "command=trap '' HUP PIPE; echo up; sleep 1000; sleep 1000", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		char out[64];
		struct rig g;

		start(&g, fields[i]);
		read_until(g.out, out, sizeof(out), "up");
		close(g.control);
		g.control = -1;
		finish(&g);
	}
}

Test(session, is_ended_by_sigterm_with_words, .timeout = 60)
{
	char out[64];
	struct rig g;

	start(&g, FIELDS("kind=exec", "pty=1", "command=echo up; sleep 1000"));
	read_until(g.out, out, sizeof(out), "up");
	kill(g.session, SIGTERM);
	expect_end(&g, "status", "5");
	finish(&g);
}

Test(session, is_refused_without_the_record_it_must_have, .timeout = 60)
{
	char out[64];
	struct rig g;

	start_spoilt(&g, FIELDS("kind=exec", "plan_recording=best-effort", "command=echo up"), true);
	read_until(g.out, out, sizeof(out), NULL);
	cr_assert_str_eq(out, "up\n");
	expect_end(&g, "exit", "0");
	finish(&g);
	start_spoilt(&g, FIELDS("kind=exec", "plan_recording=required", "command=echo up"), true);
	expect_end(&g, "status", "1");
	read_until(g.out, out, sizeof(out), NULL);
	cr_assert_str_eq(out, "");
	finish(&g);
}

Test(session, does_not_wait_for_a_guest_that_died, .timeout = 60)
{
	char out[64];
	struct rig g;

	start(&g, FIELDS("kind=exec", "command=echo up; sleep 1000"));
	read_until(g.out, out, sizeof(out), "up");
	kill(g.init, SIGKILL);
	expect_end(&g, "signal", "KILL");
	waitpid(g.session, NULL, 0);
	waitpid(g.keeper, NULL, 0);
	cr_assert_eq(fd_remove_tree(AT_FDCWD, g.folder), 0);
}
