/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Begin vm2-guest: no child of ours, in a session of its own, with nothing of ours but a socket. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"
#include "provision/guest/cgroup.h"
#include "provision/guest/handoff.h"
#include "provision/guest/run.h"
#include "provision/guest/steps.h"

/* Where vm2-guest has the socket by which it is told things and reports (supervisor.c knows it). */
#define REPORT_FD 3
/* Time for the supervisor to give up by itself first. */
#define EXTRA_MS 1000

/* In the grandchild: async-signal-safe calls only. */
static _Noreturn void become_supervisor(const struct guest_way *way, int report, char *const argv[])
{
	char *const env[] = {
		(char[]){ "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
		NULL,
	};
	int null;
	sigset_t none;

	setsid();
	cgroup_step_in(way); /* best effort, as all of the shelter */
	sigemptyset(&none);
	for (int sig = 1; sig < _NSIG; sig++)
		signal(sig, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* First away from the numbers that are written next. */
	report = fcntl(report, F_DUPFD_CLOEXEC, 10);
	if (null < 0 || report < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 ||
	    dup2(report, REPORT_FD) < 0 || fd_close_from(REPORT_FD + 1) < 0 || chdir("/") < 0)
		_exit(127);
	execve(argv[0], argv, env);
	_exit(127);
}

/*
 * Two forks: the one in between ends at once, so that the supervisor is nobody's child here. If it cannot
 * fork, the other end of the socket is closed.
 */
static pid_t spawn(const struct guest_way *way, int report, char *const argv[])
{
	pid_t pid = fork();

	if (pid == 0) {
		pid = cgroup_fork(way);
		if (pid == 0)
			become_supervisor(way, report, argv);
		_exit(0);
	}
	return pid;
}

/* Read the report, whole. */
static int await_report(int fd, int64_t end, char *text, size_t cap, struct err *err)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	ssize_t n;
	int r;

	for (;;) {
		int64_t left = end - clock_ms();

		r = left > 0 ? poll(&p, 1, (int)left) : 0;
		if (r < 0 && errno == EINTR)
			continue;
		if (r == 0)
			return err_set(err, ERR_BUSY, "did not come up in time (start-timeout)");
		n = read(fd, text + len, cap - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	text[len] = '\0';
	return 0;
}

int launch_begin(const struct config *config, struct guest_begun *ret, struct err *err)
{
	CLEANUP_FREE char *program = xasprintf("%s/vm2-guest", guest_libexecdir);
	char *const argv[] = { program, NULL };
	CLEANUP_CLOSE int ours = -1, its = -1;
	struct guest_way way;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	ours = pair[0];
	its = pair[1];
	cgroup_shelter(config->instance, &way);
	ret->between = spawn(&way, its, argv);
	cgroup_close_way(&way);
	if (ret->between < 0)
		return err_sys(err, errno, "cannot fork");
	ret->link = steal_fd(&ours);
	return 0;
}

void launch_end(struct guest_begun *begun)
{
	if (!begun->link)
		return;
	fd_close(begun->link);
	while (begun->between && waitpid(begun->between, NULL, 0) < 0 && errno == EINTR)
		continue;
	*begun = (struct guest_begun){ 0 };
}

int launch_supervisor(const struct config *config, const struct guest_spec *spec, int link,
		      struct err *err)
{
	CLEANUP_FREE char *init = xasprintf("%s/vm2-init", guest_libexecdir);
	struct handoff order = { .args = { .config = *config, .spec = *spec, .init = init } };
	CLEANUP_CLOSE int dirfd = -1, log = -1, lock = -1;
	int r;

	dirfd = run_open(config, spec->name, true);
	if (dirfd < 0)
		return err_sys(err, -dirfd, "cannot make the guest's folder in %s", config->run);
	r = run_write_limits(dirfd, &spec->limits);
	if (r < 0)
		return err_sys(err, -r, "cannot keep the guest's limits in %s", config->run);
	log = openat(dirfd, "log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (log < 0)
		return err_sys(err, errno, "cannot open the guest's log");
	lock = run_lock(dirfd);
	if (lock == -EWOULDBLOCK)
		return err_set(err, ERR_BUSY, "another vm2-guest is at it: try again in a moment");
	if (lock < 0)
		return err_sys(err, -lock, "cannot lock the guest");
	order.lock = lock;
	order.log = log;
	r = handoff_send(link, &order);
	/* One that gave up by now has said why: launch_await(). */
	return r < 0 && r != -EPIPE ? err_sys(err, -r, "cannot tell vm2-guest what to start") : 0;
}

void launch_say(int link, enum launch_word word)
{
	char byte = (char)word;

	/* As above. */
	send(link, &byte, 1, MSG_NOSIGNAL);
}

int launch_await(const struct config *config, int link, struct err *err)
{
	char text[ERR_TEXT_MAX + 64];
	int r, code, at = 0;

	r = await_report(link, clock_ms() + (int64_t)config->start_timeout * 1000 + EXTRA_MS, text,
			 sizeof(text), err);
	if (r != 0 || strcmp(text, "ready\n") == 0)
		return r;
	if (sscanf(text, "error %d %n", &code, &at) == 1 && code != 0 && at > 0)
		return err_set(err, code, "%s", text + at);
	return err_set(err, ERR_FAILED, "%s/vm2-guest died without a word: is it installed whole?",
		       guest_libexecdir);
}
