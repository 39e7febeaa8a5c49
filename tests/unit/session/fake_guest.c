/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What vm2-session needs of a guest, for a "guest" that is nothing but namespaces. */
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <unistd.h>

#include "provision/base/fd.h"
#include "provision/base/cleanup.h"
#include "provision/guest/guest.h"
#include "tests/unit/sanitized.h"

#ifdef SANITIZED
/*
 * Looking for leaks takes ptrace(2) of the process by a child of its own, which this one, without
 * capabilities and not dumpable, does not allow: it would wait for ever.
 */
const char *__asan_default_options(void);

__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

int guest_enter_prepare(const struct config *config, const char *name, struct guest_run *run,
			struct err *err)
{
	if (setns(run->init_pidfd, CLONE_NEWPID) < 0)
		return err_sys(err, errno, "cannot enter the fake guest's processes");
	return 0;
}

void guest_leave(struct guest_run *run)
{
	run->init_pidfd = fd_close(run->init_pidfd);
}

pid_t guest_fork(const struct guest_run *run)
{
	(void)run;
	return fork();
}

int guest_enter(const struct guest_run *run, const int *keep, int n_keep, struct err *err)
{
	if (setns(run->init_pidfd, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS |
					   CLONE_NEWNET) < 0)
		return err_sys(err, errno, "cannot enter the fake guest");
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0 ||
	    chdir("/") < 0)
		return err_sys(err, errno, "cannot become the fake guest's root");
	return fd_close_from(keep[n_keep - 1] + 1);
}

int guest_enter_end(const struct guest_run *run, struct err *err)
{
	(void)run;
	(void)err;
	return 0;
}
