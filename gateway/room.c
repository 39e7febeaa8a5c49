/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gateway/sandbox.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

#define ROOM_NAMESPACES (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)

/* The names below /proc/PID/ns, the user namespace first: it gives the right to enter the others. */
static const char *const namespaces[SANDBOX_ROOM_FDS] = { "user", "mnt", "net", "ipc", "uts" };

/* Only one's own ids are mapped, and setgroups is given up first, as user_namespaces(7) wants. */
static int map_ids(uid_t uid, gid_t gid)
{
	char text[64];
	int r;

	r = fd_write_path(AT_FDCWD, "/proc/self/setgroups", "deny");
	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "%u %u 1\n", uid, uid);
	r = fd_write_path(AT_FDCWD, "/proc/self/uid_map", text);
	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "%u %u 1\n", gid, gid);
	return fd_write_path(AT_FDCWD, "/proc/self/gid_map", text);
}

/*
 * An empty tmpfs in place of the root, then read-only. Safe: it happens in a mount namespace that
 * was just made and whose mounts are private, so nobody else's tree changes.
 */
static int empty_root(void)
{
	unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("empty", "/tmp", "tmpfs", flags, "size=4k,nr_inodes=2,mode=0555") < 0 ||
	    chdir("/tmp") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0 ||
	    mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | flags, NULL) < 0)
		return -errno;
	return 0;
}

/* In a child: build the room, say so (or how it failed) in one byte, and wait to be let go. */
static void build(int sock)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	unsigned char failed = 0;
	int r;

	/* A change of user made it undumpable, and /proc/self root's: there is no secret here yet. */
	prctl(PR_SET_DUMPABLE, 1);
	r = unshare(ROOM_NAMESPACES) < 0 ? -errno : map_ids(uid, gid);
	if (r == 0)
		r = empty_root();
	failed = (unsigned char)-r;
	if (write(sock, &failed, 1) == 1 && !failed)
		(void)!read(sock, &failed, 1);
	_exit(0);
}

/*
 * /proc/PID/ns may be read by a process of the same user only while the other is dumpable and in a
 * user namespace at or below one's own: the child is both.
 */
static int open_namespaces(pid_t pid, int *ret_fds)
{
	int fds[SANDBOX_ROOM_FDS], n = 0, r = 0;
	char path[64];

	for (; n < SANDBOX_ROOM_FDS; n++) {
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, namespaces[n]);
		fds[n] = open(path, O_RDONLY | O_CLOEXEC);
		if (fds[n] < 0) {
			r = -errno;
			break;
		}
	}
	for (int i = 0; i < n; i++) {
		if (r == 0)
			ret_fds[i] = fds[i];
		else
			fd_close(fds[i]);
	}
	return r;
}

int sandbox_room(int *ret_fds, struct err *err)
{
	CLEANUP_CLOSE int ours = -1;
	unsigned char failed = 0;
	int pair[2], r;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	ours = pair[0];
	pid = fork();
	if (pid == 0) {
		fd_close(pair[0]);
		build(pair[1]);
	}
	fd_close(pair[1]);
	if (pid < 0)
		return err_sys(err, errno, "cannot fork");
	if (read(ours, &failed, 1) != 1)
		failed = ECHILD;
	r = failed ? -failed : open_namespaces(pid, ret_fds);
	ours = fd_close(ours);
	waitpid(pid, NULL, 0);
	return r == 0 ? 0 : err_sys(err, -r, "cannot make an empty room of namespaces");
}
