/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/place.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

#define ID_MAX 65535
#define DEPTH_MAX 400
/* All attributes of one file; the kernel's limit for one is 64 KiB. */
#define XATTRS_MAX (1 << 20)

struct xattr {
	char *name;
	void *value;
	size_t len;
};

struct xattrs {
	size_t n, bytes;
	struct xattr *of;
};

/* A folder, to be finished when nothing changes it any more. */
struct folder {
	char *path;
	int64_t mtime;
	uint32_t mtime_ns;
	struct xattrs xattrs;
};

struct place {
	int root;
	struct place_limits limits;
	uint64_t bytes, entries;
	/* The folder that the last entry went to. */
	char *parent_path;
	int parent;
	/* What is being made. */
	struct node *node;
	char *base; /* its last name */
	int fd;
	struct xattrs xattrs;
	struct folder *folders;
	size_t n_folders, cap_folders;
};

static void free_xattrs(struct xattrs *x)
{
	for (size_t i = 0; i < x->n; i++) {
		free(x->of[i].name);
		free(x->of[i].value);
	}
	free(x->of);
	*x = (struct xattrs){ 0 };
}

struct place *place_new(int root, const struct place_limits *limits)
{
	struct place *p = xcalloc(1, sizeof(*p));

	p->root = root;
	p->limits = *limits;
	p->parent = p->fd = -1;
	return p;
}

struct place *place_free(struct place *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; i < p->n_folders; i++) {
		free(p->folders[i].path);
		free_xattrs(&p->folders[i].xattrs);
	}
	free(p->folders);
	free_xattrs(&p->xattrs);
	free(p->parent_path);
	free(p->base);
	fd_close(p->parent);
	fd_close(p->fd);
	free(p);
	return NULL;
}

uint64_t place_bytes(const struct place *p)
{
	return p->bytes;
}

uint64_t place_entries(const struct place *p)
{
	return p->entries;
}

static int fail(const struct place *p, struct err *err, const char *what, const char *path)
{
	(void)p;
	return err_sys(err, errno, "cannot %s '%.200s'", what, *path ? path : "/");
}

/* --- paths --- */

/* One component; false for one that no path within a tree has. */
static bool component_ok(const char *start, size_t len)
{
	return len <= NAME_MAX && !(len == 2 && start[0] == '.' && start[1] == '.');
}

int place_path(const struct place *p, const char *path, char **ret, struct err *err)
{
	CLEANUP_BUF struct buf out = { 0 };
	int depth = 0;

	if (strlen(path) >= PATH_MAX || (p->limits.strict && *path == '/'))
		return err_set(err, ERR_USAGE, "the path '%.80s…' cannot be in a tree", path);
	buf_puts(&out, "");
	while (*path) {
		size_t len = strcspn(path, "/");

		if (!component_ok(path, len) || depth > DEPTH_MAX)
			return err_set(err, ERR_USAGE, "the path '…%.80s' leads out of the tree", path);
		if (len && !(len == 1 && *path == '.')) {
			buf_puts(&out, out.len ? "/" : "");
			buf_add(&out, path, len);
			depth++;
		}
		path += len;
		path += strspn(path, "/");
	}
	*ret = steal_ptr(&out.data);
	return 0;
}

/*
 * Below the root whatever lies on the way: a symbolic link is taken as one within the tree, or, when
 * strict, not at all.
 */
static int open_below(const struct place *p, const char *path, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV |
			   (p->limits.strict ? RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS : RESOLVE_IN_ROOT),
	};

	return (int)syscall(SYS_openat2, p->root, *path ? path : ".", &how, sizeof(how));
}

