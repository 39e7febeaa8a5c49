/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest as one file, out of a host and into another; vm2-archive reads and writes it. */
#include "build.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/daemon/handlers.h"
#include "provision/daemon/helper.h"
#include "provision/daemon/life.h"
#include "provision/guest/snapshot.h"
#include "provision/guest/storage.h"
#include "provision/store/accounts.h"

/* The one descriptor that the request brings, fit for `mode` (O_RDONLY, O_WRONLY). */
static int take_file(struct request *r, int mode, int *ret)
{
	CLEANUP_CLOSE int fd = msg_take_fd(&r->in, 0);
	int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

	/* O_PATH would pass for one that can be read. */
	if (flags < 0 || (flags & O_PATH) || ((flags & O_ACCMODE) != mode && (flags & O_ACCMODE) != O_RDWR))
		return err_set(&r->err, ERR_USAGE, "a descriptor to %s is missing",
			mode == O_RDONLY ? "read from" : "write to");
	*ret = steal_fd(&fd);
	return 0;
}

/* --- export --- */

struct exported {
	struct store_tenant tenant;
	struct guest_spec spec;
	char *folder; /* the snapshot */
	int lock;     /* against its end */
};

/* The guest's own lock is held for the snapshot only: it may be started and stopped meanwhile. */
static int hold(struct request *r, const char *name, struct exported *x)
{
	CLEANUP_CLOSE int lock = -1;
	int n = store_tenant_get(r->store, name, &x->tenant, &r->err);

	if (n == 0)
		n = life_lock(r->config, name, &lock, &r->err);
	if (n == 0)
		n = store_tenant_get(r->store, name, &x->tenant, &r->err);
	if (n == 0 && x->tenant.guest.intent != STORE_GUEST_PRESENT)
		return err_set(&r->err, ERR_NOT_FOUND, "tenant '%s' has no guest to be exported", name);
	if (n == 0)
		n = life_lock_export(r->config, name, &x->lock, &r->err);
	if (n != 0)
		return n;
	life_spec(&x->tenant, &x->spec);
	request_progress(r, "taking a snapshot");
	return snapshot_hold(r->config, &x->spec, &x->folder, &r->err);
}

/*
 * This worker's own mount namespace, so that the view is nobody else's and goes with it, however it
 * ends.
 */
static int open_view(struct request *r, const struct exported *x, char **ret_at, int *ret_tree)
{
	CLEANUP_FREE char *at = xasprintf("%s/view", x->folder);
	int n;

	if (mkdir(at, 0700) < 0 || unshare(CLONE_NEWNS) < 0 ||
		mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return err_sys(&r->err, errno, "cannot make a place to look at the snapshot");
	n = storage_of(&x->spec)->view(r->config, &x->spec, x->folder, at, &r->err);
	if (n != 0)
		return n;
	*ret_tree = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret_tree < 0)
		n = err_sys(&r->err, errno, "cannot open the snapshot");
	*ret_at = steal_ptr(&at);
	return n;
}

static int pack(struct request *r, const struct exported *x, int tree, int out)
{
	struct store_template template = { 0 };
	const char *argv[] = { HELPER_ARCHIVE, "pack", x->tenant.name, x->tenant.guest.template,
		template.digest, storage_of(&x->spec)->name, x->tenant.plan.name, NULL };
	const struct helper h = { argv, -1, out, tree, r->fd, request_progress, r };

	if (x->tenant.guest.template[0])
		store_template_get(r->store, x->tenant.guest.template, &template, NULL);
	return helper_run(&h, &r->err);
}

static int export_held(struct request *r, const struct exported *x, int out)
{
	CLEANUP_FREE char *at = NULL;
	int tree = -1;
	int n = open_view(r, x, &at, &tree);

	if (n == 0)
		n = pack(r, x, tree, out);
	fd_close(tree);
	if (at)
		umount2(at, MNT_DETACH);
	return n;
}

static int export_to(struct request *r, const char *name, int out)
{
	struct exported x = { .lock = -1 };
	struct err ignored = { 0 };
	int n = hold(r, name, &x);

	if (n == 0)
		n = export_held(r, &x, out);
	if (x.folder && snapshot_release(r->config, &x.spec, &ignored) != 0)
		log_warn("%s", ignored.text);
	free(x.folder);
	fd_close(x.lock);
	return n;
}

int guest_export(struct request *r)
{
	CLEANUP_CLOSE int out = -1;
	const char *name = NULL;
	int n = request_name(r, "name", &name);

	if (n == 0)
		n = take_file(r, O_WRONLY, &out);
	return n == 0 ? export_to(r, name, out) : n;
}

/* --- what stays of a tenant that goes --- */

