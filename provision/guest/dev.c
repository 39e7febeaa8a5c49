/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/dev.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/guest/inside.h"

/* The device nodes of a guest: Documentation/admin-guide/devices.txt of the kernel has the numbers. */
static const struct {
	const char *name;
	unsigned int major, minor;
} nodes[] = {
	{ "null", 1, 3 },   { "zero", 1, 5 },	 { "full", 1, 7 },
	{ "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
};

/*
 * The guest's /dev. Only the host may make device nodes; on the host's own, which all would share, a
 * guest could watch and lock what its neighbours use. Safe: these six give nothing away, the guest
 * cannot make others (mknod(2) asks for the host's root), and the mount is in no tree yet.
 */
int dev_make(struct err *err)
{
	CLEANUP_CLOSE int fs = fsopen("tmpfs", FSOPEN_CLOEXEC), fd = -1;

	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "source", "dev", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "mode", "755", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "size", "1m", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "4k", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_sys(err, errno, "cannot make the guest's /dev");
	fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID);
	if (fd < 0)
		return err_sys(err, errno, "cannot mount the guest's /dev");
	for (size_t i = 0; i < ARRAY_LEN(nodes); i++)
		if (mknodat(fd, nodes[i].name, S_IFCHR, makedev(nodes[i].major, nodes[i].minor)) <
			    0 ||
		    fchmodat(fd, nodes[i].name, 0666, 0) < 0)
			return err_sys(err, errno, "cannot make the guest's /dev/%s",
				       nodes[i].name);
	if (mkdirat(fd, INSIDE_PRIVATE, 0700) < 0)
		return err_sys(err, errno, "cannot make the guest's /dev/" INSIDE_PRIVATE);
	return steal_fd(&fd);
}

int dev_give(int dev, uid_t owner, struct err *err)
{
	int r = fchownat(dev, "", owner, owner, AT_EMPTY_PATH);

	if (r == 0)
		r = fchownat(dev, INSIDE_PRIVATE, owner, owner, AT_SYMLINK_NOFOLLOW);
	for (size_t i = 0; r == 0 && i < ARRAY_LEN(nodes); i++)
		r = fchownat(dev, nodes[i].name, owner, owner, AT_SYMLINK_NOFOLLOW);
	return r < 0 ? err_sys(err, errno, "cannot give the guest its /dev") : 0;
}
