/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm2-guest: the parent of a running guest. It starts init, keeps its console, restarts it when
 * the guest reboots, asks it to stop on SIGTERM, and takes back link, rules and cgroup when it has
 * ended. It decides nothing and outlives vm2d. If it is killed, the kernel kills init with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/base/str.h"
#include "provision/guest/args.h"
#include "provision/guest/cgroup.h"
#include "provision/guest/confine.h"
#include "provision/guest/run.h"
#include "provision/guest/steps.h"
#include "provision/guest/type.h"

/* What launch.c hands in. */
#define REPORT_FD 3
#define LOCK_FD 4
/* The console's file: this much, and as much again in console.old. */
#define CONSOLE_MAX 65536
/* A guest that floods its console is read this often, 4,096 bytes at a time. */
#define CONSOLE_PAUSE_MS 10
/* A guest that reboots at once is held back this long, in seconds. */
#define REBOOT_PAUSE 1

struct supervisor {
	struct guest_args args;
	struct guest_process guest;
	int dirfd, lock, signals;
	int console_file;
	off_t console_size;
	bool stopping;
	int64_t kill_at; /* clock_ms() when a stopping guest is killed; 0 when not stopping */
};

static void report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Tell guest_start(), once. A reader that is gone does not matter. */
static void report(const char *fmt, ...)
{
	char text[ERR_TEXT_MAX + 64];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n > 0)
		fd_write_all(REPORT_FD, text, strnlen(text, sizeof(text)));
	close(REPORT_FD);
}

static int open_run(struct supervisor *s, struct err *err)
{
	sigset_t set;
	int r;

	s->dirfd = run_open(&s->args.config, s->args.spec.name, true);
	if (s->dirfd < 0)
		return err_sys(err, -s->dirfd, "cannot open the guest's folder");
	s->lock = s->args.lock ? (int)s->args.lock : LOCK_FD;
	r = run_note(s->lock);
	if (r >= 0)
		r = fd_cloexec(s->lock, 1);
	if (r < 0)
		return err_sys(err, -r, "cannot use the guest's lock");
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signals < 0 ? err_sys(err, errno, "cannot watch signals") : 0;
}

static int write_state(const struct supervisor *s, struct err *err)
{
	const struct run_state state = {
		.init_pid = s->guest.init_pid,
		.init_start = process_start_time(s->guest.init_pid),
		.supervisor_pid = getpid(),
		.supervisor_start = process_start_time(getpid()),
		.since = time(NULL),
	};
	int r = run_write(s->dirfd, &state);

	return r < 0 ? err_sys(err, -r, "cannot write the guest's state") : 0;
}

/*
 * What is needed from here on: to signal a process of other ids (KILL), to take the link and the
 * rules back (NET_ADMIN), to remove cgroups that the guest made (DAC_OVERRIDE). The bounding set
 * stays, since a reboot of the guest is an exec of this program from the start.
 */
static void drop_privileges(void)
{
	const unsigned int keep = 1u << CAP_KILL | 1u << CAP_NET_ADMIN | 1u << CAP_DAC_OVERRIDE;
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct data[2] = {
		{ .effective = keep, .permitted = keep, .inheritable = 0 },
	};

	if (syscall(SYS_capset, &header, data) < 0)
		log_warn("cannot drop capabilities: %m");
}

