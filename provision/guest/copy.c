/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

/* Each level holds up to four descriptors. */
#define DEPTH_MAX 400
#define CHUNK (64 << 20)
#define BLOCK (1 << 18)
/* A time of change is as coarse as the kernel's tick: 10 ms with HZ=100. */
#define TICK_NS 20000000

enum mode { ALL, CHANGES, BELOW };

struct copy {
	int from, to;
	enum mode mode;
	struct timespec since;
	void *links; /* of struct link, by inode (tsearch(3)) */
	uint64_t bytes;
	char path[PATH_MAX]; /* of what is being copied, below both folders */
	size_t len;
	int depth;
	struct err *err;
};

struct link {
	ino_t ino;
	char path[];
};

struct copy *copy_new(int from, int to)
{
	struct copy *c = xcalloc(1, sizeof(*c));

	c->from = from;
	c->to = to;
	return c;
}

static void forget_links(struct copy *c)
{
	tdestroy(c->links, free);
	c->links = NULL;
}

struct copy *copy_free(struct copy *c)
{
	if (c)
		forget_links(c);
	free(c);
	return NULL;
}

uint64_t copy_bytes(const struct copy *c)
{
	return c->bytes;
}

static int fail(struct copy *c, const char *what)
{
	return err_sys(c->err, errno, "cannot %s %s", what, c->len ? c->path : "the tree's root");
}

static bool changed(const struct copy *c, const struct stat *st)
{
	return st->st_ctim.tv_sec > c->since.tv_sec ||
	       (st->st_ctim.tv_sec == c->since.tv_sec && st->st_ctim.tv_nsec >= c->since.tv_nsec);
}

/* --- one entry --- */

static int compare_links(const void *a, const void *b)
{
	const struct link *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* 1: it was made as another name of what was copied already; 0: the first of its names. */
static int copy_link(struct copy *c, const struct stat *st, int to, const char *name)
{
	struct link *link, **there;

	if (st->st_nlink < 2)
		return 0;
	link = xcalloc(1, sizeof(*link) + c->len + 1);
	link->ino = st->st_ino;
	memcpy(link->path, c->path, c->len + 1);
	there = tsearch(link, &c->links, compare_links);
	if (!there || *there == link)
		return 0;
	free(link);
	if (linkat(c->to, (*there)->path, to, name, 0) == 0)
		return 1;
	/* The first name had vanished before it could be copied. */
	return c->mode == ALL && errno == ENOENT ? 0 : fail(c, "link");
}

/* A folder keeps what was copied the first time: take that away first. */
static void clear_xattrs(int fd)
{
	CLEANUP_FREE char *names = xcalloc(1, XATTR_LIST_MAX);
	ssize_t len = flistxattr(fd, names, XATTR_LIST_MAX);

	for (const char *p = names; len > 0 && p < names + len; p += strlen(p) + 1)
		fremovexattr(fd, p);
}

static int copy_xattrs(struct copy *c, int from, int to)
{
	CLEANUP_FREE char *names = NULL, *value = NULL;
	ssize_t len = flistxattr(from, NULL, 0), n;

	if (len == 0 || (len < 0 && errno == ENOTSUP))
		return 0;
	names = xcalloc(1, XATTR_LIST_MAX);
	value = xcalloc(1, XATTR_SIZE_MAX);
	len = flistxattr(from, names, XATTR_LIST_MAX);
	for (const char *p = names; len > 0 && p < names + len; p += strlen(p) + 1) {
		n = fgetxattr(from, p, value, XATTR_SIZE_MAX);
		if (n < 0 || fsetxattr(to, p, value, (size_t)n, 0) < 0)
			return fail(c, "copy the attributes of");
	}
	return len < 0 ? fail(c, "list the attributes of") : 0;
}

/* Owner, attributes, mode, times, in this order: a change of owner takes setuid bits away. */
static int copy_facts(struct copy *c, int from, int to, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	int r;

	if (fchown(to, st->st_uid, st->st_gid) < 0)
		return fail(c, "set the owner of");
	if (c->mode == CHANGES && S_ISDIR(st->st_mode) && changed(c, st))
		clear_xattrs(to);
	r = copy_xattrs(c, from, to);
	if (r < 0)
		return r;
	if (fchmod(to, st->st_mode & 07777) < 0 || futimens(to, times) < 0)
		return fail(c, "set mode and times of");
	return 0;
}

/* By hand, between file systems of two kinds. */
static int copy_bytes_of(int from, int to, off_t at, off_t end)
{
	CLEANUP_FREE char *data = xcalloc(1, BLOCK);

	while (at < end) {
		ssize_t n = pread(from, data, end - at > BLOCK ? BLOCK : (size_t)(end - at), at);

		if (n < 0)
			return -errno;
		if (n == 0)
			break; /* it was cut short meanwhile */
		for (ssize_t done = 0, m; done < n; done += m) {
			m = pwrite(to, data + done, (size_t)(n - done), at + done);
			if (m < 0)
				return -errno;
		}
		at += n;
	}
	return 0;
}

static int copy_extent(int from, int to, off_t at, off_t end)
{
	loff_t in = at, out = at;

	while (in < end) {
		size_t want = end - in > CHUNK ? CHUNK : (size_t)(end - in);
		ssize_t n = copy_file_range(from, &in, to, &out, want, 0);

		if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP))
			return copy_bytes_of(from, to, in, end);
		if (n < 0)
			return -errno;
		if (n == 0)
			break; /* it was cut short meanwhile */
	}
	return 0;
}

