/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The btrfs driver: GUESTS/NAME is a subvolume, made as a snapshot of the template's copy in
 * GUESTS/.templates. A snapshot is one call and shares all data. A plan's disk is a limit of what
 * the subvolume refers to: the template's size and the plan's.
 *
 * Guests make no subvolumes of their own: these would be past the limit (seccomp_gen.c).
 */
#include <btrfsutil.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"
#include "provision/guest/copy.h"
#include "provision/guest/storage.h"

/* A template's copy is NAME.INODE.TIME: another tree of the same name is another copy. */
#define COPY_NAME_MAX 96

/* libbtrfsutil says what, errno says why. */
static int fault(struct err *err, enum btrfs_util_error e, const char *path)
{
	return err_sys(err, errno ? errno : EIO, "%s: %s", path, btrfs_util_strerror(e));
}

static const char *btrfs_probe(const struct config *config)
{
	struct statfs fs;

	if (statfs(config->guests, &fs) < 0 || fs.f_type != BTRFS_SUPER_MAGIC)
		return "paths.guests is not on btrfs (vm2 host setup --pool SIZE makes such a place)";
	return NULL;
}

static const char *btrfs_probe_limit(const struct config *config)
{
	return btrfs_probe(config);
}

static const char *btrfs_probe_inodes(const struct config *config)
{
	(void)config;
	return "btrfs counts no inodes";
}

/* --- subvolumes --- */

static int subvolume_delete(const char *path, struct err *err)
{
	enum btrfs_util_error e = btrfs_util_is_subvolume(path);

	if (e == BTRFS_UTIL_OK)
		e = btrfs_util_delete_subvolume(path, BTRFS_UTIL_DELETE_SUBVOLUME_RECURSIVE);
	else if (errno == ENOENT)
		return 0;
	return e == BTRFS_UTIL_OK ? 0 : fault(err, e, path);
}

static int subvolume_snapshot(const char *from, const char *to, int flags, struct err *err)
{
	enum btrfs_util_error e = btrfs_util_create_snapshot(from, to, flags, NULL, NULL);

	return e == BTRFS_UTIL_OK ? 0 : fault(err, e, to);
}

/* --- templates --- */

static int copy_name(int template, const char *name, char ret[COPY_NAME_MAX], struct err *err)
{
	struct stat st;

	if (fstat(template, &st) < 0)
		return err_sys(err, errno, "cannot look at template %s", name);
	snprintf(ret, COPY_NAME_MAX, "%s.%ju.%jd", name, (uintmax_t)st.st_ino,
		 (intmax_t)st.st_ctim.tv_sec);
	return 0;
}

/* Copies of other trees that had this name. */
static void delete_others(const char *folder, const char *name, const char *keep)
{
	CLEANUP_CLOSEDIR DIR *dir = opendir(folder);
	size_t len = strlen(name);
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		CLEANUP_FREE char *path = NULL;

		if (strncmp(e->d_name, name, len) != 0 || e->d_name[len] != '.' ||
		    (keep && str_starts(e->d_name, keep)))
			continue;
		path = xasprintf("%s/%s", folder, e->d_name);
		if (unlink(path) < 0)
			subvolume_delete(path, NULL);
	}
}

