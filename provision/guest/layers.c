/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/guest/quota.h"
#include "provision/guest/storage.h"

#define FOLDER ".spare"
#define MAKING FOLDER "/new"

/* ".spare/7" */
#define PATH_MAX_LEN sizeof(FOLDER "/99")

static void path_of(unsigned int nth, char ret[PATH_MAX_LEN])
{
	snprintf(ret, PATH_MAX_LEN, FOLDER "/%u", nth % 100);
}

int layers_make(int top)
{
	CLEANUP_CLOSE int etc = -1;

	if (mkdirat(top, "upper", 0700) < 0 || mkdirat(top, "work", 0700) < 0 ||
		mkdirat(top, "upper/etc", 0700) < 0)
		return -errno;
	etc = openat(top, "upper/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return etc < 0 ? -errno : files_make_blank(etc);
}

/* What is made before it is known for whom would be charged to nobody. */
bool layers_take(int guests, const char *name)
{
	char path[PATH_MAX_LEN];

	if (quota_enforced(guests))
		return false;
	for (unsigned int i = 0; i < LAYERS_SPARE; i++) {
		path_of(i, path);
		if (renameat(guests, path, guests, name) == 0)
			return true;
	}
	return false;
}

static int make_one(int guests, const char *path)
{
	CLEANUP_CLOSE int top = -1;
	int r = fd_remove_tree(guests, MAKING);

	if (r < 0)
		return r;
	if (mkdirat(guests, MAKING, 0700) < 0)
		return -errno;
	top = openat(guests, MAKING, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	r = top < 0 ? -errno : layers_make(top);
	return r == 0 && renameat(guests, MAKING, guests, path) < 0 ? -errno : r;
}

void layers_prepare(int guests)
{
	char path[PATH_MAX_LEN];
	int r = 0;

	if (quota_enforced(guests) || (mkdirat(guests, FOLDER, 0700) < 0 && errno != EEXIST))
		return;
	for (unsigned int i = 0; r == 0 && i < LAYERS_SPARE; i++) {
		path_of(i, path);
		if (faccessat(guests, path, F_OK, 0) < 0)
			r = make_one(guests, path);
	}
}
