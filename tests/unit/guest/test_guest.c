/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Container guests on the real kernel: to be run as root in a disposable host (tests/host), with
 * busybox-static as the template. Skipped elsewhere.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "firewall/rules.h"
#include "provision/base/fd.h"
#include "provision/guest/cgroup.h"
#include "provision/guest/passwd.h"
#include "provision/guest/confine.h"
#include "provision/guest/guest.h"
#include "provision/guest/run.h"
#include "provision/guest/steps.h"
#include "provision/guest/storage.h"
#include "provision/guest/view.h"

/* In place of the installed programs: those that were just built. */
const char *const guest_libexecdir = BUILD_ROOT "/provision/guest";

#define TEMPLATE "/var/lib/vm2/templates/tiny/rootfs"

static const struct config config = {
	.instance = (char *)(uintptr_t)"tgst",
	.run = (char *)(uintptr_t)"/run/vm2-tgst",
	.guests = (char *)(uintptr_t)"/var/lib/vm2/guests",
	.templates = (char *)(uintptr_t)"/var/lib/vm2/templates",
	.pool4 = (char *)(uintptr_t)"10.82.0.0/16",
	.pool6 = (char *)(uintptr_t)"fd82:766d:3200::/64",
	.dns = (char *)(uintptr_t)"192.0.2.53",
	.mtu = 1500,
	.start_timeout = 20,
	.stop_timeout = 5,
};

static const struct guest_spec spec = {
	.name = "acme",
	.number = 7,
	.uid_base = 603979776,
	.template = "tiny",
	.address4 = "10.82.0.5",
	.address6 = "fd82:766d:3200::5",
	.limits = { .cpu = 100, .memory = 64 << 20, .processes = 50 },
};

static int shell(const char *command)
{
	return system(command);
}

