/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/drafts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/config.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/base/str.h"
#include "provision/daemon/locks.h"

#define BEFORE 1 /* "." */
#define AFTER  4 /* ".new" */

/* The NAME of ".NAME.new" (template.c). */
static bool is_draft(const char *entry, char ret[NAME_LEN_MAX + 1])
{
	size_t len = strlen(entry);

	if (len <= BEFORE + AFTER || len - BEFORE - AFTER > NAME_LEN_MAX || entry[0] != '.' ||
	    strcmp(entry + len - AFTER, ".new") != 0)
		return false;
	snprintf(ret, NAME_LEN_MAX + 1, "%.*s", (int)(len - BEFORE - AFTER), entry + BEFORE);
	return name_valid(ret);
}

/* TEMPLATES, and the lock of who makes or removes one; NULL: it is held, or there is no such folder. */
static DIR *open_unused(const struct config *config, int *ret_lock)
{
	if (lock_take(config, LOCK_TEMPLATE, false, 0, ret_lock, NULL) != 0)
		return NULL;
	return opendir(config->templates);
}

void drafts_find(const struct config *config, struct store *store, finding_fn fn, void *data)
{
	CLEANUP_CLOSE int lock = -1;
	CLEANUP_CLOSEDIR DIR *dir = open_unused(config, &lock);
	struct store_template row;
	char name[NAME_LEN_MAX + 1];
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		if (is_draft(e->d_name, name))
			fn(data, &(struct finding){ "unfinished template", name, "left" });
		else if (name_valid(e->d_name) &&
			 store_template_get(store, e->d_name, &row, NULL) == ERR_NOT_FOUND)
			fn(data, &(struct finding){ "template", e->d_name, "left" });
	}
}

void drafts_discard(const struct config *config)
{
	CLEANUP_CLOSE int lock = -1;
	CLEANUP_CLOSEDIR DIR *dir = open_unused(config, &lock);
	char name[NAME_LEN_MAX + 1];
	struct dirent *e;
	int r;

	while (dir && (e = readdir(dir))) {
		if (!is_draft(e->d_name, name))
			continue;
		r = fd_remove_tree(dirfd(dir), e->d_name);
		if (r < 0)
			log_err("cannot delete %s/%s: %s", config->templates, e->d_name,
				strerror(-r));
		else
			log_notice("the template '%s' was being made when vm2d was killed: deleted",
				   name);
	}
}
