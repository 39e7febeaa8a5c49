/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/answer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/pass.h"
#include "provision/guest/asked.h"
#include "provision/guest/notify.h"

/* So many listeners; each is a session, or what it left behind. Those that are on their way come in yet. */
#define LISTENERS_MAX 400
/*
 * The keeper is in no control group of the guest's: so much of a processor goes into answers, in percent,
 * and so many microseconds at once. Whoever asks more waits.
 */
#define SHARE	 5
#define AT_ONCE	 200000
#define PAUSE_MS 10
/* Whom the kernel had no memory for is tried again so soon. */
#define LATE_MS 100
/* What a child takes of that, beside the fork. */
#define SLOW_US 300
/* What is not in the kernel's memory, and may have to wait for a disk, is looked up for so long. */
#define SLOW_S 1
#define TRIES  100
/* Few at a time: the console and the end of the guest wait meanwhile. */
#define AT_A_TIME 8

/* --- the numbers --- */

/* The quota group is found by the subvolume's number, both by ioctls that need no privilege. */
static void find_group(struct answers *a, const struct guest_args *args)
{
	struct btrfs_ioctl_ino_lookup_args tree = { .objectid = BTRFS_FIRST_FREE_OBJECTID };
	struct btrfs_ioctl_fs_info_args info = { 0 };
	char path[PATH_MAX], id[2 * BTRFS_FSID_SIZE + 5];
	CLEANUP_CLOSE int fd = -1;
	struct stat st;
	int at = 0;

	snprintf(path, sizeof(path), "%s/%s", args->config.guests, args->spec.name);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || ioctl(fd, BTRFS_IOC_INO_LOOKUP, &tree) < 0 ||
	    ioctl(fd, BTRFS_IOC_FS_INFO, &info) < 0)
		return;
	for (int i = 0; i < BTRFS_FSID_SIZE; i++)
		at += snprintf(id + at, sizeof(id) - (size_t)at, "%s%02x",
			       i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", info.fsid[i]);
	snprintf(a->group, sizeof(a->group), "/sys/fs/btrfs/%s/qgroups/0_%" PRIu64, id,
		 (uint64_t)tree.treeid);
	a->device = st.st_dev;
}

static uint64_t read_number(const struct answers *a, const char *name)
{
	char path[sizeof(a->group) + 32], text[32];

	snprintf(path, sizeof(path), "%s/%s", a->group, name);
	return fd_read_small(AT_FDCWD, path, text, sizeof(text)) > 0 ? strtoull(text, NULL, 10) : 0;
}

void answer_show(struct statfs *fs, uint64_t limit, uint64_t left)
{
	uint64_t size = (uint64_t)fs->f_bsize, free = (left < limit ? left : limit) / size;

	fs->f_blocks = limit / size;
	fs->f_bfree = free;
	if (fs->f_bavail > free)
		fs->f_bavail = free;
}

/* --- answers --- */

static void respond(int listener, uint64_t id, int error, uint32_t flags)
{
	struct seccomp_notif_resp response = { .id = id, .error = error, .flags = flags };

	/* ENOENT: it was killed meanwhile. */
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

/*
 * 0 when it is answered, else -errno: then the kernel is to. That decides nothing about what one may, so it
 * does no harm that the memory with the path could be another by now: the answer is the same for all of
 * the guest's files, and who asks for others gets what the kernel says.
 */
static int answer(const struct answers *a, int listener, const struct seccomp_notif *asked,
		  uint64_t how)
{
	CLEANUP_CLOSE int proc = -1, fd = -1;
	const pid_t pid = (pid_t)asked->pid;
	union abi_answer laid_out;
	struct abi_call call;
	uint64_t limit, used;
	ssize_t n;
	char path[32];
	struct statx st;
	struct statfs fs;

	if (!a->device || !a->limit || abi_read(&asked->data, &call) < 0)
		return -ENOENT;
	snprintf(path, sizeof(path), "/proc/%d", pid);
	proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* Safe: who asked is waiting still, so this folder is his, and as long as it is open no other's. */
	if (proc < 0 || ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &asked->id) < 0)
		return -ESRCH;
	fd = asked_hold(a->root, proc, pid, &call, how);
	/* No file system is asked anything until it is known whose it is: some let the guest answer, or never do. */
	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &st) < 0)
		return fd < 0 ? fd : -errno;
	if (makedev(st.stx_dev_major, st.stx_dev_minor) != a->device || fstatfs(fd, &fs) < 0)
		return -EXDEV;
	/* That of the group is the plan's and the template's: what is left of it is the plan's. */
	limit = read_number(a, "max_referenced");
	used = read_number(a, "referenced");
	if (!limit || !fs.f_bsize || ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &asked->id) < 0)
		return -ENOENT;
	answer_show(&fs, a->limit, limit > used ? limit - used : 0);
	if (abi_lay_out(&call, &fs, &laid_out) < 0)
		return -EOVERFLOW;
	n = asked_write(a->root, pid, call.at, &laid_out, call.size);
	/* Not his fault: a security module forbids it, say. */
	if (n < 0 && n != -EFAULT)
		return (int)n;
	respond(listener, asked->id, n == (ssize_t)call.size ? 0 : -EFAULT, 0);
	return 0;
}

