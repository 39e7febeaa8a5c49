/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm2-guest: the parent of a running guest. It starts init, becomes vm2-guest-keep (keep.c) while that
 * runs, and is itself again when it has ended: it takes back link, rules and cgroup, and begins anew
 * where the guest rebooted or its plan says so. It decides nothing and outlives vm2d. If it is killed,
 * the kernel kills init with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "firewall/owner.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/base/str.h"
#include "provision/guest/args.h"
#include "provision/guest/confine.h"
#include "provision/guest/handoff.h"
#include "provision/guest/notify.h"
#include "provision/guest/run.h"
#include "provision/guest/steps.h"
#include "provision/guest/type.h"

/* What launch.c hands in. */
#define REPORT_FD 3

struct supervisor {
	struct guest_args args;
	struct start *start; /* what was prepared for the guest */
	struct guest_process guest;
	int dirfd, lock, signals;
};

static void report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Tell launch_await(), once. A reader that is gone does not matter. */
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
	int r;

	s->dirfd = run_open(&s->args.config, s->args.spec.name, true);
	if (s->dirfd < 0)
		return err_sys(err, -s->dirfd, "cannot open the guest's folder");
	if (s->args.lock)
		s->lock = (int)s->args.lock;
	r = run_note(s->lock);
	if (r >= 0)
		r = fd_cloexec(s->lock, 1);
	if (r < 0)
		return err_sys(err, -r, "cannot use the guest's lock");
	s->signals = run_signals();
	if (s->signals < 0)
		return err_sys(err, -s->signals, "cannot watch signals");
	r = run_read_limits(s->dirfd, &s->args.spec.limits);
	return r < 0 ? err_sys(err, -r, "cannot read the guest's limits") : 0;
}

/*
 * The programs that this process is next, and then again. They stay what they are if others are
 * installed meanwhile, which may take other words: so they are opened before it waits for anything.
 */
static int open_programs(struct supervisor *s, struct err *err)
{
	char own[PATH_MAX], *slash;
	CLEANUP_FREE char *keeper = NULL;
	ssize_t n;
	int fd;

	n = readlink("/proc/self/exe", own, sizeof(own) - 1);
	own[n < 0 ? 0 : n] = '\0';
	slash = strrchr(own, '/');
	if (slash)
		*slash = '\0';
	keeper = xasprintf("%s/vm2-guest-keep", own);
	fd = open(keeper, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "cannot open %s: is VM2 installed whole?", keeper);
	s->args.keeper = (uint64_t)fd;
	fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, errno, "cannot open /proc/self/exe");
	s->args.program = (uint64_t)fd;
	return 0;
}

static struct work work_of(struct supervisor *s)
{
	return (struct work){ .config = &s->args.config,
			      .spec = &s->args.spec,
			      .held = fcntl(OWNER_HELD_FD, F_GETFD) >= 0 };
}

/* From before there is a link until this process ends: so long, too, there are the rules. */
static int hold_rules(const struct supervisor *s, struct err *err)
{
	const struct rules_base base = { s->args.config.instance, s->args.config.pool4,
					 s->args.config.pool6, s->args.config.run };

	return owner_hold(&base, err);
}

/* After a restart from inside, limits and rules are made again; at the first start they are there. */
static int prepare_again(struct supervisor *s, struct err *err)
{
	struct work work = work_of(s);
	int r = steps[STEP_LIMITS].up(&work, err);

	return r == 0 ? steps[STEP_RULES].up(&work, err) : r;
}

/* All that can be done before it is known for which guest. */
static int prepare(struct supervisor *s, struct err *err)
{
	/* For init, which is born with what this process has; it needs no more itself. */
	confine_limits();
	return type_container.prepare(&s->start, err);
}

/* As it was begun: 0 when it is known what it is for, ERR_NOT_FOUND when nobody wants it any more. */
static int await_handoff(struct supervisor *s, struct err *err)
{
	struct handoff order;
	int r;

	/* What ps(1) and pgrep(1) show: it is no guest's yet, and may be none's for long. */
	prctl(PR_SET_NAME, "vm2-guest-next", 0, 0, 0);
	r = open_programs(s, err);
	if (r == 0)
		r = prepare(s, err);
	if (r == 0)
		r = handoff_receive(REPORT_FD, &order, err);
	if (r != 0)
		return r;
	prctl(PR_SET_NAME, "vm2-guest", 0, 0, 0);
	order.args.keeper = s->args.keeper;
	order.args.program = s->args.program;
	s->args = order.args;
	s->lock = order.lock;
	if (dup2(order.log, STDERR_FILENO) < 0)
		return err_sys(err, errno, "cannot use the guest's log");
	close(order.log);
	return 0;
}

