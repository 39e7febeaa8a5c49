/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control groups version 2: one tree at /sys/fs/cgroup with all controllers. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/guest/cgroup.h"

#define TREE "/sys/fs/cgroup"
/*
 * On a host with systemd the tree is systemd's: it leaves what is below a unit of its own alone that it
 * has delegated (https://systemd.io/CGROUP_DELEGATION). Slices cannot be: so it is a service in vm2.slice.
 */
#define DELEGATED_INSTANCE "vm2"
#define DELEGATED TREE "/vm2.slice/vm2-guests.service"
#define CONTROLLERS "+cpu +memory +pids"
/* Microseconds: the kernel's default period (Documentation/admin-guide/cgroup-v2.rst, cpu.max). */
#define PERIOD 100000

static bool is_delegated(const char *instance)
{
	return !strcmp(instance, DELEGATED_INSTANCE) && access(DELEGATED, F_OK) == 0;
}

/* Where the guest's group is; or is to be, when it has none. It stays where it was made. */
static const char *tree_of(const char *instance, const char *name)
{
	return is_delegated(instance) && !cgroup_there(TREE, instance, name) ? DELEGATED : TREE;
}

static const char *v2_probe(void)
{
	char text[512];

	if (!cgroup_is_v2(TREE))
		return "/sys/fs/cgroup is no cgroup2 file system";
	if (fd_read_path(AT_FDCWD, TREE "/cgroup.controllers", text, sizeof(text)) < 0)
		return "/sys/fs/cgroup/cgroup.controllers cannot be read";
	if (!strstr(text, "memory") || !strstr(text, "pids") || !strstr(text, "cpu"))
		return "the cgroup2 tree lacks one of the controllers cpu, memory and pids";
	return NULL;
}

/* The instance's own group, which hands the controllers down. */
static int make_instance(const char *tree, const char *instance, struct err *err)
{
	int r;

	r = cgroup_set(tree, ".", ".", "cgroup.subtree_control", CONTROLLERS);
	if (r < 0)
		return err_sys(err, -r, "cannot hand down the controllers of %s", tree);
	r = cgroup_make(tree, instance, "", err);
	if (r < 0)
		return r;
	r = cgroup_set(tree, instance, "", "cgroup.subtree_control", CONTROLLERS);
	if (r < 0)
		return err_sys(err, -r, "cannot hand down the controllers of %s/%s", tree, instance);
	return 0;
}

static int set_limits(const char *tree, const char *instance, const char *name,
		      const struct limits *l)
{
	int r;

	r = l->memory ? cgroup_set(tree, instance, name, "memory.max", "%" PRIu64, l->memory) :
			cgroup_set(tree, instance, name, "memory.max", "max");
	if (r < 0)
		return r;
	/* No swap account in the kernel is no fault. */
	r = cgroup_set(tree, instance, name, "memory.swap.max",
		       l->memory && l->swap == LIMITS_SWAP_NEVER ? "0" : "max");
	if (r < 0 && r != -ENOENT)
		return r;
	r = l->processes ? cgroup_set(tree, instance, name, "pids.max", "%" PRIu64, l->processes) :
			   cgroup_set(tree, instance, name, "pids.max", "max");
	if (r < 0)
		return r;
	r = cgroup_set(tree, instance, name, "cpu.weight", "%" PRIu64, l->shares ? l->shares : 100);
	if (r < 0)
		return r;
	return l->cpu ? cgroup_set(tree, instance, name, "cpu.max", "%" PRIu64 " %d",
				   l->cpu * (PERIOD / 100), PERIOD) :
			cgroup_set(tree, instance, name, "cpu.max", "max");
}

static int v2_limit(const char *instance, const char *name, const struct limits *limits,
		    struct err *err)
{
	const char *tree = tree_of(instance, name);
	CLEANUP_CLOSE int there = cgroup_open(tree, instance, name);
	int r = there < 0 ? 0 : set_limits(tree, instance, name, limits);

	return r < 0 ? cgroup_limit_error(name, -r, err) : 0;
}

static int v2_make(const char *instance, const char *name, uid_t owner, const struct limits *limits,
		   struct err *err)
{
	const char *tree = tree_of(instance, name);
	int r = make_instance(tree, instance, err);

	if (r == 0)
		r = cgroup_make(tree, instance, name, err);
	return r < 0 ? r : cgroup_delegate(tree, instance, name, owner, err);
}