/*
 * Data, holes as holes; and no more than there was when it was looked at, for who writes as fast as is
 * copied would never let it end. What comes or goes meanwhile the second time takes.
 */
static int copy_data(int from, int to, off_t size)
{
	off_t at = 0, end;
	int r;

	if (size == 0 || ioctl(to, FICLONE, from) == 0)
		return 0;
	while (at < size && (at = lseek(from, at, SEEK_DATA)) >= 0 && at < size) {
		end = lseek(from, at, SEEK_HOLE);
		if (end < 0 && errno != ENXIO)
			return -errno;
		if (end < 0)
			break; /* it was cut short meanwhile */
		if (end > size)
			end = size;
		r = copy_extent(from, to, at, end);
		if (r < 0)
			return r;
		at = end;
	}
	if (at < 0 && errno != ENXIO)
		return -errno;
	return ftruncate(to, size) < 0 ? -errno : 0;
}

/* O_NONBLOCK: it may have become a FIFO since we looked. */
static int copy_regular(struct copy *c, int from, int to, const char *name)
{
	CLEANUP_CLOSE int in =
		openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	CLEANUP_CLOSE int out = -1;
	struct stat st;
	int r;

	if (in < 0 && c->mode == ALL && (errno == ENOENT || errno == ELOOP || errno == ENXIO))
		return 0;
	if (in < 0 || fstat(in, &st) < 0)
		return fail(c, "open");
	if (!S_ISREG(st.st_mode))
		return 0; /* the second time takes it as what it is then */
	out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (out < 0)
		return fail(c, "make");
	r = copy_data(in, out, st.st_size);
	if (r < 0) {
		errno = -r;
		return fail(c, "copy");
	}
	c->bytes += (uint64_t)st.st_blocks * 512;
	return copy_facts(c, in, out, &st);
}

static int copy_symlink(struct copy *c, int from, int to, const char *name, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };
	char target[PATH_MAX + 1];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return c->mode == ALL ? 0 : fail(c, "read");
	target[n] = '\0';
	if (symlinkat(target, to, name) < 0 ||
	    fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(c, "make");
	return 0;
}

