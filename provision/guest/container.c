/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The container: a guest that shares the host's kernel. vm2-guest prepares on the host what only
 * the host may (network namespace, sysfs, shifted mounts, cgroup, link), while a child in the new
 * namespaces mounts what must be mounted from inside (inside.c). Both work at the same time.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "firewall/link.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/pass.h"
#include "provision/guest/cgroup.h"
#include "provision/guest/child.h"
#include "provision/guest/confine.h"
#include "provision/guest/dev.h"
#include "provision/guest/inside.h"
#include "provision/guest/stage.h"
#include "provision/guest/steps.h"
#include "provision/guest/type.h"

#define NAMESPACES (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS)

/*
 * A start that is under way. Descriptors are -1 when not open. All but the two that are handed on close
 * themselves when vm2-guest becomes another program, which nobody waits for.
 */
struct start {
	const struct config *config;
	const struct guest_spec *spec;
	struct inside in;
	struct storage_layers layers;
	int userns; /* the guest's */
	int proc; /* of its own: what is looked for in /proc stays in memory as long as the guest runs */
	int host_net, host_time, guest_net;
	struct stage stage;
	int layers_in; /* the one in which the guest's layers come together */
	struct link_begun *link;
	int console; /* master side */
	struct child child;
	int go;	     /* says what else of the guest is there (enum launch_word), or -1: all is */
	pid_t pid;
	int pidfd;
};

static void start_init(struct start *s)
{
	struct inside *in = &s->in;

	s->layers = (struct storage_layers){ -1, -1, -1 };
	in->sysfs = in->console_node = -1;
	in->console = in->init = in->sync = in->dev = -1;
	for (size_t i = 0; i < LXCFS_FILES; i++)
		in->lxcfs[i] = -1;
	s->stage = (struct stage){ -1, -1 };
	s->userns = s->proc = s->host_net = s->host_time = s->guest_net = s->layers_in =
		s->console = s->child.sync = s->pidfd = -1;
}

/*
 * A detached mount of one file of the host. Private: a mount that is shared, as /dev is where
 * systemd runs, would take whatever the guest mounts over its copy back to the host.
 */