static void open_console_file(struct supervisor *s)
{
	struct stat st;

	s->console_file = openat(s->dirfd, "console",
				 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	s->console_size = s->console_file >= 0 && fstat(s->console_file, &st) == 0 ? st.st_size : 0;
}

/* Returns false when the guest has closed its console for now. */
static bool relay_console(struct supervisor *s)
{
	char bytes[4096];
	ssize_t n = read(s->guest.console, bytes, sizeof(bytes));

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	if (s->console_size + n > CONSOLE_MAX) {
		fd_close(s->console_file);
		renameat(s->dirfd, "console", s->dirfd, "console.old");
		open_console_file(s);
	}
	/* A full disk costs console output, not the guest. */
	if (s->console_file >= 0 && fd_write_all(s->console_file, bytes, (size_t)n) == 0)
		s->console_size += n;
	return true;
}

static void stop_politely(struct supervisor *s)
{
	if (s->stopping)
		return;
	s->stopping = true;
	s->kill_at = clock_ms() + (int64_t)s->args.config.stop_timeout * 1000;
	process_signal(s->guest.init_pidfd, s->guest.stop_signal);
}

/* Read signals; true when init has ended, with its status. */
static bool take_signals(struct supervisor *s, int *ret_status)
{
	struct signalfd_siginfo info;
	bool ended = false;
	int status;
	pid_t pid;

	while (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
			stop_politely(s);
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		if (pid == s->guest.init_pid) {
			*ret_status = status;
			ended = true;
		}
	return ended;
}

/* Until init has ended; returns its wait status. */
static int supervise(struct supervisor *s)
{
	struct pollfd p[2] = { { .fd = s->signals, .events = POLLIN },
			       { .fd = s->guest.console, .events = POLLIN } };
	int64_t pause_until = 0, now;
	int status = 0, timeout;

	for (;;) {
		now = clock_ms();
		timeout = -1;
		p[1].fd = now < pause_until ? -1 : s->guest.console;
		if (now < pause_until)
			timeout = (int)(pause_until - now);
		if (s->kill_at && now >= s->kill_at) {
			process_signal(s->guest.init_pidfd, SIGKILL);
			s->kill_at = 0;
		}
		if (s->kill_at && (timeout < 0 || s->kill_at - now < timeout))
			timeout = (int)(s->kill_at - now);
		if (poll(p, 2, timeout) < 0 && errno != EINTR)
			log_warn("poll: %m");
		if (take_signals(s, &status))
			return status;
		if (p[1].fd >= 0 && p[1].revents) {
			/* Closed on the other side: look again in a while, init may open it anew. */
			pause_until = clock_ms() +
				      (relay_console(s) ? CONSOLE_PAUSE_MS : 100 * CONSOLE_PAUSE_MS);
		}
	}
}

/* reboot(2) in a pid namespace ends its init by this signal (pid_namespaces(7)). */
static bool wants_restart(const struct supervisor *s, int status)
{
	return !s->stopping && WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP;
}

/* Begin again from the start, as the same process: exec gives root its capabilities back. */
static void restart(struct supervisor *s)
{
	char *argv[ARGS_MAX];

	s->args.lock = (uint64_t)s->lock;
	fd_cloexec(s->lock, 0);
	args_write(&s->args, "/proc/self/exe", argv);
	sleep(REBOOT_PAUSE);
	execv(argv[0], argv);
	log_err("cannot restart guest %s: %m", s->args.spec.name);
	args_free(argv);
}

/* After a restart from inside, limits and rules are made again; at the first start they are there. */
static int prepare_again(struct supervisor *s, struct err *err)
{
	struct work work = { .config = &s->args.config, .spec = &s->args.spec };
	int r = run_read_limits(s->dirfd, &s->args.spec.limits);

	if (r < 0)
		return err_sys(err, -r, "cannot read the guest's limits");
	for (int i = 1; r == 0 && i < STEPS - 1; i++)
		r = steps[i].up(&work, err);
	return r;
}

static int bring_up(struct supervisor *s, struct err *err)
{
	int r = open_run(s, err);

	if (r == 0 && s->args.lock)
		r = prepare_again(s, err);
	/* For init, which is born with what this process has; it needs no more itself. */
	confine_limits();
	if (r == 0)
		r = type_container.launch(&s->args.config, &s->args.spec, s->args.init, &s->guest,
					  err);
	if (r == 0)
		r = write_state(s, err);
	return r;
}

static void settle(struct supervisor *s)
{
	struct work work = { .config = &s->args.config, .spec = &s->args.spec };

	steps_settle(&work);
}

int main(int argc, char **argv)
{
	struct supervisor s = { .dirfd = -1 };
	const struct cgroup_manager *manager;
	struct err err = { 0 };
	bool again;
	int r;

	r = args_read(argc, argv, &s.args, &err);
	again = s.args.lock != 0;
	if (!again)
		fd_cloexec(REPORT_FD, 1);
	if (r == 0)
		r = bring_up(&s, &err);
	if (r != 0) {
		log_err("%s", err.text);
		if (!again)
			report("error %d %s", r, err.text);
		else
			settle(&s);
		return err_exit_status(r);
	}
	if (!again)
		report("ready\n");
	prctl(PR_SET_NAME, "vm2-guest", 0, 0, 0);
	manager = cgroup_pick(NULL);
	if (manager && !again)
		cgroup_shelter(manager, s.args.config.instance);
	drop_privileges();
	open_console_file(&s);
	r = supervise(&s);
	settle(&s);
	if (wants_restart(&s, r))
		restart(&s);
	return 0;
}
