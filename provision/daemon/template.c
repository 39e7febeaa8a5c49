/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
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
#include "provision/daemon/handlers.h"
#include "provision/daemon/locks.h"

#define LINE_MAX_BYTES 1000

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

static int making_finish(struct request *r, struct making *m, const char *suite)
{
	struct store_template t = { .created = time(NULL), .state = "ready" };
	CLEANUP_FREE char *below = xasprintf("%s/rootfs", m->temporary);
	int n;

	snprintf(t.name, sizeof(t.name), "%s", m->name);
	snprintf(t.suite, sizeof(t.suite), "%s", suite);
	t.bytes = tree_bytes(m->folder, below, 0);
	if (renameat(m->folder, m->temporary, m->folder, m->name) < 0)
		return err_sys(&r->err, errno, "cannot rename %s", m->tree);
	m->temporary[0] = '\0';
	n = store_template_add(r->store, &t, &r->err);
	if (n != 0)
		fd_remove_tree(m->folder, m->name);
	return n;
}

/*
 * The child: our own program or cp(1), by its full path, without a shell, with an environment of
 * ours.
 */
static void __attribute__((noreturn)) become(const char *const argv[], int out, int error)
{
	static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", lang[] = "LANG=C.UTF-8";
	char *environment[] = { path, lang, NULL };
	int null = open("/dev/null", O_RDONLY);

	if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(error, 2) < 0)
		_exit(127);
	fd_close_from(3);
	execve(argv[0], (char *const *)(uintptr_t)argv, environment);
	dprintf(2, "cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Lines of the program's output are progress; what it said last is the reason when it fails. */
static void relay(struct request *r, FILE *from, char last[LINE_MAX_BYTES])
{
	char line[LINE_MAX_BYTES];

	while (fgets(line, sizeof(line), from)) {
		line[strcspn(line, "\n")] = '\0';
		if (!*line)
			continue;
		memcpy(last, line, sizeof(line));
		request_progress(r, line);
	}
}

static int run(struct request *r, const char *const argv[])
{
	CLEANUP_FCLOSE FILE *from = NULL;
	CLEANUP_CLOSE int out = -1, in = -1;
	char last[LINE_MAX_BYTES] = "";
	int pipes[2], status = 0;
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return err_sys(&r->err, errno, "cannot make a pipe");
	in = pipes[0];
	out = pipes[1];
	pid = fork();
	if (pid < 0)
		return err_sys(&r->err, errno, "cannot fork");
	if (pid == 0)
		become(argv, out, out);
	out = fd_close(out);
	from = fdopen(in, "r");
	if (from) {
		steal_fd(&in);
		relay(r, from, last);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return err_set(&r->err, ERR_FAILED, "%s", *last ? last : "the builder was killed");
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

int template_import(struct request *r)
{
	CLEANUP_MAKING struct making m = { .folder = -1, .lock = -1 };
	const char *path = NULL;
	struct stat st;
	int n = msg_need(&r->in, "path", &path, &r->err);

	if (n != 0)
		return n;
	if (*path != '/' || stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
		return err_set(
			&r->err, ERR_USAGE, "'%.200s' is no absolute path of a directory", path);
	n = making_begin(r, &m);
	if (n == 0) {
		const char *argv[] = { "/bin/cp", "-a", "--reflink=auto", "-T", "--", path, m.tree,
			NULL };

		n = run(r, argv);
	}
	return n == 0 ? making_finish(r, &m, "imported") : n;
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
	n = fd_remove_tree(folder, name);
	return n < 0 ? err_sys(&r->err, -n, "cannot delete %s/%s", r->config->templates, name) : 0;
}