static int clone_mount(int dirfd, const char *path, uint64_t more, struct err *err)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID | more,
				   .propagation = MS_PRIVATE };
	CLEANUP_CLOSE int fd =
		open_tree(dirfd, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

	if (fd < 0 || mount_setattr(fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return err_sys(err, errno, "cannot clone the mount of %s", path);
	return steal_fd(&fd);
}

static int open_console(struct start *s, struct err *err)
{
	int unlock = 0;

	/* The terminal is one of the host's; the guest gets the slave's node and never the master. */
	s->console = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (s->console < 0 || ioctl(s->console, TIOCSPTLCK, &unlock) < 0)
		return err_sys(err, errno, "cannot open a terminal for the console");
	s->in.console = ioctl(s->console, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (s->in.console < 0 || fchmod(s->in.console, 0600) < 0)
		return err_sys(err, errno, "cannot open the console's other side");
	s->in.console_node = clone_mount(s->in.console, "", MOUNT_ATTR_NOEXEC, err);
	return s->in.console_node < 0 ? s->in.console_node : 0;
}

/* What was made before it was known whose it would be. */
static int hand_over(const struct start *s, struct err *err)
{
	uid_t owner = s->spec->uid_base;

	return fchown(s->in.console, owner, owner) < 0 ?
		       err_sys(err, errno, "cannot give the guest its console") :
		       dev_give(s->in.dev, owner, err);
}

static int open_sources(struct start *s, const char *init_path, struct err *err)
{
	lxcfs_open(s->config, s->in.lxcfs);
	/*
	 * A mount of that one file: what the guest reads as the path of its init is "/". Safe: it is
	 * read-only, the guest is not its owner, and it holds nothing that is not public.
	 */
	s->in.init = clone_mount(AT_FDCWD, init_path, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, err);
	return s->in.init < 0 ? s->in.init : hand_over(s, err);
}

static int open_sync(struct start *s, struct err *err)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(err, errno, "cannot make a socket pair");
	s->child.sync = pair[0];
	s->in.sync = pair[1];
	return 0;
}

/*
 * sysfs shows the network namespace of whoever mounts it, and only that namespace's owner, the
 * host, may. Safe: the file system itself is read-only, and its files belong to the host's root.
 */
static int open_sysfs(struct err *err)
{
	CLEANUP_CLOSE int fs = fsopen("sysfs", FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "source", "sysfs", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_sys(err, errno, "cannot make the guest's sysfs");
	fd = fsmount(fs, FSMOUNT_CLOEXEC,
		     MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return fd < 0 ? err_sys(err, errno, "cannot mount the guest's sysfs") : fd;
}

/* In a guest's network namespace. What its root would miss, low ports and ping, is opened to it. */
static int open_network(struct start *s, struct err *err)
{
	int r;

	s->guest_net = openat(s->proc, "self/ns/net", O_RDONLY | O_CLOEXEC);
	if (s->guest_net < 0)
		return err_sys(err, errno, "cannot open the network namespace");
	r = fd_write_path(s->proc, "sys/net/ipv4/ip_unprivileged_port_start", "0");
	if (r < 0)
		return err_sys(err, -r, "cannot open low ports to the guest");
	s->in.sysfs = open_sysfs(err);
	return s->in.sysfs < 0 ? s->in.sysfs : 0;
}

static int allow_ping(const struct start *s, struct err *err)
{
	char range[64];
	int r;

	snprintf(range, sizeof(range), "%u %u", s->spec->uid_base, s->spec->uid_base + GUEST_IDS - 1);
	r = fd_write_path(s->proc, "sys/net/ipv4/ping_group_range", range);
	return r < 0 ? err_sys(err, -r, "cannot allow ping to the guest") : 0;
}

static bool has_own_network(const struct start *s)
{
	return s->spec->limits.network == LIMITS_NETWORK_OWN;
}

/*
 * A network namespace that the host's user namespace owns: root in the guest uses eth0 and cannot
 * change it.
 */
static int make_network(struct start *s, struct err *err)
{
	int r;

	s->host_net = openat(s->proc, "self/ns/net", O_RDONLY | O_CLOEXEC);
	if (s->host_net < 0 || unshare(CLONE_NEWNET) < 0)
		return err_sys(err, errno, "cannot make the network namespace");
	r = open_network(s, err);
	if (setns(s->host_net, CLONE_NEWNET) < 0)
		return err_sys(err, errno, "cannot return to the host's network namespace");
	return r;
}

/* What is born next is in it. A guest whose network is its own is born with one, and visited then. */
static int enter_network(struct start *s, struct err *err)
{
	if (has_own_network(s)) {
		s->guest_net = fd_close(s->guest_net);
		s->in.sysfs = fd_close(s->in.sysfs);
		return 0;
	}
	if (setns(s->guest_net, CLONE_NEWNET) < 0)
		return err_sys(err, errno, "cannot enter the guest's network namespace");
	return allow_ping(s, err);
}

/* Safe: nothing runs in it yet, since the child waits, and go_home() comes next. */
static int visit_own_network(struct start *s, struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	char path[64];
	int r;

	if (!has_own_network(s))
		return 0;
	snprintf(path, sizeof(path), "%d/ns/net", s->pid);
	fd = openat(s->proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
		return err_sys(err, errno, "cannot enter the guest's network namespace");
	r = open_network(s, err);
	return r < 0 ? r : allow_ping(s, err);
}

/* The guest's uptime begins at zero: what is born next lives in a time namespace of its own. */
static int make_time(struct start *s, struct err *err)
{
	struct timespec mono, boot;
	char text[128];
	int r;

	s->host_time = openat(s->proc, "self/ns/time", O_RDONLY | O_CLOEXEC);
	if (s->host_time < 0 || unshare(CLONE_NEWTIME) < 0)
		return err_sys(err, errno, "cannot make the time namespace");
	clock_gettime(CLOCK_MONOTONIC, &mono);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	snprintf(text, sizeof(text), "monotonic -%lld 0\nboottime -%lld 0\n",
		 (long long)(mono.tv_sec > 0 ? mono.tv_sec - 1 : 0),
		 (long long)(boot.tv_sec > 0 ? boot.tv_sec - 1 : 0));
	r = fd_write_path(s->proc, "self/timens_offsets", text);
	return r < 0 ? err_sys(err, -r, "cannot set the guest's uptime") : 0;
}

/* Back to where vm2-guest belongs. */
static int go_home(const struct start *s, struct err *err)
{
	if ((s->host_net >= 0 && setns(s->host_net, CLONE_NEWNET) < 0) ||
	    (s->host_time >= 0 && setns(s->host_time, CLONE_NEWTIME) < 0))
		return err_sys(err, errno, "cannot return to the host's namespaces");
	return 0;
}

/*
 * The user namespace belongs to the effective uid that makes it, and the kernel sums what all of
 * its users hold (inotify instances, queued signals, message queues, locked memory, namespaces) in
 * an account of that uid. So it must be the guest's own: on the host's root the limits would be
 * shared by all guests and the host. Safe: no process of the host runs as this uid, and the
 * capabilities stay as they are meanwhile (SECBIT_NO_SETUID_FIXUP).
 */
static int act_as(uid_t uid, struct err *err)
{
	if (prctl(PR_SET_SECUREBITS, uid ? SECBIT_NO_SETUID_FIXUP : 0, 0, 0, 0) < 0 ||
	    seteuid(uid) < 0)
		return err_sys(err, errno, "cannot act as uid %u", uid);
	return 0;
}

static int make_child(struct start *s, struct err *err)
{
	const struct guest_way *way = &s->in.way;
	struct clone_args args = {
		.flags = NAMESPACES | CLONE_PIDFD | (way->bears ? CLONE_INTO_CGROUP : 0) |
			(has_own_network(s) ? CLONE_NEWNET : 0),
		.pidfd = (uint64_t)(uintptr_t)&s->pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = way->bears ? (uint64_t)way->born : 0,
	};
	int home, saved, r = 0;
	long pid;

	if (setns(s->stage.mounts, CLONE_NEWNS) < 0)
		return err_sys(err, errno, "cannot enter the stage");
	r = act_as(s->spec->uid_base, err);
	pid = r < 0 ? r : syscall(SYS_clone3, &args, sizeof(args));

	if (pid == 0) {
		/* Our end is the parent's alone: its death must be seen as the end of the other. */
		close(s->child.sync);
		inside_main(&s->in);
	}
	saved = errno;
	home = stage_leave(&s->stage, act_as(0, r < 0 ? NULL : err), r < 0 ? NULL : err);
	if (pid > 0)
		s->pid = (pid_t)pid;
	s->in.sync = fd_close(s->in.sync);
	cgroup_close_way(&s->in.way);
	if (r == 0 && pid < 0)
		r = err_sys(err, saved, "cannot make the guest's namespaces");
	return r < 0 ? r : home;
}

static int write_maps(const struct start *s, struct err *err)
{
	static const char *const names[] = { "uid_map", "gid_map" };
	char path[64], map[64];
	int r;

	/* Safe: the range is this guest's alone (the database hands each out once); 0 is in none. */
	snprintf(map, sizeof(map), "0 %u %u\n", s->spec->uid_base, GUEST_IDS);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%d/%s", s->pid, names[i]);
		r = fd_write_path(s->proc, path, map);
		if (r < 0)
			return err_sys(err, -r, "cannot write the guest's %s", names[i]);
	}
	return 0;
}

/* The child is what its namespaces make it: it mounts what all guests have. */
static int prepare_child(struct start *s, struct err *err)
{
	char path[64];
	int r = write_maps(s, err);

	if (r < 0)
		return r;
	/*
	 * The one that it leaves for another, where its layers are attached. It ends with the last who has it
	 * open, who then waits for all processors: that is to be us, when nobody waits for us any more.
	 */
	snprintf(path, sizeof(path), "%d/ns/mnt", s->pid);
	s->layers_in = openat(s->proc, path, O_RDONLY | O_CLOEXEC);
	if (s->layers_in < 0)
		return err_sys(err, errno, "cannot open the guest's first mount namespace");
	snprintf(path, sizeof(path), "%d/ns/user", s->pid);
	s->userns = openat(s->proc, path, O_RDONLY | O_CLOEXEC);
	if (s->userns < 0)
		return err_sys(err, errno, "cannot open the guest's user namespace");
	return child_tell(&s->child,
			  (const int[]){ has_own_network(s) ? s->in.sysfs : -1, s->layers_in, -1 },
			  err);
}

static int give_files(struct start *s, struct err *err)
{
	struct storage_layers *layers = &s->layers;
	int r = s->in.storage->open(s->config, s->spec, layers, err);

	if (r == 0)
		r = s->in.storage->idmap(layers, s->userns, err);
	if (r == 0)
		r = child_tell(&s->child,
			       (const int[]){ layers->lower, layers->base, layers->upper }, err);
	layers->lower = fd_close(layers->lower);
	layers->base = fd_close(layers->base);
	layers->upper = fd_close(layers->upper);
	return r;
}

/* Its rules need not be there yet: no packet passes. */
static int begin_link(struct start *s, struct err *err)
{
	const struct link_spec link = {
		.instance = s->config->instance,
		.number = s->spec->number,
		.address4 = s->spec->address4,
		.address6 = s->spec->address6,
		.more = s->spec->more,
		.mtu = (uint32_t)(s->spec->limits.mtu ?: s->config->mtu),
	};

	return link_begin(&link, s->guest_net, s->proc, &s->link, err);
}

static int run_child(struct start *s, struct guest_process *ret, struct err *err)
{
	CLEANUP_CLOSE int listener = -1, nothing = -1;
	static const int none[INSIDE_FDS] = { -1, -1, -1 };
	struct inside_report report;
	siginfo_t end = { 0 };
	bool ended;
	int r = link_open(s->link, err);

	if (r == 0)
		r = child_receive(&s->child, &report, &ended, &listener, err);
	if (r == 0 && ended)
		r = err_set(err, ERR_FAILED, "the guest's first process died");
	if (r == 0 && report.filtered && listener < 0)
		r = err_set(err, ERR_FAILED,
			    "lost what the guest's statfs(2) would be answered by");
	if (r != 0)
		return r;
	ret->stop_signal = report.stop_signal;
	link_at_work(s->link);
	r = child_tell(&s->child, none, err);
	if (r == 0)
		r = child_receive(&s->child, &report, &ended, &nothing, err);
	if (r == 0 && !ended)
		r = err_set(err, ERR_FAILED, "the guest's first process says more than it has to");
	if (r != 0)
		return r;
	/* The end comes from its exec or from its death. */
	if (waitid(P_PID, (id_t)s->pid, &end, WEXITED | WNOHANG | WNOWAIT) < 0 || end.si_pid)
		return err_set(err, ERR_FAILED, "the guest's init ended at once");
	ret->listener = steal_fd(&listener);
	return 0;
}

/* From whoever takes the other steps of the start, unless they have been taken. */
static int await_word(const struct start *s, enum launch_word word, struct err *err)
{
	char byte = (char)word;
	ssize_t n = 1;

	if (s->go >= 0)
		while ((n = read(s->go, &byte, 1)) < 0 && errno == EINTR)
			continue;
	return n == 1 && byte == (char)word ?
		       0 :
		       err_set(err, ERR_FAILED, "given up: nobody waits for it any more");
}

/* It is born in the guest's group. */
static int bear_child(struct start *s, struct err *err)
{
	const struct cgroup_manager *cgroup = cgroup_pick(NULL);
	int r = cgroup ? cgroup->open_way(s->config->instance, s->spec->name, false, &s->in.way,
					  err) :
			 err_set(err, ERR_FAILED, "no limits can be set");

	if (r == 0)
		r = make_child(s, err);
	return r == 0 ? visit_own_network(s, err) : r;
}

static int start_run(struct start *s, const char *init_path, struct guest_process *ret,
		     struct err *err)
{
	int r = open_sources(s, init_path, err), home;

	if (r == 0)
		r = enter_network(s, err);
	if (r == 0)
		r = make_time(s, err);
	if (r == 0)
		r = await_word(s, LAUNCH_GROUP, err);
	if (r == 0)
		r = bear_child(s, err);
	home = go_home(s, r ? NULL : err);
	if (r == 0)
		r = home;
	if (r == 0)
		r = prepare_child(s, err);
	/* Each step as soon as what it needs is there. */
	if (r == 0)
		r = await_word(s, LAUNCH_FILES, err);
	if (r == 0)
		r = give_files(s, err);
	if (r == 0)
		r = begin_link(s, err);
	if (r == 0)
		r = await_word(s, LAUNCH_ALL, err);
	return r ? r : run_child(s, ret, err);
}

static int container_prepare(struct start **ret, struct err *err)
{
	struct start *s = *ret = xcalloc(1, sizeof(*s));
	int r;

	start_init(s);
	s->proc = s->in.proc = fd_proc();
	if (s->proc < 0)
		return err_sys(err, -s->proc, "cannot make a proc to start the guest with");
	s->in.profiled = confine_has_profiles();
	r = make_network(s, err);
	if (r == 0)
		r = s->in.dev = dev_make(err);
	if (r >= 0)
		r = stage_make(&s->stage, s->proc, &s->in.dev, err);
	if (r == 0)
		r = open_console(s, err);
	return r < 0 ? r : open_sync(s, err);
}

static int container_launch(struct start *s, const struct config *config,
			    const struct guest_spec *spec, const char *init_path, int go,
			    struct guest_process *ret, struct err *err)
{
	const char *why = NULL;
	int r;

	s->config = config;
	s->spec = spec;
	s->child.seconds = (int)config->start_timeout;
	s->go = go;
	s->in.storage = storage_of(spec);
	s->in.name = spec->name;
	s->in.cpu = spec->limits.cpu;
	s->in.terminals = spec->limits.terminals;
	s->in.memory = spec->limits.memory;
	if (!cgroup_pick(&why))
		return err_set(err, ERR_FAILED, "no limits can be set: %s", why);
	r = start_run(s, init_path, ret, err);
	if (r != 0) {
		if (s->pid > 0) {
			kill(s->pid, SIGKILL); /* our own child, not yet reaped */
			waitpid(s->pid, NULL, 0);
		}
		link_down(config->instance, spec->number, NULL);
	} else {
		ret->init_pid = s->pid;
		ret->init_pidfd = s->pidfd;
		ret->console = s->console;
	}
	return r;
}

static bool kernel_at_least(int major, int minor)
{
	struct utsname u;
	int a = 0, b = 0;

	return uname(&u) == 0 && sscanf(u.release, "%d.%d", &a, &b) == 2 &&
	       (a > major || (a == major && b >= minor));
}

static const char *container_probe(const struct config *config)
{
	char text[4096];
	const char *why = NULL;

	(void)config;
	if (access("/proc/self/ns/user", F_OK) < 0 || access("/proc/self/ns/time", F_OK) < 0)
		return "this kernel has no user namespaces or no time namespaces";
	if (fd_read_path(AT_FDCWD, "/proc/sys/user/max_user_namespaces", text, sizeof(text)) > 0 &&
	    text[0] == '0')
		return "user namespaces are switched off: set user.max_user_namespaces with sysctl";
	if (!kernel_at_least(5, 19))
		return "overlays on idmapped mounts need Linux 5.19 or newer";
	if (fd_read_path(AT_FDCWD, "/proc/filesystems", text, sizeof(text)) > 0 &&
	    !strstr(text, "\toverlay\n"))
		return "this kernel has no overlay file system: run 'modprobe overlay'";
	/* Sizes that no kernel accepts: EINVAL says that the call is there. */
	if (mount_setattr(-1, "", 0, NULL, 0) < 0 && errno == ENOSYS)
		return "this kernel has no idmapped mounts (mount_setattr)";
	return cgroup_pick(&why) ? NULL : why;
}

const struct guest_type type_container = {
	.name = "container",
	.probe = container_probe,
	.prepare = container_prepare,
	.launch = container_launch,
};