static int fill_copy(const char *new, int template, uint64_t *ret_bytes, struct err *err)
{
	CLEANUP_CLOSE int to = -1, from = openat(template, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP_COPY struct copy *copy = NULL;
	enum btrfs_util_error e;
	int r = subvolume_delete(new, err);

	if (r != 0)
		return r;
	e = btrfs_util_create_subvolume(new, 0, NULL, NULL);
	if (e != BTRFS_UTIL_OK)
		return fault(err, e, new);
	to = open(new, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (from < 0 || to < 0)
		return err_sys(err, errno, "cannot open %s", new);
	copy = copy_new(from, to);
	r = copy_all(copy, err);
	*ret_bytes = copy_bytes(copy);
	return r;
}

/* Beside a copy stands how many bytes it has, for the limits of those made from it. */
static int write_bytes(int folder, const char *name, uint64_t bytes, struct err *err)
{
	CLEANUP_FREE char *file = xasprintf("%s.bytes", name);
	char text[32];
	int n = snprintf(text, sizeof(text), "%" PRIu64 "\n", bytes);
	int r = fd_replace_file(folder, file, text, (size_t)n, 0600, 0);

	return r < 0 ? err_sys(err, -r, "cannot write %s", file) : 0;
}

static uint64_t read_bytes(const struct config *config, const char *name)
{
	CLEANUP_FREE char *path = xasprintf("%s/.templates/%s.bytes", config->guests, name);
	uint64_t bytes = 0;
	char text[32];

	if (fd_read_path(AT_FDCWD, path, text, sizeof(text)) > 0) {
		text[strcspn(text, "\n")] = '\0';
		parse_u64(text, UINT64_MAX, &bytes);
	}
	return bytes;
}

static int make_copy(const char *folder, const char *template_name, const char *name, int template,
		     struct err *err)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s", folder, name);
	CLEANUP_FREE char *new = xasprintf("%s/.new", folder);
	CLEANUP_CLOSE int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t bytes = 0;
	int r;

	/* One at a time; whoever waited finds it made. */
	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return err_sys(err, errno, "cannot lock %s", folder);
	if (access(path, F_OK) == 0)
		return 0;
	r = fill_copy(new, template, &bytes, err);
	if (r == 0)
		r = write_bytes(fd, name, bytes, err);
	if (r == 0 && rename(new, path) < 0)
		r = err_sys(err, errno, "cannot rename %s", new);
	if (r == 0)
		delete_others(folder, template_name, name);
	else
		subvolume_delete(new, NULL);
	return r;
}

/* The copy's name; it is made when it is not there. */
static int have_copy(const struct config *config, const struct guest_spec *spec,
		     char ret[COPY_NAME_MAX], struct err *err)
{
	CLEANUP_CLOSE int template = storage_open_template(config, spec->template, err);
	CLEANUP_FREE char *folder = xasprintf("%s/.templates", config->guests), *path = NULL;
	int r;

	if (template < 0)
		return template == -ENOENT ? ERR_NOT_FOUND : template;
	r = copy_name(template, spec->template, ret, err);
	if (r != 0)
		return r;
	path = xasprintf("%s/%s", folder, ret);
	if (access(path, F_OK) == 0)
		return 0;
	r = fd_mkdirs(folder, 0700);
	return r < 0 ? err_sys(err, -r, "cannot make %s", folder) :
		       make_copy(folder, spec->template, ret, template, err);
}

void storage_forget_template(const struct config *config, const char *name)
{
	CLEANUP_FREE char *folder = xasprintf("%s/.templates", config->guests);

	delete_others(folder, name, NULL);
}

/* --- limits --- */

/* Accounting is switched on with the first limit; what is there already is counted then. */
static int quota_on(int fd, struct err *err)
{
	struct btrfs_ioctl_quota_ctl_args on = { .cmd = BTRFS_QUOTA_CTL_ENABLE };

	if (ioctl(fd, BTRFS_IOC_QUOTA_CTL, &on) < 0 && errno != EEXIST)
		return err_sys(err, errno, "cannot switch the quotas of btrfs on");
	if (ioctl(fd, BTRFS_IOC_QUOTA_RESCAN_WAIT) < 0)
		return err_sys(err, errno, "cannot wait for the quotas of btrfs");
	return 0;
}

/* The bytes that a subvolume has in common with the copy of its template: no part of a plan's disk. */
static uint64_t shared_bytes(const struct config *config, const struct guest_spec *spec)
{
	CLEANUP_CLOSE int template = -1;
	char copy[COPY_NAME_MAX];

	if (!spec->template || !*spec->template)
		return 0;
	template = storage_open_template(config, spec->template, NULL);
	return template >= 0 && copy_name(template, spec->template, copy, NULL) == 0 ?
		       read_bytes(config, copy) :
		       0;
}

/*
 * What a quota group refers to, by the item of the tree of quotas that the kernel keeps for it
 * (btrfs(5), struct btrfs_qgroup_info_item). 0, or -errno: -ENOENT where there are no quotas.
 */
static int group_bytes(int fd, uint64_t id, uint64_t *ret)
{
	struct btrfs_ioctl_search_args args = { .key = {
							.tree_id = BTRFS_QUOTA_TREE_OBJECTID,
							.min_type = BTRFS_QGROUP_INFO_KEY,
							.max_type = BTRFS_QGROUP_INFO_KEY,
							.min_offset = id,
							.max_offset = id,
							.max_transid = UINT64_MAX,
							.nr_items = 1,
						} };
	struct btrfs_ioctl_search_header head;
	struct btrfs_qgroup_info_item item;

	if (ioctl(fd, BTRFS_IOC_TREE_SEARCH, &args) < 0)
		return -errno;
	memcpy(&head, args.buf, sizeof(head));
	if (args.key.nr_items != 1 || head.len < sizeof(item))
		return -ENOENT;
	memcpy(&item, args.buf + sizeof(head), sizeof(item));
	*ret = le64toh(item.rfer);
	return 0;
}

/* Of the template, which many guests have in common: looked at once for those that follow one another. */
static uint64_t shared_once(const struct config *config, struct storage_view *view,
			    const struct guest_spec *spec)
{
	const char *template = spec->template ? spec->template : "";

	if (strcmp(view->template, template) != 0) {
		view->shared = shared_bytes(config, spec);
		snprintf(view->template, sizeof(view->template), "%s", template);
	}
	return view->shared;
}

static int btrfs_used(const struct config *config, struct storage_view *view,
		      const struct guest_spec *spec, struct storage_used *ret)
{
	CLEANUP_CLOSE int fd =
		openat(view->guests, spec->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	uint64_t id = 0, bytes = 0, shared;
	int r;

	if (fd < 0)
		return -errno;
	if (btrfs_util_subvolume_id_fd(fd, &id) != BTRFS_UTIL_OK)
		return -EINVAL;
	r = group_bytes(fd, id, &bytes);
	if (r < 0)
		return r;
	/* A guest that deleted some of its template's files has more of its own in exchange. */
	shared = shared_once(config, view, spec);
	*ret = (struct storage_used){ .bytes = bytes > shared ? bytes - shared : 0 };
	return 0;
}

/* What of it a snapshot takes that was made just now, as far as it is on the disk; 0 where not known. */
static uint64_t own_bytes(const struct config *config, const struct guest_spec *spec)
{
	struct storage_used used = { 0 };
	struct storage_view view;

	storage_view_open(config, &view);
	if (btrfs_used(config, &view, spec, &used) < 0)
		used.bytes = 0;
	storage_view_close(&view);
	return used.bytes;
}

static int set_limit(const struct config *config, const struct guest_spec *spec, const char *path,
		     struct err *err)
{
	struct btrfs_ioctl_qgroup_limit_args args = { .lim.flags = BTRFS_QGROUP_LIMIT_MAX_RFER };
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	uint64_t id = 0;
	int r;

	if (fd < 0 || btrfs_util_subvolume_id_fd(fd, &id) != BTRFS_UTIL_OK)
		return err_sys(err, errno, "cannot open %s", path);
	args.qgroupid = id;
	args.lim.max_rfer = spec->limits.disk ? shared_bytes(config, spec) + spec->limits.disk :
						UINT64_MAX;
	if (ioctl(fd, BTRFS_IOC_QGROUP_LIMIT, &args) == 0 || !spec->limits.disk)
		return 0;
	r = quota_on(fd, err);
	if (r == 0 && ioctl(fd, BTRFS_IOC_QGROUP_LIMIT, &args) < 0)
		r = err_sys(err, errno, "cannot limit %s to the plan's disk", path);
	return r;
}

static int btrfs_limit(const struct config *config, const struct guest_spec *spec, struct err *err)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s", config->guests, spec->name);

	return set_limit(config, spec, path, err);
}

/* --- a guest's files --- */

static int make_keys(const struct guest_spec *spec, const char *path, struct err *err)
{
	CLEANUP_CLOSE int tree = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	CLEANUP_CLOSE int etc = openat(tree, "etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return etc < 0 ? err_sys(err, errno, "cannot open %s/etc", path) :
			 files_host_keys(spec, tree, etc, err);
}

static int btrfs_make(const struct config *config, const struct guest_spec *spec, bool *ret_fresh,
		      struct err *err)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s", config->guests, spec->name);
	CLEANUP_FREE char *new = xasprintf("%s/.%s.new", config->guests, spec->name);
	CLEANUP_FREE char *from = NULL;
	char copy[COPY_NAME_MAX];
	int r;

	if (access(path, F_OK) == 0) {
		*ret_fresh = false;
		return 0;
	}
	r = have_copy(config, spec, copy, err);
	if (r == 0)
		r = subvolume_delete(new, err);
	if (r != 0)
		return r;
	from = xasprintf("%s/.templates/%s", config->guests, copy);
	r = subvolume_snapshot(from, new, 0, err);
	if (r == 0)
		r = files_personalise_again(config, spec, new, err);
	if (r == 0)
		r = make_keys(spec, new, err);
	if (r == 0)
		r = rename(new, path) < 0 ? err_sys(err, errno, "cannot rename %s", new) : 0;
	if (r != 0) {
		subvolume_delete(new, NULL);
		return r;
	}
	*ret_fresh = true;
	return 0;
}

static int btrfs_drop(const struct config *config, const char *to, struct err *err)
{
	CLEANUP_FREE char *root = xasprintf("%s/root", to);
	int r = subvolume_delete(root, err);

	(void)config;
	if (r == 0)
		r = fd_remove_tree(AT_FDCWD, to);
	return r < 0 ? err_sys(err, -r, "cannot delete %s", to) : r;
}

static int drop_all(const struct config *config, const char *name, struct err *err)
{
	CLEANUP_FREE char *folder = xasprintf("%s/.snapshots/%s", config->guests, name);
	CLEANUP_CLOSEDIR DIR *dir = opendir(folder);
	struct dirent *e;
	int r = 0;

	while (r == 0 && dir && (e = readdir(dir))) {
		CLEANUP_FREE char *path = xasprintf("%s/%s", folder, e->d_name);

		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			r = btrfs_drop(config, path, err);
	}
	if (r == 0 && dir && rmdir(folder) < 0)
		r = err_sys(err, errno, "cannot delete %s", folder);
	return r;
}

static int btrfs_destroy(const struct config *config, const char *name, struct err *err)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s", config->guests, name);
	CLEANUP_FREE char *old = xasprintf("%s/.%s.old", config->guests, name);
	CLEANUP_FREE char *new = xasprintf("%s/.%s.new", config->guests, name);
	int r = subvolume_delete(old, err);

	/* Take the name away first: a guest that is half deleted must not be started again. */
	if (r == 0 && rename(path, old) < 0 && errno != ENOENT)
		r = err_sys(err, errno, "cannot rename %s", path);
	if (r == 0)
		r = subvolume_delete(old, err);
	if (r == 0)
		r = subvolume_delete(new, err);
	return r == 0 ? drop_all(config, name, err) : r;
}

