/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/session/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "build.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/session/environment.h"
#include "provision/session/forward.h"
#include "provision/session/locale.h"
#include "provision/session/login.h"
#include "provision/session/passwd.h"
#include "provision/session/pty.h"
#include "provision/session/sftp.h"

/* Where the pair's end is once the descriptors are in order: right after the standard three. */
#define CHILD_SOCK 3
/* And vm2-sftp, for a session that may need it. */
#define CHILD_SFTP 4

static int report(int sock, const struct child_report *what, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)what, .iov_len = sizeof(*what) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		h.msg_control = &control;
		h.msg_controllen = sizeof(control.space);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
	}
	return sendmsg(sock, &h, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static _Noreturn void fail(int sock, int code, const struct err *err)
{
	struct child_report r = { .kind = CHILD_FAILED, .code = code };

	memcpy(r.text, err->text, sizeof(r.text));
	report(sock, &r, -1);
	_exit(127);
}

/* Signals as a fresh program expects them: the relay ignores and blocks some. */
static void reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Bring the four descriptors to 0..3; those given are all above 3. */
static int order_fds(const struct child_fds *fds)
{
	if (dup2(fds->in, 0) < 0 || dup2(fds->out, 1) < 0 || dup2(fds->err, 2) < 0 ||
	    dup3(fds->sock, CHILD_SOCK, O_CLOEXEC) < 0)
		return -errno;
	return 0;
}

/* The last words of a child that could not exec: one line, and the status that shells use. */
static _Noreturn void exec_failed(const char *what, int errnum)
{
	const char *hint = errnum == ENOENT ? "it is not there in the guest" : strerror(errnum);

	dprintf(2, "vm2: cannot run %s: %s\n", what, hint);
	_exit(errnum == EACCES || errnum == ENOEXEC ? 126 : 127);
}

/*
 * While the host's files are in reach: our own sftp server, to be executed in the guest. It is
 * the host's root's, who is nobody there: to be read, and never to be written.
 */
static void open_sftp(const struct order *o)
{
	CLEANUP_CLOSE int fd = -1;

	close(CHILD_SFTP);
	if (strcmp(o->kind, "subsystem") != 0)
		return;
	fd = open(VM2_LIBEXECDIR "/vm2-sftp", O_PATH | O_CLOEXEC);
	if (fd == CHILD_SFTP)
		fd = -1;
	else if (fd >= 0)
		dup3(fd, CHILD_SFTP, O_CLOEXEC);
}

/*
 * What the loader reads before a program's first line (ld.so(8)), and waits for where it is a FIFO: then no
 * program starts, but those that take no loader. NULL: nothing like that.
 */
static const char *loader_waits_for(void)
{
	static const char *const files[] = { "/etc/ld.so.preload", "/etc/ld.so.cache" };
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (stat(files[i], &st) == 0 && !S_ISREG(st.st_mode))
			return files[i];
	return NULL;
}

/*
 * The guest's own, which its owner may have chosen; else ours, so that files always come and go. Ours as
 * well where that would find no root in /etc/passwd, or wait for it or the loader's files (FIFOs); and
 * always where the plan forbids one of both, since ours keeps to that.
 */
static _Noreturn void exec_sftp(const struct order *o, const struct passwd_root *root, bool waits)
{
	char name[] = "sftp-server", up[] = SFTP_NO_UPLOADS, down[] = SFTP_NO_DOWNLOADS;
	char *const argv[] = { name, o->no_uploads ? up : down, o->no_downloads ? down : NULL, NULL };
	char *const plain[] = { name, NULL };
	bool held = o->no_uploads || o->no_downloads, ours = held || !root->there || waits;

	/* Where Debian, Fedora, Arch and BSD-like layouts keep it. */
	static const char *const places[] = { "/usr/lib/openssh/sftp-server",
					      "/usr/libexec/openssh/sftp-server",
					      "/usr/lib/ssh/sftp-server",
					      "/usr/libexec/sftp-server" };
	int saved = ENOENT;

	for (size_t i = 0; !ours && i < ARRAY_LEN(places); i++) {
		execl(places[i], "sftp-server", (char *)NULL);
		if (errno != ENOENT)
			saved = errno;
	}
	if (saved == ENOENT)
		syscall(SYS_execveat, CHILD_SFTP, "", held ? argv : plain, environ, AT_EMPTY_PATH);
	exec_failed("sftp-server", saved);
}

static _Noreturn void exec_order(const struct order *o, const struct passwd_root *root)
{
	const char *shell = root->shell, *base = strrchr(shell, '/') + 1,
		   *waits = loader_waits_for();

	if (strcmp(o->kind, "subsystem") == 0)
		exec_sftp(o, root, waits);
	if (waits) {
		dprintf(2,
			"vm2: %s is no file: a program would wait for it when it starts, for ever. "
			"Remove it by sftp, which does not\n",
			waits);
		_exit(126);
	}
	if (o->argv) {
		execvp(o->argv[0], o->argv);
		exec_failed(o->argv[0], errno);
	}
	if (strcmp(o->kind, "exec") == 0) {
		execl(shell, base, "-c", o->command, (char *)NULL);
	} else {
		CLEANUP_FREE char *login = xasprintf("-%s", base);

		execl(shell, login, (char *)NULL);
	}
	exec_failed(shell, errno);
}

/*
 * Whose login this is, for the kernel's audit: the guest's root, as pam_loginuid(8) would say, and
 * not the staff's from whose login vm2d may have been started. Best effort: not every kernel audits.
 */
static void set_loginuid(const struct order *o)
{
	const char *id = msg_get(&o->msg, "uid_base");

	if (id)
		fd_write_path(AT_FDCWD, "/proc/self/loginuid", id);
}

/* As sshd does for its terminals. The end is recorded by vm2d (session.close). */
static void record_login(const struct order *o, const char *tty)
{
	char host[64];
	const char *port;
	const struct login l = {
		.pid = getpid(),
		.line = tty + strlen("/dev/"),
		.host = environment_address(o->source, host, sizeof(host), &port) ? host : NULL,
	};

	login_begin(&l);
}

_Noreturn void child_run(const struct order *o, const struct guest_run *run,
			 const struct child_fds *fds)
{
	/* The last is no small number: vm2-session has its own descriptors (order.h). An agent asks no statfs(2). */
	const int keep[] = { 0, 1, 2, CHILD_SOCK, CHILD_SFTP, run->keeper };
	const bool answered = run->keeper > CHILD_SFTP && !o->forward;
	struct child_report ready = { .kind = CHILD_READY, .pid = -1 };
	int master = -1, slave = -1, r;
	struct err err = { 0 };
	struct passwd_root root;
	char tty[32], lang[LOCALE_MAX], go;

	reset_signals();
	r = order_fds(fds);
	if (r < 0)
		fail(fds->sock, err_sys(&err, -r, "cannot order the session's descriptors"), &err);
	open_sftp(o);
	set_loginuid(o); /* while the host's root may: from inside, only who has none yet */
	r = guest_enter(run, keep, (int)ARRAY_LEN(keep) - !answered, &err);
	if (r != 0)
		fail(CHILD_SOCK, r, &err);
	/* A group leader cannot be: we are a fresh child. */
	setsid();
	if (o->pty) {
		r = pty_open(&master, &slave, tty, &err);
		if (r == 0)
			r = pty_adopt(slave, o, &err);
		if (r != 0)
			fail(CHILD_SOCK, r, &err);
	}
	/* Not sooner: a terminal is looked at by that call, and need not wait for whoever else asks there. */
	if (answered && (r = guest_enter_end(run, &err)) != 0)
		fail(CHILD_SOCK, r, &err);
	if (o->pty)
		record_login(o, tty);
	ready.pid = getpid();
	passwd_read("/etc/passwd", &root);
	locale_read(lang);
	environ = environment_make(o, &root, o->pty ? tty : NULL, lang);
	umask(022);
	if (chdir(root.home) < 0 && chdir("/") < 0)
		fail(CHILD_SOCK, err_sys(&err, errno, "cannot go to the guest's root"), &err);
	if (report(CHILD_SOCK, &ready, master) < 0 || recv(CHILD_SOCK, &go, 1, 0) != 1)
		_exit(127);
	if (o->pty && (dup2(slave, 0) < 0 || dup2(slave, 1) < 0 || dup2(slave, 2) < 0))
		_exit(127);
	if (o->forward)
		forward_agent(CHILD_SOCK);
	exec_order(o, &root);
}

/* Wait for something to read. 0 or ERR_BUSY. */
static int wait_for(int sock, int64_t deadline_ms, struct err *err)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	int64_t left;
	int n = 0;

	while ((left = deadline_ms - clock_ms()) > 0) {
		n = poll(&p, 1, (int)left);
		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			break;
	}
	return err_set(err, ERR_BUSY, "the guest did not start the session's process in time: "
		       "restart it with 'vm2 guest stop' and 'vm2 guest start'");
}

