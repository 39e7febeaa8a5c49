/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm2-init: pid 1 of a guest whose template has no init. Reaps; asked to stop, it ends everything,
 * politely at first, and exits, or begins the guest anew. Static: the guest's tree may hold no
 * library that it could use. The kernel delivers to pid 1 only signals that it waits for.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* How long processes have between SIGTERM and SIGKILL. */
#define POLITE_MS 3000

enum what { NOTHING, STOP, RESTART };

/*
 * From outside (a sender that this pid namespace does not know: 0) every request is one to stop.
 * From inside they mean what busybox's init and reboot(8) have made usual.
 */
static enum what meaning(const siginfo_t *info)
{
	int sig = info->si_signo;

	if (sig == SIGUSR1 || sig == SIGUSR2 || sig == SIGPWR || sig == SIGRTMIN + 3)
		return STOP; /* halt, poweroff, power failure, halt.target */
	if (sig == SIGTERM || sig == SIGINT)
		return info->si_pid == 0 ? STOP : RESTART; /* reboot, Ctrl-Alt-Delete */
	return NOTHING;
}

static void reap(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

/* Processes that were started from outside are no children of ours: so ask for all. */
static int others(void)
{
	return kill(-1, 0) == 0 || errno != ESRCH;
}

static void end_all(void)
{
	static const struct timespec pause = { .tv_nsec = 10000000 };

	kill(-1, SIGTERM);
	kill(-1, SIGCONT);
	for (int ms = 0; ms < POLITE_MS; ms += 10) {
		reap();
		if (!others())
			return;
		nanosleep(&pause, NULL);
	}
	kill(-1, SIGKILL);
	reap();
}

int main(void)
{
	siginfo_t info;
	sigset_t all;

	prctl(PR_SET_NAME, "init", 0, 0, 0);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (;;) {
		int sig = sigwaitinfo(&all, &info);
		enum what what = sig > 0 ? meaning(&info) : NOTHING;

		if (sig == SIGCHLD)
			reap();
		if (what == NOTHING)
			continue;
		end_all();
		if (what == RESTART)
			reboot(RB_AUTOBOOT); /* ends this namespace with the signal that says so */
		return 0;
	}
}
