/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The overlay driver: TEMPLATES/T/rootfs is the lower layer, GUESTS/NAME/upper holds what the guest
 * changed. The overlay is mounted from inside the guest's user namespace: mounted by the host it
 * would be read-only, since host uid 0 is not in the map of the layers.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"
#include "provision/guest/storage.h"

#ifndef OVERLAYFS_SUPER_MAGIC
#define OVERLAYFS_SUPER_MAGIC 0x794c7630
#endif

static const char *overlay_probe(const struct config *config)
{
	struct statfs fs;

	if (statfs(config->guests, &fs) < 0)
		return NULL; /* not made yet: nothing to object to */
	if (fs.f_type == OVERLAYFS_SUPER_MAGIC)
		return "the guests' folder is itself on an overlay, which cannot hold another one's "
		       "upper layer: put it on a real file system (paths.guests)";
	return NULL;
}

static int template_open(const struct config *config, const char *template, struct err *err)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s/rootfs", config->templates, template);
	int fd;

	if (!name_valid(template))
		return err_set(err, ERR_NOT_FOUND, "'%s' is no name of a template", template);
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

/* The mode of the template's folder, for its double in the upper layer. */
static mode_t mode_of(int dirfd, const char *path)
{
	struct stat st;

	if (fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
		return 0755;
	return st.st_mode & 07777;
}

static int make_dir(int dirfd, const char *name, mode_t mode)
{
	/* The umask is the caller's: set the mode apart. */
	if (mkdirat(dirfd, name, 0700) < 0 || fchmodat(dirfd, name, mode, 0) < 0)
		return -errno;
	return 0;
}

static int make_fresh(const struct config *config, const struct guest_spec *spec, int guests,
		      const char *new, int template, struct err *err)
{
	CLEANUP_CLOSE int top = -1, etc = -1;
	int r;

	r = make_dir(guests, new, 0700);
	if (r < 0)
		return err_sys(err, -r, "cannot make %s/%s", config->guests, new);
	top = openat(guests, new, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (top < 0)
		return err_sys(err, errno, "cannot open %s/%s", config->guests, new);
	r = make_dir(top, "upper", mode_of(template, ""));
	if (r >= 0)
		r = make_dir(top, "work", 0700);
	if (r >= 0)
		r = make_dir(top, "upper/etc", mode_of(template, "etc"));
	if (r < 0)
		return err_sys(err, -r, "cannot make the layers in %s/%s", config->guests, new);
	etc = openat(top, "upper/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (etc < 0)
		return err_sys(err, errno, "cannot open %s/%s/upper/etc", config->guests, new);
	return files_personalise(config, spec, etc, err);
}

static int open_guests(const struct config *config, struct err *err)
{
	int r = fd_mkdirs(config->guests, 0700), fd;

	if (r < 0)
		return err_sys(err, -r, "cannot make %s", config->guests);
	fd = open(config->guests, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(err, errno, "cannot open %s", config->guests) : fd;
}

static int overlay_make(const struct config *config, const struct guest_spec *spec, bool *ret_fresh,
			struct err *err)
{
	CLEANUP_FREE char *new = xasprintf(".%s.new", spec->name);
	CLEANUP_CLOSE int guests = -1, template = -1;
	struct stat st;
	int r;

	template = template_open(config, spec->template, err);
	if (template < 0)
		return template == -ENOENT ? ERR_NOT_FOUND : template;
	guests = open_guests(config, err);
	if (guests < 0)
		return guests;
	if (fstatat(guests, spec->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)) {
		*ret_fresh = false;
		return 0;
	}
	/* What a crash left half made has no name yet: begin anew. */
	r = fd_remove_tree(guests, new);
	if (r < 0)
		return err_sys(err, -r, "cannot remove %s/%s", config->guests, new);
	r = make_fresh(config, spec, guests, new, template, err);
	if (r == 0 && renameat(guests, new, guests, spec->name) < 0)
		r = err_sys(err, errno, "cannot rename %s/%s", config->guests, new);
	if (r != 0) {
		fd_remove_tree(guests, new);
		return r;
	}
	*ret_fresh = true;
	return 0;
}

static int overlay_destroy(const struct config *config, const char *name, struct err *err)
{
	CLEANUP_FREE char *new = xasprintf(".%s.new", name);
	CLEANUP_FREE char *old = xasprintf(".%s.old", name);
	CLEANUP_CLOSE int guests = open(config->guests, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (guests < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "cannot open %s", config->guests);
	/* Take the name away first: a guest that is half deleted must not be started again. */
	r = fd_remove_tree(guests, old);
	if (r >= 0 && renameat(guests, name, guests, old) < 0 && errno != ENOENT)
		r = -errno;
	if (r >= 0)
		r = fd_remove_tree(guests, old);
	if (r >= 0)
		r = fd_remove_tree(guests, new);
	return r < 0 ? err_sys(err, -r, "cannot delete %s/%s", config->guests, name) : 0;
}

static int clone_tree(const char *path, struct err *err)
{
	/* Without AT_RECURSIVE: nothing that is mounted below comes along. */
	int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);

	return fd < 0 ? err_sys(err, errno, "cannot clone the mount of %s", path) : fd;
}

static int overlay_open(const struct config *config, const struct guest_spec *spec,
			struct storage_layers *ret, struct err *err)
{
	CLEANUP_FREE char *lower_path = xasprintf("%s/%s/rootfs", config->templates, spec->template);
	CLEANUP_FREE char *upper_path = xasprintf("%s/%s", config->guests, spec->name);
	CLEANUP_CLOSE int lower = clone_tree(lower_path, err);
	int upper;

	if (lower < 0)
		return lower;
	upper = clone_tree(upper_path, err);
	if (upper < 0)
		return upper;
	ret->lower = steal_fd(&lower);
	ret->upper = upper;
	return 0;
}

static int overlay_idmap(const struct storage_layers *layers, int userns_fd, struct err *err)
{
	/*
	 * Safe: both mounts are detached copies; their ids are shown shifted into the guest's range,
	 * and no id outside of it can be written through them.
	 */
	struct mount_attr lower = {
		.attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV,
		.propagation = MS_PRIVATE,
		.userns_fd = (uint64_t)userns_fd,
	};
	struct mount_attr upper = {
		.attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_NODEV,
		.propagation = MS_PRIVATE,
		.userns_fd = (uint64_t)userns_fd,
	};

	if (mount_setattr(layers->lower, "", AT_EMPTY_PATH, &lower, sizeof(lower)) < 0)
		return err_sys(err, errno, "cannot shift the ids of the template's file system");
	if (mount_setattr(layers->upper, "", AT_EMPTY_PATH, &upper, sizeof(upper)) < 0)
		return err_sys(err, errno, "cannot shift the ids of the guest's file system");
	return 0;
}

static int overlay_mount(const struct storage_layers *layers, struct err *err)
{
	if (mkdir("lower", 0700) < 0 || mkdir("own", 0700) < 0 || mkdir("root", 0755) < 0)
		return err_sys(err, errno, "cannot make the mount points of the layers");
	if (move_mount(layers->lower, "", AT_FDCWD, "lower", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
	    move_mount(layers->upper, "", AT_FDCWD, "own", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "cannot attach the layers");
	/*
	 * Relative names: the guest's mountinfo shows them and nothing of the host. userxattr:
	 * trusted.* is not for user namespaces (Documentation/filesystems/overlayfs.rst).
	 */
	if (mount("overlay", "root", "overlay", MS_NODEV,
		  "lowerdir=lower,upperdir=own/upper,workdir=own/work,userxattr") < 0)
		return err_sys(err, errno, "cannot mount the overlay of the guest's root");
	return 0;
}

const struct storage_driver storage_overlay = {
	.name = "overlay",
	.probe = overlay_probe,
	.make = overlay_make,
	.destroy = overlay_destroy,
	.open = overlay_open,
	.idmap = overlay_idmap,
	.mount = overlay_mount,
};
