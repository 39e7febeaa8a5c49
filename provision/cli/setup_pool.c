/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guests' pool: a file for a btrfs file system, only where --pool asks for one. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "provision/base/cleanup.h"
#include "provision/base/pool.h"
#include "provision/cli/setup.h"

#define MKFS "/sbin/mkfs.btrfs"
#define SIZE_MIN (512ULL << 20)

/* Guests made before would vanish under the mount. */
static int refuse_guests(const struct config *config, struct err *err)
{
	CLEANUP_CLOSEDIR DIR *dir = opendir(config->guests);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			return err_set(err, ERR_BUSY,
				       "%s holds guests (%s): export and destroy them first, then make "
				       "the pool and import them",
				       config->guests, e->d_name);
	return 0;
}

static int check(const struct setup *s, struct err *err)
{
	struct statfs fs;

	if (s->pool < SIZE_MIN)
		return err_set(err, ERR_USAGE, "a pool takes 512M at least, not %" PRIu64 " bytes",
			       s->pool);
	if (access(MKFS, X_OK) < 0)
		return err_set(err, ERR_FAILED, "there is no %s: apt-get install btrfs-progs", MKFS);
	if (statfs(s->config->guests, &fs) == 0 && fs.f_type == BTRFS_SUPER_MAGIC)
		return err_set(err, ERR_USAGE, "%s is on btrfs already and needs no pool",
			       s->config->guests);
	if (statfs(s->config->state, &fs) < 0)
		return err_sys(err, errno, "cannot look at %s", s->config->state);
	/* The file is sparse; more than there is would be promised to guests and then break. */
	if (s->pool > (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize)
		return err_set(err, ERR_FAILED,
			       "a pool of %" PRIu64 " MiB has no room in %s, where %" PRIu64
			       " MiB are free",
			       s->pool >> 20, s->config->state,
			       (uint64_t)fs.f_bavail * (uint64_t)fs.f_frsize >> 20);
	return refuse_guests(s->config, err);
}

static int make_file(const char *path, uint64_t size, struct err *err)
{
	CLEANUP_CLOSE int fd = -1;

	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return err_sys(err, errno, "cannot make %s", path);
	return 0;
}

/* It has its name when it is a whole file system, and not before. */
static int make(struct setup *s, const char *path, struct err *err)
{
	CLEANUP_FREE char *fresh = xasprintf("%s.new", path);
	CLEANUP_CLOSE int fd = -1;
	int r = check(s, err);

	if (r == 0)
		r = make_file(fresh, s->pool, err);
	if (r == 0)
		r = setup_run(err, MKFS, "--quiet", "--label", "vm2", fresh, NULL);
	if (r != 0)
		return r;
	fd = open(fresh, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0 || rename(fresh, path) < 0)
		return err_sys(err, errno, "cannot keep the guests' pool %s", path);
	setup_note(s, "made the guests' pool %s, %" PRIu64 " MiB", path, s->pool >> 20);
	return 0;
}

/* A pool's size is not changed. */
static int there(const struct setup *s, const char *path, struct err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_sys(err, errno, "cannot look at %s", path);
	if ((uint64_t)st.st_size == s->pool)
		return 0;
	return err_set(err, ERR_EXISTS, "there is a pool %s of %" PRIu64 " MiB already", path,
		       (uint64_t)st.st_size >> 20);
}

int setup_pool_up(struct setup *s, struct err *err)
{
	CLEANUP_FREE char *path = pool_path(s->config);
	int r = 0;

	if (s->pool)
		r = access(path, F_OK) == 0 ? there(s, path, err) : make(s, path, err);
	if (r != 0)
		return r;
	r = pool_mount(s->config, err);
	if (r == 1)
		setup_note(s, "mounted the guests' pool at %s", s->config->guests);
	return r < 0 ? r : 0;
}

/* The file stays as the guests in it do: --purge takes it with the state directory. */
int setup_pool_down(struct setup *s, struct err *err)
{
	int r = pool_unmount(s->config, err);

	if (r == 1)
		setup_note(s, "took the guests' pool off %s", s->config->guests);
	return r < 0 ? r : 0;
}
