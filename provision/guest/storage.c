/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"
#include "provision/guest/quota.h"

static const struct storage_driver *const drivers[] = { &storage_overlay, &storage_btrfs };

const struct storage_driver *storage_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(drivers); i++)
		if (!strcmp(drivers[i]->name, name))
			return drivers[i];
	return NULL;
}

const char *storage_refuses(const struct storage_driver *driver, const struct config *config,
			    const struct limits *limits, const char **ret_limit)
{
	const char *why = limits->disk ? driver->probe_limit(config) : NULL;

	*ret_limit = "disk";
	if (why || !limits->inodes)
		return why;
	*ret_limit = "inodes";
	return driver->probe_inodes(config);
}

const struct storage_driver *storage_of(const struct guest_spec *spec)
{
	const struct storage_driver *d = spec->driver ? storage_find(spec->driver) : NULL;

	return d ? d : &storage_overlay;
}

const struct storage_driver *storage_pick(const struct config *config, struct err *err)
{
	const struct storage_driver *d = &storage_overlay;
	const char *word = config->storage ? config->storage : "auto", *why;
	struct statfs fs;

	if (strcmp(word, "auto") != 0)
		d = storage_find(word);
	else if (statfs(config->guests, &fs) == 0 && fs.f_type == BTRFS_SUPER_MAGIC)
		d = &storage_btrfs;
	if (!d) {
		err_set(err, ERR_USAGE, "guest.storage = %s is neither auto, overlay nor btrfs", word);
		return NULL;
	}
	why = d->probe(config);
	if (why) {
		err_set(err, ERR_FAILED, "guests cannot be stored by %s: %s", d->name, why);
		return NULL;
	}
	return d;
}

void storage_prepare(const struct config *config)
{
	const struct storage_driver *d = storage_pick(config, NULL);

	if (d && d->prepare)
		d->prepare(config);
}

void storage_view_open(const struct config *config, struct storage_view *ret)
{
	*ret = (struct storage_view){ .guests = open(config->guests, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	ret->counted = ret->guests >= 0 && quota_enforced(ret->guests);
}

void storage_view_close(struct storage_view *view)
{
	view->guests = fd_close(view->guests);
}

int storage_open_guests(const struct config *config, struct err *err)
{
	int r = fd_mkdirs(config->guests, 0700), fd;

	if (r < 0)
		return err_sys(err, -r, "cannot make %s", config->guests);
	fd = open(config->guests, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, errno, "cannot open %s", config->guests) : fd;
}

static int open_empty(const struct config *config, struct err *err)
{
	CLEANUP_CLOSE int guests = storage_open_guests(config, err);
	int fd;

	if (guests < 0)
		return guests;
	if (mkdirat(guests, ".empty", 0755) < 0 && errno != EEXIST)
		return err_sys(err, errno, "cannot make %s/.empty", config->guests);
	fd = openat(guests, ".empty", O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? err_sys(err, errno, "cannot open %s/.empty", config->guests) : fd;
}

int storage_open_template(const struct config *config, const char *template, struct err *err)
{
	CLEANUP_FREE char *path = NULL;
	int fd;

	if (!template || !*template)
		return open_empty(config, err);
	if (!name_valid(template)) {
		err_set(err, ERR_NOT_FOUND, "'%s' is no name of a template", template);
		return -ENOENT;
	}
	path = xasprintf("%s/%s/rootfs", config->templates, template);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENOTDIR) {
		err_set(err, ERR_NOT_FOUND,
			"no template '%s' (%s is not there): make it with 'vm2 template build'",
			template, path);
		return -ENOENT;
	}
	return err_sys(err, errno, "cannot open %s", path);
}

int storage_clone_tree(const char *path, struct err *err)
{
	/* Without AT_RECURSIVE: nothing that is mounted below comes along. */
	int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);

	return fd < 0 ? err_sys(err, errno, "cannot clone the mount of %s", path) : fd;
}

/* A name that nothing in .trash has: the clock never gives two workers the same with their pid. */
int storage_discard(int guests, const char *name)
{
	struct timespec now;
	char to[96];

	if (mkdirat(guests, ".trash", 0700) < 0 && errno != EEXIST)
		return -errno;
	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(to, sizeof(to), ".trash/%lld.%09ld.%d", (long long)now.tv_sec, now.tv_nsec,
		 (int)getpid());
	return renameat(guests, name, guests, to) < 0 && errno != ENOENT ? -errno : 0;
}

bool storage_has_trash(const struct config *config)
{
	CLEANUP_FREE char *path = xasprintf("%s/.trash", config->guests);
	CLEANUP_CLOSEDIR DIR *dir = opendir(path);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			return true;
	return false;
}

/* flock: two at once would only be in each other's way. */
int storage_empty_trash(const struct config *config)
{
	CLEANUP_CLOSE int guests = open(config->guests, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_CLOSE int fd = -1;
	CLEANUP_CLOSEDIR DIR *dir = NULL;
	struct dirent *e;
	int first = 0, r;

	if (guests >= 0)
		fd = openat(guests, ".trash", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return 0;
	dir = fdopendir(dup(fd));
	while (dir && (e = readdir(dir))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		r = fd_remove_tree(fd, e->d_name);
		if (r < 0 && first == 0)
			first = r;
	}
	return first;
}
