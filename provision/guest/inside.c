/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/pass.h"
#include "provision/guest/cgroup.h"
#include "provision/guest/confine.h"
#include "provision/guest/notify.h"
#include "provision/guest/rootfs.h"

/* hostname(7) */
#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-."

/* Room for the descriptors, aligned as cmsg(3) wants it. */
union control {
	struct cmsghdr head;
	char data[CMSG_SPACE(INSIDE_FDS * sizeof(int))];
};

/* The byte says in which places there are some. */
int inside_send(int sync, const int fds[INSIDE_FDS])
{
	union control control = { 0 };
	char places = 0;
	struct iovec iov = { &places, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int there[INSIDE_FDS];
	size_t n = 0;

	for (size_t i = 0; i < INSIDE_FDS; i++)
		if (fds[i] >= 0) {
			places = (char)(places | 1 << i);
			there[n++] = fds[i];
		}
	if (n) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(&control.head), there, n * sizeof(int));
	}
	return sendmsg(sync, &msg, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

/* Wait for the parent; without one there is nothing to be done. */
static void wait_for_parent(const struct inside *in, int ret[INSIDE_FDS])
{
	union control control = { 0 };
	char places;
	struct iovec iov = { &places, 1 };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	const unsigned char *next = CMSG_DATA(&control.head);

	if (recvmsg(in->sync, &msg, MSG_CMSG_CLOEXEC) != 1)
		_exit(1);
	for (size_t i = 0; i < INSIDE_FDS; i++) {
		ret[i] = -1;
		if (!(places & 1 << i))
			continue;
		memcpy(&ret[i], next, sizeof(int));
		next += sizeof(int);
	}
}

/* The guest's mount namespace, and the one that it was born in: see inside.h. */
struct mounts {
	int own, first;
};

static int go(int mounts, struct err *err)
{
	return setns(mounts, CLONE_NEWNS) < 0 ?
		       err_sys(err, errno, "cannot change the mount namespace") :
		       0;
}

/*
 * The kernel lets no namespace of a user's have a proc that sees none whole. So the first one gets the
 * host's, and the guest's own is taken along from there: to the guest that never was.
 */
static int make_proc(const struct inside *in, const struct mounts *mounts, struct err *err)
{
	CLEANUP_CLOSE int proc = -1;
	int r = go(mounts->first, err);

	if (r == 0 &&
	    move_mount(in->proc, "", AT_FDCWD, "furniture/proc", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		r = err_sys(err, errno, "cannot attach the host's proc");
	if (r == 0)
		r = proc = rootfs_proc(err);
	if (r >= 0)
		r = go(mounts->own, err);
	return r < 0 ? r : steal_fd(&proc);
}

/* The guest's layers, too, stay there, and their sum is taken along. */
static int mount_root(const struct inside *in, const struct mounts *mounts,
		      const struct storage_layers *layers, struct err *err)
{
	CLEANUP_CLOSE int root = -1;
	int r = go(mounts->first, err);

	if (r == 0)
		r = in->storage->mount(layers, err);
	if (r == 0)
		root = open_tree(AT_FDCWD, "root", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (r == 0)
		r = go(mounts->own, err);
	if (r < 0)
		return r;
	if (root < 0 || move_mount(root, "", AT_FDCWD, "root", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "cannot attach the guest's root");
	return 0;
}

/* Paths begin in the guest's own tree: whatever symlinks the customer left there cannot lead out. */
static int move_in(int furniture, struct err *err)
{
	CLEANUP_CLOSE int stage = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (stage < 0 || chdir("root") < 0 || chroot(".") < 0)
		return err_sys(err, errno, "cannot enter the guest's root");
	r = rootfs_move_in(furniture, err);
	if (r < 0)
		return r;
	return fchdir(stage) < 0 || chroot(".") < 0 ?
		       err_sys(err, errno, "cannot leave the guest's root") :
		       0;
}

/* What was the root until now, an empty folder, goes to where it is from. */
static int change_root(struct err *err)
{
	if (chdir("root") < 0 || syscall(SYS_pivot_root, ".", INSIDE_STAGE) < 0 || chdir("/") < 0)
		return err_sys(err, errno, "cannot change the root");
	return 0;
}

/* The template's init, or NULL; and how it is asked to stop. */
static const char *find_init(int *ret_signal)
{
	char target[256];
	ssize_t n;

	*ret_signal = SIGTERM;
	if (access("/sbin/init", X_OK) < 0)
		return NULL;
	n = readlink("/sbin/init", target, sizeof(target) - 1);
	target[n < 0 ? 0 : n] = '\0';
	if (strstr(target, "systemd"))
		*ret_signal = SIGRTMIN + 3; /* systemd(1): halt.target */
	else if (n < 0 && access("/etc/inittab", F_OK) == 0)
		*ret_signal = SIGINT; /* sysvinit, which ignores others: inittab(5), ctrlaltdel */
	return "/sbin/init";
}

/*
 * What the customer calls it: an init may set that again, ours knows nothing of it. Safe: we are the guest's
 * root by now, and wait for nobody there.
 */
static void take_name(void)
{
	CLEANUP_CLOSE int fd =
		open("/etc/hostname", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	char name[HOST_NAME_MAX + 2];
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	n = read(fd, name, sizeof(name) - 1);
	if (n <= 0)
		return;
	name[n] = '\0';
	n = (ssize_t)strspn(name, NAME_CHARACTERS);
	/* One that is longer, or anything else, is none. */
	if (n == 0 || n > HOST_NAME_MAX || (name[n] != '\n' && name[n] != '\0') ||
	    sethostname(name, (size_t)n) < 0)
		return;
}

static void reset_process(void)
{
	signal(SIGPIPE, SIG_DFL); /* the one that vm2-guest changed */
	umask(022);
}

static int take_console(const struct inside *in, struct err *err)
{
	/* No controlling terminal, as on a machine: it would bear the name of the first session's, /dev/pts/0. */
	setsid();
	for (int fd = 0; fd < 3; fd++)
		if (dup2(in->console, fd) < 0)
			return err_sys(err, errno, "cannot use the console");
	return 0;
}

static int become_init(const struct inside *in, const char *path, struct err *err)
{
	char *const argv[] = { (char[]){ "init" }, NULL };
	char *const env[] = {
		(char[]){ "container=vm2" },
		(char[]){ "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
		(char[]){ "TERM=linux" },
		NULL,
	};
	int r = take_console(in, err);
	sigset_t none, all;

	sigemptyset(&none);
	sigfillset(&all);
	if (r < 0)
		return r;
	reset_process();
	/* All but the standard three close themselves; sync does it last and so tells the parent. */
	if (syscall(SYS_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot mark descriptors");
	confine_processors(in->cpu);
	r = confine_restrict(err);
	if (r < 0)
		return r;
	if (path) {
		sigprocmask(SIG_SETMASK, &none, NULL);
		execve(path, argv, env);
	}
	/* Ours unblocks by itself: a request to stop that comes before it is ready stays pending. */
	sigprocmask(SIG_SETMASK, &all, NULL);
	/* No init, or one that cannot run: ours, so that there is a guest to repair it in. */
	syscall(SYS_execveat, in->init, "", argv, env, AT_EMPTY_PATH);
	return err_sys(err, errno, "cannot run init");
}

/* Before anything else of it: from here on the limits are in force. */
static int enter_groups(const struct inside *in, struct err *err)
{
	int r = cgroup_step_in(&in->way);

	return r < 0 ? err_sys(err, -r, "cannot enter the guest's control group") : 0;
}

static int enter(const struct inside *in, struct err *err)
{
	int r = enter_groups(in, err);

	if (r == 0)
		r = confine_become_root(err);
	if (r < 0)
		return r;
	/* Whoever kills vm2-guest kills the guest. Init could undo it: then the cgroup has it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot tie init to its supervisor");
	/* Only now: clone3 would have taken the parent's cgroup for the namespace's root. */
	if (unshare(CLONE_NEWCGROUP | CLONE_NEWNS) < 0)
		return err_sys(err, errno, "cannot make the guest's namespaces");
	if (sethostname(in->name, strlen(in->name)) < 0)
		return err_sys(err, errno, "cannot set the host name");
	return 0;
}

/* What all guests have. The folder with it, or negative. */
static int furnish(struct inside *in, struct mounts *mounts, struct err *err)
{
	CLEANUP_CLOSE int proc = -1;

	mounts->own = openat(in->proc, "thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (mounts->own < 0)
		return err_sys(err, errno, "cannot open the guest's mount namespace");
	proc = make_proc(in, mounts, err);
	return proc < 0 ? proc : rootfs_furnish(in, proc, err);
}

/* Until the second word nothing of the guest's files was needed. */
static int put_together(const struct inside *in, struct err *err)
{
	struct mounts mounts = { -1, -1 };
	CLEANUP_CLOSE int furniture = -1;
	struct inside all = *in;
	int fds[INSIDE_FDS], r;

	wait_for_parent(in, fds);
	if (fds[0] >= 0)
		all.sysfs = fds[0];
	mounts.first = fds[1];
	r = enter(&all, err);
	if (r == 0)
		r = furniture = furnish(&all, &mounts, err);
	if (r < 0)
		return r;
	wait_for_parent(in, fds);
	r = mount_root(in, &mounts, &(struct storage_layers){ fds[0], fds[1], fds[2] }, err);
	if (r == 0)
		r = move_in(furniture, err);
	return r < 0 ? r : change_root(err);
}

_Noreturn void inside_main(const struct inside *in)
{
	struct inside_report report = { 0 };
	const char *path = NULL;
	int none[INSIDE_FDS], r;

	if (in->profiled)
		confine_profile(in->proc);
	if (put_together(in, &report.err) == 0) {
		CLEANUP_CLOSE int listener = in->storage->hides_limit ? notify_load() : -1;

		take_name();
		path = find_init(&report.stop_signal);
		report.filtered = listener >= 0;
		r = pass_send(in->sync, &report, sizeof(report), listener);
		if (r == 0) {
			wait_for_parent(in, none);
			become_init(in, path, &report.err);
		} else {
			err_sys(&report.err, -r, "cannot say that the guest's files are mounted");
		}
	}
	send(in->sync, &report, sizeof(report), MSG_NOSIGNAL);
	_exit(1);
}
