/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "provision/base/cleanup.h"

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
