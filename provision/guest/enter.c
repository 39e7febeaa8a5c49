/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The way in, for vm2-session. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/guest/cgroup.h"
#include "provision/guest/confine.h"
#include "provision/guest/guest.h"
#include "provision/guest/lxcfs.h"
#include "provision/guest/notify.h"
#include "provision/guest/run.h"

#define NAMESPACES                                                                         \
	(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP |     \
	 CLONE_NEWNET | CLONE_NEWTIME)

/* What its vm2-guest goes by, too; and the way to that. */
static void look(const struct config *config, const char *name, struct guest_run *run)
{
	CLEANUP_CLOSE int dirfd = run_open(config, name, false);
	struct limits limits = { 0 };

	if (dirfd >= 0)
		run_read_limits(dirfd, &limits);
	run->cpu = limits.cpu;
	run->keeper = notify_connect(dirfd);
}

int guest_enter_prepare(const struct config *config, const char *name, struct guest_run *run,
			struct err *err)
{
	const char *why = NULL;
	const struct cgroup_manager *manager = cgroup_pick(&why);
	int r;

	if (!manager)
		return err_set(err, ERR_FAILED, "no limits can be set: %s", why);
	r = manager->open_way(config->instance, name, true, &run->way, err);
	if (r < 0)
		return r;
	run->lxcfs = lxcfs_device(config);
	look(config, name, run);
	/* Only children are born there; the caller keeps its own processes in sight. */
	if (setns(run->init_pidfd, CLONE_NEWPID) < 0)
		return err_sys(err, errno, "cannot enter the processes of guest %s", name);
	return 0;
}

pid_t guest_fork(const struct guest_run *run)
{
	return cgroup_fork(&run->way);
}

void guest_leave(struct guest_run *run)
{
	run->init_pidfd = fd_close(run->init_pidfd);
	cgroup_close_way(&run->way);
	if (run->keeper > 0)
		run->keeper = fd_close(run->keeper);
}

/* Close all but keep[0..n), which ascend. */
static int close_others(const int *keep, int n)
{
	unsigned int from = 0;

	for (int i = 0; i < n; i++) {
		unsigned int kept = (unsigned int)keep[i];

		if (kept > from && syscall(SYS_close_range, from, kept - 1, 0) < 0)
			return -errno;
		from = kept + 1;
	}
	return syscall(SYS_close_range, from, ~0u, 0) < 0 ? -errno : 0;
}

static void take_profile(void)
{
	CLEANUP_CLOSE int proc = -1;

	if (!confine_has_profiles())
		return;
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	confine_profile(proc);
}

int guest_enter(const struct guest_run *run, const int *keep, int n_keep, struct err *err)
{
	int r;

	/*
	 * From its birth this process can be seen in the guest. Not dumpable, it cannot be traced
	 * nor its memory, descriptors or program be opened by anyone there until it has exec'd.
	 */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot shield the process that enters");
	confine_limits();
	take_profile();
	r = cgroup_step_in(&run->way);
	if (r < 0)
		return err_sys(err, -r, "cannot enter the guest's control group");
	/*
	 * One call for all: the kernel checks each with the credentials of before, then changes
	 * them together. So the host's network namespace owner may be another than the guest's.
	 */
	if (setns(run->init_pidfd, NAMESPACES) < 0)
		return err_sys(err, errno, "cannot enter the guest's namespaces");
	r = confine_become_root(err);
	if (r < 0)
		return r;
	/* The change of ids has set it anew, to fs.suid_dumpable; `vm2 host check` wants that not to be 1. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot shield the process that enters");
	umask(022);
	/* The guest's own root: nothing of the host is to be reached by a path from here on. */
	if (chdir("/") < 0)
		return err_sys(err, errno, "cannot enter the guest's root");
	lxcfs_drop_dead(run->lxcfs);
	confine_processors(run->cpu);
	r = close_others(keep, n_keep);
	if (r < 0)
		return err_sys(err, -r, "cannot close the host's descriptors");
	return confine_restrict(err);
}

int guest_enter_end(const struct guest_run *run, struct err *err)
{
	int r = notify_enter(run->keeper);

	return r < 0 ? err_set(err, ERR_BUSY,
			       "the guest's vm2-guest-keep takes nobody, whose statfs(2) it is to answer: %s; "
			       "try again, or restart the guest",
			       strerror(-r)) :
		       0;
}
