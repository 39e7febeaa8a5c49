/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

/* Where whole mounts of proc and sysfs are kept: see keep_whole(). */
#define HIDDEN "/dev/" INSIDE_PRIVATE
#define EMPTY HIDDEN "/empty"
/* journalctl(1) and others tell boots apart by it; the kernel has the host's there. */
#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define SAFE (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

/* NR_UNIX98_PTY_MAX of the kernel: no limit. */
#define TERMINALS_MAX UINT64_C(1048576)
/* Stand for the plan's numbers in the table below: terminals, and shares of its memory. */
static const char TERMINALS[] = "t", HALF[] = "h", FIFTH[] = "f";

/* File systems of the guest's own, in the order of mounting. Values: fsconfig(2) "key=value". */
static const struct {
	const char *path, *type;
	unsigned int attributes;
	const char *keys[5], *values[5];
	bool optional; /* the kernel may lack it */
} mounts[] = {
	{ "/dev/pts",
	  "devpts",
	  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
	  { "mode", "ptmxmode", "gid", "max" },
	  { "620", "666", "5", TERMINALS },
	  false },
	{ "/dev/shm", "tmpfs", SAFE, { "mode", "size" }, { "1777", HALF }, false },
	{ "/dev/mqueue", "mqueue", SAFE | MOUNT_ATTR_NOEXEC, { NULL }, { NULL }, true },
	/* As systemd has it. What is in a tmpfs no kill sets free: together they leave room to log in. */
	{ "/run", "tmpfs", SAFE, { "mode", "size" }, { "755", FIFTH }, false },
	{ "/run/lock",
	  "tmpfs",
	  SAFE | MOUNT_ATTR_NOEXEC,
	  { "mode", "size" },
	  { "1777", "5m" },
	  false },
};

/* Links in /dev. */
static const struct {
	const char *path, *target;
} links[] = {
	{ "/dev/ptmx", "pts/ptmx" },	   { "/dev/fd", "/proc/self/fd" },
	{ "/dev/stdin", "/proc/self/fd/0" }, { "/dev/stdout", "/proc/self/fd/1" },
	{ "/dev/stderr", "/proc/self/fd/2" }, { "/dev/core", "/proc/kcore" },
};

/*
 * Covered by an empty file or folder, where they are there: facts of the host, or old holes. The
 * kernel refuses the guest's root most of these anyway, since it is not the host's.
 */
static const char *const masks[] = {
	"/proc/kcore",	     "/proc/keys",	"/proc/key-users",     "/proc/latency_stats",
	"/proc/sched_debug", "/proc/timer_list", "/proc/timer_stats",  "/proc/sysrq-trigger",
	"/proc/kpagecount",  "/proc/kpageflags", "/proc/kpagecgroup",  "/proc/interrupts",
	"/proc/acpi",	     "/proc/asound",	"/proc/scsi",	       "/proc/kmsg",
	"/proc/kallsyms",    "/proc/vmallocinfo", "/proc/slabinfo",    "/proc/pagetypeinfo",
	"/proc/iomem",	     "/proc/ioports",	"/proc/dma",	       "/proc/mtrr",
	"/proc/cmdline",     "/proc/irq",	"/proc/bus",	       "/proc/driver",
	"/proc/fs",	     "/sys/firmware",	"/sys/kernel/debug",
	"/sys/kernel/tracing", "/sys/kernel/security", "/sys/kernel/vmcoreinfo",
	"/sys/kernel/notes", "/sys/devices/virtual/powercap", "/sys/devices/virtual/dmi",
	"/sys/fs/pstore",    "/sys/fs/bpf",
};

/* Open a path of the guest's tree, O_PATH; symlinks are not followed. */
static int open_plain(const char *path, uint64_t flags)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW | flags,
		.resolve = RESOLVE_NO_SYMLINKS,
	};
	long fd = syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

