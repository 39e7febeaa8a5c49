/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/regroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"
#include "provision/guest/cgroup.h"

/*
 * What is forked by a process that has not been moved yet is found in the next round. Those that
 * are in already are held to their number, so that a few are enough.
 */
#define ROUNDS 100

/*
 * Safe: a guest's ids are its own alone, and no process of the host runs as one of them. All four: one that
 * is just entering is still the host's, and has the way into the group with it.
 */
static bool is_guests(const char *pid, uid_t base)
{
	char path[300], text[4096];
	unsigned int ids[4];
	const char *line;

	snprintf(path, sizeof(path), "/proc/%s/status", pid);
	if (fd_read_path(AT_FDCWD, path, text, sizeof(text)) <= 0 ||
	    !(line = strstr(text, "\nUid:")) ||
	    sscanf(line + 5, "%u %u %u %u", &ids[0], &ids[1], &ids[2], &ids[3]) != 4)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(ids); i++)
		if (ids[i] < base || ids[i] - base >= GUEST_IDS)
			return false;
	return true;
}

/* *ret_moved: how many were elsewhere. */
static int gather(const struct config *config, const struct guest_spec *spec,
		  const struct cgroup_manager *manager, int *ret_moved, struct err *err)
{
	CLEANUP_CLOSEDIR DIR *proc = opendir("/proc");
	struct dirent *e;
	int r = 0;

	*ret_moved = 0;
	while (r == 0 && proc && (e = readdir(proc))) {
		uint64_t pid;

		if (parse_u64(e->d_name, INT32_MAX, &pid) < 0 ||
		    !is_guests(e->d_name, spec->uid_base) ||
		    manager->holds(config->instance, spec->name, (pid_t)pid))
			continue;
		r = manager->take(config->instance, spec->name, (pid_t)pid, err);
		(*ret_moved)++;
	}
	return r;
}

int regroup(const struct config *config, const struct guest_spec *spec, struct err *err)
{
	const char *why = NULL;
	const struct cgroup_manager *manager = cgroup_pick(&why);
	int r, moved = 1;

	if (!manager)
		return err_set(err, ERR_FAILED, "no limits can be set: %s", why);
	r = manager->make(config->instance, spec->name, spec->uid_base, &spec->limits, err);
	if (r == 0)
		r = manager->bound(config->instance, spec->name, &spec->limits, err);
	for (int round = 0; r == 0 && moved && round < ROUNDS; round++)
		r = gather(config, spec, manager, &moved, err);
	if (r == 0 && moved)
		return err_set(err, ERR_BUSY,
			       "guest %s forks faster than its processes can be moved", spec->name);
	return r ? r : guest_limit(config, spec, err);
}
