/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/logout.h"

#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/guest/guest.h"
#include "provision/session/login.h"

#define LIMIT_MS 2000

static _Noreturn void write_inside(const struct guest_run *run, unsigned int line, pid_t pid)
{
	struct login l = { .pid = pid };
	char name[32];

	snprintf(name, sizeof(name), "pts/%u", line);
	l.line = name;
	/* Safe as for a session: nothing of the guest's is touched before the host's rights are gone. */
	if (guest_enter(run, NULL, 0, NULL) == 0)
		login_end(&l);
	_exit(0);
}

void logout_record(const struct config *config, const char *tenant, unsigned int line, pid_t pid)
{
	CLEANUP_CLOSE int pidfd = -1;
	struct guest_run run;
	pid_t child = -1;

	if (guest_find(config, tenant, &run, NULL) != 0)
		return;
	if (guest_enter_prepare(config, tenant, &run, NULL) == 0)
		child = guest_fork(&run);
	if (child == 0)
		write_inside(&run, line, pid);
	guest_run_close(&run);
	if (child < 0)
		return;
	/* The guest may stop or freeze the child: it is held by pidfd, ours, and not yet reaped. */
	pidfd = (int)syscall(SYS_pidfd_open, child, 0);
	if (pidfd < 0 || process_wait(pidfd, LIMIT_MS) != 0) {
		kill(child, SIGKILL);
		process_wait(pidfd, LIMIT_MS);
	}
	waitpid(child, NULL, WNOHANG);
}
