/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

/* How deep the groups that a guest makes are followed when they are removed. */
#define DEPTH_MAX 64
/*
 * What a guest may make below its own group: service managers need a dozen levels. Deeper than
 * DEPTH_MAX it could not be removed; each group is memory of the kernel's.
 */
#define GUEST_DEPTH 32
#define GUEST_GROUPS 2000
/*
 * A tree, an instance, a guest and a file: none is long. Small, since each running guest has a process
 * whose stack is kept, and all of a buffer is touched.
 */
#define PATH_SIZE 512
/* How long killed processes have to be gone: memory of a big one takes time to be freed. */
#define KILL_MS 10000

const struct cgroup_manager *cgroup_pick(const char **ret_why)
{
	static const struct cgroup_manager *const all[] = { &cgroup_v2, &cgroup_v1 };
	const char *why = NULL;

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		why = all[i]->probe();
		if (!why)
			return all[i];
	}
	if (ret_why)
		*ret_why = why;
	return NULL;
}

void cgroup_shelter(const char *instance, struct guest_way *ret)
{
	static const struct limits none;
	const struct cgroup_manager *manager = cgroup_pick(NULL);

	*ret = (struct guest_way){ 0 };
	if (!manager || manager->open_way(instance, CGROUP_SUPERVISORS, false, ret, NULL) == 0)
		return;
	/* It is the first of them. */
	if (manager->make(instance, CGROUP_SUPERVISORS, 0, &none, NULL) == 0 &&
	    manager->bound(instance, CGROUP_SUPERVISORS, &none, NULL) == 0)
		manager->open_way(instance, CGROUP_SUPERVISORS, false, ret, NULL);
}