static void setup(void)
{
	const struct rules_base base = { config.instance, config.pool4, config.pool6 };
	const char *why;
	struct err err = { 0 };
	int lock;

	if (geteuid() != 0 || access("/run/host/init", F_OK) < 0)
		cr_skip_test("needs root in a disposable host: tests/host run ...");
	why = guest_probe(&config);
	if (why)
		cr_skip_test("%s", why);
	if (access("/bin/busybox", X_OK) < 0)
		cr_skip_test("needs busybox-static");
	/* Criterion runs several tests at once, but here there is one guest: held until the end. */
	lock = open("/run/vm2-test-guest.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert(lock >= 0 && flock(lock, LOCK_EX) == 0);
	cr_assert_eq(shell("mkdir -p " TEMPLATE "/bin " TEMPLATE "/tmp " TEMPLATE "/etc && "
			   "cp /bin/busybox " TEMPLATE "/bin/ && for a in sh id hostname cat ls ps "
			   "mount touch ip grep kill sleep test head; do ln -sf busybox " TEMPLATE
			   "/bin/$a; done"),
		     0);
	cr_assert_eq(rules_restore(&base, NULL, 0, &err), 0, "%s", err.text);
}

static void teardown(void)
{
	if (geteuid() == 0 && access("/run/host/init", F_OK) == 0)
		guest_destroy(&config, &spec, NULL);
}

TestSuite(guest, .init = setup, .fini = teardown, .timeout = 110);

static void start(void)
{
	struct err err = { 0 };

	cr_assert_eq(guest_start(&config, &spec, NULL, NULL, &err), 0, "%s", err.text);
}

static void stop(void)
{
	struct err err = { 0 };

	cr_assert_eq(guest_stop(&config, &spec, &err), 0, "%s", err.text);
}

/* Run a shell command in the guest; its exit status, its output in text. */
static int inside(const char *command, char *text, size_t cap)
{
	static const int keep[] = { 0, 1, 2 };
	char *const argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, (char *)(uintptr_t)command, NULL };
	char *const env[] = { (char[]){ "PATH=/bin" }, NULL };
	struct guest_run run;
	struct err err = { 0 };
	int pipefd[2], status;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	cr_assert_eq(pipe2(pipefd, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) { /* the caller's next child is born elsewhere: that is for a process of its own */
		if (guest_find(&config, spec.name, &run, &err) ||
		    guest_enter_prepare(&config, spec.name, &run, &err))
			_exit(120);
		pid = guest_fork(&run);
		if (pid == 0) {
			dup2(pipefd[1], 1);
			dup2(pipefd[1], 2);
			if (guest_enter(&run, keep, 3, &err))
				_exit(121);
			execve("/bin/sh", argv, env);
			_exit(122);
		}
		waitpid(pid, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 123);
	}
	close(pipefd[1]);
	while (len < cap - 1 && (n = read(pipefd[0], text + len, cap - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(pipefd[0]);
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static void expect_inside(const char *command, const char *wanted)
{
	char text[16384];
	int status = inside(command, text, sizeof(text));

	cr_expect_eq(status, 0, "%s: status %d: %s", command, status, text);
	cr_expect(strstr(text, wanted), "%s: no \"%s\" in: %s", command, wanted, text);
}

static void refuse_inside(const char *command)
{
	char text[16384];

	cr_expect_neq(inside(command, text, sizeof(text)), 0, "%s: %s", command, text);
}

/* Nothing of the guest is left on the host but its files. */
static void expect_nothing_left(void)
{
	cr_expect_neq(shell("ip link show tgst-7 >/dev/null 2>&1"), 0, "an interface is left");
	cr_expect_neq(shell("find /sys/fs/cgroup -name acme | grep -q ."), 0, "a cgroup is left");
	cr_expect_neq(shell("pgrep -f '[v]m2-guest acme' >/dev/null"), 0, "a supervisor is left");
	cr_expect_neq(shell("grep -q /guests/ /proc/mounts"), 0, "a mount is left");
	cr_expect_neq(shell("nft list table inet tgst 2>/dev/null | grep -q tgst-7"), 0, "rules are left");
	cr_expect_neq(access("/run/vm2-tgst/guests/acme", F_OK), 0, "its folder in /run is left");
}

Test(confine, a_core_handler_of_the_host_is_never_run)
{
	cr_expect_eq(confine_core_limit("core\n").rlim_max, RLIM_INFINITY);
	cr_expect_eq(confine_core_limit("core\n").rlim_cur, 0);
	cr_expect_eq(confine_core_limit("/var/crash/%p\n").rlim_max, RLIM_INFINITY);
	cr_expect_eq(confine_core_limit("|/usr/lib/systemd/systemd-coredump %P\n").rlim_max, 1);
	cr_expect_eq(confine_core_limit("@/run/systemd/coredump\n").rlim_cur, 1);
}

static long keyring_id(long keyring)
{
	return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, keyring, 0);
}

/* What enters has a session keyring of its own: none of the host's keys are within reach. */
static int reach_keys(long key)
{
	const long before = keyring_id(KEY_SPEC_SESSION_KEYRING);
	char text[8];

	if (before < 0 || syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof(text)) != 3)
		return 2;
	if (confine_become_root(NULL) != 0)
		return 3;
	if (keyring_id(KEY_SPEC_SESSION_KEYRING) == before)
		return 4;
	if (syscall(SYS_keyctl, KEYCTL_READ, key, text, sizeof(text)) >= 0 ||
	    syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", "vm2-test", 0) >= 0)
		return 5;
	return 0;
}

Test(confine, the_hosts_session_keyring_stays_outside)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		long ring = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "vm2-test"), key;

		if (ring < 0)
			_exit(errno == ENOSYS ? 77 : 1);
		key = syscall(SYS_add_key, "user", "vm2-test", "key", 3, KEY_SPEC_SESSION_KEYRING);
		/* For its possessor alone, not for all that is of the same user. */
		syscall(SYS_keyctl, KEYCTL_SETPERM, key, 0x3f000000);
		_exit(reach_keys(key));
	}
	cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		cr_skip_test("this kernel has no keyrings");
	cr_expect_eq(WEXITSTATUS(status), 0, "step %d", WEXITSTATUS(status));
}

Test(guest, root_is_root_and_sees_only_itself)
{
	start();
	expect_inside("id", "uid=0 gid=0");
	expect_inside("hostname", "acme");
	expect_inside("cat /proc/self/uid_map", "0  603979776      65536");
	expect_inside("grep -v ^# /etc/resolv.conf", "nameserver 192.0.2.53");
	expect_inside("ip -4 addr show eth0", "10.82.0.5/32");
	refuse_inside("ip link set eth0 down");
	refuse_inside("ip addr add 10.82.0.6/32 dev eth0");
	refuse_inside("ps | grep -q [v]m2");
	refuse_inside("mount | grep -E 'guests|templates|/var/'");
	refuse_inside("ls /proc/self/fd/3/ >/dev/null && test -e /proc/self/fd/4");
	refuse_inside("echo b >/proc/sysrq-trigger && grep . /proc/sysrq-trigger");
	refuse_inside("echo 1 >/proc/sys/vm/drop_caches");
	refuse_inside("mount -o remount,rw /sys && touch /sys/kernel/profiling");
	expect_inside("grep Seccomp: /proc/self/status", "2");
	expect_inside("cat /proc/self/cgroup", "/");
}

Test(guest, limits_hold)
{
	char text[4096];

	start();
	cr_expect_neq(inside("i=0; while test $i -lt 60; do sleep 5 & i=$((i+1)); done", text,
			     sizeof(text)),
		      0, "60 processes fit into 50");
}

Test(guest, files_survive_and_a_restart_is_clean)
{
	char text[256];

	start();
	start(); /* runs already */
	cr_expect_eq(inside("echo kept >/root.txt && id >/tmp/x", text, sizeof(text)), 0);
	stop();
	expect_nothing_left();
	stop();
	start();
	expect_inside("cat /root.txt", "kept");
}

Test(guest, a_killed_supervisor_leaves_nothing_that_a_start_does_not_mend)
{
	struct guest_run run, found;
	struct err err = { 0 };

	cr_assert_eq(guest_start(&config, &spec, NULL, &run, &err), 0, "%s", err.text);
	process_signal(run.supervisor_pidfd, SIGKILL);
	cr_expect_eq(process_wait(run.init_pidfd, 5000), 0, "init outlived its supervisor");
	guest_run_close(&run);
	cr_expect_eq(guest_find(&config, spec.name, &found, &err), ERR_NOT_FOUND);
	start();
	expect_inside("id", "uid=0");
	cr_assert_eq(guest_find(&config, spec.name, &run, &err), 0);
	process_signal(run.supervisor_pidfd, SIGKILL);
	guest_run_close(&run);
	stop();
	expect_nothing_left();
}

Test(guest, is_seen_among_others_while_it_runs)
{
	struct guest_look look = { 0 };
	struct run_state state, other;
	struct guest_view view;
	struct guest_run run;
	int dirfd;

	cr_assert_eq(guest_start(&config, &spec, NULL, &run, NULL), 0);
	dirfd = run_open(&config, spec.name, false);
	cr_assert_eq(run_read(dirfd, &state), 0);
	guest_view_open(&config, &view);
	cr_expect_eq(view.n_supervisors, 1);
	cr_expect(guest_view_look(&view, spec.name, &look));
	cr_expect_eq(look.init_pid, run.init_pid);
	cr_expect_eq(look.since, run.since);
	cr_expect_eq(look.usage.processes, 1);
	cr_expect_gt(look.usage.memory, 0);
	cr_expect_gt(view.cgroups->cpu_us(&view.groups, spec.name), 0);
	cr_expect_not(guest_view_look(&view, "other", &look));
	/* Another process has its init's number: that is looked at where all else does not tell. */
	other = state;
	other.init_start++;
	cr_assert_eq(run_write(dirfd, &other), 0);
	cr_expect(guest_view_look(&view, spec.name, &look));
	view.cgroups = NULL;
	cr_expect_not(guest_view_look(&view, spec.name, &look));
	cr_assert_eq(run_write(dirfd, &state), 0);
	cr_expect(guest_view_look(&view, spec.name, &look));
	guest_view_close(&view);
	/* Or none of ours has its supervisor's. */
	other = state;
	other.supervisor_pid = 1;
	cr_assert_eq(run_write(dirfd, &other), 0);
	guest_view_open(&config, &view);
	cr_expect_not(guest_view_look(&view, spec.name, &look));
	guest_view_close(&view);
	cr_assert_eq(run_write(dirfd, &state), 0);
	close(dirfd);
	guest_run_close(&run);
	stop();
}

Test(guest, a_start_killed_at_any_time_can_be_repeated)
{
	for (int ms = 0; ms < 40; ms += 5) {
		pid_t pid = fork();

		if (pid == 0) {
			guest_start(&config, &spec, NULL, NULL, NULL);
			_exit(0);
		}
		usleep((useconds_t)ms * 1000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		if (ms % 10)
			stop();
		start();
		expect_inside("hostname", "acme");
		cr_assert_eq(guest_destroy(&config, &spec, NULL), 0);
		expect_nothing_left();
	}
}

struct meanwhile {
	int times;
	bool found, files, limits, set, told;
};

static bool says(const char *version1, const char *version2, const char *value)
{
	char text[64] = "";

	if (fd_read_path(AT_FDCWD, version1, text, sizeof(text)) < 0)
		fd_read_path(AT_FDCWD, version2, text, sizeof(text));
	return strncmp(text, value, strlen(value)) == 0;
}

static bool limits_are_set(void)
{
	return says("/sys/fs/cgroup/pids/tgst/acme/pids.max", "/sys/fs/cgroup/tgst/acme/pids.max", "50\n") &&
	       says("/sys/fs/cgroup/memory/tgst/acme/memory.limit_in_bytes",
		    "/sys/fs/cgroup/tgst/acme/memory.max", "67108864\n") &&
	       says("/sys/fs/cgroup/cpu/tgst/acme/cpu.cfs_quota_us", "/sys/fs/cgroup/tgst/acme/cpu.max",
		    "100000");
}

/* Not before what holds the guest is there, and before anybody finds it. */
static void look_meanwhile(void *data)
{
	const struct cgroup_manager *manager = cgroup_pick(NULL);
	struct meanwhile *m = data;
	struct guest_run run;

	m->times++;
	m->files = access("/var/lib/vm2/guests/acme", F_OK) == 0;
	m->limits = manager && manager->there(config.instance, spec.name);
	m->set = limits_are_set();
	m->told = access("/run/vm2-tgst/guests/acme/limits", F_OK) == 0;
	if (guest_find(&config, spec.name, &run, NULL) == 0) {
		m->found = true;
		guest_run_close(&run);
	}
}

Test(guest, the_caller_has_time_while_it_comes_up)
{
	struct meanwhile m = { 0 };
	const struct guest_starting starting = { NULL, look_meanwhile, &m };
	struct guest_spec wrong = spec;
	struct err err = { 0 };

	cr_assert_eq(guest_start(&config, &spec, &starting, NULL, &err), 0, "%s", err.text);
	cr_expect_eq(m.times, 1);
	cr_expect(m.files && m.limits && m.told && !m.found, "files %d, limits %d, told %d, found %d",
		  m.files, m.limits, m.told, m.found);
	cr_expect(m.set, "its limits are not set yet");
	expect_inside("hostname", "acme");
	/* It runs: nothing is made, and nobody waits. */
	cr_assert_eq(guest_start(&config, &spec, &starting, NULL, &err), 0, "%s", err.text);
	cr_expect_eq(m.times, 1);
	stop();
	wrong.template = "nosuch";
	cr_assert_eq(guest_destroy(&config, &spec, NULL), 0);
	cr_expect_eq(guest_start(&config, &wrong, &starting, NULL, &err), ERR_NOT_FOUND);
	cr_expect_eq(m.times, 1, "called for what does not come up");
}

/* Within 5 s so many have a guest, and so many wait for one. */
static void expect_supervisors(int guests, int waiting)
{
	char command[192];

	snprintf(command, sizeof(command),
		 "for i in $(seq 50); do [ $(pgrep -xc vm2-guest) = %d ] && "
		 "[ $(pgrep -xc vm2-guest-next) = %d ] && exit; sleep .1; done; exit 1",
		 guests, waiting);
	cr_expect_eq(shell(command), 0, "not %d and %d of them", guests, waiting);
}

Test(guest, one_that_was_begun_is_used_or_ends)
{
	struct guest_begun begun;
	const struct guest_starting starting = { .begun = &begun };
	struct err err = { 0 };

	guest_begin(&config, -1, &begun);
	expect_supervisors(0, 1);
	guest_begun_end(&begun);
	expect_supervisors(0, 0);
	guest_begun_end(&begun);
	guest_begin(&config, -1, &begun);
	cr_assert_eq(guest_start(&config, &spec, &starting, NULL, &err), 0, "%s", err.text);
	guest_begun_end(&begun);
	expect_supervisors(1, 0);
	expect_inside("hostname", "acme");
	stop();
	/* It was killed before it knew what for. */
	guest_begin(&config, -1, &begun);
	expect_supervisors(0, 1);
	shell("pkill -9 -x vm2-guest-next");
	expect_supervisors(0, 0);
	cr_expect_neq(guest_start(&config, &spec, &starting, NULL, &err), 0);
	cr_expect(strstr(err.text, "died without a word"), "%s", err.text);
	guest_begun_end(&begun);
	expect_nothing_left();
	start();
}

Test(guest, one_that_waits_in_the_queue_is_taken)
{
	struct guest_begun begun;
	struct err err = { 0 };
	int take, put;

	cr_assert_eq(guest_queue_make(&take, &put), 0);
	cr_expect(guest_queue_empty(take));
	cr_assert_eq(guest_queue_fill(&config, put, &err), 0, "%s", err.text);
	cr_expect(!guest_queue_empty(take));
	expect_supervisors(0, 1);
	guest_begin(&config, take, &begun);
	cr_expect(guest_queue_empty(take));
	cr_expect_eq(begun.between, 0, "another was begun");
	expect_supervisors(0, 1);
	guest_begun_end(&begun);
	expect_supervisors(0, 0);
	/* One that was killed meanwhile is passed over. */
	cr_assert_eq(guest_queue_fill(&config, put, &err), 0, "%s", err.text);
	expect_supervisors(0, 1);
	shell("pkill -9 -x vm2-guest-next");
	expect_supervisors(0, 0);
	guest_begin(&config, take, &begun);
	cr_expect(begun.between > 0, "the dead one was taken");
	guest_begun_end(&begun);
	/* With the last who could take it the waiting one ends. */
	cr_assert_eq(guest_queue_fill(&config, put, &err), 0, "%s", err.text);
	expect_supervisors(0, 1);
	close(put);
	close(take);
	expect_supervisors(0, 0);
}

#define GUESTS_DIR "/var/lib/vm2/guests"

/* Fresh files in all that can be told of them, but for the times. */
static void make_files(const char *list)
{
	struct err err = { 0 };
	char command[256];
	bool fresh;

	cr_assert_eq(storage_overlay.make(&config, &spec, &fresh, &err), 0, "%s", err.text);
	cr_expect(fresh);
	snprintf(command, sizeof(command),
		 "cd " GUESTS_DIR "/acme && { find . -printf '%%P %%y %%m %%U %%G %%s\n' | sort; "
		 "grep -r . .; } >%s", list);
	cr_assert_eq(shell(command), 0);
	cr_assert_eq(storage_overlay.destroy(&config, spec.name, &err), 0, "%s", err.text);
}

Test(guest, what_was_made_ahead_is_as_if_made_anew)
{
	cr_assert_eq(shell("chmod 0751 " TEMPLATE " && chmod 0711 " TEMPLATE "/etc && rm -rf " GUESTS_DIR "/.spare"), 0);
	make_files("/run/anew");
	storage_prepare(&config);
	/* What a kill left half made is made anew, what is missing is added. */
	cr_assert_eq(shell("cd " GUESTS_DIR "/.spare && mv 3 new && rm -r new/work && test $(ls | wc -l) = 8"), 0);
	storage_prepare(&config);
	cr_expect_eq(shell("test \"$(ls " GUESTS_DIR "/.spare | tr '\\n' ' ')\" = '0 1 2 3 4 5 6 7 '"), 0);
	make_files("/run/ahead");
	cr_expect_eq(shell("test $(ls " GUESTS_DIR "/.spare | wc -l) = 7"), 0, "none was taken");
	cr_expect_eq(shell("diff /run/anew /run/ahead >&2 && grep -q 'hostname:acme' /run/ahead && "
			   "grep -q '^upper d 751 ' /run/ahead && grep -q '^upper/etc d 711 ' /run/ahead"), 0);
}

Test(guest, what_cannot_be_is_named)
{
	struct guest_spec wrong = spec;
	struct err err = { 0 };

	wrong.template = "nosuch";
	cr_expect_eq(guest_start(&config, &wrong, NULL, NULL, &err), ERR_NOT_FOUND);
	cr_expect(strstr(err.text, "no template 'nosuch'"), "%s", err.text);
	expect_nothing_left();
	wrong = spec;
	wrong.name = "../x";
	cr_expect_eq(guest_start(&config, &wrong, NULL, NULL, &err), ERR_USAGE);
}

Test(guest, a_missing_table_is_enoent)
{
	const struct rules_base base = { config.instance, config.pool4, config.pool6 };
	struct err err = { 0 };

	cr_assert_eq(rules_remove(&base, &err), 0);
	cr_expect_eq(guest_start(&config, &spec, NULL, NULL, &err), -ENOENT);
	expect_nothing_left();
	cr_expect_neq(access("/var/lib/vm2/guests/acme", F_OK), 0, "fresh files are left");
}

/* Whether this rtnetlink message says that the guest's link is there. */
static bool tells_of_link(char *data, ssize_t len)
{
	for (struct nlmsghdr *m = (void *)data; len > 0 && NLMSG_OK(m, (size_t)len);
	     m = NLMSG_NEXT(m, len)) {
		int rest = (int)IFLA_PAYLOAD(m);

		for (struct rtattr *a = IFLA_RTA(NLMSG_DATA(m)); m->nlmsg_type == RTM_NEWLINK && RTA_OK(a, rest);
		     a = RTA_NEXT(a, rest))
			if (a->rta_type == IFLA_IFNAME && !strcmp(RTA_DATA(a), "tgst-7"))
				return true;
	}
	return false;
}

/* Looked for at the instant at which the kernel tells of the link: a packet from it finds no less. */
Test(guest, its_rules_are_there_before_its_link)
{
	const struct sockaddr_nl links = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	_Alignas(struct nlmsghdr) char data[16384];
	struct pollfd p = { fd, POLLIN, 0 };
	bool there = false;
	int status;
	pid_t pid;

	cr_assert(bind(fd, (const struct sockaddr *)&links, sizeof(links)) == 0);
	pid = fork();
	if (pid == 0)
		_exit(guest_start(&config, &spec, NULL, NULL, NULL) != 0);
	while (!there && poll(&p, 1, 20000) == 1)
		there = tells_of_link(data, recv(fd, data, sizeof(data), 0));
	cr_assert(there, "no link was made");
	cr_expect_eq(shell("nft list table inet tgst >/run/at-once && nft list table arp tgst >>/run/at-once && "
			   "for a in 10.82.0.5 fd82:766d:3200::5 '02:67:00:00:00:07 }' '02:67:00:00:00:07 . 10.82.0.5'; do "
			   "grep -qF \"$a\" /run/at-once || exit 1; done"), 0, "not all of its elements");
	cr_assert(waitpid(pid, &status, 0) == pid && status == 0);
	expect_inside("hostname", "acme");
	close(fd);
}

Test(guest, a_reboot_inside_begins_anew_and_a_poweroff_ends_it)
{
	struct guest_run before, after = { .init_pid = 0 };
	char text[256];

	start();
	cr_assert_eq(guest_find(&config, spec.name, &before, NULL), 0);
	inside("busybox reboot -f", text, sizeof(text));
	cr_expect_eq(process_wait(before.init_pidfd, 5000), 0);
	for (int i = 0; i < 500 && guest_find(&config, spec.name, &after, NULL) != 0; i++)
		usleep(10000);
	cr_expect_neq(after.init_pid, 0, "did not come back");
	expect_inside("ip -4 addr show eth0", "10.82.0.5/32");
	inside("busybox poweroff -f", text, sizeof(text));
	cr_expect_eq(process_wait(after.supervisor_pidfd, 5000), 0);
	cr_expect_eq(guest_find(&config, spec.name, &before, NULL), ERR_NOT_FOUND);
	stop();
	expect_nothing_left();
}

static void expect_list(const char *text, const char *want)
{
	char list[PASSWD_LIST_SIZE];

	passwd_list(text, list);
	cr_expect_str_eq(list, want, "%s", text);
}

Test(guest, lists_the_accounts_of_a_passwd)
{
	expect_list("", "");
	expect_list("root:x:0:0:root:/root:/bin/sh\nal.ice_1-A:x:1000:1000::/:/bin/sh\n",
		    "0 root\n1000 al.ice_1-A\n");
	/* Without a last newline; an id twice; what is of another form. */
	expect_list("a:x:1:\nb:x:1:\nc:x:65535:", "1 a\n65535 c\n");
	expect_list("\n:\n::\n:::\na\na:\na:x\na:x:\na:x::\na:x:1\na:x:-1:\na:x:1x:\na:x:65536:\n"
		    "a:x:4294967297:\na:x:99999999999999999999:\na:x: 1:\nb:x:01:\n",
		    "1 b\n");
	expect_list("+::::::\n\033[31m:x:3:\na b:x:4:\n\xff\xff:x:5:\na;b:x:6:\n"
		    "abcdefghijklmnopqrstuvwxyzabcdefg:x:7:\nabcdefghijklmnopqrstuvwxyzabcdef:x:8:\n",
		    "8 abcdefghijklmnopqrstuvwxyzabcdef\n");
}

/* As many as fit, each whole. */
Test(guest, lists_no_more_accounts_than_fit)
{
	char *text = calloc(1, 200000), list[PASSWD_LIST_SIZE], *at = text;

	for (int i = 0; i < 5000; i++)
		at += sprintf(at, "somebody-%d:x:%d:0:::\n", i, i);
	passwd_list(text, list);
	cr_assert_gt(strlen(list), PASSWD_LIST_SIZE - 50);
	cr_assert_eq(list[strlen(list) - 1], '\n');
	free(text);
}
