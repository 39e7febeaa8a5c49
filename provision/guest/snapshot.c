/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"
#include "provision/guest/freeze.h"

char *snapshot_path(const struct config *config, const char *guest, const char *name)
{
	return xasprintf("%s/.snapshots/%s/%s", config->guests, guest, name);
}

static int check(const struct config *config, const struct guest_spec *spec, const char *name,
		 bool wanted, struct err *err)
{
	CLEANUP_FREE char *path = NULL;
	bool there;

	if (!name_valid(name))
		return err_set(err, ERR_USAGE,
			       "'%.40s' is no name: it takes a-z first, then a-z, 0-9 and '-', at "
			       "most %d",
			       name, NAME_LEN_MAX);
	path = snapshot_path(config, spec->name, name);
	there = access(path, F_OK) == 0;
	if (there && !wanted)
		return err_set(err, ERR_EXISTS, "guest %s has a snapshot '%s' already", spec->name,
			       name);
	if (!there && wanted)
		return err_set(err, ERR_NOT_FOUND,
			       "guest %s has no snapshot '%s': see vm2 guest snapshots %s",
			       spec->name, name, spec->name);
	return 0;
}

static int write_info(const char *folder, uint64_t bytes, struct err *err)
{
	CLEANUP_CLOSE int dirfd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char text[96];
	int n = snprintf(text, sizeof(text), "created=%lld\nbytes=%" PRIu64 "\n",
			 (long long)time(NULL), bytes);
	int r = dirfd < 0 ? -errno : fd_replace_file(dirfd, "info", text, (size_t)n, 0600, 1);

	return r < 0 ? err_sys(err, -r, "cannot write %s/info", folder) : 0;
}

static int save(const struct config *config, const struct guest_spec *spec, const char *folder,
		int64_t *ret_pause_us, struct err *err)
{
	struct freeze freeze;
	struct guest_run run;
	uint64_t bytes = 0;
	bool running = guest_find(config, spec->name, &run, NULL) == 0;
	int r;

	if (running)
		guest_run_close(&run);
	freeze_init(&freeze, config->instance, spec->name);
	r = storage_of(spec)->save(config, spec, folder, running ? &freeze.pause : NULL, &bytes,
				   err);
	freeze.pause.end(&freeze.pause);
	if (ret_pause_us)
		*ret_pause_us = freeze.took_us;
	return r == 0 ? write_info(folder, bytes, err) : r;
}

/* What a crash left half made has a name with a dot. */
static int begin(const struct config *config, const struct guest_spec *spec, const char *folder,
		 struct err *err)
{
	int r = access(folder, F_OK) == 0 ? storage_of(spec)->drop(config, folder, err) : 0;

	if (r == 0)
		r = fd_mkdirs(folder, 0700);
	return r < 0 ? err_sys(err, -r, "cannot make %s", folder) : r;
}

int snapshot_make(const struct config *config, const struct guest_spec *spec, const char *name,
		  int64_t *ret_pause_us, struct err *err)
{
	CLEANUP_FREE char *path = snapshot_path(config, spec->name, name), *folder = NULL;
	int r = check(config, spec, name, false, err);

	if (r != 0)
		return r;
	folder = snapshot_path(config, spec->name, ".new");
	r = begin(config, spec, folder, err);
	if (r == 0)
		r = save(config, spec, folder, ret_pause_us, err);
	if (r == 0 && rename(folder, path) < 0)
		r = err_sys(err, errno, "cannot rename %s", folder);
	if (r != 0)
		storage_of(spec)->drop(config, folder, NULL);
	return r;
}

#define EXPORT ".export"

int snapshot_hold(const struct config *config, const struct guest_spec *spec, char **ret_folder,
		  struct err *err)
{
	CLEANUP_FREE char *folder = snapshot_path(config, spec->name, EXPORT);
	int r = begin(config, spec, folder, err);

	if (r == 0)
		r = save(config, spec, folder, NULL, err);
	if (r == 0)
		*ret_folder = steal_ptr(&folder);
	else
		storage_of(spec)->drop(config, folder, NULL);
	return r;
}

static int drop_hidden(const struct config *config, const struct guest_spec *spec, const char *name,
		       struct err *err)
{
	CLEANUP_FREE char *folder = snapshot_path(config, spec->name, name);