static pid_t fork_into(const struct guest_way *way, bool born)
{
	struct clone_args args = {
		.flags = born ? CLONE_INTO_CGROUP : 0,
		.exit_signal = SIGCHLD,
		.cgroup = born ? (uint64_t)way->born : 0,
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	return pid < 0 ? -errno : (pid_t)pid;
}

/*
 * pids.rst: forks are held to the limit, moves are not. So whoever comes to end a fork bomb gets in, if
 * more slowly.
 */
static void move_in(const struct guest_way *way)
{
	if (fd_write_path(way->born, "cgroup.procs", "0") < 0)
		_exit(127);
}

pid_t cgroup_fork(const struct guest_way *way)
{
	pid_t pid = fork_into(way, way->bears);

	if (pid != -EAGAIN || !way->bears)
		return pid;
	pid = fork_into(way, false);
	if (pid == 0)
		move_in(way);
	return pid;
}

int cgroup_step_in(const struct guest_way *way)
{
	for (int i = 0; i < way->n_tasks; i++)
		if (write(way->tasks[i], "0", 1) != 1)
			return -errno;
	return 0;
}

void cgroup_close_way(struct guest_way *way)
{
	if (way->bears)
		fd_close(way->born);
	way->bears = false;
	while (way->n_tasks > 0)
		fd_close(way->tasks[--way->n_tasks]);
}

int cgroup_limit_error(const char *name, int errnum, struct err *err)
{
	if (errnum == EBUSY)
		return err_set(err, ERR_BUSY,
			       "guest %s uses more memory than that: stop something in it first", name);
	return err_sys(err, errnum, "cannot set the limits of guest %s", name);
}

void cgroup_view_close(struct cgroup_view *view)
{
	for (size_t i = 0; i < ARRAY_LEN(view->dirs); i++)
		view->dirs[i] = fd_close(view->dirs[i]);
}

bool cgroup_is_v2(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

static void path_of(char ret[PATH_SIZE], const char *tree, const char *instance, const char *name,
		    const char *file)
{
	snprintf(ret, PATH_SIZE, "%s/%s/%s%s%s", tree, instance, name, file ? "/" : "",
		 file ? file : "");
}

int cgroup_make(const char *tree, const char *instance, const char *name, struct err *err)
{
	char path[PATH_SIZE];

	path_of(path, tree, instance, name, NULL);
	if (mkdir(path, 0755) == 0 || errno == EEXIST)
		return 0;
	return err_sys(err, errno, "cannot make the control group %s", path);
}

int cgroup_delegate(const char *tree, const char *instance, const char *name, uid_t owner,
		    struct err *err)
{
	static const char *const files[] = { "cgroup.procs", "cgroup.threads",
					     "cgroup.subtree_control" };
	CLEANUP_CLOSE int fd = cgroup_open(tree, instance, name);

	/*
	 * Safe: these files only move the guest's own processes among groups below this one. The
	 * limits are in files of their own, which stay root's. First how far it may go.
	 */
	if (cgroup_set(tree, instance, name, "cgroup.max.depth", "%d", GUEST_DEPTH) < 0 ||
	    cgroup_set(tree, instance, name, "cgroup.max.descendants", "%d", GUEST_GROUPS) < 0)
		return err_set(err, ERR_FAILED, "cannot limit the control groups of %s", name);
	if (fd < 0 || fchown(fd, owner, owner) < 0)
		return err_sys(err, errno, "cannot give the control group of %s to it", name);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (fchownat(fd, files[i], owner, owner, AT_SYMLINK_NOFOLLOW) < 0)
			return err_sys(err, errno, "cannot give %s of %s to it", files[i], name);
	return 0;
}

int cgroup_open(const char *tree, const char *instance, const char *name)
{
	char path[PATH_SIZE];
	int fd;

	path_of(path, tree, instance, name, NULL);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

bool cgroup_there(const char *tree, const char *instance, const char *name)
{
	CLEANUP_CLOSE int fd = cgroup_open(tree, instance, name);

	return fd >= 0;
}

/* A line of /proc/PID/cgroup, "ID:CONTROLLERS:PATH": the path, when it is of this controller's tree. */
static const char *path_in_line(char *line, const char *controller)
{
	char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL, *one;

	if (!path)
		return NULL;
	*path++ = '\0';
	names++;
	if (!*names && !*controller)
		return path;
	while ((one = strsep(&names, ",")))
		if (*one && !strcmp(one, controller))
			return path;
	return NULL;
}

bool cgroup_holds(const char *controller, const char *instance, const char *name, pid_t pid)
{
	char file[64], text[4096], wanted[PATH_SIZE], *rest = text, *line;
	const char *path = NULL;
	size_t len;

	snprintf(file, sizeof(file), "/proc/%d/cgroup", pid);
	if (fd_read_path(AT_FDCWD, file, text, sizeof(text)) <= 0)
		return false;
	while (!path && (line = strsep(&rest, "\n")))
		path = path_in_line(line, controller);
	path_of(wanted, "", instance, name, NULL);
	len = strlen(wanted);
	while (path && (path = strstr(path, wanted)) && path[len] && path[len] != '/')
		path += len;
	return path != NULL;
}

int cgroup_take(const char *tree, const char *instance, const char *name, pid_t pid)
{
	int r = cgroup_set(tree, instance, name, "cgroup.procs", "%d", pid);

	if (r == -EBUSY) {
		fd_close(cgroup_open_born(tree, instance, name, true));
		r = cgroup_set(tree, instance, name, "vm2/cgroup.procs", "%d", pid);
	}
	return r == -ESRCH || r > 0 ? 0 : r;
}

void cgroup_each(const char *tree, const char *instance, void (*fn)(void *data, const char *name),
		 void *data)
{
	CLEANUP_CLOSE int fd = cgroup_open(tree, instance, "");
	CLEANUP_CLOSEDIR DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!dir)
		return;
	fd = -1;
	while ((de = readdir(dir)))
		if (de->d_type == DT_DIR && de->d_name[0] != '.')
			fn(data, de->d_name);
}

int cgroup_open_born(const char *tree, const char *instance, const char *name, bool session)
{
	char path[PATH_SIZE];
	int fd;

	/* Safe: cgroup file systems hold no symlinks, so the guest's own groups mislead nobody. */
	path_of(path, tree, instance, name, session ? "vm2" : NULL);
	if (session && mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? -errno : fd;
}

/* Kill each process that a cgroup.procs file names; returns how many there were. */
static int kill_listed(int dirfd)
{
	CLEANUP_CLOSE int fd = openat(dirfd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	CLEANUP_FCLOSE FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	int pid, count = 0;

	if (!f)
		return 0;
	fd = -1;
	/*
	 * Safe: the kernel lists what is in this guest's group now. A number can be another's only
	 * if its process was reaped in these microseconds and all numbers went round.
	 */
	while (fscanf(f, "%d", &pid) == 1) {
		if (pid > 1)
			kill(pid, SIGKILL);
		count++;
	}
	return count;
}

static int clear_below(int parent, const char *name, int depth)
{
	CLEANUP_CLOSE int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	CLEANUP_CLOSEDIR DIR *dir = NULL;
	struct dirent *de;
	int r, ret = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (depth >= DEPTH_MAX)
		return -ELOOP;
	kill_listed(fd);
	dir = fdopendir(dup(fd));
	while (dir && (de = readdir(dir))) {
		if (de->d_type != DT_DIR || de->d_name[0] == '.')
			continue;
		r = clear_below(fd, de->d_name, depth + 1);
		if (r < 0)
			ret = r;
	}
	if (ret == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	return ret;
}

int cgroup_clear(const char *tree, const char *instance, const char *name)
{
	static const struct timespec pause = { .tv_nsec = 2000000 };
	CLEANUP_CLOSE int top = cgroup_open(tree, instance, "");
	int64_t end = clock_ms() + KILL_MS;
	int r;

	if (top < 0)
		return top == -ENOENT ? 0 : top;
	/* All at once, also what forks meanwhile (Linux 5.14); the loop is for older and for v1. */
	cgroup_set(tree, instance, name, "cgroup.kill", "1");
	while ((r = clear_below(top, name, 0)) == -EBUSY && clock_ms() < end)
		nanosleep(&pause, NULL);
	return r;
}

uint64_t cgroup_number(int dir, const char *name, const char *file)
{
	char path[PATH_SIZE], text[64];
	uint64_t value;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", name, file);
	n = dir < 0 ? -1 : fd_read_small(dir, path, text, sizeof(text));
	if (n <= 0)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	return parse_u64(text, UINT64_MAX, &value) < 0 ? 0 : value;
}

uint64_t cgroup_keyed(int dir, const char *name, const char *file, const char *key)
{
	char path[PATH_SIZE], text[2048], *rest = text, *line;
	size_t len = strlen(key);
	uint64_t value = 0;

	snprintf(path, sizeof(path), "%s/%s", name, file);
	if (dir < 0 || fd_read_small(dir, path, text, sizeof(text)) <= 0)
		return 0;
	while ((line = strsep(&rest, "\n")))
		if (!strncmp(line, key, len) && line[len] == ' ' &&
		    parse_u64(line + len + 1, UINT64_MAX, &value) == 0)
			return value;
	return 0;
}

int cgroup_set(const char *tree, const char *instance, const char *name, const char *file,
	       const char *fmt, ...)
{
	char path[PATH_SIZE], text[128];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	path_of(path, tree, instance, name, file);
	return fd_write_path(AT_FDCWD, path, text);
}
