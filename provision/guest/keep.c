/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm2-guest-keep: what a vm2-guest is while its guest runs. It keeps the console, watches, asks init to
 * stop on SIGTERM, and when init has ended becomes vm2-guest again, which takes back what there was and
 * begins anew if it is to. The same process all the time: init stays its child, and dies with it.
 *
 * A program of its own, static and small, for there is one of them per guest: what is needed to start
 * and to end a guest is in the memory of none that runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <link.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/base/str.h"
#include "provision/guest/answer.h"
#include "provision/guest/args.h"
#include "provision/guest/run.h"
#include "provision/guest/watch.h"

/* The console's file: this much, and as much again in console.old. */
#define CONSOLE_MAX 65536
/* A guest that floods its console is read this often, 4,096 bytes at a time. */
#define CONSOLE_PAUSE_MS 10
/* A guest that reboots is held back this long; one that fails again and again twice as long each time. */
#define PAUSE_MS     1000
#define PAUSE_MAX_MS 60000
/* A guest that ran this long before it failed is not failing again. */
#define STEADY_MS 60000
/*
 * An idle guest is first made not to be found; whoever found it just before has so long to come in.
 */
#define QUIET_MS 3000
/* Memory has run out: whom the kernel has killed for it is looked at so often, and so many times. */
#define OOM_LOOK_MS 300
#define OOM_LOOKS   10

/* More than is ever used of the stack before it runs. */
#define STACK_SIZE 65536

struct keeper {
	struct guest_args args;
	pid_t init_pid;
	int init_pidfd, console;
	int dirfd, signals;
	int console_file;
	off_t console_size;
	bool stopping;
	int64_t kill_at; /* clock_ms() when a stopping guest is killed; 0 when not stopping */
	struct watch watch;
	int64_t quiet_at; /* clock_ms() when a guest that is to be stopped, idle, is; 0: it is not */
	int64_t began_at;
	int64_t oom_at; /* clock_ms() when the count of killed processes is looked at; 0: it is not */
	int oom_looks;	/* how often that is done */
	struct answers answers;
};

/*
 * What is needed here: to signal a process of other ids; and where statfs(2) is answered, to look at the
 * guest's processes, and at paths as they do (asked.c). The bounding set stays, since when the guest has
 * ended vm2-guest is needed again, with all that it may.
 */
static void drop_privileges(bool answers)
{
	const unsigned int keep = 1u << CAP_KILL |
				  (answers ? 1u << CAP_SYS_PTRACE | 1u << CAP_DAC_READ_SEARCH |
						     1u << CAP_SETUID | 1u << CAP_SETGID :
					     0);
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct data[2] = {
		{ .effective = keep, .permitted = keep, .inheritable = 0 },
	};

	if (syscall(SYS_capset, &header, data) < 0)
		log_warn("cannot drop capabilities: %m");
}