	return access(folder, F_OK) == 0 ? storage_of(spec)->drop(config, folder, err) : 0;
}

int snapshot_release(const struct config *config, const struct guest_spec *spec, struct err *err)
{
	return drop_hidden(config, spec, EXPORT, err);
}

void snapshot_tidy(const struct config *config, const struct guest_spec *spec, bool exports)
{
	drop_hidden(config, spec, ".new", NULL);
	if (exports)
		drop_hidden(config, spec, EXPORT, NULL);
}

static int read_one(const struct config *config, const struct guest_spec *spec, const char *name,
		    struct snapshot *ret)
{
	CLEANUP_FREE char *path = xasprintf("%s/.snapshots/%s/%s/info", config->guests, spec->name,
					    name);
	char text[96];
	long long created;

	if (fd_read_path(AT_FDCWD, path, text, sizeof(text)) < 0 ||
	    sscanf(text, "created=%lld\nbytes=%" SCNu64, &created, &ret->bytes) != 2)
		return -ENOENT;
	ret->name = name;
	ret->created = created;
	ret->used = storage_of(spec)->stands_on(config, spec->name, name);
	return 0;
}

struct list {
	size_t n, cap;
	struct snapshot *of;
};

static void free_list(struct list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free((char *)(uintptr_t)l->of[i].name);
	free(l->of);
}

static int by_age(const void *a, const void *b)
{
	const struct snapshot *x = a, *y = b;

	if (x->created != y->created)
		return x->created < y->created ? -1 : 1;
	return strcmp(x->name, y->name);
}

static void collect(const struct config *config, const struct guest_spec *spec, DIR *dir,
		    struct list *l)
{
	struct dirent *e;
	struct snapshot s;

	while ((e = readdir(dir))) {
		if (!name_valid(e->d_name) || read_one(config, spec, e->d_name, &s) != 0)
			continue;
		if (l->n == l->cap) {
			struct snapshot *more;

			l->cap = l->cap ? 2 * l->cap : 16;
			more = reallocarray(l->of, l->cap, sizeof(*more));
			if (!more)
				return;
			l->of = more;
		}
		s.name = xstrdup(e->d_name);
		l->of[l->n++] = s;
	}
}

int snapshot_each(const struct config *config, const struct guest_spec *spec, snapshot_fn fn,
		  void *data, struct err *err)
{
	CLEANUP_FREE char *path = snapshot_path(config, spec->name, "");
	CLEANUP_CLOSEDIR DIR *dir = opendir(path);
	struct list list = { 0 };
	int r = 0;

	if (!dir)
		return errno == ENOENT ? 0 : err_sys(err, errno, "cannot read %s", path);
	collect(config, spec, dir, &list);
	if (list.n)
		qsort(list.of, list.n, sizeof(*list.of), by_age);
	for (size_t i = 0; r == 0 && i < list.n; i++)
		r = fn(data, &list.of[i]);
	free_list(&list);
	return r;
}

int snapshot_find(const struct config *config, const struct guest_spec *spec, const char *name,
		  struct err *err)
{
	return check(config, spec, name, true, err);
}

int snapshot_remove(const struct config *config, const struct guest_spec *spec, const char *name,
		    struct err *err)
{
	CLEANUP_FREE char *path = NULL;
	int r = check(config, spec, name, true, err);

	if (r != 0)
		return r;
	if (storage_of(spec)->stands_on(config, spec->name, name))
		return err_set(err, ERR_BUSY,
			       "guest %s stands on its snapshot '%s' since it was restored to it: "
			       "restore it to another one first",
			       spec->name, name);
	path = snapshot_path(config, spec->name, name);
	return storage_of(spec)->drop(config, path, err);
}

int snapshot_restore(const struct config *config, const struct guest_spec *spec, const char *name,
		     struct err *err)
{
	struct guest_run run;
	int r = check(config, spec, name, true, err);

	if (r != 0)
		return r;
	if (guest_find(config, spec->name, &run, NULL) == 0) {
		guest_run_close(&run);
		return err_set(err, ERR_BUSY, "guest %s runs: stop it first", spec->name);
	}
	return storage_of(spec)->restore(config, spec, name, err);
}
