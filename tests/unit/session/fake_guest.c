/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What vm2-session needs of a guest, for a "guest" that is nothing but namespaces. */
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <unistd.h>

#include "provision/base/fd.h"
#include "provision/guest/guest.h"

int guest_enter_prepare(const struct config *config, const char *name, struct guest_run *run,
			struct err *err)
{
	if (setns(run->init_pidfd, CLONE_NEWPID) < 0)
		return err_sys(err, errno, "cannot enter the fake guest's processes");
	return 0;
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