static void open_console_file(struct keeper *s)
{
	struct stat st;

	s->console_file = openat(s->dirfd, "console",
				 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	s->console_size = s->console_file >= 0 && fstat(s->console_file, &st) == 0 ? st.st_size : 0;
}

static void keep_console(struct keeper *s, const char *bytes, size_t n)
{
	if (s->console_size + (off_t)n > CONSOLE_MAX) {
		fd_close(s->console_file);
		renameat(s->dirfd, "console", s->dirfd, "console.old");
		open_console_file(s);
	}
	/* A full disk costs console output, not the guest. */
	if (s->console_file >= 0 && fd_write_all(s->console_file, bytes, n) == 0)
		s->console_size += (off_t)n;
}

/*
 * Returns false when the guest has closed its console for now. Not inlined: its page of stack is only
 * where a guest says something.
 */
static __attribute__((noinline)) bool relay_console(struct keeper *s)
{
	char bytes[4096];
	ssize_t n = read(s->console, bytes, sizeof(bytes));

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	keep_console(s, bytes, (size_t)n);
	return true;
}

static void stop_politely(struct keeper *s)
{
	if (s->stopping)
		return;
	s->stopping = true;
	s->kill_at = clock_ms() + (int64_t)s->args.config.stop_timeout * 1000;
	process_signal(s->init_pidfd, (int)s->args.stop_signal);
}

/* A line of our own in the console's file: who looks there looks for it. */
static void note(struct keeper *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(struct keeper *s, const char *fmt, ...)
{
	char text[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n > 0 && s->console_file >= 0)
		keep_console(s, text, strnlen(text, sizeof(text)));
}

/*
 * The plan says that a guest that nobody uses is stopped. Without its state nobody finds it running:
 * who comes now waits for its end, and starts it again. Returns for how long nothing need be done.
 */
static int64_t look_idle(struct keeper *s, int64_t now)
{
	int64_t left;

	if (s->stopping)
		return -1;
	left = s->args.spec.limits.idle ? watch_idle(&s->watch, s->args.spec.limits.idle) : -1;
	if (left != 0 && s->quiet_at) {
		s->quiet_at = 0;
		run_write_own(s->dirfd, s->init_pid);
	} else if (left == 0 && !s->quiet_at) {
		s->quiet_at = now + QUIET_MS;
		unlinkat(s->dirfd, "state", 0);
	} else if (left == 0 && now >= s->quiet_at) {
		note(s, "vm2: stopped, for nobody was here for %" PRIu64 " s\n",
		     s->args.spec.limits.idle);
		stop_politely(s);
		return 0;
	}
	return s->quiet_at ? s->quiet_at - now : left;
}

/* The kernel tells before it kills: the count is looked at a few times. */
static void look_oom(struct keeper *s, int64_t now)
{
	uint64_t kills = watch_kills(&s->watch);

	s->oom_looks = kills ? 0 : s->oom_looks - 1;
	s->oom_at = s->oom_looks > 0 ? now + OOM_LOOK_MS : 0;
	if (kills)
		note(s, "vm2: out of memory (%" PRIu64 " bytes): %" PRIu64 " process%s killed\n",
		     s->args.spec.limits.memory, kills, kills == 1 ? "" : "es");
}

static void read_anew(struct keeper *s)
{
	run_read_limits(s->dirfd, &s->args.spec.limits);
	s->answers.limit = s->args.spec.limits.disk;
	watch_renew(&s->watch);
}

/* Read signals; true when init has ended, with its status. */
static bool take_signals(struct keeper *s, int *ret_status)
{
	struct signalfd_siginfo info;
	bool ended = false;
	int status;
	pid_t pid;

	while (read(s->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
			stop_politely(s);
		else if (info.ssi_signo == SIGHUP)
			read_anew(s);
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		answers_reaped(&s->answers, pid);
		if (pid == s->init_pid) {
			*ret_status = status;
			ended = true;
		}
	}
	return ended;
}

/* The sooner of two moments, of which negative ones are never. */
static int sooner(int64_t a, int64_t b)
{
	int64_t t = a < 0 || (b >= 0 && b < a) ? b : a;

	return t > INT_MAX ? INT_MAX : (int)t;
}

/* Until init has ended; returns its wait status. */
static int supervise(struct keeper *s)
{
	struct pollfd p[6] = { { .fd = s->signals, .events = POLLIN },
			       { .fd = s->console, .events = POLLIN } };
	int64_t pause_until = 0, now, wait;
	int status = 0;

	for (;;) {
		now = clock_ms();
		p[1].fd = now < pause_until ? -1 : s->console;
		if (s->kill_at && now >= s->kill_at) {
			process_signal(s->init_pidfd, SIGKILL);
			s->kill_at = 0;
		}
		if (s->oom_at && now >= s->oom_at)
			look_oom(s, now);
		wait = look_idle(s, now);
		wait = sooner(wait, s->oom_at ? s->oom_at - now : -1);
		wait = sooner(wait, now < pause_until ? pause_until - now : -1);
		wait = sooner(wait, s->kill_at ? s->kill_at - now : -1);
		watch_poll(&s->watch, &p[2], &p[3]);
		if (!s->args.spec.limits.idle)
			p[3].fd = -1;
		wait = sooner(wait, answers_poll(&s->answers, now, &p[4]));
		if (poll(p, 6, (int)wait) < 0 && errno != EINTR)
			log_warn("poll: %m");
		if (p[2].fd >= 0 && p[2].revents) {
			watch_heard(&s->watch);
			s->oom_looks = OOM_LOOKS;
			s->oom_at = now + OOM_LOOK_MS;
		}
		if (take_signals(s, &status))
			return status;
		answers_serve(&s->answers, &p[4]);
		if (p[1].fd >= 0 && p[1].revents) {
			/* Closed on the other side: look again in a while, init may open it anew. */
			pause_until = clock_ms() +
				      (relay_console(s) ? CONSOLE_PAUSE_MS : 100 * CONSOLE_PAUSE_MS);
		}
	}
}

/*
 * Whether the guest begins again, and after how many milliseconds. Of a pid namespace's init that
 * called reboot(2) the status says which: SIGHUP to restart, SIGINT to halt (pid_namespaces(7)).
 */
static bool wants_restart(struct keeper *s, int status, int64_t *ret_pause)
{
	uint64_t policy = s->args.spec.limits.restart, n = 0;
	bool asked = WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP;
	bool clean = (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
		     (WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);

	if (s->stopping || (!asked && (policy == LIMITS_RESTART_NO ||
				       (clean && policy == LIMITS_RESTART_ON_FAILURE))))
		return false;
	if (!asked && clock_ms() - s->began_at < STEADY_MS)
		n = s->args.failures + 1;
	*ret_pause = n > 6 ? PAUSE_MAX_MS : PAUSE_MS << n;
	if (*ret_pause > PAUSE_MAX_MS)
		*ret_pause = PAUSE_MAX_MS;
	s->args.failures = n;
	if (!asked)
		note(s, "vm2: init ended (%s %d); it begins again in %" PRId64 " s\n",
		     WIFEXITED(status) ? "status" : "signal",
		     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), *ret_pause / 1000);
	return true;
}

/* Init is ours and was not waited for: its number is no other's. */
static int open_all(struct keeper *s, struct err *err)
{
	const struct guest_args *args = &s->args;
	int r;

	s->init_pid = (pid_t)args->init_pid;
	s->console = (int)args->console;
	s->signals = run_signals();
	s->init_pidfd = (int)syscall(SYS_pidfd_open, s->init_pid, 0);
	s->dirfd = run_open(&args->config, args->spec.name, true);
	if (s->signals < 0 || s->init_pidfd < 0 || s->dirfd < 0)
		return err_set(err, ERR_FAILED, "cannot keep guest %s", args->spec.name);
	fd_cloexec(s->console, 1);
	r = run_read_limits(s->dirfd, &s->args.spec.limits);
	if (r < 0)
		return err_sys(err, -r, "cannot read the guest's limits");
	r = answers_begin(&s->answers, args, s->dirfd);
	s->answers.limit = args->spec.limits.disk;
	return r < 0 ? err_sys(err, -r, "cannot answer for the guest's files") : 0;
}

/* By exec, which gives root its capabilities back. What is not handed on closes itself. */
static void become_guest(struct keeper *s)
{
	char *argv[ARGS_MAX];

	args_write(&s->args, "vm2-guest", argv);
	syscall(SYS_execveat, (int)s->args.program, "", argv, environ, AT_EMPTY_PATH);
	log_err("cannot end guest %s: %m", s->args.spec.name);
	args_free(argv);
}

/* Page by page it is read again from the program, where it is needed. */
static int give_back_code(struct dl_phdr_info *info, size_t size, void *data)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)data;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uintptr_t begin = (info->dlpi_addr + part->p_vaddr) & ~(page - 1);

		if (part->p_type == PT_LOAD && !(part->p_flags & PF_W))
			madvise((void *)begin, info->dlpi_addr + part->p_vaddr + part->p_memsz - begin,
				MADV_DONTNEED);
	}
	return 1; /* the first is the program */
}

