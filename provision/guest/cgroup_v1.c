/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control groups version 1: a tree per controller. Limits are there; where a cgroup2 tree without
 * controllers is mounted beside them (/sys/fs/cgroup/unified), it serves to start the guest's init
 * in its group, to kill all of a guest at once, and as the tree that a systemd in the guest wants.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/guest/cgroup.h"

#define TOP "/sys/fs/cgroup/"
#define UNIFIED TOP "unified"
#define CPUSET TOP "cpuset"
/* The kernel's own, which stays: to set it, as all of bandwidth, has the kernel look at all groups. */
#define PERIOD 100000

/* Those with limits, in the order of joining. */
static const char *const trees[] = { TOP "memory", TOP "pids", TOP "cpu", TOP "devices", CPUSET };

/*
 * The character devices that a guest may use; all others are refused even if a node of one were
 * to be had: memory's null zero full random urandom, tty's tty console ptmx, and pseudo terminals.
 */
static const char *const devices[] = { "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm",
				       "c 1:9 rwm", "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm",
				       "c 136:* rwm" };

static bool have(const char *tree)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/cgroup.procs", tree);
	return access(path, F_OK) == 0;
}

static const char *v1_probe(void)
{
	if (!have(trees[0]) || !have(trees[1]) || !have(trees[2]))
		return "neither a cgroup2 tree with the controllers cpu, memory and pids at "
		       "/sys/fs/cgroup nor cgroup v1 trees of them there";
	return NULL;
}

static int set_devices(const char *instance, const char *name)
{
	const char *tree = trees[3];
	int r = 0;

	if (!have(tree) || name[0] == '_')
		return 0;
	r = cgroup_set(tree, instance, name, "devices.deny", "a");
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(devices); i++)
		r = cgroup_set(tree, instance, name, "devices.allow", "%s", devices[i]);
	return r;
}

/*
 * What waits in sockets of TCP and UDP, which version 1 counts apart, and only where there is a limit: else one
 * guest could use up what the kernel lets all of the host have (net.ipv4.tcp_mem, udp_mem).
 */
static int set_sockets(const char *instance, const char *name, uint64_t bytes)
{
	const char *file = "memory.kmem.tcp.limit_in_bytes";
	int r = bytes ? cgroup_set(trees[0], instance, name, file, "%" PRIu64, bytes) :
			cgroup_set(trees[0], instance, name, file, "-1");

	return r == -ENOENT ? 0 : r; /* this kernel does not count them */
}

/* Memory and swap together may not be less than memory alone: lift that first, lower it last. */
static int set_memory(const char *instance, const char *name, uint64_t bytes, bool swap)
{
	const char *both = "memory.memsw.limit_in_bytes", *alone = "memory.limit_in_bytes";
	int r;

	cgroup_set(trees[0], instance, name, both, "-1");
	if (!bytes)
		return cgroup_set(trees[0], instance, name, alone, "-1");
	r = cgroup_set(trees[0], instance, name, alone, "%" PRIu64, bytes);
	if (r < 0)
		return r;
	if (swap)
		return 0;
	r = cgroup_set(trees[0], instance, name, both, "%" PRIu64, bytes);
	return r == -ENOENT ? 0 : r; /* no swap accounting in this kernel */
}

static int set_limits(const char *instance, const char *name, const struct limits *l)
{
	int r = set_memory(instance, name, l->memory, l->swap == LIMITS_SWAP_ALLOWED);

	if (r >= 0)
		r = set_sockets(instance, name, l->memory);
	if (r >= 0)
		r = l->processes ? cgroup_set(trees[1], instance, name, "pids.max", "%" PRIu64,
					      l->processes) :
				   cgroup_set(trees[1], instance, name, "pids.max", "max");
	if (r >= 0)
		r = l->cpu ? cgroup_set(trees[2], instance, name, "cpu.cfs_quota_us", "%" PRIu64,
					l->cpu * (PERIOD / 100)) :
			     cgroup_set(trees[2], instance, name, "cpu.cfs_quota_us", "-1");
	/* 1024 is what version 2 calls 100; the kernel takes no less than 2. */
	if (r >= 0)
		r = cgroup_set(trees[2], instance, name, "cpu.shares", "%" PRIu64,
			       (l->shares ? l->shares : 100) * 1024 / 100);
	return r < 0 ? r : 0;
}

static int v1_limit(const char *instance, const char *name, const struct limits *limits,
		    struct err *err)
{
	CLEANUP_CLOSE int there = cgroup_open(trees[0], instance, name);
	int r = there < 0 ? 0 : set_limits(instance, name, limits);

