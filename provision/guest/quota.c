/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/quota.h"

#include <errno.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* asm-generic/unistd.h; Linux 5.14 */
#ifndef SYS_quotactl_fd
#define SYS_quotactl_fd 443
#endif

/* The unit of struct if_dqblk's limits (linux/quota.h: QIF_DQBLKSIZE). */
#define BLOCK 1024

static int control(int fd, unsigned int command, uint32_t project, void *data)
{
	return syscall(SYS_quotactl_fd, fd, QCMD(command, PRJQUOTA), project, data) < 0 ? -errno : 0;
}

bool quota_enforced(int fd)
{
	struct fs_quota_statv state = { .qs_version = FS_QSTATV_VERSION1 };

	return control(fd, Q_XGETQSTATV, 0, &state) == 0 && (state.qs_flags & FS_QUOTA_PDQ_ENFD);
}

int quota_adopt(int dirfd, uint32_t project)
{
	struct fsxattr attr;

	if (ioctl(dirfd, FS_IOC_FSGETXATTR, &attr) < 0)
		return -errno;
	attr.fsx_projid = project;
	attr.fsx_xflags |= FS_XFLAG_PROJINHERIT;
	return ioctl(dirfd, FS_IOC_FSSETXATTR, &attr) < 0 ? -errno : 0;
}

uint32_t quota_project(int dirfd)
{
	struct fsxattr attr;

	if (ioctl(dirfd, FS_IOC_FSGETXATTR, &attr) < 0 || !(attr.fsx_xflags & FS_XFLAG_PROJINHERIT))
		return 0;
	return attr.fsx_projid;
}

int quota_usage(int fd, uint32_t project, uint64_t *ret_bytes, uint64_t *ret_inodes)
{
	struct if_dqblk use = { 0 };
	int r = control(fd, Q_GETQUOTA, project, &use);

	/* XFS has no record of what was never charged nor limited. */
	if (r < 0 && r != -ENOENT)
		return r;
	*ret_bytes = use.dqb_curspace;
	*ret_inodes = use.dqb_curinodes;
	return 0;
}

int quota_limit(int fd, uint32_t project, uint64_t bytes, uint64_t inodes)
{
	struct if_dqblk limits = {
		.dqb_bhardlimit = bytes / BLOCK + (bytes % BLOCK != 0),
		.dqb_ihardlimit = inodes,
		.dqb_valid = QIF_LIMITS,
	};

	return control(fd, Q_SETQUOTA, project, &limits);
}