/* FIFOs, sockets and whiteouts (0:0). A device is nothing that a guest could have made. */
static int copy_node(struct copy *c, int to, const char *name, const struct stat *st)
{
	const struct timespec times[2] = { st->st_atim, st->st_mtim };

	if (S_ISBLK(st->st_mode) || (S_ISCHR(st->st_mode) && st->st_rdev != makedev(0, 0)))
		return 0;
	if (mknodat(to, name, st->st_mode, st->st_rdev) < 0 ||
	    fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(to, name, st->st_mode & 07777, 0) < 0 ||
	    utimensat(to, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(c, "make");
	return 0;
}

static int copy_folder(struct copy *c, int from, int to, bool fresh);

static int open_folder(int dirfd, const char *name)
{
	return openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int copy_subfolder(struct copy *c, int from, int to, const char *name)
{
	CLEANUP_CLOSE int in = open_folder(from, name), out = -1;
	bool fresh;

	if (in < 0 && c->mode == ALL && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return 0;
	if (in < 0)
		return fail(c, "open");
	fresh = mkdirat(to, name, 0700) == 0;
	if (!fresh && errno != EEXIST)
		return fail(c, "make");
	out = open_folder(to, name);
	return out < 0 ? fail(c, "open the copy of") : copy_folder(c, in, out, fresh);
}

/* --- what to copy --- */

static bool is_opaque(int dirfd)
{
	char value[2] = "";

	return fgetxattr(dirfd, "user.overlay.opaque", value, sizeof(value)) >= 1 &&
	       value[0] == 'y';
}

static int make_opaque(struct copy *c, int fd)
{
	return fsetxattr(fd, "user.overlay.opaque", "y", 1, 0) < 0 ? fail(c, "mark") : 0;
}

/* The lower layer hides the template's folder: the upper layer's, of the same name, must then. */
static int hide_below(struct copy *c, int to, const char *name)
{
	CLEANUP_CLOSE int fd = open_folder(to, name);

	return fd < 0 ? fail(c, "open the copy of") : make_opaque(c, fd);
}

/*
 * Whether the entry must be made, there being a copy in the way or not. What is in the way of a
 * newer one is removed. 1 yes, 0 no, 2 both are folders: go in.
 */
static int must_copy(struct copy *c, int to, const char *name, const struct stat *st)
{
	struct stat there;
	int r;

	if (fstatat(to, name, &there, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 1 : fail(c, "look at the copy of");
	if (S_ISDIR(st->st_mode) && S_ISDIR(there.st_mode))
		return 2;
	if (c->mode == BELOW && S_ISDIR(there.st_mode))
		return hide_below(c, to, name);
	if (c->mode != CHANGES)
		return 0;
	if (!changed(c, st) && (st->st_mode & S_IFMT) == (there.st_mode & S_IFMT))
		return 0;
	r = fd_remove_tree(to, name);
	errno = -r;
	return r < 0 ? fail(c, "replace the copy of") : 1;
}

static int copy_entry(struct copy *c, int from, int to, const char *name)
{
	struct stat st;
	int r;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return c->mode == ALL && errno == ENOENT ? 0 : fail(c, "look at");
	r = must_copy(c, to, name, &st);
	if (r <= 0)
		return r;
	if (S_ISDIR(st.st_mode))
		return copy_subfolder(c, from, to, name);
	r = copy_link(c, &st, to, name);
	if (r != 0)
		return r < 0 ? r : 0;
	if (S_ISREG(st.st_mode))
		return copy_regular(c, from, to, name);
	if (S_ISLNK(st.st_mode))
		return copy_symlink(c, from, to, name, &st);
	return copy_node(c, to, name, &st);
}

/* In a tree that stands still: the copy must not have what the folder has no longer. */
static int remove_gone(struct copy *c, int from, int to)
{
	CLEANUP_CLOSEDIR DIR *dir = fdopendir(dup(to));
	struct dirent *e;
	struct stat st;
	int r;

	if (dir)
		rewinddir(dir);
	while (dir && (e = readdir(dir))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    fstatat(from, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			continue;
		r = fd_remove_tree(to, e->d_name);
		errno = -r;
		if (r < 0)
			return fail(c, "remove what is gone in");
	}
	return dir ? 0 : fail(c, "read the copy of");
}

static int copy_entries(struct copy *c, int from, int to)
{
	CLEANUP_CLOSEDIR DIR *dir = fdopendir(dup(from));
	size_t len = c->len;
	struct dirent *e;
	int r = 0;

	if (!dir)
		return fail(c, "read");
	rewinddir(dir);
	while (r == 0 && (e = readdir(dir))) {
		int n;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		n = snprintf(c->path + len, sizeof(c->path) - len, "%s%s", len ? "/" : "", e->d_name);
		if (n < 0 || (size_t)n >= sizeof(c->path) - len)
			return err_set(c->err, ERR_FAILED, "a path is longer than %d: %.100s…",
				       PATH_MAX, c->path);
		c->len = len + (size_t)n;
		r = copy_entry(c, from, to, e->d_name);
		c->len = len;
		c->path[len] = '\0';
	}
	return r;
}

static int copy_folder(struct copy *c, int from, int to, bool fresh)
{
	struct stat st;
	int r;

	if (fstat(from, &st) < 0)
		return fail(c, "look at");
	if (c->mode == BELOW && is_opaque(to))
		return 0;
	if (++c->depth > DEPTH_MAX)
		return err_set(c->err, ERR_FAILED, "more than %d folders in each other: %.100s…",
			       DEPTH_MAX, c->path);
	r = copy_entries(c, from, to);
	if (r == 0 && c->mode == CHANGES)
		r = remove_gone(c, from, to);
	c->depth--;
	/* Of a folder that both layers have, the upper one's facts count. */
	if (r == 0 && c->mode == BELOW && !fresh)
		return is_opaque(from) ? make_opaque(c, to) : 0;
	return r == 0 ? copy_facts(c, from, to, &st) : r;
}

static int run(struct copy *c, enum mode mode, struct err *err)
{
	c->mode = mode;
	c->err = err;
	c->len = 0;
	c->depth = 0;
	forget_links(c);
	return copy_folder(c, c->from, c->to, false);
}

int copy_all(struct copy *c, struct err *err)
{
	clock_gettime(CLOCK_REALTIME, &c->since);
	c->since.tv_nsec -= TICK_NS;
	if (c->since.tv_nsec < 0) {
		c->since.tv_nsec += 1000000000;
		c->since.tv_sec--;
	}
	/*
	 * Pages that are mapped and dirty already would change without a word: written back, they
	 * are protected again, and the next store is noted as a change.
	 */
	if (syncfs(c->from) < 0)
		return err_sys(err, errno, "cannot write back what the guest has changed");
	return run(c, ALL, err);
}

int copy_changes(struct copy *c, struct err *err)
{
	return run(c, CHANGES, err);
}

int copy_below(struct copy *c, struct err *err)
{
	return run(c, BELOW, err);
}