	return r < 0 ? cgroup_limit_error(name, -r, err) : 0;
}

/*
 * Holds a guest to no processor: lxcfs(1) looks for the limit of time, with which it makes up
 * /proc/cpuinfo, at the path of the group that a guest has in this tree. Children of the instance's
 * group begin with what that has (cgroup.clone_children). Without it the guest shows the host's.
 */
static void make_cpuset(const char *instance, const char *name)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
	CLEANUP_CLOSE int top = -1, dir = -1;
	char text[4096];

	if (cgroup_make(CPUSET, instance, "", NULL) < 0)
		return;
	top = open(CPUSET, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = cgroup_open(CPUSET, instance, "");
	for (size_t i = 0; !cgroup_number(dir, ".", "cgroup.clone_children") && i < ARRAY_LEN(files); i++)
		if (fd_read_path(top, files[i], text, sizeof(text)) < 0 ||
		    fd_write_path(dir, files[i], text) < 0)
			return;
	if (fd_write_path(dir, "cgroup.clone_children", "1") >= 0)
		cgroup_make(CPUSET, instance, name, NULL);
}

/* In one tree, in which the instance's own may be missing. */
static int make_in(const char *tree, const char *instance, const char *name, struct err *err)
{
	int r;

	if (cgroup_make(tree, instance, name, NULL) == 0)
		return 0;
	r = cgroup_make(tree, instance, "", err);
	return r < 0 ? r : cgroup_make(tree, instance, name, err);
}

static int v1_make(const char *instance, const char *name, uid_t owner, const struct limits *limits,
		   struct err *err)
{
	int r;

	if (limits->cpu && have(CPUSET))
		make_cpuset(instance, name);
	for (size_t i = 0; i < ARRAY_LEN(trees); i++) {
		if (!have(trees[i]) || !strcmp(trees[i], CPUSET))
			continue;
		r = make_in(trees[i], instance, name, err);
		if (r < 0)
			return r;
	}
	if (!cgroup_is_v2(UNIFIED))
		return 0;
	r = make_in(UNIFIED, instance, name, err);
	return r < 0 ? r : cgroup_delegate(UNIFIED, instance, name, owner, err);
}

static int v1_bound(const char *instance, const char *name, const struct limits *limits,
		    struct err *err)
{
	int r = set_limits(instance, name, limits);

	if (r == 0)
		r = set_devices(instance, name);
	return r < 0 ? cgroup_limit_error(name, -r, err) : 0;
}

/* The file that moves no more than the writing thread. A descriptor, or -errno. */
static int open_tasks(const char *tree, const char *instance, const char *name)
{
	CLEANUP_CLOSE int group = cgroup_open(tree, instance, name);
	int fd = group < 0 ? -1 : openat(group, "tasks", O_WRONLY | O_CLOEXEC);

	if (group < 0)
		return group;
	return fd < 0 ? -errno : fd;
}

static int v1_open_way(const char *instance, const char *name, bool session, struct guest_way *ret,
		       struct err *err)
{
	int fd = 0;

	*ret = (struct guest_way){ 0 };
	if (cgroup_is_v2(UNIFIED)) {
		fd = ret->born = cgroup_open_born(UNIFIED, instance, name, session);
		ret->bears = fd >= 0;
	}
	for (size_t i = 0; fd >= 0 && i < ARRAY_LEN(trees); i++) {
		if (!have(trees[i]))
			continue;
		fd = open_tasks(trees[i], instance, name);
		if (fd >= 0)
			ret->tasks[ret->n_tasks++] = fd;
		else if (!strcmp(trees[i], CPUSET))
			fd = 0; /* a guest without a limit has none */
	}
	if (fd >= 0)
		return 0;
	cgroup_close_way(ret);
	return err_sys(err, -fd, "cannot open the control group %s/%s", instance, name);
}

static int v1_remove(const char *instance, const char *name, struct err *err)
{
	int r;

	r = cgroup_is_v2(UNIFIED) ? cgroup_clear(UNIFIED, instance, name) : 0;
	if (r < 0)
		return err_sys(err, -r, "cannot remove " UNIFIED "/%s/%s", instance, name);
	for (size_t i = 0; i < ARRAY_LEN(trees); i++) {
		r = have(trees[i]) ? cgroup_clear(trees[i], instance, name) : 0;
		if (r < 0)
			return err_sys(err, -r, "cannot remove %s/%s/%s", trees[i], instance, name);
	}
	return 0;
}

