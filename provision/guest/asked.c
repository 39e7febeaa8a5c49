/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/asked.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

/* --- who asks --- */

/* The numbers of the line that begins with this word, of which the first `skip` are passed over. */
static int read_ids(const char *text, const char *word, int skip, gid_t *ret, int max)
{
	const char *line = strstr(text, word);
	char *end;
	int n = 0;

	if (!line)
		return -EBADMSG;
	for (line += strlen(word); n < max + skip; line = end, n++) {
		unsigned long id;

		while (*line == '\t' || *line == ' ')
			line++;
		if (*line < '0' || *line > '9')
			break;
		id = strtoul(line, &end, 10);
		/* A number that was cut is another's. */
		if (*end != '\t' && *end != ' ' && *end != '\n')
			break;
		if (n >= skip)
			ret[n - skip] = (gid_t)id;
	}
	return n < skip ? -EBADMSG : n - skip;
}

int asked_read_status(const char *text, struct asker *ret)
{
	struct asker asker;

	/* Real, effective, saved, file system. A name of the guest's choice stands before, but on no line's start. */
	if (read_ids(text, "\nUid:", 3, &asker.uid, 1) != 1 ||
	    read_ids(text, "\nGid:", 3, &asker.gid, 1) != 1)
		return -EBADMSG;
	asker.n_groups = read_ids(text, "\nGroups:", 0, asker.groups, ASKER_GROUPS);
	if (asker.n_groups < 0)
		return -EBADMSG;
	*ret = asker;
	return 0;
}

/*
 * Look at paths as whoever asks, so that he learns nothing from what he may not search: other ids than 0 for
 * files have no capabilities for files (capabilities(7)). The guest's root may search all of the guest.
 */
static int act_as(uid_t owner, int proc)
{
	struct asker asker;
	char text[4096];

	if (fd_read_small(proc, "status", text, sizeof(text)) <= 0 ||
	    asked_read_status(text, &asker) < 0)
		return -ESRCH;
	if (asker.uid == owner)
		return 0;
	if (syscall(SYS_setgroups, (size_t)asker.n_groups, asker.groups) < 0)
		return -errno;
	syscall(SYS_setfsgid, asker.gid);
	syscall(SYS_setfsuid, asker.uid);
	/* It says nothing of failure: so it is asked what it is now. */
	return (uid_t)syscall(SYS_setfsuid, -1) == asker.uid &&
			       (gid_t)syscall(SYS_setfsgid, -1) == asker.gid ?
		       0 :
		       -EPERM;
}

static void act_as_self(void)
{
	syscall(SYS_setfsuid, 0);
	syscall(SYS_setfsgid, 0);
	syscall(SYS_setgroups, (size_t)0, NULL);
}

/* --- what is asked --- */

static int look_up(int dirfd, const char *path, uint64_t resolve)
{
	/*
	 * Safe: it stays below dirfd, which is the asker's own, whatever links there are; and what it finds is
	 * not opened but held (O_PATH), be it a FIFO or a device.
	 */
	const struct open_how how = { .flags = O_PATH | O_CLOEXEC,
				      .resolve = resolve | RESOLVE_NO_MAGICLINKS };
	int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

/* From a working directory a path may lead up and away: then it is looked up from the root, as a whole. */
static int look_up_from(int proc, int root, char path[PATH_MAX], uint64_t how)
{
	CLEANUP_CLOSE int cwd = openat(proc, "cwd", O_PATH | O_CLOEXEC), there = -1;
	int fd = cwd < 0 ? -errno : look_up(cwd, path, RESOLVE_BENEATH | how);
	char folder[PATH_MAX];
	struct stat one, other;
	ssize_t n;

	if (fd != -EXDEV)
		return fd;
	if (fstat(cwd, &one) < 0 || fstat(root, &other) < 0)
		return -errno;
	/* In the root there is no up. */
	if (one.st_dev == other.st_dev && one.st_ino == other.st_ino)
		return look_up(root, path, RESOLVE_IN_ROOT | how);
	n = readlinkat(proc, "cwd", folder, sizeof(folder) - 1);
	if (n <= 0 || (size_t)n + strlen(path) + 2 > sizeof(folder))
		return -ENAMETOOLONG;
	folder[n] = '\0';
	there = look_up(root, folder, RESOLVE_IN_ROOT | how);
	if (there < 0)
		return there;
	/* In a chroot, or where a mount hides it, the same name is another folder. */
	if (fstat(there, &other) < 0 || one.st_dev != other.st_dev || one.st_ino != other.st_ino)
		return -ENOENT;
	folder[n] = '/';
	memcpy(folder + n + 1, path, strlen(path) + 1);
	return look_up(root, folder, RESOLVE_IN_ROOT | how);
}

/*
 * Copy between the asker's memory and ours: as many bytes as there are, or -errno. As the owner of the
 * guest's user namespace, who may do so to whoever is in it, and to nobody else. So it is safe even if his
 * number were another's by now.
 */
static ssize_t copy(uid_t owner, pid_t pid, uint64_t at, void *bytes, size_t len, long call)
{
	const struct iovec ours = { bytes, len }, his = { (void *)(uintptr_t)at, len };
	ssize_t n;

	if (syscall(SYS_setresuid, -1, owner, -1) < 0)
		return -errno;
	n = syscall(call, pid, &ours, 1UL, &his, 1UL, 0UL);
	if (n < 0)
		n = -errno;
	syscall(SYS_setresuid, -1, 0, -1);
	return n;
}

ssize_t asked_write(uid_t owner, pid_t pid, uint64_t at, const void *bytes, size_t len)
{
	return copy(owner, pid, at, (void *)(uintptr_t)bytes, len, SYS_process_vm_writev);
}

/* As the kernel would: until a NUL, and no byte beyond the page in which that is. 0 or -errno. */
static int read_path(uid_t owner, pid_t pid, uint64_t at, char ret[PATH_MAX])
{
	size_t len = 0;

	while (len < PATH_MAX) {
		size_t part = 4096 - (at + len) % 4096;
		ssize_t n;

		if (part > PATH_MAX - len)
			part = PATH_MAX - len;
		n = copy(owner, pid, at + len, ret + len, part, SYS_process_vm_readv);
		if (n <= 0)
			return -EFAULT;
		if (memchr(ret + len, '\0', (size_t)n))
			return 0;
		len += (size_t)n;
	}
	return -ENAMETOOLONG;
}

int asked_hold(uid_t owner, int proc, pid_t pid, const struct abi_call *call, uint64_t how)
{
	CLEANUP_CLOSE int root = -1;
	char path[PATH_MAX];
	int fd, r;

	if (call->by_fd) {
		snprintf(path, sizeof(path), "fd/%u", (unsigned int)call->what);
		fd = openat(proc, path, O_PATH | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	r = read_path(owner, pid, call->what, path);
	/*
	 * What libselinux asks at the start of every other program (/sys/fs/selinux): the kernel has to look
	 * there anew each time, and it is never a file of the guest's own.
	 */
	if (r < 0 || !strncmp(path, "/sys/", 5))
		return r < 0 ? r : -ENOENT;
	root = openat(proc, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	r = act_as(owner, proc);
	if (r == 0)
		r = *path == '/' ? look_up(root, path, RESOLVE_IN_ROOT | how) :
				   look_up_from(proc, root, path, how);
	act_as_self();
	return r;
}
