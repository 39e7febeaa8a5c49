/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/guest/inside.h"

#define FOLDER INSIDE_PRIVATE "/stage"

/* In the guest's /dev, in the order of making. */
static const char *const folders[] = {
	FOLDER,
	FOLDER "/root",
	FOLDER "/lower",
	FOLDER "/base",
	FOLDER "/own",
	FOLDER "/furniture",
	FOLDER "/furniture/proc",
	FOLDER "/furniture/dev",
	FOLDER "/furniture/sys",
	FOLDER "/furniture/run",
};

static int fill(int dev, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(folders); i++)
		if (mkdirat(dev, folders[i], 0755) < 0)
			return err_sys(err, errno, "cannot make the guest's /dev/%s", folders[i]);
	return 0;
}

/*
 * In a mount namespace of its own: have the stage be the root there, and nothing else left. The place
 * at which it is attached first is a folder that every host has.
 */
static int empty(int *dev, struct err *err)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
					       MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC };
	CLEANUP_CLOSE int stage = -1, copy = -1;

	/* Nothing that happens here is to be seen on the host, nor the other way round. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_sys(err, errno, "cannot make the mounts private");
	/* Older kernels copy no mount that has no place (EINVAL). */
	if (move_mount(*dev, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "cannot attach the guest's /dev");
	stage = open_tree(*dev, FOLDER, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	copy = open_tree(*dev, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
	if (stage < 0 || copy < 0 ||
	    mount_setattr(stage, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 ||
	    move_mount(stage, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
	    fchdir(stage) < 0)
		return err_sys(err, errno, "cannot make the stage");
	if (syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0)
		return err_sys(err, errno, "cannot leave the host's mounts");
	fd_close(*dev);
	*dev = steal_fd(&copy);
	return 0;
}

int stage_leave(const struct stage *stage, int r, struct err *err)
{
	if (setns(stage->host, CLONE_NEWNS) < 0)
		return err_sys(err, errno, "cannot return to the host's mount namespace");
	return r;
}

int stage_make(struct stage *ret, int proc, int *dev, struct err *err)
{
	int r = fill(*dev, err);

	if (r < 0)
		return r;
	ret->host = openat(proc, "thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (ret->host < 0 || unshare(CLONE_NEWNS) < 0)
		return err_sys(err, errno, "cannot make a mount namespace");
	r = empty(dev, err);
	if (r == 0) {
		ret->mounts = openat(proc, "thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
		r = ret->mounts < 0 ? err_sys(err, errno, "cannot open the stage") : 0;
	}
	return stage_leave(ret, r, err);
}
