/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The overlay driver: TEMPLATES/T/rootfs is the lower layer, GUESTS/NAME/upper holds what the guest
 * changed. The overlay is mounted from inside the guest's user namespace: mounted by the host it
 * would be read-only, since host uid 0 is not in the map of the layers.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"
#include "provision/guest/copy.h"
#include "provision/guest/layers.h"
#include "provision/guest/quota.h"
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

/* The mode of the template's folder, for its double in the upper layer. */
static mode_t mode_of(int dirfd, const char *path)
{
	struct stat st;

	if (fstatat(dirfd, path, &st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
		return 0755;
	return st.st_mode & 07777;
}

/* One of the guest's range: no other guest has it. */
static bool is_own(uint32_t project, const struct guest_spec *spec)
{
	return project >= spec->uid_base && project - spec->uid_base < GUEST_IDS;
}

/*
 * One that nothing is charged to: what was destroyed or restored over keeps its own until it is deleted,
 * which is later, and is not to count against what takes its place.
 */
static int pick_project(int top, const struct guest_spec *spec, uint32_t *ret)
{
	uint64_t bytes = 1, inodes = 1;
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < GUEST_IDS; i++) {
		*ret = spec->uid_base + i;
		r = quota_usage(top, *ret, &bytes, &inodes);
		if (r == 0 && bytes == 0 && inodes == 0)
			return 0;
	}
	return r < 0 ? r : -EDQUOT;
}

/*
 * What is made in an empty folder is charged to the guest, where the file system can; up to its limits,
 * which also takes away those that the project had earlier.
 */
static int charge(int top, const struct guest_spec *spec)
{
	uint32_t project = 0;
	int r;

	if (!quota_enforced(top))
		return 0;
	r = pick_project(top, spec, &project);
	if (r == 0)
		r = quota_adopt(top, project);
	return r < 0 ? r : quota_limit(top, project, spec->limits.disk, spec->limits.inodes);
}

static int make_dir(int dirfd, const char *name, mode_t mode)
{
	/* The umask is the caller's: set the mode apart. */
	if (mkdirat(dirfd, name, 0700) < 0 || fchmodat(dirfd, name, mode, 0) < 0)
		return -errno;
	return 0;
}

/* Taken from those that are there, or made: the folder, or -errno. */
static int begin_fresh(const struct guest_spec *spec, int guests, const char *new)
{
	bool taken = layers_take(guests, new);
	CLEANUP_CLOSE int top = -1;
	int r = 0;

	if (!taken && mkdirat(guests, new, 0700) < 0)
		return -errno;
	top = openat(guests, new, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (top < 0)
		return -errno;
	if (!taken)
		r = charge(top, spec);
	if (r >= 0 && !taken)
		r = layers_make(top);
	return r < 0 ? r : steal_fd(&top);
}

static int make_fresh(const struct config *config, const struct guest_spec *spec, int guests,
		      const char *new, int template, struct err *err)
{
	CLEANUP_CLOSE int top = begin_fresh(spec, guests, new), etc = -1;
	int r;

	if (top < 0 || fchmodat(top, "upper", mode_of(template, ""), 0) < 0 ||
	    fchmodat(top, "upper/etc", mode_of(template, "etc"), 0) < 0)
		return err_sys(err, top < 0 ? -top : errno, "cannot make the layers in %s/%s",
			       config->guests, new);
	etc = openat(top, "upper/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (etc < 0)
		return err_sys(err, errno, "cannot open %s/%s/upper/etc", config->guests, new);
	r = files_personalise(config, spec, etc, err);
	return r == 0 ? files_host_keys(spec, template, etc, err) : r;
}

static void overlay_prepare(const struct config *config)
{
	CLEANUP_CLOSE int guests = storage_open_guests(config, NULL);

	if (guests >= 0)
		layers_prepare(guests);
}

static int overlay_make(const struct config *config, const struct guest_spec *spec, bool *ret_fresh,
			struct err *err)
{
	CLEANUP_FREE char *new = xasprintf(".%s.new", spec->name);
	CLEANUP_CLOSE int guests = -1, template = -1;
	struct stat st;
	int r;

	template = storage_open_template(config, spec->template, err);
	if (template < 0)
		return template == -ENOENT ? ERR_NOT_FOUND : template;
	guests = storage_open_guests(config, err);
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
	CLEANUP_FREE char *snapshots = xasprintf(".snapshots/%s", name);
	CLEANUP_CLOSE int guests = open(config->guests, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (guests < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "cannot open %s", config->guests);
	/* The name goes at once; the files, however many, go later (storage_empty_trash()). */
	r = storage_discard(guests, name);
	if (r >= 0)
		r = storage_discard(guests, new);
	if (r >= 0)
		r = storage_discard(guests, snapshots);
	return r < 0 ? err_sys(err, -r, "cannot delete %s/%s", config->guests, name) : 0;
}

/*
 * The snapshot that the guest was restored to: it lies between its own files and the template. The
 * link's target is a name, not a path: a link is on the disk as soon as its folder is.
 */
static bool read_base(const struct config *config, const char *name, char ret[NAME_LEN_MAX + 2])
{
	CLEANUP_FREE char *path = xasprintf("%s/%s/base", config->guests, name);
	ssize_t n = readlink(path, ret, NAME_LEN_MAX + 1);

	if (n <= 0)
		return false;
	ret[n] = '\0';
	return name_valid(ret);
}

static bool overlay_stands_on(const struct config *config, const char *name, const char *snapshot)
{
	char base[NAME_LEN_MAX + 2];

	return read_base(config, name, base) && !strcmp(base, snapshot);
}

static char *base_path(const struct config *config, const char *name)
{
	char base[NAME_LEN_MAX + 2];

	return read_base(config, name, base) ? xasprintf("%s/.snapshots/%s/%s/upper", config->guests,
							 name, base) :
					       NULL;
}

static int overlay_open(const struct config *config, const struct guest_spec *spec,
			struct storage_layers *ret, struct err *err)
{
	const char *template = spec->template && *spec->template ? spec->template : NULL;
	CLEANUP_FREE char *lower_path = template ? xasprintf("%s/%s/rootfs", config->templates,
							     template) :
						   xasprintf("%s/.empty", config->guests);
	CLEANUP_FREE char *upper_path = xasprintf("%s/%s", config->guests, spec->name);
	CLEANUP_FREE char *middle_path = base_path(config, spec->name);
	CLEANUP_CLOSE int lower = storage_clone_tree(lower_path, err);
	CLEANUP_CLOSE int base = -1;
	int upper;

	if (lower < 0)
		return lower;
	if (middle_path) {
		base = storage_clone_tree(middle_path, err);
		if (base < 0)
			return base;
	}
	upper = storage_clone_tree(upper_path, err);
	if (upper < 0)
		return upper;
	ret->lower = steal_fd(&lower);
	ret->base = steal_fd(&base);
	ret->upper = upper;
	return 0;
}

static int open_layer(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? err_sys(err, errno, "cannot open %s", path) : fd;
}

static int overlay_folders(const struct config *config, const struct guest_spec *spec,
			   int ret[STORAGE_FOLDERS], struct err *err)
{
	CLEANUP_FREE char *upper_path = xasprintf("%s/%s/upper", config->guests, spec->name);
	CLEANUP_FREE char *middle_path = base_path(config, spec->name);
	CLEANUP_CLOSE int upper = open_layer(upper_path, err);
	CLEANUP_CLOSE int base = upper >= 0 && middle_path ? open_layer(middle_path, err) : -1;
	int lower, n = 0;

	if (upper < 0 || (middle_path && base < 0))
		return upper < 0 ? upper : base;
	lower = storage_open_template(config, spec->template, err);
	if (lower < 0)
		return lower;
	ret[n++] = steal_fd(&upper);
	if (base >= 0)
		ret[n++] = steal_fd(&base);
	ret[n++] = lower;
	return n;
}

/* Twice while the guest runs: the second time it stands still, and only what changed is copied. */
static int copy_upper(int from, int to, struct storage_pause *pause, uint64_t *ret_bytes,
		      struct err *err)
{
	CLEANUP_COPY struct copy *copy = copy_new(from, to);
	int r = copy_all(copy, err);

	if (r == 0 && pause) {
		r = pause->begin(pause, err);
		if (r == 0)
			r = copy_changes(copy, err);
		pause->end(pause);
	}
	if (r == 0)
		*ret_bytes += copy_bytes(copy);
	return r;
}

/* A snapshot stands on the template alone: what the guest stands on is copied into it. */
static int copy_base(const char *path, int to, uint64_t *ret_bytes, struct err *err)
{
	CLEANUP_CLOSE int from = open_layer(path, err);
	CLEANUP_COPY struct copy *copy = copy_new(from, to);
	int r = from < 0 ? from : copy_below(copy, err);

	if (r == 0)
		*ret_bytes += copy_bytes(copy);
	return r;
}

static int overlay_save(const struct config *config, const struct guest_spec *spec, const char *to,
			struct storage_pause *pause, uint64_t *ret_bytes, struct err *err)
{
	CLEANUP_FREE char *from_path = xasprintf("%s/%s/upper", config->guests, spec->name);
	CLEANUP_FREE char *to_path = xasprintf("%s/upper", to);
	CLEANUP_FREE char *base = base_path(config, spec->name);
	CLEANUP_CLOSE int from = open_layer(from_path, err), into = -1;
	int r;

	if (from < 0)
		return from;
	if (mkdir(to_path, 0700) < 0)
		return err_sys(err, errno, "cannot make %s", to_path);
	into = open_layer(to_path, err);
	if (into < 0)
		return into;
	r = copy_upper(from, into, pause, ret_bytes, err);
	if (r == 0 && base)
		r = copy_base(base, into, ret_bytes, err);
	return r;
}

static int overlay_drop(const struct config *config, const char *to, struct err *err)
{
	CLEANUP_CLOSE int guests = storage_open_guests(config, err);
	int r;

	if (guests < 0)
		return guests;
	r = storage_discard(guests, to + strlen(config->guests) + 1);
	return r < 0 ? err_sys(err, -r, "cannot delete %s", to) : 0;
}

/* GUESTS/.NAME.new with an empty upper layer whose root looks like `like`, or like nothing much. */
static int make_new(const struct config *config, const struct guest_spec *spec, int guests,
		    const char *new, const struct stat *like, struct err *err)
{
	CLEANUP_CLOSE int top = -1;
	int r = storage_discard(guests, new);

	if (r == 0)
		r = make_dir(guests, new, 0700);
	if (r < 0)
		return err_sys(err, -r, "cannot make %s/%s for %s", config->guests, new, spec->name);
	top = openat(guests, new, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (top < 0)
		return err_sys(err, errno, "cannot open %s/%s", config->guests, new);
	r = charge(top, spec);
	if (r >= 0)
		r = make_dir(top, "upper", like ? like->st_mode & 07777 : 0755);
	if (r >= 0)
		r = make_dir(top, "work", 0700);
	if (r >= 0 && like && fchownat(top, "upper", like->st_uid, like->st_gid, 0) < 0)
		r = -errno;
	return r < 0 ? err_sys(err, -r, "cannot make the layers in %s/%s", config->guests, new) : 0;
}

static int write_base(int guests, const char *new, const char *snapshot)
{
	CLEANUP_CLOSE int top = openat(guests, new, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return top < 0 || symlinkat(snapshot, top, "base") < 0 ? -errno : 0;
}

/*
 * No byte is copied: the snapshot becomes a layer below fresh, empty files of the guest's own. One
 * exchange of names puts them in place.
 */
static int overlay_restore(const struct config *config, const struct guest_spec *spec,
			   const char *snapshot, struct err *err)
{
	CLEANUP_FREE char *new = xasprintf(".%s.new", spec->name);
	CLEANUP_FREE char *layer = xasprintf("%s/.snapshots/%s/%s/upper", config->guests, spec->name,
					     snapshot);
	CLEANUP_CLOSE int guests = storage_open_guests(config, err);
	struct stat st;
	int r;

	if (guests < 0)
		return guests;
	if (lstat(layer, &st) < 0)
		return err_sys(err, errno, "cannot look at %s", layer);
	r = make_new(config, spec, guests, new, &st, err);
	if (r != 0)
		return r;
	r = write_base(guests, new, snapshot);
	if (r == 0 && renameat2(guests, new, guests, spec->name, RENAME_EXCHANGE) < 0)
		r = -errno;
	if (r == 0)
		r = storage_discard(guests, new);
	return r < 0 ? err_sys(err, -r, "cannot put the snapshot in place of %s/%s", config->guests,
			       spec->name) :
		       0;
}

static int overlay_view(const struct config *config, const struct guest_spec *spec, const char *to,
			const char *at, struct err *err)
{
	const char *template = spec->template && *spec->template ? spec->template : NULL;
	CLEANUP_FREE char *lower = template ? xasprintf("%s/%s/rootfs", config->templates, template) :
					      xasprintf("%s/.empty", config->guests);
	CLEANUP_FREE char *options = xasprintf("lowerdir=%s/upper:%s,userxattr", to, lower);
	CLEANUP_CLOSE int there = storage_open_template(config, spec->template, err);

	if (there < 0)
		return there;
	if (mount("overlay", at, "overlay", MS_RDONLY | MS_NODEV | MS_NOSUID, options) < 0)
		return err_sys(err, errno, "cannot mount the layers of guest %s", spec->name);
	return 0;
}

static int overlay_place(const struct config *config, const struct guest_spec *spec, char **ret,
			 struct err *err)
{
	CLEANUP_FREE char *new = xasprintf(".%s.new", spec->name);
	CLEANUP_CLOSE int guests = storage_open_guests(config, err);
	int r = guests < 0 ? guests : make_new(config, spec, guests, new, NULL, err);

	if (r == 0)
		*ret = xasprintf("%s/%s/upper", config->guests, new);
	return r;
}

static int overlay_adopt(const struct config *config, const struct guest_spec *spec,
			 struct err *err)
{
	CLEANUP_FREE char *new = xasprintf(".%s.new", spec->name);
	CLEANUP_FREE char *path = xasprintf("%s/%s/upper", config->guests, new);
	CLEANUP_CLOSE int guests = storage_open_guests(config, err);
	int r = guests < 0 ? guests : files_personalise_again(config, spec, path, err);

	/* It must be on the disk before the database says that it is there. */
	if (r == 0 && syncfs(guests) < 0)
		r = err_sys(err, errno, "cannot write the guest's files");
	if (r == 0 && renameat2(guests, new, guests, spec->name, RENAME_NOREPLACE) < 0)
		r = err_sys(err, errno, "cannot rename %s/%s", config->guests, new);
	return r;
}

static const char *overlay_probe_limit(const struct config *config)
{
	CLEANUP_CLOSE int guests = open(config->guests, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (guests >= 0 && quota_enforced(guests))
		return NULL;
	return "overlay has no limit for one guest's files here: have the guests on btrfs "
	       "(vm2 host setup --pool SIZE), or on ext4 or XFS mounted with prjquota";
}

static int overlay_limit(const struct config *config, const struct guest_spec *spec,
			 struct err *err)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s", config->guests, spec->name);
	CLEANUP_CLOSE int top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	bool asked = spec->limits.disk || spec->limits.inodes;
	uint32_t project;
	int r;

	if (top < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "cannot open %s", path);
	if (!quota_enforced(top))
		return asked ? err_set(err, ERR_FAILED, "the plan's disk cannot be kept: %s",
				       overlay_probe_limit(config)) :
			       0;
	project = quota_project(top);
	if (!is_own(project, spec))
		return asked ? err_set(err, ERR_FAILED, "guest %s is older than the quotas of %s: export, "
				       "destroy and import it", spec->name, config->guests) :
			       0;
	r = quota_limit(top, project, spec->limits.disk, spec->limits.inodes);
	return r < 0 ? err_sys(err, -r, "cannot limit the files of guest %s", spec->name) : 0;
}

static int overlay_used(const struct config *config, struct storage_view *view,
			const struct guest_spec *spec, struct storage_used *ret)
{
	CLEANUP_CLOSE int top = -1;
	uint32_t project;

	(void)config;
	if (!view->counted)
		return -ENOENT;
	top = openat(view->guests, spec->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (top < 0)
		return -errno;
	project = quota_project(top);
	if (!is_own(project, spec))
		return -ENODATA;
	return quota_usage(view->guests, project, &ret->bytes, &ret->inodes);
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
	if (layers->base >= 0 &&
	    mount_setattr(layers->base, "", AT_EMPTY_PATH, &lower, sizeof(lower)) < 0)
		return err_sys(err, errno, "cannot shift the ids of the guest's snapshot");
	if (mount_setattr(layers->upper, "", AT_EMPTY_PATH, &upper, sizeof(upper)) < 0)
		return err_sys(err, errno, "cannot shift the ids of the guest's file system");
	return 0;
}

static int overlay_mount(const struct storage_layers *layers, struct err *err)
{
	/*
	 * Relative names: the guest's mountinfo shows them and nothing of the host. userxattr:
	 * trusted.* is not for user namespaces (Documentation/filesystems/overlayfs.rst).
	 */
	const char *options = layers->base < 0 ?
		"lowerdir=lower,upperdir=own/upper,workdir=own/work,userxattr" :
		"lowerdir=base:lower,upperdir=own/upper,workdir=own/work,userxattr";

	if (move_mount(layers->lower, "", AT_FDCWD, "lower", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
	    move_mount(layers->upper, "", AT_FDCWD, "own", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
	    (layers->base >= 0 &&
	     move_mount(layers->base, "", AT_FDCWD, "base", MOVE_MOUNT_F_EMPTY_PATH) < 0))
		return err_sys(err, errno, "cannot attach the layers");
	if (mount("overlay", "root", "overlay", MS_NODEV, options) < 0)
		return err_sys(err, errno, "cannot mount the overlay of the guest's root");
	return 0;
}

const struct storage_driver storage_overlay = {
	.name = "overlay",
	.probe = overlay_probe,
	.probe_limit = overlay_probe_limit,
	.probe_inodes = overlay_probe_limit,
	.prepare = overlay_prepare,
	.make = overlay_make,
	.destroy = overlay_destroy,
	.open = overlay_open,
	.idmap = overlay_idmap,
	.mount = overlay_mount,
	.folders = overlay_folders,
	.save = overlay_save,
	.restore = overlay_restore,
	.stands_on = overlay_stands_on,
	.drop = overlay_drop,
	.view = overlay_view,
	.place = overlay_place,
	.adopt = overlay_adopt,
	.limit = overlay_limit,
	.used = overlay_used,
};