/* A folder to mount on: made where it is missing, and in the place of anything else. */
static int open_folder(const char *path, struct err *err)
{
	int fd = open_plain(path, O_DIRECTORY);

	if (fd >= 0)
		return fd;
	if (fd != -ENOENT && unlink(path) < 0)
		return err_sys(err, errno, "the guest's %s is no folder, and cannot be removed", path);
	if (mkdir(path, 0755) < 0)
		return err_sys(err, errno, "cannot make the guest's %s", path);
	fd = open_plain(path, O_DIRECTORY);
	return fd < 0 ? err_sys(err, -fd, "cannot open the guest's %s", path) : fd;
}

static int attach(int mount, int target, const char *path, struct err *err)
{
	if (move_mount(mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_sys(err, errno, "cannot mount the guest's %s", path);
	return 0;
}

static int attach_folder(int mount, const char *path, struct err *err)
{
	CLEANUP_CLOSE int target = open_folder(path, err);

	return target < 0 ? target : attach(mount, target, path, err);
}

/* A file system that was just made, as a detached mount; -errno. */
static int make_mount(const char *type, const char *const *keys, const char *const *values,
		      unsigned int attributes)
{
	CLEANUP_CLOSE int fs = fsopen(type, FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0)
		return -errno;
	if (fsconfig(fs, FSCONFIG_SET_STRING, "source", type, 0) < 0)
		return -errno;
	for (; keys && *keys; keys++, values++)
		if (fsconfig(fs, FSCONFIG_SET_STRING, *keys, *values, 0) < 0)
			return -errno;
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, attributes);
	return fd < 0 ? -errno : fd;
}

/* What stands in the table, or the plan's number in its place. */
static const char *value_of(const struct inside *in, const char *value, char number[24])
{
	if (value == TERMINALS)
		snprintf(number, 24, "%" PRIu64, in->terminals ? in->terminals : TERMINALS_MAX);
	else if ((value == HALF || value == FIFTH) && in->memory)
		snprintf(number, 24, "%" PRIu64, in->memory / (value == HALF ? 2 : 5));
	else
		return value == HALF ? "50%" : value == FIFTH ? "20%" : value;
	return number;
}

static int mount_own(const struct inside *in, struct err *err)
{
	char number[24];

	for (size_t i = 0; i < ARRAY_LEN(mounts); i++) {
		CLEANUP_CLOSE int fd = -1;
		const char *values[5];
		int r;

		for (size_t k = 0; k < ARRAY_LEN(values); k++)
			values[k] = value_of(in, mounts[i].values[k], number);
		fd = make_mount(mounts[i].type, mounts[i].keys, values, mounts[i].attributes);
		if (fd < 0 && mounts[i].optional)
			continue;
		if (fd < 0)
			return err_sys(err, -fd, "cannot make the %s for the guest's %s",
				       mounts[i].type, mounts[i].path);
		r = attach_folder(fd, mounts[i].path, err);
		if (r < 0)
			return r;
	}
	return 0;
}

/*
 * All options are given: a kernel that is told of one takes the others for its own defaults. What else the
 * guest's root has mounted there does not know them all, and stays as it is.
 */
static void mount_anew(const struct inside *in, size_t i)
{
	CLEANUP_CLOSE int fs =
		fspick(AT_FDCWD, mounts[i].path,
		       FSPICK_CLOEXEC | FSPICK_SYMLINK_NOFOLLOW | FSPICK_NO_AUTOMOUNT);
	char number[24];

	if (fs < 0)
		return;
	for (size_t k = 0; mounts[i].keys[k]; k++)
		if (fsconfig(fs, FSCONFIG_SET_STRING, mounts[i].keys[k],
			     value_of(in, mounts[i].values[k], number), 0) < 0)
			return;
	fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0);
}

void rootfs_limit(uint64_t terminals, uint64_t memory)
{
	const struct inside in = { .terminals = terminals, .memory = memory };

	for (size_t i = 0; i < ARRAY_LEN(mounts); i++)
		for (size_t k = 0; mounts[i].keys[k]; k++)
			if (mounts[i].values[k] == TERMINALS || mounts[i].values[k] == HALF ||
			    mounts[i].values[k] == FIFTH)
				mount_anew(&in, i);
}

