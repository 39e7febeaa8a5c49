/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/pool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

/* Others take loop devices, too: so often is another one tried. */
#define LOOP_TRIES 64

#define DEVICE_MAX 32

char *pool_path(const struct config *config)
{
	return xasprintf("%s/pool.btrfs", config->state);
}

/* One that has the file already: a guest that runs may hold the file system still. */
static int find_attached(int file, char device[DEVICE_MAX])
{
	CLEANUP_CLOSEDIR DIR *dir = opendir("/sys/block");
	struct loop_info64 info;
	struct dirent *e;
	struct stat st;

	if (fstat(file, &st) < 0)
		return -errno;
	while (dir && (e = readdir(dir))) {
		CLEANUP_CLOSE int fd = -1;

		if (!str_starts(e->d_name, "loop"))
			continue;
		snprintf(device, DEVICE_MAX, "/dev/%.20s", e->d_name);
		fd = open(device, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_GET_STATUS64, &info) == 0 &&
		    info.lo_device == st.st_dev && info.lo_inode == st.st_ino)
			return steal_fd(&fd);
	}
	return -ENOENT;
}

/* A free loop device becomes the file's; a descriptor of the device, or -errno. */
static int attach(int file, char device[DEVICE_MAX])
{
	/* No pages are kept twice where the file system can do that, and none is left behind. */
	struct loop_config how = {
		.fd = (unsigned int)file,
		.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
	};
	CLEANUP_CLOSE int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	if (control < 0)
		return -errno;
	for (int i = 0; i < LOOP_TRIES; i++) {
		CLEANUP_CLOSE int fd = -1;
		int number = ioctl(control, LOOP_CTL_GET_FREE);

		if (number < 0)
			return -errno;
		snprintf(device, DEVICE_MAX, "/dev/loop%d", number);
		fd = open(device, O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		if (ioctl(fd, LOOP_CONFIGURE, &how) == 0)
			return steal_fd(&fd);
		if (errno != EBUSY)
			return -errno;
	}
	return -EBUSY;
}

static int mount_file(const char *path, const char *at, struct err *err)
{
	/* O_NOFOLLOW: what is mounted lies in the state directory, which only root can write. */
	CLEANUP_CLOSE int file = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW), loop = -1;
	char device[DEVICE_MAX] = "";

	if (file < 0)
		return err_sys(err, errno, "cannot open the guests' pool %s", path);
	loop = find_attached(file, device);
	if (loop < 0)
		loop = attach(file, device);
	if (loop < 0)
		return err_sys(err, -loop, "cannot get a loop device for the guests' pool %s", path);
	/*
	 * Safe: root made the file system, and guests get at their own subvolume only. Not nosuid:
	 * guests' setuid programs are in it. paths.guests is for root alone (0700).
	 */
	if (mount(device, at, "btrfs", MS_NODEV | MS_NOATIME, "discard=async") < 0)
		return err_sys(err, errno, "cannot mount the guests' pool %s at %s", path, at);
	if (chmod(at, 0700) < 0)
		return err_sys(err, errno, "cannot set the mode of %s", at);
	return 1;
}

/* Whether something is mounted at the path: its device is not its parent's. */
static bool mounted(const char *path)
{
	CLEANUP_FREE char *parent = xasprintf("%s/..", path);
	struct stat here, above;

	return stat(path, &here) == 0 && stat(parent, &above) == 0 && here.st_dev != above.st_dev;
}

static bool on_btrfs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == BTRFS_SUPER_MAGIC;
}

int pool_mount(const struct config *config, struct err *err)
{
	CLEANUP_FREE char *path = pool_path(config);
	int r;

	if (access(path, F_OK) < 0)
		return 0;
	r = fd_mkdirs(config->guests, 0700);
	if (r < 0)
		return err_sys(err, -r, "cannot make %s", config->guests);
	if (mounted(config->guests) && on_btrfs(config->guests))
		return 0;
	return mount_file(path, config->guests, err);
}

int pool_unmount(const struct config *config, struct err *err)
{
	CLEANUP_FREE char *path = pool_path(config);

	if (access(path, F_OK) < 0 || !mounted(config->guests))
		return 0;
	if (umount2(config->guests, UMOUNT_NOFOLLOW) < 0)
		return err_sys(err, errno, "cannot take the guests' pool off %s", config->guests);
	return 1;
}
