/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/errand.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/guest/guest.h"

#define LIMIT_MS 2000

/* Safe as for a session: nothing of the guest's is touched before the host's rights are gone. */
static _Noreturn void run_inside(const struct guest_run *run, void (*fn)(const void *data), const void *data)
{
	if (guest_enter(run, NULL, 0, NULL) == 0)
		fn(data);
	_exit(0);
}

/* The guest may stop or freeze the child: it is held by pidfd, ours, and not yet reaped. */
static void wait_or_kill(pid_t child)
{
	CLEANUP_CLOSE int pidfd = (int)syscall(SYS_pidfd_open, child, 0);

	if (pidfd < 0 || process_wait(pidfd, LIMIT_MS) != 0) {
		kill(child, SIGKILL);
		process_wait(pidfd, LIMIT_MS);
	}
	waitpid(child, NULL, WNOHANG);
}

void errand_run(const struct config *config, const char *tenant, void (*fn)(const void *data),
	const void *data)
{
	CLEANUP_CLOSE int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	struct guest_run run;
	pid_t child = -1;

	if (own < 0 || guest_find(config, tenant, &run, NULL) != 0)
		return;
	if (guest_enter_prepare(config, tenant, &run, NULL) == 0)
		child = guest_fork(&run);
	if (child == 0)
		run_inside(&run, fn, data);
	guest_run_close(&run);
	/* The caller's next child is to be the host's again. */
	setns(own, CLONE_NEWPID);
	if (child > 0)
		wait_or_kill(child);
}
