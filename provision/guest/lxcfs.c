/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/lxcfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "provision/base/cleanup.h"

/*
 * Not uptime: the guest's time namespace shows it. Not stat: by its btime ps(1) tells when processes began,
 * and lxcfs has that of the host's boot, the kernel that of the guest's. Not diskstats and slabinfo: they are
 * the host's. What nproc(1) looks at is confine_processors()'s.
 */
const char *const lxcfs_files[LXCFS_FILES] = {
	"/proc/meminfo",
	"/proc/cpuinfo",
	"/proc/loadavg",
	"/proc/swaps",
	"/sys/devices/system/cpu/online",
};

/*
 * The file system that a path is on, from what the kernel knows: a FUSE server that is dead, or
 * does not answer, is not asked. For the root of a mount nothing below it is looked up.
 */
static uint64_t device_of(const char *path)
{
	struct statx st;

	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, 0,
		  &st) < 0)
		return 0;
	return makedev(st.stx_dev_major, st.stx_dev_minor);
}

/* lxcfs locks its pid file as long as it lives. */
static bool lives(const struct config *config)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	CLEANUP_CLOSE int fd = -1;
	char path[256];

	snprintf(path, sizeof(path), "%s/lxcfs.pid", config->run);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

uint64_t lxcfs_device(const struct config *config)
{
	char path[256];
	uint64_t device;

	snprintf(path, sizeof(path), "%s/lxcfs", config->run);
	device = lives(config) ? device_of(path) : 0;
	/* It may not have mounted yet. */
	return device == device_of(config->run) ? 0 : device;
}

void lxcfs_open(const struct config *config, int ret[LXCFS_FILES])
{
	/* Private: what the guest mounts over its copies must not come back to the host. */
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
					       MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY,
				   .propagation = MS_PRIVATE };
	bool serves = lxcfs_device(config) != 0;
	char path[256];

	for (size_t i = 0; i < LXCFS_FILES; i++) {
		CLEANUP_CLOSE int fd = -1;

		snprintf(path, sizeof(path), "%s/lxcfs%s", config->run, lxcfs_files[i]);
		if (serves)
			fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
		if (fd >= 0 && mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
			fd = fd_close(fd);
		ret[i] = steal_fd(&fd);
	}
}

void lxcfs_drop_dead(uint64_t device)
{
	uint64_t now = device_of(lxcfs_files[0]);

	/* The common cases: it is of the run of lxcfs that serves now, or the kernel's own. */
	if (now == 0 || now == device || now == device_of("/proc"))
		return;
	for (size_t i = 0; i < LXCFS_FILES; i++) {
		CLEANUP_CLOSE int fd =
			open(lxcfs_files[i], O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);

		/* Safe: the guest's own mount, and of a server that the kernel knows to be dead. */
		if (fd < 0 && errno == ENOTCONN)
			umount2(lxcfs_files[i], MNT_DETACH | UMOUNT_NOFOLLOW);
	}
}