static int btrfs_open(const struct config *config, const struct guest_spec *spec,
		      struct storage_layers *ret, struct err *err)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s", config->guests, spec->name);
	int fd = storage_clone_tree(path, err);

	if (fd < 0)
		return fd;
	*ret = (struct storage_layers){ .lower = -1, .base = -1, .upper = fd };
	return 0;
}

static int btrfs_idmap(const struct storage_layers *layers, int userns_fd, struct err *err)
{
	/*
	 * Safe: the mount is a detached copy; ids are shown shifted into the guest's range, and no id
	 * outside of it can be written through it. There are no device nodes in it: copies and
	 * imports leave them out, and a guest can make none.
	 */
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_NODEV,
		.propagation = MS_PRIVATE,
		.userns_fd = (uint64_t)userns_fd,
	};

	if (mount_setattr(layers->upper, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(err, errno, "cannot shift the ids of the guest's file system");
	return 0;
}

static int btrfs_mount(const struct storage_layers *layers, struct err *err)
{
	if (move_mount(layers->upper, "", AT_FDCWD, "root", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(err, errno, "cannot attach the guest's file system");
	return 0;
}

static int btrfs_folders(const struct config *config, const struct guest_spec *spec,
			 int ret[STORAGE_FOLDERS], struct err *err)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s", config->guests, spec->name);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return err_sys(err, errno, "cannot open %s", path);
	ret[0] = fd;
	return 1;
}

/* One instant by itself: nobody has to stand still. */
static int btrfs_save(const struct config *config, const struct guest_spec *spec, const char *to,
		      struct storage_pause *pause, uint64_t *ret_bytes, struct err *err)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s", config->guests, spec->name);
	CLEANUP_FREE char *root = xasprintf("%s/root", to);
	int r = subvolume_snapshot(path, root, BTRFS_UTIL_CREATE_SNAPSHOT_READ_ONLY, err);

	(void)pause;
	*ret_bytes = r == 0 ? own_bytes(config, spec) : 0;
	return r;
}

static int btrfs_restore(const struct config *config, const struct guest_spec *spec,
			 const char *snapshot, struct err *err)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s", config->guests, spec->name);
	CLEANUP_FREE char *new = xasprintf("%s/.%s.new", config->guests, spec->name);
	CLEANUP_FREE char *from = xasprintf("%s/.snapshots/%s/%s/root", config->guests, spec->name,
					    snapshot);
	int r = subvolume_delete(new, err);

	if (r == 0)
		r = subvolume_snapshot(from, new, 0, err);
	if (r == 0 && spec->limits.disk)
		r = set_limit(config, spec, new, err);
	if (r == 0 && renameat2(AT_FDCWD, new, AT_FDCWD, path, RENAME_EXCHANGE) < 0)
		r = err_sys(err, errno, "cannot put %s in place", new);
	return r == 0 ? subvolume_delete(new, err) : r;
}