static int keep_in(struct request *r, const char *name, int folder, const char *file)
{
	/* Without a name until it is whole, so that a kill leaves nothing. Mode 0600: it holds all that the guest has. */
	CLEANUP_CLOSE int out = openat(folder, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
	char path[32];
	int n;

	if (out < 0)
		return err_sys(&r->err, errno, "cannot make %s", file);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", out);
	n = export_to(r, name, out);
	if (n == 0 &&
	    (fsync(out) < 0 || linkat(AT_FDCWD, path, folder, file, AT_SYMLINK_FOLLOW) < 0 ||
	     fsync(folder) < 0))
		n = err_sys(&r->err, errno, "cannot keep %s", file);
	return n;
}

int transfer_keep(struct request *r, const char *name)
{
	CLEANUP_FREE char *path = xasprintf("%s/kept", r->config->state), *text = NULL;
	CLEANUP_CLOSE int folder = -1;
	struct store_tenant t;
	time_t now = time(NULL);
	char file[NAME_LEN_MAX + 32], when[20];
	struct tm tm;
	int n = store_tenant_get(r->store, name, &t, &r->err);

	if (n != 0 || t.guest.intent != STORE_GUEST_PRESENT)
		return n;
	n = fd_mkdirs(path, 0700);
	folder = n == 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (folder < 0)
		return err_sys(&r->err, n < 0 ? -n : errno, "cannot make %s", path);
	strftime(when, sizeof(when), "%Y%m%d-%H%M%S", gmtime_r(&now, &tm));
	snprintf(file, sizeof(file), "%s-%s.guest", name, when);
	n = keep_in(r, name, folder, file);
	if (n != 0)
		return n;
	text = xasprintf("kept the guest of %s: %s/%s", name, path, file);
	request_progress(r, text);
	return 0;
}

/* --- import --- */

static int unpack(struct request *r, const struct guest_spec *spec, const char *place, int in)
{
	CLEANUP_CLOSE int tree = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	uint64_t bytes = 0;
	char limit[24];
	const char *argv[] = { HELPER_ARCHIVE, "unpack-guest", limit, NULL };
	const struct helper h = { argv, in, -1, tree, r->fd, request_progress, r };
	int n = tree < 0 ? err_sys(&r->err, errno, "cannot open %s", place) :
			   helper_room(r->config->guests, &bytes, &r->err);

	if (n != 0)
		return n;
	/* Never more than the plan's disk. */
	if (spec->limits.disk && spec->limits.disk < bytes)
		bytes = spec->limits.disk;
	snprintf(limit, sizeof(limit), "%" PRIu64, bytes);
	return helper_run(&h, &r->err);
}

/* What is unpacked becomes the guest's when all of it was as its sum says, and not before. */
static int fill(struct request *r, const struct store_tenant *t, int in)
{
	CLEANUP_FREE char *place = NULL;
	const struct storage_driver *driver;
	struct guest_spec spec;
	int n;

	life_spec(t, &spec);
	driver = storage_of(&spec);
	n = driver->place(r->config, &spec, &place, &r->err);
	if (n == 0)
		n = unpack(r, &spec, place, in);
	if (n == 0)
		n = driver->adopt(r->config, &spec, &r->err);
	return n;
}

/* The caller holds the lock: nobody else works on it, so what is half made was left by a crash. */
static int check_absent(struct request *r, const char *name, struct store_tenant *t)
{
	int n = store_tenant_get(r->store, name, t, &r->err);

	if (n == 0 && t->guest.intent == STORE_GUEST_PRESENT)
		return err_set(&r->err, ERR_EXISTS,
			"tenant '%s' has a guest: vm2 guest destroy %s, or import for another tenant",
			name, name);
	return n == 0 ? life_stop_held(r->config, r->store, name, &r->err) : n;
}

static int allocate(struct request *r, struct store_tenant *t)
{
	const struct storage_driver *driver = storage_pick(r->config, &r->err);
	const char *what, *why;

	if (!driver)
		return ERR_FAILED;
	why = storage_refuses(driver, r->config, &t->limits, &what);
	if (why)
		return err_set(&r->err, ERR_FAILED, "its limit of %s cannot be kept: %s", what, why);
	return store_guest_allocate(
		r->store, r->config, t->name, driver->name, true, &t->guest, &r->err);
}

int guest_import(struct request *r)
{
	CLEANUP_CLOSE int in = -1, lock = -1;
	struct store_tenant t;
	const char *name = NULL;
	int n = request_name(r, "name", &name);

	if (n == 0)
		n = take_file(r, O_RDONLY, &in);
	if (n == 0)
		n = store_tenant_get(r->store, name, &t, &r->err);
	if (n == 0)
		n = life_lock(r->config, name, &lock, &r->err);
	if (n == 0)
		n = check_absent(r, name, &t);
	if (n == 0)
		n = allocate(r, &t);
	if (n != 0)
		return n;
	n = fill(r, &t, in);
	if (n == 0)
		n = store_guest_intent(r->store, name, STORE_GUEST_PRESENT, &r->err);
	if (n != 0) {
		life_take_back(r->config, r->store, &t);
		return n;
	}
	return accounts_publish(r->store, r->config, &r->err);
}