/*
 * Before anybody can find the guest running, so that no session comes too early. Without it there is the
 * filter of init's alone.
 */
static void bind_notify(struct supervisor *s)
{
	int fd = s->guest.listener < 0 ? -1 : notify_bind(s->dirfd);

	s->args.listener = s->guest.listener < 0 ? 0 : (uint64_t)s->guest.listener;
	s->args.notify = fd < 0 ? 0 : (uint64_t)fd;
}

static int bring_up(struct supervisor *s, struct err *err)
{
	int r = hold_rules(s, err);

	if (r == 0 && s->args.lock)
		r = prepare_again(s, err);
	if (r == 0 && s->args.lock)
		r = prepare(s, err);
	if (r == 0)
		r = type_container.launch(s->start, &s->args.config, &s->args.spec, s->args.init,
					  s->args.lock ? -1 : REPORT_FD, &s->guest, err);
	if (r == 0)
		bind_notify(s);
	if (r == 0)
		r = run_write_own(s->dirfd, s->guest.init_pid);
	return r < 0 && !err->code ? err_sys(err, -r, "cannot write the guest's state") : r;
}

static void settle(struct supervisor *s)
{
	struct work work = work_of(s);

	steps_settle(&work);
}

/* False when it is told to stop meanwhile. */
static bool pause_before(const struct supervisor *s, int64_t ms)
{
	struct pollfd p = { .fd = s->signals, .events = POLLIN };
	struct signalfd_siginfo info;
	int64_t end = clock_ms() + ms, left;

	while ((left = end - clock_ms()) > 0) {
		poll(&p, 1, (int)left);
		while (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
			if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
				return false;
	}
	return true;
}

/* Whether it begins again. */
static bool end(struct supervisor *s)
{
	uint64_t ended = s->args.ended;

	settle(s);
	if (ended < ARGS_AGAIN || !pause_before(s, (int64_t)(ended - ARGS_AGAIN)))
		return false;
	/* They may have changed meanwhile. */
	run_read_limits(s->dirfd, &s->args.spec.limits);
	return true;
}

/* Returns only when it failed. */
static void become_keeper(struct supervisor *s)
{
	const int kept[] = { s->lock,
			     s->guest.console,
			     (int)s->args.program,
			     (int)s->args.keeper,
			     (int)s->args.listener,
			     (int)s->args.notify };
	char *argv[ARGS_MAX];

	s->args.lock = (uint64_t)s->lock;
	s->args.init_pid = (uint64_t)s->guest.init_pid;
	s->args.console = (uint64_t)s->guest.console;
	s->args.stop_signal = (uint64_t)s->guest.stop_signal;
	s->args.ended = 0;
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		if (kept[i] > 0)
			fd_cloexec(kept[i], 0);
	fd_cloexec(OWNER_HELD_FD, 0);
	args_write(&s->args, "vm2-guest", argv);
	syscall(SYS_execveat, (int)s->args.keeper, "", argv, environ, AT_EMPTY_PATH);
	log_err("cannot keep guest %s: %m", s->args.spec.name);
	args_free(argv);
}

int main(int argc, char **argv)
{
	struct supervisor s = { .dirfd = -1 };
	struct err err = { 0 };
	bool again = argc > 1;
	int r;

	prctl(PR_SET_NAME, "vm2-guest", 0, 0, 0);
	fd_cloexec(OWNER_HELD_FD, 1);
	if (again) {
		r = args_read(argc, argv, &s.args, &err);
	} else {
		fd_cloexec(REPORT_FD, 1);
		r = await_handoff(&s, &err);
		if (r == ERR_NOT_FOUND)
			return 0;
	}
	if (r == 0)
		r = open_run(&s, &err);
	if (r == 0 && s.args.ended && !end(&s))
		return 0;
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
	become_keeper(&s);
	return 1;
}