static bool btrfs_stands_on(const struct config *config, const char *name, const char *snapshot)
{
	(void)config;
	(void)name;
	(void)snapshot;
	return false;
}

static int btrfs_view(const struct config *config, const struct guest_spec *spec, const char *to,
		      const char *at, struct err *err)
{
	CLEANUP_FREE char *root = xasprintf("%s/root", to);

	(void)config;
	if (mount(root, at, NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, at, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NODEV | MS_NOSUID, NULL) < 0)
		return err_sys(err, errno, "cannot mount the files of guest %s", spec->name);
	return 0;
}

static int btrfs_place(const struct config *config, const struct guest_spec *spec, char **ret,
		       struct err *err)
{
	CLEANUP_FREE char *new = xasprintf("%s/.%s.new", config->guests, spec->name);
	enum btrfs_util_error e;
	int r = subvolume_delete(new, err);

	if (r != 0)
		return r;
	e = btrfs_util_create_subvolume(new, 0, NULL, NULL);
	if (e != BTRFS_UTIL_OK)
		return fault(err, e, new);
	r = spec->limits.disk ? set_limit(config, spec, new, err) : 0;
	if (r == 0)
		*ret = steal_ptr(&new);
	return r;
}

static int btrfs_adopt(const struct config *config, const struct guest_spec *spec, struct err *err)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s", config->guests, spec->name);
	CLEANUP_FREE char *new = xasprintf("%s/.%s.new", config->guests, spec->name);
	int r = files_personalise_again(config, spec, new, err);
	enum btrfs_util_error e = r == 0 ? btrfs_util_sync(new) : BTRFS_UTIL_OK;

	if (e != BTRFS_UTIL_OK)
		return fault(err, e, new);
	if (r == 0 && rename(new, path) < 0)
		r = err_sys(err, errno, "cannot rename %s", new);
	return r;
}

const struct storage_driver storage_btrfs = {
	.name = "btrfs",
	.hides_limit = true,
	.probe = btrfs_probe,
	.probe_limit = btrfs_probe_limit,
	.probe_inodes = btrfs_probe_inodes,
	.make = btrfs_make,
	.destroy = btrfs_destroy,
	.open = btrfs_open,
	.idmap = btrfs_idmap,
	.mount = btrfs_mount,
	.folders = btrfs_folders,
	.save = btrfs_save,
	.restore = btrfs_restore,
	.stands_on = btrfs_stands_on,
	.drop = btrfs_drop,
	.view = btrfs_view,
	.place = btrfs_place,
	.adopt = btrfs_adopt,
	.limit = btrfs_limit,
	.used = btrfs_used,
};