/* One descriptor of a received message, close-on-exec; any more the kernel has cut off. */
static int received_fd(struct msghdr *h)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(h);
	int fd = -1;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(c), sizeof(int));
	return fd;
}

int child_wait_ready(int sock, int64_t deadline_ms, int *ret_master, int *ret_pid, struct err *err)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct child_report got = { 0 };
	struct iovec iov = { .iov_base = &got, .iov_len = sizeof(got) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof(control.space) };
	CLEANUP_CLOSE int fd = -1;
	ssize_t n;
	int r = wait_for(sock, deadline_ms, err);

	if (r != 0)
		return r;
	n = recvmsg(sock, &h, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n >= 0)
		fd = received_fd(&h);
	if (n != sizeof(got))
		return err_set(err, ERR_FAILED, "the session's process ended while it entered the guest");
	got.text[sizeof(got.text) - 1] = '\0';
	if (got.kind != CHILD_READY)
		return err_set(err, got.code ? got.code : ERR_FAILED, "%s", got.text);
	*ret_master = steal_fd(&fd);
	*ret_pid = got.pid;
	return 0;
}

int child_go(int sock, int64_t deadline_ms, struct err *err)
{
	char byte;
	int r;

	if (send(sock, "G", 1, MSG_NOSIGNAL) != 1)
		return 0; /* it is gone: the relay sees how */
	r = wait_for(sock, deadline_ms, err);
	if (r == 0 && recv(sock, &byte, 1, MSG_DONTWAIT) > 0)
		return err_set(err, ERR_FAILED, "the session's process does not keep to its protocol");
	return r;
}
