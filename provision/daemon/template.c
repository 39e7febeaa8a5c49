/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "build.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/daemon/check.h"
#include "provision/daemon/handlers.h"
#include "provision/daemon/helper.h"
#include "provision/daemon/locks.h"
#include "provision/guest/storage.h"

/* A template in the making: TEMPLATES/.NAME.new, renamed when it is whole. */
struct making {
	const char *name;
	char temporary[NAME_LEN_MAX + 8];
	int folder; /* TEMPLATES */
	int lock;
	char tree[PATH_MAX]; /* where the root file system is to be made */
};

static void making_end(struct making *m)
{
	if (m->folder >= 0 && m->temporary[0])
		fd_remove_tree(m->folder, m->temporary);
	fd_close(m->folder);
	fd_close(m->lock);
}
#define CLEANUP_MAKING __attribute__((cleanup(making_end)))

static int open_templates(struct request *r, int *ret)
{
	int fd = open(r->config->templates, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(&r->err, errno, "cannot open %s", r->config->templates);
	*ret = fd;
	return 0;
}

static int making_begin(struct request *r, struct making *m)
{
	struct store_template there;
	int n = request_name(r, "name", &m->name);

	if (n == 0)
		n = lock_take(r->config, LOCK_TEMPLATE, false, 0, &m->lock, &r->err);
	if (n != 0)
		return n == ERR_BUSY ?
			err_set(&r->err, n,
				"a template is being made; try again when it is ready") :
			n;
	if (store_template_get(r->store, m->name, &there, NULL) == 0)
		return err_set(&r->err, ERR_EXISTS,
			"there is a template '%s' already: vm2 template remove %s", m->name,
			m->name);
	n = open_templates(r, &m->folder);
	if (n != 0)
		return n;
	snprintf(m->temporary, sizeof(m->temporary), ".%s.new", m->name);
	snprintf(m->tree, sizeof(m->tree), "%s/%s/rootfs", r->config->templates, m->temporary);
	/* What a crash left of an earlier try; and a tree without a row is one, too. */
	n = fd_remove_tree(m->folder, m->temporary);
	if (n == 0)
		n = fd_remove_tree(m->folder, m->name);
	if (n == 0 && mkdirat(m->folder, m->temporary, 0755) < 0)
		n = -errno;
	return n < 0 ? err_sys(&r->err, -n, "cannot make %s", m->tree) : 0;
}

/* Bytes on disk below a folder, its own file system only. */
static uint64_t tree_bytes(int folder, const char *name, int depth)
{
	CLEANUP_CLOSE int fd =
		openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	CLEANUP_CLOSEDIR DIR *dir = fd < 0 || depth > 200 ? NULL : fdopendir(fd);
	const struct dirent *e;
	uint64_t bytes = 0;
	struct stat st;

	if (dir)
		steal_fd(&fd);
	while (dir && (e = readdir(dir))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		bytes += (uint64_t)st.st_blocks * 512;
		if (S_ISDIR(st.st_mode))
			bytes += tree_bytes(dirfd(dir), e->d_name, depth + 1);
	}
	return bytes;
}

/* Guests would share them: each gets its own when it is made, or at its first start. */
static int make_unique(struct request *r, const struct making *m)
{
	int n = files_forget_identity(m->tree);

	return n < 0 ? err_sys(&r->err, -n, "cannot remove keys and ids from %s", m->tree) : 0;
}

static int making_finish(struct request *r, struct making *m, const char *suite)
{
	struct store_template t = { .created = time(NULL), .state = "ready" };
	CLEANUP_FREE char *below = xasprintf("%s/rootfs", m->temporary);
	CLEANUP_FREE char *folder = xasprintf("%s/%s", r->config->templates, m->temporary);
	char digest[SUM_TEXT_SIZE];
	int n;

	snprintf(t.name, sizeof(t.name), "%s", m->name);
	snprintf(t.suite, sizeof(t.suite), "%s", suite);
	t.bytes = tree_bytes(m->folder, below, 0);
	n = make_unique(r, m);
	if (n == 0)
		n = check_seal(r->config, folder, digest, &r->err);
	if (n != 0)
		return n;
	snprintf(t.digest, sizeof(t.digest), "%s", digest);
	if (renameat(m->folder, m->temporary, m->folder, m->name) < 0)
		return err_sys(&r->err, errno, "cannot rename %s", m->tree);
	m->temporary[0] = '\0';
	n = store_template_add(r->store, &t, &r->err);
	if (n != 0)
		fd_remove_tree(m->folder, m->name);
	return n;
}

static int run(struct request *r, const char *const argv[])
{
	const struct helper h = { argv, -1, -1, -1, -1, request_progress, r };

	return helper_run(&h, &r->err);
}

static int check_word(struct request *r, const char *key, const char *fallback, const char *chars,
	const char **ret)
{
	const char *value = msg_get(&r->in, key);

	*ret = value ? value : fallback;
	if (value &&
		(*value == '-' || strlen(value) > 2000 || value[strspn(value, chars)] ||
			(!*value && *fallback)))
		return err_set(
			&r->err, ERR_USAGE, "%s = '%.80s' is nothing that it can be", key, value);
	return 0;
}

#define WORD "abcdefghijklmnopqrstuvwxyz0123456789"

int template_build(struct request *r)
{
	CLEANUP_MAKING struct making m = { .folder = -1, .lock = -1 };
	const char *suite, *include, *variant, *mirror;
	int n = check_word(r, "suite", "bookworm", WORD "-", &suite);

	if (n == 0)
		n = check_word(r, "include", "", WORD ",.+-", &include);
	if (n == 0)
		n = check_word(r, "variant", "minbase", WORD "-", &variant);
	if (n == 0)
		n = check_word(r, "mirror", "", WORD "ABCDEFGHIJKLMNOPQRSTUVWXYZ:/.-_~%@", &mirror);
	if (n == 0 && *mirror && !str_starts(mirror, "http://") && !str_starts(mirror, "https://"))
		return err_set(&r->err, ERR_USAGE,
			"mirror = '%.80s' starts with neither http:// nor https://", mirror);
	if (n == 0 && strlen(suite) > NAME_LEN_MAX)
		return err_set(&r->err, ERR_USAGE, "suite = '%.40s' is too long", suite);
	if (n == 0)
		n = making_begin(r, &m);
	if (n == 0) {
		const char *argv[] = { VM2_LIBEXECDIR "/template-build", m.name, suite, variant,
			include, m.tree, *mirror ? mirror : NULL, NULL };

		n = run(r, argv);
	}
	return n == 0 ? making_finish(r, &m, suite) : n;
}

static const char unpack_oci[] = "unpack-oci";

/* How vm2-archive is told to read what the descriptor leads to; NULL: it is a tree to be copied. */
static const char *import_mode(int fd, const struct stat *st)
{
	struct stat layout;

	if (!S_ISDIR(st->st_mode))
		return "unpack-tar";
	return fstatat(fd, "oci-layout", &layout, AT_SYMLINK_NOFOLLOW) == 0 ? unpack_oci : NULL;
}

/* A system has these: what has none is something else, somebody's home, say. */
static int check_system(struct request *r, int tree)
{
	static const char *const folders[] = { "etc", "bin" };
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(folders); i++)
		if (fstatat(tree, folders[i], &st, AT_SYMLINK_NOFOLLOW) < 0 ||
			(!S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode)))
			return err_set(&r->err, ERR_USAGE, "that is no root file system: it has no /%s",
				folders[i]);
	return 0;
}

