/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "build.h"
#include "provision/daemon/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/daemon/helper.h"

#define MANIFEST "manifest"
#define CHECKED	 "checked"
#define BLOCK	 65536

static int open_folder(const char *folder, int *ret_dir, int *ret_tree, struct err *err)
{
	CLEANUP_CLOSE int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int tree = dir < 0 ? -1 : openat(dir, "rootfs", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (tree < 0)
		return err_sys(err, errno, "cannot open the template's tree %s/rootfs", folder);
	*ret_dir = steal_fd(&dir);
	*ret_tree = tree;
	return 0;
}

static int list(int tree, int out, struct err *err)
{
	const char *argv[] = { HELPER_ARCHIVE, "list", NULL };
	const struct helper h = { argv, -1, out, tree, -1, NULL, NULL };

	return helper_run(&h, err);
}

static int digest_of(int fd, char ret[SUM_TEXT_SIZE], struct err *err)
{
	CLEANUP_FREE uint8_t *block = xcalloc(1, BLOCK);
	struct sha256_ctx hash;
	off_t at = 0;
	ssize_t n;

	sha256_init(&hash);
	while ((n = pread(fd, block, BLOCK, at)) > 0) {
		sha256_update(&hash, (size_t)n, block);
		at += n;
	}
	sum_text(&hash, ret);
	return n < 0 ? err_sys(err, errno, "cannot read the template's manifest") : 0;
}

/* The tree's root as it is now. It is another one after a restore, a copy, or a change in it. */
static int identity(int tree, char *ret, size_t cap)
{
	struct stat st;

	if (fstat(tree, &st) < 0)
		return -errno;
	return snprintf(ret, cap, "%ju %jd.%09ld\n", (uintmax_t)st.st_ino, (intmax_t)st.st_ctim.tv_sec,
		st.st_ctim.tv_nsec);
}

static int note_checked(int dir, int tree, struct err *err)
{
	char text[96];
	int r = identity(tree, text, sizeof(text));

	if (r >= 0)
		r = fd_replace_file(dir, CHECKED, text, strlen(text), 0600, 1);
	return r < 0 ? err_sys(err, -r, "cannot note that the template was checked") : 0;
}

int check_seal(const struct config *config, const char *folder, char ret_digest[SUM_TEXT_SIZE],
	struct err *err)
{
	CLEANUP_CLOSE int dir = -1, tree = -1, out = -1;
	int r = open_folder(folder, &dir, &tree, err);

	(void)config;
	if (r != 0)
		return r;
	out = openat(dir, MANIFEST ".new", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (out < 0)
		return err_sys(err, errno, "cannot write %s/" MANIFEST, folder);
	r = list(tree, out, err);
	if (r == 0)
		r = digest_of(out, ret_digest, err);
	if (r == 0 && (fsync(out) < 0 || renameat(dir, MANIFEST ".new", dir, MANIFEST) < 0))
		r = err_sys(err, errno, "cannot write %s/" MANIFEST, folder);
	return r == 0 ? note_checked(dir, tree, err) : r;
}

/* Where two manifests part: the line of the one that is expected, or of the other at its end. */
static int tell_difference(int dir, int now, const char *name, struct err *err)
{
	CLEANUP_FCLOSE FILE *was = NULL, *is = NULL;
	CLEANUP_FREE char *a = NULL, *b = NULL;
	char *line;
	CLEANUP_CLOSE int fd = openat(dir, MANIFEST, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t cap_a = 0, cap_b = 0;

	was = fd < 0 ? NULL : fdopen(fd, "r");
	if (was)
		steal_fd(&fd);
	lseek(now, 0, SEEK_SET);
	is = fdopen(dup(now), "r");
	while (was && is) {
		ssize_t n = getline(&a, &cap_a, was), m = getline(&b, &cap_b, is);

		if (n <= 0 && m <= 0)
			break;
		if (n == m && !memcmp(a, b, (size_t)n))
			continue;
		line = n > 0 ? a : b;
		line[strcspn(line, "\n")] = '\0';
		return err_set(err, ERR_FAILED,
			"template '%s' is not what it was when it was made: see '%s'; make it anew", name,
			line);
	}
	return err_set(err, ERR_FAILED, "template '%s': its manifest is not what it was", name);
}

static int compare(const struct store_template *t, int dir, int tree, char ret[SUM_TEXT_SIZE],
	struct err *err)
{
	CLEANUP_CLOSE int out = memfd_create(MANIFEST, MFD_CLOEXEC);
	int r = out < 0 ? err_sys(err, errno, "cannot get memory") : list(tree, out, err);

	if (r == 0)
		r = digest_of(out, ret, err);
	if (r == 0 && strcmp(ret, t->digest))
		return tell_difference(dir, out, t->name, err);
	return r == 0 ? note_checked(dir, tree, err) : r;
}

int check_whole(const struct config *config, struct store *store, const char *name,
	char ret_digest[SUM_TEXT_SIZE], bool *ret_sealed, struct err *err)
{
	CLEANUP_FREE char *folder = xasprintf("%s/%s", config->templates, name);
	CLEANUP_CLOSE int dir = -1, tree = -1;
	struct store_template t;
	int r = store_template_get(store, name, &t, err);

	if (r != 0)
		return r;
	*ret_sealed = !t.digest[0];
	if (!t.digest[0]) {
		r = check_seal(config, folder, ret_digest, err);
		return r == 0 ? store_template_digest(store, name, ret_digest, err) : r;
	}
	r = open_folder(folder, &dir, &tree, err);
	return r == 0 ? compare(&t, dir, tree, ret_digest, err) : r;
}

int check_before_use(const struct config *config, struct store *store, const char *name,
	guest_progress_fn progress, void *data, struct err *err)
{
	CLEANUP_FREE char *folder = xasprintf("%s/%s", config->templates, name);
	CLEANUP_CLOSE int dir = -1, tree = -1;
	char was[96] = "", is[96], digest[SUM_TEXT_SIZE];
	bool sealed;

	/* What is not there is told by whoever needs it. */
	if (open_folder(folder, &dir, &tree, NULL) != 0)
		return 0;
	if (fd_read_path(dir, CHECKED, was, sizeof(was)) > 0 && identity(tree, is, sizeof(is)) > 0 &&
		!strcmp(was, is))
		return 0;
	if (progress)
		progress(data, "Checking the template");
	return check_whole(config, store, name, digest, &sealed, err);
}