/*
 * What the start of a program leaves of its stack is as much as all the rest of it, and most of what it
 * ran is not run again: back to the kernel. Not inlined: its frame is below all that is in use. A page
 * more stays, for whoever is called here; what is needed later comes as zeros.
 */
static __attribute__((noinline)) void give_back(void)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0), page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t end = (here & ~(page - 1)) - page;

	dl_iterate_phdr(give_back_code, NULL);
	madvise((void *)(end - STACK_SIZE), STACK_SIZE, MADV_DONTNEED);
}

int main(int argc, char **argv)
{
	struct keeper s = { .dirfd = -1 };
	struct err err = { 0 };
	int64_t pause = 0;
	int r, status;

	prctl(PR_SET_NAME, "vm2-guest", 0, 0, 0);
	r = args_read(argc, argv, &s.args, &err);
	if (r == 0)
		r = open_all(&s, &err);
	if (r != 0) {
		/* Init goes with this process, and whoever comes next finds what is left. */
		log_err("%s", err.text);
		return err_exit_status(r);
	}
	s.began_at = clock_ms();
	watch_begin(&s.watch, s.args.config.instance, s.args.spec.name);
	drop_privileges(s.answers.epoll >= 0);
	open_console_file(&s);
	give_back();
	status = supervise(&s);
	look_oom(&s, 0);
	watch_end(&s.watch);
	s.args.ended = wants_restart(&s, status, &pause) ? ARGS_AGAIN + (uint64_t)pause : ARGS_ENDED;
	s.args.init_pid = s.args.console = s.args.listener = s.args.notify = 0;
	become_guest(&s);
	return 1;
}