static int fill_dev(const struct inside *in, struct err *err)
{
	CLEANUP_CLOSE int target = open("/dev/console", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = target < 0 ? -errno : 0;

	if (r < 0)
		return err_sys(err, -r, "cannot make the guest's /dev/console");
	target = fd_close(target);
	target = open_plain("/dev/console", 0);
	r = attach(in->console_node, target, "/dev/console", err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		if (symlink(links[i].target, links[i].path) < 0)
			return err_sys(err, errno, "cannot make the guest's %s", links[i].path);
	return 0;
}

/* A copy of an existing mount, to be put on one more place. */
static int copy_mount(int from, const char *path)
{
	int fd = open_tree(from, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

	return fd < 0 ? -errno : fd;
}

/*
 * The empty folder that masks: one of /dev's, mounted read-only. Not a file system of its own: the kernel
 * keeps a table in each control group of all that there are, so one less in each guest is less in all.
 */
static int mount_empty(struct err *err)
{
	struct mount_attr attr = { .attr_set = SAFE | MOUNT_ATTR_RDONLY };
	CLEANUP_CLOSE int fd = -1;

	if (mkdir(EMPTY, 0555) < 0)
		return err_sys(err, errno, "cannot make the guest's " EMPTY);
	fd = copy_mount(AT_FDCWD, EMPTY);
	if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(err, errno, "cannot make an empty folder to mask with");
	return attach_folder(fd, EMPTY, err);
}

static int mask(struct err *err)
{
	int r = mount_empty(err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
		CLEANUP_CLOSE int target = open_plain(masks[i], 0), cover = -1;
		struct stat st;

		if (target < 0)
			continue; /* this kernel has none */
		if (fstat(target, &st) < 0)
			return err_sys(err, errno, "cannot look at the guest's %s", masks[i]);
		cover = copy_mount(AT_FDCWD, S_ISDIR(st.st_mode) ? EMPTY : "/dev/null");
		if (cover < 0)
			return err_sys(err, -cover, "cannot mask the guest's %s", masks[i]);
		if (attach(cover, target, masks[i], err) < 0)
			return err->code;
	}
	return 0;
}

/* A random one (RFC 9562, version 4), as the kernel writes it. */
static int write_boot_id(const char *path)
{
	CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	uint8_t id[16];
	char text[40], *end = text;

	if (fd < 0 || getrandom(id, sizeof(id), 0) != (ssize_t)sizeof(id))
		return -errno;
	id[6] = (uint8_t)((id[6] & 0x0f) | 0x40);
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof(id); i++)
		end += sprintf(end, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
			       id[i]);
	*end++ = '\n';
	return fd_write_all(fd, text, (size_t)(end - text));
}

/* A boot of the guest's own: each start has another. */
static int mount_boot_id(struct err *err)
{
	static const char file[] = HIDDEN "/boot_id";
	struct mount_attr attr = { .attr_set = SAFE | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_RDONLY };
	CLEANUP_CLOSE int target = open_plain(BOOT_ID, 0), cover = -1;
	int r;

	if (target < 0)
		return 0; /* this kernel has none */
	r = write_boot_id(file);
	if (r < 0)
		return err_sys(err, -r, "cannot make the guest's %s", file);
	cover = copy_mount(AT_FDCWD, file);
	if (cover < 0 || mount_setattr(cover, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(err, errno, "cannot mount the guest's " BOOT_ID);
	return attach(cover, target, BOOT_ID, err);
}

/*
 * The kernel lets a user namespace made inside (unshare -r, bubblewrap, rootless podman) mount a
 * proc or sysfs of its own only where it sees one of that kind whole, with nothing mounted over
 * it. So before the masks come, one of each is put where only root in the guest gets to. Safe: it
 * can take the masks away as well; what they cover belongs to the host's root, which it is not.
 */
static int keep_whole(const struct inside *in, struct err *err)
{
	CLEANUP_CLOSE int proc = copy_mount(AT_FDCWD, "/proc");

	if (proc < 0)
		return err_sys(err, -proc, "cannot make the guest's " HIDDEN "/proc");
	if (attach_folder(proc, HIDDEN "/proc", err) < 0 ||
	    attach_folder(in->sysfs, HIDDEN "/sys", err) < 0)
		return err->code;
	return 0;
}

/* A copy of the one that is there by now: older kernels copy no mount that has no place (EINVAL). */
static int mount_sys(struct err *err)
{
	CLEANUP_CLOSE int fd = copy_mount(AT_FDCWD, HIDDEN "/sys");

	return fd < 0 ? err_sys(err, -fd, "cannot make the guest's /sys") :
			attach_folder(fd, "/sys", err);
}

/* What is said in files that a system finds at its start. Best effort: none is needed to run. */
static void make_files(void)
{
	static const struct {
		const char *path, *text;
		mode_t mode;
	} files[] = {
		/* https://systemd.io/CONTAINER_INTERFACE: who runs this, for those who are not init. */
		{ "/run/host/container-manager", "vm2\n", 0444 },
		/* utmp(5): login records are kept only where the file is. */
		{ "/run/utmp", "", 0664 },
	};

	mkdir("/run/host", 0755);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		CLEANUP_CLOSE int fd = open(files[i].path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
					    files[i].mode);

		if (fd >= 0)
			fd_write_all(fd, files[i].text, strlen(files[i].text));
	}
}

/* The guest's own part of the cgroup tree, for a service manager in it. Best effort. */
static void mount_cgroup(void)
{
	CLEANUP_CLOSE int fd = make_mount("cgroup2", NULL, NULL, SAFE | MOUNT_ATTR_NOEXEC);
	CLEANUP_CLOSE int target = open_plain("/sys/fs/cgroup", O_DIRECTORY);

	if (fd >= 0 && target >= 0)
		move_mount(fd, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/* Best effort, as lxcfs is. */
static void mount_lxcfs(const struct inside *in)
{
	for (size_t i = 0; i < LXCFS_FILES; i++) {
		CLEANUP_CLOSE int target = in->lxcfs[i] < 0 ? -1 : open_plain(lxcfs_files[i], 0);

		if (target >= 0)
			attach(in->lxcfs[i], target, lxcfs_files[i], NULL);
	}
}

/* All that is mounted over a guest's root. */
static int furnish(const struct inside *in, int proc, struct err *err)
{
	int r = attach_folder(in->dev, "/dev", err);

	if (r == 0)
		r = attach_folder(proc, "/proc", err);
	if (r == 0)
		r = mount_own(in, err);
	if (r == 0)
		r = fill_dev(in, err);
	if (r == 0)
		r = keep_whole(in, err);
	if (r == 0)
		r = mount_sys(err);
	if (r == 0)
		r = mount_boot_id(err);
	if (r < 0)
		return r;
	make_files();
	mount_cgroup();
	mount_lxcfs(in);
	return mask(err);
}

int rootfs_proc(struct err *err)
{
	int fd = make_mount("proc", NULL, NULL, SAFE | MOUNT_ATTR_NOEXEC);

	return fd < 0 ? err_sys(err, -fd, "cannot make the guest's /proc") : fd;
}

int rootfs_furnish(const struct inside *in, int proc, struct err *err)
{
	CLEANUP_CLOSE int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_CLOSE int folder = -1;
	int r;

	if (root < 0 || chdir("furniture") < 0)
		return err_sys(err, errno, "cannot open the stage");
	folder = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* So that paths are as in the guest. */
	if (folder < 0 || chroot(".") < 0)
		return err_sys(err, errno, "cannot enter the stage");
	r = furnish(in, proc, err);
	if (r < 0)
		return r;
	if (fchdir(root) < 0 || chroot(".") < 0)
		return err_sys(err, errno, "cannot leave the stage");
	return steal_fd(&folder);
}

int rootfs_move_in(int furniture, struct err *err)
{
	static const char *const folders[] = { "/proc", "/dev", "/sys", "/run" };

	for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
		CLEANUP_CLOSE int from =
			openat(furniture, folders[i] + 1, O_PATH | O_DIRECTORY | O_CLOEXEC);
		int r = from < 0 ? err_sys(err, errno, "cannot open the %s to be", folders[i]) :
				   attach_folder(from, folders[i], err);

		if (r < 0)
			return r;
	}
	return 0;
}
