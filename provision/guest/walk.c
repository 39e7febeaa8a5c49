/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "provision/base/cleanup.h"

#define BLOCK (1 << 18)

struct walk {
	walk_fn fn;
	void *data;
	struct err *err;
	void *links; /* of struct link */
	uint64_t skipped;
	int depth;
	size_t len;
	char path[PATH_MAX];
};

/* The first name of a file that has several. */
struct link {
	dev_t dev;
	ino_t ino;
	char path[];
};

static int fail(struct walk *w, const char *what)
{
	return err_sys(w->err, errno, "cannot %s %s", what, w->len ? w->path : "the tree's root");
}

static int compare_links(const void *a, const void *b)
{
	const struct link *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* The first name, or NULL: this one is the first. */
static const char *first_name(struct walk *w, const struct stat *st)
{
	struct link *link, **there;

	if (S_ISDIR(st->st_mode) || st->st_nlink < 2)
		return NULL;
	link = xcalloc(1, sizeof(*link) + w->len + 1);
	link->dev = st->st_dev;
	link->ino = st->st_ino;
	memcpy(link->path, w->path, w->len + 1);
	there = tsearch(link, &w->links, compare_links);
	if (!there || *there == link)
		return NULL;
	free(link);
	return (*there)->path;
}

/* --- attributes --- */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct walk_xattr *)a)->name, ((const struct walk_xattr *)b)->name);
}

static void free_xattrs(struct walk_entry *e)
{
	for (size_t i = 0; i < e->n_xattrs; i++) {
		free(e->xattrs[i].name);
		free(e->xattrs[i].value);
	}
	free(e->xattrs);
	buf_free(&e->node.xattrs);
}
#define CLEANUP_ENTRY __attribute__((cleanup(free_xattrs)))

static int read_one(struct walk *w, int fd, const char *name, struct walk_entry *e)
{
	CLEANUP_FREE char *value = xcalloc(1, XATTR_SIZE_MAX);
	struct walk_xattr *x = &e->xattrs[e->n_xattrs];
	ssize_t n = fgetxattr(fd, name, value, XATTR_SIZE_MAX);

	if (n < 0)
		return fail(w, "read an attribute of");
	if (!xattr_kept(name, value, (size_t)n))
		return 0;
	x->name = xstrdup(name);
	x->value = steal_ptr(&value);
	x->len = (size_t)n;
	e->n_xattrs++;
	return 0;
}

static int read_xattrs(struct walk *w, int fd, struct walk_entry *e)
{
	CLEANUP_FREE char *names = NULL;
	ssize_t len = flistxattr(fd, NULL, 0);
	size_t count = 0;
	int r = 0;

	if (len == 0 || (len < 0 && errno == ENOTSUP))
		return 0;
	names = xcalloc(1, XATTR_LIST_MAX);
	len = flistxattr(fd, names, XATTR_LIST_MAX);
	if (len < 0)
		return fail(w, "list the attributes of");
	for (const char *p = names; p < names + len; p += strlen(p) + 1)
		count++;
	e->xattrs = xcalloc(count + 1, sizeof(*e->xattrs));
	for (const char *p = names; r == 0 && p < names + len; p += strlen(p) + 1)
		r = read_one(w, fd, p, e);
	if (e->n_xattrs)
		qsort(e->xattrs, e->n_xattrs, sizeof(*e->xattrs), by_name);
	for (size_t i = 0; i < e->n_xattrs; i++)
		node_xattr(&e->node, e->xattrs[i].name, e->xattrs[i].value, e->xattrs[i].len);
	return r;
}

/* --- entries --- */

static void fill(struct walk *w, const struct stat *st, char type, struct walk_entry *e)
{
	e->st = *st;
	e->node.type = type;
	e->node.path = w->path;
	e->node.mode = st->st_mode & 07777;
	e->node.uid = st->st_uid;
	e->node.gid = st->st_gid;
	e->node.mtime = st->st_mtim.tv_sec;
	e->node.mtime_ns = (uint32_t)st->st_mtim.tv_nsec;
	e->node.size = type == 'f' ? (uint64_t)st->st_size : 0;
}

static int give(struct walk *w, struct walk_entry *e)
{
	return w->fn(w->data, e, w->err);
}

static int walk_file(struct walk *w, int dirfd, const char *name, const struct stat *st)
{
	CLEANUP_ENTRY struct walk_entry e = { .fd = -1 };
	CLEANUP_CLOSE int fd =
		openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return fail(w, "open");
	fill(w, st, 'f', &e);
	e.fd = fd;
	r = read_xattrs(w, fd, &e);
	return r == 0 ? give(w, &e) : r;
}

static int walk_symlink(struct walk *w, int dirfd, const char *name, const struct stat *st)
{
	struct walk_entry e = { .fd = -1 };
	char target[PATH_MAX];
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target) - 1);

	if (n < 0)
		return fail(w, "read");
	target[n] = '\0';
	fill(w, st, 'l', &e);
	e.node.mode = 0777;
	e.node.target = target;
	return give(w, &e);
}

static int walk_folder(struct walk *w, int dirfd);

static int walk_subfolder(struct walk *w, int dirfd, const char *name)
{
	CLEANUP_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? fail(w, "open") : walk_folder(w, fd);
}