static void v1_view(const char *instance, struct cgroup_view *ret)
{
	*ret = (struct cgroup_view){ { cgroup_open(trees[0], instance, ""),
				       cgroup_open(trees[1], instance, ""),
				       cgroup_open(trees[2], instance, ""), -1 } };
	/* Processor time: where cpu and cpuacct are one tree, as most service managers have it, there. */
	if (access(TOP "cpu/cpuacct.usage", F_OK) < 0 && cgroup_is_v2(UNIFIED)) {
		ret->dirs[2] = fd_close(ret->dirs[2]);
		ret->dirs[3] = cgroup_open(UNIFIED, instance, "");
	}
}

static void v1_usage(const struct cgroup_view *view, const char *name, struct guest_usage *ret)
{
	ret->memory = cgroup_number(view->dirs[0], name, "memory.usage_in_bytes");
	ret->processes = cgroup_number(view->dirs[1], name, "pids.current");
}

static uint64_t v1_cpu_us(const struct cgroup_view *view, const char *name)
{
	return view->dirs[3] < 0 ? cgroup_number(view->dirs[2], name, "cpuacct.usage") / 1000 :
				   cgroup_keyed(view->dirs[3], name, "cpu.stat", "usage_usec");
}

static uint64_t v1_kills(const char *instance, const char *name)
{
	CLEANUP_CLOSE int dir = cgroup_open(trees[0], instance, "");

	return cgroup_keyed(dir, name, "memory.oom_control", "oom_kill");
}

/* memory.rst of version 1: an eventfd, announced together with memory.oom_control. */
static int v1_open_oom(const char *instance, const char *name, short *ret_events)
{
	CLEANUP_CLOSE int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CLEANUP_CLOSE int group = cgroup_open(trees[0], instance, name), control = -1;
	int r;

	if (group >= 0)
		control = openat(group, "memory.oom_control", O_RDONLY | O_CLOEXEC);
	if (event < 0 || control < 0)
		return -errno;
	r = cgroup_set(trees[0], instance, name, "cgroup.event_control", "%d %d", event, control);
	*ret_events = POLLIN;
	return r < 0 ? r : steal_fd(&event);
}

static bool v1_there(const char *instance, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(trees); i++)
		if (cgroup_there(trees[i], instance, name))
			return true;
	return cgroup_is_v2(UNIFIED) && cgroup_there(UNIFIED, instance, name);
}

static bool v1_holds(const char *instance, const char *name, pid_t pid)
{
	for (size_t i = 0; i < ARRAY_LEN(trees); i++)
		/* cpuset holds nobody to anything. */
		if (have(trees[i]) && strcmp(trees[i], CPUSET) != 0 &&
		    !cgroup_holds(trees[i] + strlen(TOP), instance, name, pid))
			return false;
	return !cgroup_is_v2(UNIFIED) || cgroup_holds("", instance, name, pid);
}

static int v1_take(const char *instance, const char *name, pid_t pid, struct err *err)
{
	int r = cgroup_is_v2(UNIFIED) ? cgroup_take(UNIFIED, instance, name, pid) : 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(trees); i++) {
		/* A guest without a limit of time has no group in that tree. */
		if (have(trees[i]) && cgroup_there(trees[i], instance, name))
			r = cgroup_take(trees[i], instance, name, pid);
	}
	return r < 0 ? err_sys(err, -r, "cannot move process %d into the control groups of %s", pid,
			       name) :
		       0;
}

static void v1_each(const char *instance, void (*fn)(void *data, const char *name), void *data)
{
	for (size_t i = 0; i < ARRAY_LEN(trees); i++)
		cgroup_each(trees[i], instance, fn, data);
	if (cgroup_is_v2(UNIFIED))
		cgroup_each(UNIFIED, instance, fn, data);
}

static const char *v1_session_tree(const char *instance, const char *name)
{
	return cgroup_is_v2(UNIFIED) ? UNIFIED : NULL;
}

const struct cgroup_manager cgroup_v1 = {
	.name = "cgroup-v1",
	.probe = v1_probe,
	.make = v1_make,
	.bound = v1_bound,
	.limit = v1_limit,
	.open_way = v1_open_way,
	.remove = v1_remove,
	.view = v1_view,
	.usage = v1_usage,
	.cpu_us = v1_cpu_us,
	.kills = v1_kills,
	.there = v1_there,
	.holds = v1_holds,
	.take = v1_take,
	.each = v1_each,
	.open_oom = v1_open_oom,
	.session_tree = v1_session_tree,
};