static int v2_bound(const char *instance, const char *name, const struct limits *limits,
		    struct err *err)
{
	int r = set_limits(tree_of(instance, name), instance, name, limits);

	return r < 0 ? cgroup_limit_error(name, -r, err) : 0;
}

static int v2_open_way(const char *instance, const char *name, bool session, struct guest_way *ret,
		       struct err *err)
{
	const char *tree = tree_of(instance, name);
	int fd = cgroup_open_born(tree, instance, name, session);

	*ret = (struct guest_way){ 0 };
	if (fd < 0)
		return err_sys(err, -fd, "cannot open the control group %s/%s/%s", tree, instance, name);
	ret->bears = true;
	ret->born = fd;
	return 0;
}

static int v2_remove(const char *instance, const char *name, struct err *err)
{
	const char *tree = tree_of(instance, name);
	int r = cgroup_clear(tree, instance, name);

	return r < 0 ? err_sys(err, -r, "cannot remove %s/%s/%s", tree, instance, name) : 0;
}

static void v2_view(const char *instance, struct cgroup_view *ret)
{
	*ret = (struct cgroup_view){ { -1, cgroup_open(TREE, instance, ""), -1, -1 } };
	if (is_delegated(instance))
		ret->dirs[0] = cgroup_open(DELEGATED, instance, "");
}

/* Both, for guests that run since before there was the one. */
static int dir_of(const struct cgroup_view *view, const char *name)
{
	if (view->dirs[1] >= 0 &&
	    (view->dirs[0] < 0 || faccessat(view->dirs[1], name, F_OK, 0) == 0))
		return view->dirs[1];
	return view->dirs[0];
}

static void v2_usage(const struct cgroup_view *view, const char *name, struct guest_usage *ret)
{
	int dir = dir_of(view, name);

	ret->memory = cgroup_number(dir, name, "memory.current");
	ret->processes = cgroup_number(dir, name, "pids.current");
}

static uint64_t v2_cpu_us(const struct cgroup_view *view, const char *name)
{
	return cgroup_keyed(dir_of(view, name), name, "cpu.stat", "usage_usec");
}

static uint64_t v2_kills(const char *instance, const char *name)
{
	CLEANUP_CLOSE int dir = cgroup_open(tree_of(instance, name), instance, "");

	return cgroup_keyed(dir, name, "memory.events", "oom_kill");
}

/* cgroup-v2.rst: a change of memory.events is a modified event, which poll(2) calls POLLPRI. */
static int v2_open_oom(const char *instance, const char *name, short *ret_events)
{
	CLEANUP_CLOSE int group = cgroup_open(tree_of(instance, name), instance, name);
	int fd = group < 0 ? -1 : openat(group, "memory.events", O_RDONLY | O_CLOEXEC);

	*ret_events = POLLPRI;
	return fd < 0 ? -errno : fd;
}

static bool v2_there(const char *instance, const char *name)
{
	return cgroup_there(tree_of(instance, name), instance, name);
}

static bool v2_holds(const char *instance, const char *name, pid_t pid)
{
	return cgroup_holds("", instance, name, pid);
}

static int v2_take(const char *instance, const char *name, pid_t pid, struct err *err)
{
	int r = cgroup_take(tree_of(instance, name), instance, name, pid);

	return r < 0 ? err_sys(err, -r, "cannot move process %d into the control group of %s", pid,
			       name) :
		       0;
}

static void v2_each(const char *instance, void (*fn)(void *data, const char *name), void *data)
{
	cgroup_each(TREE, instance, fn, data);
	if (is_delegated(instance))
		cgroup_each(DELEGATED, instance, fn, data);
}

static const char *v2_session_tree(const char *instance, const char *name)
{
	return tree_of(instance, name);
}

const struct cgroup_manager cgroup_v2 = {
	.name = "cgroup-v2",
	.probe = v2_probe,
	.make = v2_make,
	.bound = v2_bound,
	.limit = v2_limit,
	.open_way = v2_open_way,
	.remove = v2_remove,
	.view = v2_view,
	.usage = v2_usage,
	.cpu_us = v2_cpu_us,
	.kills = v2_kills,
	.there = v2_there,
	.holds = v2_holds,
	.take = v2_take,
	.each = v2_each,
	.open_oom = v2_open_oom,
	.session_tree = v2_session_tree,
};