static int walk_entry(struct walk *w, int dirfd, const char *name)
{
	struct walk_entry e = { .fd = -1 };
	const char *first;
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(w, "look at");
	if (S_ISDIR(st.st_mode))
		return walk_subfolder(w, dirfd, name);
	if (S_ISSOCK(st.st_mode) || S_ISBLK(st.st_mode) || S_ISCHR(st.st_mode)) {
		w->skipped++;
		return 0;
	}
	first = first_name(w, &st);
	if (!first && S_ISREG(st.st_mode))
		return walk_file(w, dirfd, name, &st);
	if (!first && S_ISLNK(st.st_mode))
		return walk_symlink(w, dirfd, name, &st);
	fill(w, &st, first ? 'h' : 'p', &e);
	e.node.target = first;
	return give(w, &e);
}

struct names {
	size_t n, cap;
	char **of;
};

static void free_names(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->of[i]);
	free(names->of);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int read_names(struct walk *w, int dirfd, struct names *names)
{
	CLEANUP_CLOSEDIR DIR *dir = fdopendir(dup(dirfd));
	struct dirent *e;

	if (!dir)
		return fail(w, "read");
	rewinddir(dir);
	errno = 0;
	while ((e = readdir(dir))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (names->n == names->cap) {
			names->cap = names->cap ? 2 * names->cap : 64;
			names->of = reallocarray(names->of, names->cap, sizeof(*names->of));
			if (!names->of)
				return fail(w, "read");
		}
		names->of[names->n++] = xstrdup(e->d_name);
	}
	if (errno)
		return fail(w, "read");
	if (names->n)
		qsort(names->of, names->n, sizeof(*names->of), compare_names);
	return 0;
}

static int walk_names(struct walk *w, int dirfd, const struct names *names)
{
	size_t len = w->len;
	int r = 0;

	for (size_t i = 0; r == 0 && i < names->n; i++) {
		int n = snprintf(w->path + len, sizeof(w->path) - len, "%s%s", len ? "/" : "",
				 names->of[i]);

		if (n < 0 || (size_t)n >= sizeof(w->path) - len)
			return err_set(w->err, ERR_FAILED, "a path is longer than %d: %.100s…", PATH_MAX,
				       w->path);
		w->len = len + (size_t)n;
		r = walk_entry(w, dirfd, names->of[i]);
		w->len = len;
		w->path[len] = '\0';
	}
	return r;
}

static int walk_folder(struct walk *w, int dirfd)
{
	__attribute__((cleanup(free_names))) struct names names = { 0 };
	CLEANUP_ENTRY struct walk_entry e = { .fd = -1 };
	struct stat st;
	int r;

	if (fstat(dirfd, &st) < 0)
		return fail(w, "look at");
	if (++w->depth > WALK_DEPTH_MAX)
		return err_set(w->err, ERR_FAILED, "more than %d folders in each other: %.100s…",
			       WALK_DEPTH_MAX, w->path);
	fill(w, &st, 'd', &e);
	r = read_xattrs(w, dirfd, &e);
	if (r == 0)
		r = give(w, &e);
	if (r == 0)
		r = read_names(w, dirfd, &names);
	if (r == 0)
		r = walk_names(w, dirfd, &names);
	w->depth--;
	return r;
}

int walk_tree(int root, walk_fn fn, void *data, uint64_t *ret_skipped, struct err *err)
{
	struct walk *w = xcalloc(1, sizeof(*w));
	int r;

	w->fn = fn;
	w->data = data;
	w->err = err;
	r = walk_folder(w, root);
	if (r == 0 && ret_skipped)
		*ret_skipped = w->skipped;
	tdestroy(w->links, free);
	free(w);
	return r;
}

static int read_part(const struct walk_entry *e, off_t at, off_t end, uint8_t *block,
		     int (*fn)(void *, uint64_t, const void *, size_t, struct err *), void *data,
		     struct err *err)
{
	int r = 0;

	while (r == 0 && at < end) {
		size_t want = end - at > BLOCK ? BLOCK : (size_t)(end - at);
		ssize_t n = pread(e->fd, block, want, at);

		if (n <= 0)
			return err_sys(err, n < 0 ? errno : EIO, "cannot read %s", e->node.path);
		r = fn(data, (uint64_t)at, block, (size_t)n, err);
		at += n;
	}
	return r;
}

int walk_content(const struct walk_entry *e,
		 int (*fn)(void *data, uint64_t at, const void *bytes, size_t len, struct err *err),
		 void *data, struct err *err)
{
	CLEANUP_FREE uint8_t *block = xcalloc(1, BLOCK);
	off_t at = 0, end;
	int r = 0;

	while (r == 0 && at < e->st.st_size) {
		at = lseek(e->fd, at, SEEK_DATA);
		if (at < 0 && errno == ENXIO)
			return 0;
		end = at < 0 ? -1 : lseek(e->fd, at, SEEK_HOLE);
		if (end < 0)
			return err_sys(err, errno, "cannot read %s", e->node.path);
		if (end > e->st.st_size)
			end = e->st.st_size;
		r = read_part(e, at, end, block, fn, data, err);
		at = end;
	}
	return r;
}