/* The folder of a path, which tarballs do not always name, made when it is not there. */
static int make_parents(const struct place *p, const char *path)
{
	CLEANUP_FREE char *part = xstrdup(path);

	for (char *slash = part; slash; *slash++ = '/') {
		CLEANUP_FREE char *above = NULL;
		CLEANUP_CLOSE int fd = -1;
		char *name;

		slash = strchr(slash, '/');
		if (slash)
			*slash = '\0';
		name = strrchr(part, '/');
		above = name ? strndup(part, (size_t)(name - part)) : xstrdup("");
		fd = open_below(p, above, O_PATH | O_DIRECTORY);
		if (fd < 0 || (mkdirat(fd, name ? name + 1 : part, 0755) < 0 && errno != EEXIST))
			return -errno;
		if (!slash)
			break;
	}
	return 0;
}

static int open_parent(struct place *p, const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	CLEANUP_FREE char *parent = slash ? strndup(path, (size_t)(slash - path)) : xstrdup("");
	int fd;

	free(p->base);
	p->base = xstrdup(slash ? slash + 1 : path);
	if (p->parent >= 0 && !strcmp(parent, p->parent_path))
		return 0;
	fd = open_below(p, parent, O_RDONLY | O_DIRECTORY);
	if (fd < 0 && errno == ENOENT && !p->limits.strict && make_parents(p, parent) == 0)
		fd = open_below(p, parent, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fail(p, err, "open the folder of", path);
	fd_close(p->parent);
	free(p->parent_path);
	p->parent = fd;
	p->parent_path = steal_ptr(&parent);
	return 0;
}

/* Whatever is removed may have been what was kept open. */
static void forget_parent(struct place *p)
{
	p->parent = fd_close(p->parent);
}

/* --- making --- */

static int check(struct place *p, const struct node *n, struct err *err)
{
	if (++p->entries > p->limits.entries)
		return err_set(err, ERR_FAILED, "there are more than %" PRIu64 " files in it",
			       p->limits.entries);
	if (n->type != 'h' && (n->uid > ID_MAX || n->gid > ID_MAX))
		return err_set(err, ERR_FAILED,
			       "'%.200s' belongs to %" PRIu32 ":%" PRIu32 "; a guest has 0 to %d",
			       n->path, n->uid, n->gid, ID_MAX);
	if (n->target && strlen(n->target) >= PATH_MAX)
		return err_set(err, ERR_FAILED, "'%.200s' has too long a target", n->path);
	if (!*n->path && n->type != 'd')
		return err_set(err, ERR_FAILED, "the tree's root is no folder");
	return 0;
}

/* 1: a folder is there and a folder is to be there. What is in the way otherwise goes. */
static int make_way(struct place *p, const struct node *n, struct err *err)
{
	struct stat st;
	int r;

	if (p->limits.strict)
		return 0; /* making it finds what is there */
	if (fstatat(p->parent, p->base, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fail(p, err, "look at", n->path);
	if (S_ISDIR(st.st_mode) && n->type == 'd')
		return 1;
	r = fd_remove_tree(p->parent, p->base);
	errno = -r;
	return r < 0 ? fail(p, err, "replace", n->path) : 0;
}

static int make_link(struct place *p, const struct node *n, struct err *err)
{
	const char *slash = strrchr(n->target, '/');
	CLEANUP_FREE char *folder = slash ? strndup(n->target, (size_t)(slash - n->target)) :
					    xstrdup("");
	CLEANUP_CLOSE int from = open_below(p, folder, O_PATH | O_DIRECTORY);

	/* Without AT_SYMLINK_FOLLOW: another name of a symbolic link, not of what it points to. */
	if (from < 0 || linkat(from, slash ? slash + 1 : n->target, p->parent, p->base, 0) < 0)
		return fail(p, err, "link", n->path);
	return 0;
}

static int make(struct place *p, const struct node *n, struct err *err)
{
	int r = 0;

	switch (n->type) {
	case 'f':
		p->fd = openat(p->parent, p->base,
			       O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		r = p->fd;
		break;
	case 'd':
		r = mkdirat(p->parent, p->base, 0700);
		break;
	case 'l':
		r = symlinkat(n->target, p->parent, p->base);
		break;
	case 'p':
		r = mkfifoat(p->parent, p->base, 0600);
		break;
	case 'h':
		return make_link(p, n, err);
	default:
		return err_set(err, ERR_FAILED, "'%.200s' is nothing that a guest can have", n->path);
	}
	return r < 0 ? fail(p, err, "make", n->path) : 0;
}

int place_begin(struct place *p, struct node *n, struct err *err)
{
	int r = check(p, n, err);

	p->node = n;
	free_xattrs(&p->xattrs);
	/* The root itself is there. */
	if (r != 0 || !*n->path)
		return r;
	r = open_parent(p, n->path, err);
	if (r == 0)
		r = make_way(p, n, err);
	if (r == 0)
		r = make(p, n, err);
	return r == 1 ? 0 : r;
}

int place_data(struct place *p, uint64_t at, const void *data, size_t len, struct err *err)
{
	const char *from = data;

	if (len > p->limits.bytes - p->bytes)
		return err_set(err, ERR_FAILED, "there are more than the %" PRIu64 " MiB that it may take",
			       p->limits.bytes >> 20);
	if (at > INT64_MAX - len)
		return err_set(err, ERR_FAILED, "'%.200s' is too long", p->node->path);
	p->bytes += len;
	while (len) {
		ssize_t n = pwrite(p->fd, from, len, (off_t)at);

		if (n < 0)
			return fail(p, err, "write", p->node->path);
		from += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int place_xattr(struct place *p, const char *name, const void *value, size_t len, struct err *err)
{
	struct xattrs *x = &p->xattrs;

	if (!xattr_kept(name, value, len) || (p->node->type != 'f' && p->node->type != 'd'))
		return 0;
	x->bytes += strlen(name) + len;
	if (x->bytes > XATTRS_MAX)
		return err_set(err, ERR_FAILED, "'%.200s' has too many attributes", p->node->path);
	/* Twice the same, in another spelling: the last one counts. */
	for (size_t i = 0; i < x->n; i++)
		if (!strcmp(x->of[i].name, name))
			return err_set(err, ERR_FAILED, "'%.200s' has the attribute %.80s twice",
				       p->node->path, name);
	x->of = reallocarray(x->of, x->n + 1, sizeof(*x->of));
	if (!x->of)
		abort();
	x->of[x->n] = (struct xattr){ xstrdup(name), xcalloc(1, len + 1), len };
	memcpy(x->of[x->n++].value, value, len);
	return 0;
}

/* --- facts --- */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct xattr *)a)->name, ((const struct xattr *)b)->name);
}

static void note_xattrs(struct place *p)
{
	struct xattrs *x = &p->xattrs;

	if (x->n)
		qsort(x->of, x->n, sizeof(*x->of), by_name);
	for (size_t i = 0; i < x->n; i++)
		node_xattr(p->node, x->of[i].name, x->of[i].value, x->of[i].len);
}

static int set_xattrs(const struct place *p, int fd, const struct xattrs *x, const char *path,
		      struct err *err)
{
	for (size_t i = 0; i < x->n; i++)
		if (fsetxattr(fd, x->of[i].name, x->of[i].value, x->of[i].len, 0) < 0)
			return fail(p, err, "set attributes of", path);
	return 0;
}

/* Owner, attributes, mode, times: a change of owner takes setuid bits and capabilities away. */
static int end_file(struct place *p, struct err *err)
{
	const struct node *n = p->node;
	const struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { n->mtime, n->mtime_ns } };
	int r;

	if (ftruncate(p->fd, (off_t)n->size) < 0 || fchown(p->fd, n->uid, n->gid) < 0)
		return fail(p, err, "set size and owner of", n->path);
	r = set_xattrs(p, p->fd, &p->xattrs, n->path, err);
	if (r == 0 && (fchmod(p->fd, n->mode & 07777) < 0 || futimens(p->fd, times) < 0))
		r = fail(p, err, "set mode and times of", n->path);
	return r;
}

static int end_other(struct place *p, struct err *err)
{
	const struct node *n = p->node;
	const struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { n->mtime, n->mtime_ns } };

	if (fchownat(p->parent, p->base, n->uid, n->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (n->type == 'p' && fchmodat(p->parent, p->base, n->mode & 07777, 0) < 0) ||
	    utimensat(p->parent, p->base, times, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(p, err, "set owner and times of", n->path);
	return 0;
}

/* Times and attributes (a default ACL would be inherited) come at the end. */
static int end_folder(struct place *p, struct err *err)
{
	const struct node *n = p->node;
	CLEANUP_CLOSE int fd = *n->path ? openat(p->parent, p->base, O_RDONLY | O_DIRECTORY |
							     O_NOFOLLOW | O_CLOEXEC) :
					  dup(p->root);

	if (fd < 0 || fchown(fd, n->uid, n->gid) < 0 || fchmod(fd, n->mode & 07777) < 0)
		return fail(p, err, "set owner and mode of", n->path);
	if (p->n_folders == p->cap_folders) {
		p->cap_folders = p->cap_folders ? 2 * p->cap_folders : 256;
		p->folders = reallocarray(p->folders, p->cap_folders, sizeof(*p->folders));
		if (!p->folders)
			abort();
	}
	p->folders[p->n_folders++] =
		(struct folder){ xstrdup(n->path), n->mtime, n->mtime_ns, p->xattrs };
	p->xattrs = (struct xattrs){ 0 };
	return 0;
}

int place_end(struct place *p, struct err *err)
{
	int r = 0;

	note_xattrs(p);
	if (p->node->type == 'f')
		r = end_file(p, err);
	else if (p->node->type == 'd')
		r = end_folder(p, err);
	else if (p->node->type != 'h')
		r = end_other(p, err);
	p->fd = fd_close(p->fd);
	p->node = NULL;
	return r;
}

/* One that was replaced since by something else is passed over. */
static int finish_folder(struct place *p, const struct folder *f, struct err *err)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, { f->mtime, f->mtime_ns } };
	CLEANUP_CLOSE int fd = open_below(p, f->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	int r;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return 0;
	if (fd < 0)
		return fail(p, err, "open", f->path);
	r = set_xattrs(p, fd, &f->xattrs, f->path, err);
	if (r == 0 && futimens(fd, times) < 0)
		r = fail(p, err, "set times of", f->path);
	return r;
}

int place_finish(struct place *p, struct err *err)
{
	int r = 0;

	for (size_t i = p->n_folders; r == 0 && i-- > 0;)
		r = finish_folder(p, &p->folders[i], err);
	return r;
}

/* --- removing --- */

int place_remove(struct place *p, const char *path, struct err *err)
{
	const char *slash = strrchr(path, '/');
	CLEANUP_FREE char *folder = slash ? strndup(path, (size_t)(slash - path)) : xstrdup("");
	CLEANUP_CLOSE int fd = open_below(p, folder, O_RDONLY | O_DIRECTORY);
	int r;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : fail(p, err, "open the folder of", path);
	forget_parent(p);
	r = fd_remove_tree(fd, slash ? slash + 1 : path);
	errno = -r;
	return r < 0 ? fail(p, err, "remove", path) : 0;
}

int place_clear(struct place *p, const char *path, struct err *err)
{
	CLEANUP_CLOSE int fd = open_below(p, path, O_RDONLY | O_DIRECTORY);
	CLEANUP_CLOSEDIR DIR *dir = fd < 0 ? NULL : fdopendir(dup(fd));
	struct dirent *e;
	int r = 0;

	if (!dir)
		return errno == ENOENT || errno == ENOTDIR ? 0 : fail(p, err, "open", path);
	forget_parent(p);
	while (r == 0 && (e = readdir(dir)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			r = fd_remove_tree(fd, e->d_name);
	errno = -r;
	return r < 0 ? fail(p, err, "remove what is in", path) : 0;
}