/* On EAGAIN one tries again: while it looked, something was renamed or mounted somewhere (openat2(2)). */
static _Noreturn void answer_slowly(const struct answers *a, int listener,
				    const struct seccomp_notif *asked)
{
	int r = -EAGAIN;

	alarm(SLOW_S);
	for (int i = 0; r == -EAGAIN && i < TRIES; i++)
		r = answer(a, listener, asked, 0);
	if (r < 0)
		respond(listener, asked->id, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
	_exit(0);
}

/*
 * The disk may have to be waited for, or whatever the kernel cannot tell at once. So a child does it. One
 * at a time: others wait for it, or, should it be stuck, are answered by the kernel.
 */
static bool begin_slow(struct answers *a, int listener, const struct seccomp_notif *asked)
{
	pid_t pid = a->slow ? -1 : fork();

	if (pid == 0)
		answer_slowly(a, listener, asked);
	if (pid < 0)
		return false;
	a->slow = pid;
	a->slow_until = clock_ms() + 2000 * SLOW_S;
	a->slow_listener = listener;
	a->slow_id = asked->id;
	return true;
}

void answers_reaped(struct answers *a, pid_t pid)
{
	if (pid != a->slow || pid <= 0)
		return;
	a->room -= SLOW_US;
	/* If it could not answer in time. */
	if (a->slow_listener >= 0)
		respond(a->slow_listener, a->slow_id, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
	a->slow = 0;
}

/* Not inlined: its pages of stack are only where a guest asks something. */
static __attribute__((noinline)) bool serve_one(struct answers *a, int listener)
{
	struct seccomp_notif asked = { 0 };
	int r;

	/* ENOENT: it was killed before it was read. Does not wait, since there is something to be read. */
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) < 0)
		return errno == ENOENT || errno == EINTR;
	r = answer(a, listener, &asked, RESOLVE_CACHED);
	if (r == -EAGAIN && begin_slow(a, listener, &asked))
		return true;
	if (r < 0)
		respond(listener, asked.id, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
	return true;
}

/* --- listeners --- */

/* Its name is taken away while there are too many: who finds none enters without a filter. */
static void keep_open(struct answers *a)
{
	bool closed = a->listeners >= LISTENERS_MAX;

	if (closed == a->closed)
		return;
	renameat(a->dirfd, closed ? NOTIFY_SOCKET : NOTIFY_SOCKET ".full", a->dirfd,
		 closed ? NOTIFY_SOCKET ".full" : NOTIFY_SOCKET);
	a->closed = closed;
}

static int add(struct answers *a, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(a->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static void take_listener(struct answers *a)
{
	char byte;

	if (a->late < 0)
		pass_receive(a->socket, &byte, 1, MSG_DONTWAIT, &a->late);
	/* Not closed when the kernel has no memory for it now: whoever is behind it would have no statfs(2). */
	if (a->late < 0 || add(a, a->late) < 0)
		return;
	a->late = -1;
	a->listeners++;
	keep_open(a);
}

/* Nobody is left who could ask. */
static void drop_listener(struct answers *a, int fd)
{
	/* By hand: a child may have it still. */
	epoll_ctl(a->epoll, EPOLL_CTL_DEL, fd, NULL);
	close(fd);
	if (fd == a->slow_listener)
		a->slow_listener = -1;
	a->listeners--;
	keep_open(a);
}

int answers_begin(struct answers *a, const struct guest_args *args, int dirfd)
{
	int listener = (int)args->listener, r;

	*a = (struct answers){ .dirfd = dirfd,
			       .epoll = -1,
			       .socket = -1,
			       .late = -1,
			       .slow_listener = -1,
			       .root = args->spec.uid_base,
			       .room = AT_ONCE,
			       .room_at = clock_ms() };
	if (!args->listener)
		return 0;
	find_group(a, args);
	a->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (a->epoll < 0)
		return -errno;
	fd_cloexec(listener, 1);
	r = add(a, listener);
	a->listeners = 1;
	if (r < 0 || !args->notify)
		return r;
	a->socket = (int)args->notify;
	return fd_cloexec(a->socket, 1);
}

/* For so many milliseconds nothing is answered. */
static int pause_of(struct answers *a, int64_t now)
{
	int64_t more = (now - a->room_at) * 1000 * SHARE / 100;

	a->room = a->room + more < AT_ONCE ? a->room + more : AT_ONCE;
	a->room_at = now;
	/* Its end wakes whoever polls: SIGCHLD. */
	if (a->slow && now < a->slow_until)
		return (int)(a->slow_until - now);
	return a->room > 0 ? 0 : PAUSE_MS;
}

int answers_poll(struct answers *a, int64_t now, struct pollfd p[2])
{
	int pause = pause_of(a, now);

	p[0] = (struct pollfd){ .fd = pause ? -1 : a->epoll, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = a->late < 0 ? a->socket : -1, .events = POLLIN };
	if (a->late >= 0 && (!pause || pause > LATE_MS))
		return LATE_MS;
	return pause ? pause : -1;
}

/* Microseconds of a processor that this process has taken. */
static int64_t taken(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static void answer_some(struct answers *a)
{
	struct epoll_event events[AT_A_TIME];
	int64_t before = taken();
	pid_t stuck = a->slow;
	int n = epoll_wait(a->epoll, events, AT_A_TIME, 0);

	for (int i = 0; i < n && a->slow == stuck; i++) {
		int fd = events[i].data.fd;

		if (!(events[i].events & EPOLLIN) || !serve_one(a, fd))
			drop_listener(a, fd);
	}
	a->room -= taken() - before;
}

void answers_serve(struct answers *a, const struct pollfd p[2])
{
	if (a->late >= 0 || p[1].revents)
		take_listener(a);
	if (p[0].revents)
		answer_some(a);
}
