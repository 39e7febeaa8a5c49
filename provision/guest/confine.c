/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

/* Made at build time by seccomp_gen.c: the filter as struct sock_filter initialisers. */
static const struct sock_filter filter[] = {
#include "provision/guest/seccomp.inc"
};

/*
 * Dropped from the bounding set: what the kernel grants to the host's root only, whatever a user
 * namespace says, or what a guest has no business with. Kept are those that daemons and package
 * managers of a whole system need.
 */
static const int dropped[] = {
	CAP_SYS_MODULE,	 CAP_SYS_RAWIO,	    CAP_SYS_TIME,	 CAP_SYS_PACCT,
	CAP_SYSLOG,	 CAP_MAC_ADMIN,	    CAP_MAC_OVERRIDE,	 CAP_AUDIT_CONTROL,
	CAP_AUDIT_READ,	 CAP_WAKE_ALARM,    CAP_BLOCK_SUSPEND,	 CAP_LINUX_IMMUTABLE,
	CAP_PERFMON,	 CAP_BPF,	    CAP_CHECKPOINT_RESTORE,
};

/* Soft and hard. What is not named here is as the host has it; a guest's sum is its cgroup's to bound. */
static const struct {
	int resource;
	rlim_t soft, hard;
} limits[] = {
	{ RLIMIT_NOFILE, 1024, 524288 },	   /* systemd-system.conf(5) */
	{ RLIMIT_MEMLOCK, 8 << 20, 8 << 20 },	   /* getrlimit(2), since Linux 5.16 */
	{ RLIMIT_NICE, 0, 0 },
	{ RLIMIT_RTPRIO, 0, 0 },
};

/*
 * Where kernel.core_pattern names a program, the kernel runs it as the host's root, with what a
 * guest left in its memory for input. A hard limit of one byte is the kernel's own word for: never
 * (core(5), fs/coredump.c). Else the guest gets its core files, when it asks for them.
 */
struct rlimit confine_core_limit(const char *pattern)
{
	if (pattern[0] == '|' || pattern[0] == '@')
		return (struct rlimit){ 1, 1 };
	return (struct rlimit){ 0, RLIM_INFINITY };
}

static void set_limit(int resource, rlim_t soft, rlim_t hard)
{
	struct rlimit limit = { soft, hard }, now;

	if (setrlimit(resource, &limit) == 0 || getrlimit(resource, &now) < 0)
		return;
	/* A host may be held to less itself (a container, fs.nr_open). */
	limit.rlim_max = now.rlim_max;
	limit.rlim_cur = soft < now.rlim_max ? soft : now.rlim_max;
	setrlimit(resource, &limit);
}

void confine_limits(void)
{
	char pattern[256] = "|"; /* what cannot be read is taken for the worst */
	struct rlimit core;

	fd_read_path(AT_FDCWD, "/proc/sys/kernel/core_pattern", pattern, sizeof(pattern));
	core = confine_core_limit(pattern);
	set_limit(RLIMIT_CORE, core.rlim_cur, core.rlim_max);
	for (size_t i = 0; i < ARRAY_LEN(limits); i++)
		set_limit(limits[i].resource, limits[i].soft, limits[i].hard);
	/* Written with CAP_SYS_RESOURCE it is also the lowest that the process may ask for: proc(5). */
	fd_write_path(AT_FDCWD, "/proc/self/oom_score_adj", "0");
}

void confine_processors(uint64_t percent)
{
	uint64_t wanted = (percent + 99) / 100;
	cpu_set_t all, ours;
	int at = sched_getcpu();

	/* More than CPU_SETSIZE of them (EINVAL): what they are is not worth a set of any size. */
	if (!percent || at < 0 || at >= CPU_SETSIZE || sched_getaffinity(0, sizeof(all), &all) < 0 ||
	    (uint64_t)CPU_COUNT(&all) <= wanted)
		return;
	CPU_ZERO(&ours);
	for (int i = 0; i < CPU_SETSIZE && (uint64_t)CPU_COUNT(&ours) < wanted; i++)
		if (CPU_ISSET((at + i) % CPU_SETSIZE, &all))
			CPU_SET((at + i) % CPU_SETSIZE, &ours);
	sched_setaffinity(0, sizeof(ours), &ours);
}

bool confine_has_profiles(void)
{
	return access("/sys/module/apparmor", F_OK) == 0;
}

void confine_profile(int proc)
{
	/* The second is that of Linux before 5.8, or of whichever module is the first. */
	if (fd_write_path(proc, "thread-self/attr/apparmor/exec", "exec vm2-guest") == -ENOENT)
		fd_write_path(proc, "thread-self/attr/exec", "exec vm2-guest");
}

int confine_become_root(struct err *err)
{
	if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, 0, 0, 0) < 0 ||
	    syscall(SYS_setresuid, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot become the guest's root");
	/*
	 * The caller's session keyring would come along. A kernel without keyrings has none to
	 * leak; a full quota must not lead to entering with the host's.
	 */
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS)
		return err_sys(err, errno, "cannot leave the host's keyring");
	return 0;
}

int confine_restrict(struct err *err)
{
	struct sock_fprog program = {
		.len = (unsigned short)ARRAY_LEN(filter),
		.filter = (struct sock_filter *)(uintptr_t)filter,
	};

	for (size_t i = 0; i < ARRAY_LEN(dropped); i++)
		/* EINVAL: a kernel that does not know this one yet. */
		if (prctl(PR_CAPBSET_DROP, dropped[i], 0, 0, 0) < 0 && errno != EINVAL)
			return err_sys(err, errno, "cannot drop capability %d", dropped[i]);
	/* Without no_new_privs, so that su and sudo work inside: CAP_SYS_ADMIN there allows it. */
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return err_sys(err, errno, "cannot set the system call filter");
	return 0;
}