static int import_archive(struct request *r, const struct making *m, const char *mode,
			  const char *image, int in)
{
	CLEANUP_CLOSE int tree = -1;
	uint64_t bytes = 0;
	char limit[24];
	/* An image may be one of several in its layout. */
	const char *argv[] = { HELPER_ARCHIVE, mode, limit, strcmp(mode, unpack_oci) ? NULL : image,
			       NULL };
	int n = helper_room(r->config->templates, &bytes, &r->err);

	if (n == 0 && mkdir(m->tree, 0755) < 0)
		n = err_sys(&r->err, errno, "cannot make %s", m->tree);
	if (n != 0)
		return n;
	tree = open(m->tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (tree < 0)
		return err_sys(&r->err, errno, "cannot open %s", m->tree);
	snprintf(limit, sizeof(limit), "%" PRIu64, bytes);

	const struct helper h = { argv, in, -1, tree, r->fd, request_progress, r };

	n = helper_run(&h, &r->err);
	return n == 0 ? check_system(r, tree) : n;
}

/* Whether the folder is one that the templates are in: its copy would be in itself. */
static bool holds_templates(const struct request *r, int folder)
{
	CLEANUP_CLOSE int at = open(r->config->templates, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat wanted, here, last = { 0 };

	while (at >= 0 && fstat(folder, &wanted) == 0 && fstat(at, &here) == 0) {
		int above;

		if (here.st_dev == wanted.st_dev && here.st_ino == wanted.st_ino)
			return true;
		if (here.st_dev == last.st_dev && here.st_ino == last.st_ino)
			return false; /* the root is its own parent */
		last = here;
		above = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		fd_close(at);
		at = above;
	}
	return false;
}

static int import_tree(struct request *r, const struct making *m, int in)
{
	/* Its standard input is the folder. */
	const char *argv[] = { "/bin/cp", "-a", "--reflink=auto", "-T", "--", "/proc/self/fd/0/.", m->tree,
		NULL };
	const struct helper h = { argv, in, -1, -1, r->fd, request_progress, r };
	int n = check_system(r, in);

	if (n == 0 && holds_templates(r, in))
		n = err_set(
			&r->err, ERR_USAGE,
			"that folder holds VM2's own templates: copy the system elsewhere first, as by rsync -aHAXx");
	return n == 0 ? helper_run(&h, &r->err) : n;
}

int template_import(struct request *r)
{
	CLEANUP_MAKING struct making m = { .folder = -1, .lock = -1 };
	CLEANUP_CLOSE int in = msg_take_fd(&r->in, 0);
	const char *mode, *image;
	struct stat st;
	int n = check_word(r, "image", "", WORD "ABCDEFGHIJKLMNOPQRSTUVWXYZ-._:@/+", &image);

	if (n != 0)
		return n;
	if (in < 0 || fstat(in, &st) < 0 || (fcntl(in, F_GETFL) & O_PATH))
		return err_set(&r->err, ERR_USAGE, "a descriptor of what is to be imported is missing");
	mode = import_mode(in, &st);
	if (*image && (!mode || strcmp(mode, unpack_oci)))
		return err_set(&r->err, ERR_USAGE, "image = '%.80s': that is no OCI image layout",
			       image);
	n = making_begin(r, &m);
	if (n == 0)
		n = mode ? import_archive(r, &m, mode, image, in) : import_tree(r, &m, in);
	return n == 0 ? making_finish(r, &m, "imported") : n;
}

int template_verify(struct request *r)
{
	CLEANUP_MSG struct msg row = { 0 };
	CLEANUP_CLOSE int lock = -1;
	char digest[SUM_TEXT_SIZE] = "";
	const char *name = NULL;
	bool sealed = false;
	int n = request_name(r, "name", &name);

	if (n == 0)
		n = lock_take(r->config, LOCK_TEMPLATE, false, 0, &lock, &r->err);
	if (n == 0)
		n = check_whole(r->config, r->store, name, digest, &sealed, &r->err);
	if (n != 0)
		return n;
	request_row_begin(&row);
	msg_add(&row, "name", name);
	msg_add(&row, "digest", digest);
	msg_add(&row, "state", sealed ? "sealed" : "as it was made");
	return request_row(r, &row);
}

static int send_template(void *data, const struct store_template *t)
{
	CLEANUP_MSG struct msg row = { 0 };

	request_row_begin(&row);
	msg_add(&row, "name", t->name);
	msg_add(&row, "suite", t->suite);
	msg_add_i64(&row, "created", t->created);
	msg_add_u64(&row, "bytes", t->bytes);
	msg_add(&row, "state", t->state);
	msg_add(&row, "digest", t->digest);
	return request_row(data, &row);
}

int template_list(struct request *r)
{
	return store_template_each(r->store, send_template, r, &r->err);
}

/* The row goes first: from then on no guest can be made from it, and those that are refuse it. */
int template_remove(struct request *r)
{
	CLEANUP_CLOSE int lock = -1, folder = -1;
	const char *name = NULL;
	int n = request_name(r, "name", &name);

	if (n == 0)
		n = lock_take(r->config, LOCK_TEMPLATE, false, 0, &lock, &r->err);
	if (n == 0)
		n = open_templates(r, &folder);
	if (n == 0)
		n = store_template_remove(r->store, name, &r->err);
	if (n != 0)
		return n;
	storage_forget_template(r->config, name);
	n = fd_remove_tree(folder, name);
	return n < 0 ? err_sys(&r->err, -n, "cannot delete %s/%s", r->config->templates, name) : 0;
}
