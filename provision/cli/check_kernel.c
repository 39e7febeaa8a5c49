/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel of this host can do. */
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <linux/mount.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"
#include "provision/cli/check.h"

#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

static void kernel(const struct config *config, struct finding *f)
{
	struct utsname u;
	int major = 0, minor = 0;

	/* Debian 12's: overlay on idmapped layers came with 5.19. */
	if (uname(&u) < 0 || sscanf(u.release, "%d.%d", &major, &minor) != 2)
		found(f, CHECK_UNKNOWN, "its version cannot be told");
	else
		found(f, major > 6 || (major == 6 && minor >= 1) ? CHECK_OK : CHECK_MISSING,
		      "%.60s on %.60s", u.release, u.machine);
}

static void root(const struct config *config, struct finding *f)
{
	if (geteuid() == 0)
		found(f, CHECK_OK, "checked as root");
	else
		found(f, CHECK_UNKNOWN, "checked as uid %u: some facts stay unknown",
		      (unsigned int)geteuid());
}

/*
 * Run a probe in a child with these namespaces of its own: whatever it mounts or makes ends with
 * it, and the host sees nothing. Returns 0 or the errno that the probe ended with.
 */
static int in_child(int namespaces, int (*probe)(void *data), void *data)
{
	pid_t pid = fork();
	int status = 0;

	if (pid < 0)
		return errno;
	if (pid == 0) {
		if (unshare(namespaces) < 0)
			_exit(errno);
		if ((namespaces & CLONE_NEWNS) &&
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(errno);
		_exit(probe(data));
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EINTR;
}

static void report(struct finding *f, int r, const char *what)
{
	if (r == 0)
		found(f, CHECK_OK, "%s", what);
	else if (geteuid() != 0)
		found(f, CHECK_UNKNOWN, "takes root to try");
	else
		found(f, CHECK_MISSING, "%s: %s", what, strerror(r));
}

static int nothing(void *data)
{
	return 0;
}

static void namespaces(const struct config *config, struct finding *f)
{
	report(f,
	       in_child(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC |
				CLONE_NEWUTS | CLONE_NEWCGROUP,
			nothing, NULL),
	       "user, mount, pid, net, ipc, uts and cgroup namespaces");
}

/* A tmpfs holds the layers: only our mount namespace ever sees it. */
static int try_overlay(void *data)
{
	if (mount("tmpfs", "/mnt", "tmpfs", 0, "mode=755") < 0 || chdir("/mnt") < 0 ||
	    mkdir("l", 0755) < 0 || mkdir("u", 0755) < 0 || mkdir("w", 0755) < 0 ||
	    mkdir("m", 0755) < 0 ||
	    mount("overlay", "m", "overlay", 0, "lowerdir=l,upperdir=u,workdir=w") < 0)
		return errno;
	return 0;
}

static void overlay(const struct config *config, struct finding *f)
{
	report(f, in_child(CLONE_NEWNS, try_overlay, NULL), "mounting an overlay");
}

/* A child that only waits, in a user namespace with a map: what an idmapped mount wants to see. */
static int mapped_namespace(pid_t *ret_pid)
{
	int ready[2], fd = -1;
	char path[64];

	if (pipe2(ready, O_CLOEXEC) < 0)
		return -errno;
	*ret_pid = fork();
	if (*ret_pid == 0) {
		if (unshare(CLONE_NEWUSER) == 0 && write(ready[1], "", 1) == 1)
			pause();
		_exit(1);
	}
	close(ready[1]);
	if (*ret_pid > 0 && read(ready[0], path, 1) == 1) {
		snprintf(path, sizeof(path), "/proc/%d/uid_map", (int)*ret_pid);
		fd_write_path(AT_FDCWD, path, "0 100000 65536");
		snprintf(path, sizeof(path), "/proc/%d/gid_map", (int)*ret_pid);
		fd_write_path(AT_FDCWD, path, "0 100000 65536");
		snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)*ret_pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	close(ready[0]);
	return fd;
}

static int try_idmap(void *data)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP };
	pid_t pid = -1;
	int ns = mapped_namespace(&pid), tree, r = 0;

	tree = (int)syscall(SYS_open_tree, AT_FDCWD, data, OPEN_TREE_CLONE | O_CLOEXEC);
	attr.userns_fd = ns < 0 ? 0 : (unsigned int)ns;
	if (ns < 0 || tree < 0 ||
	    syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		r = errno ? errno : EINVAL;
	if (pid > 0)
		kill(pid, SIGKILL);
	return r;
}

static void idmap(const struct config *config, struct finding *f)
{
	char state[256];
	int r;

	snprintf(state, sizeof(state), "%s", config->state);
	if (access(state, F_OK) < 0)
		snprintf(state, sizeof(state), "/var/lib");
	r = in_child(CLONE_NEWNS, try_idmap, state);
	report(f, r, "shifting owners on the file system of the state folder");
}

static int try_netfilter(void *data)
{
	struct {
		struct nlmsghdr h;
		char rest[256];
	} request = { .h = { .nlmsg_len = NLMSG_LENGTH(0) } };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);

	/* That a socket for nf_tables is there says that netfilter's netlink is. */
	return fd < 0 || send(fd, &request, request.h.nlmsg_len, 0) < 0 ? errno : 0;
}

/* The programs know best; they are only asked in a network namespace that ends with them. */
static int run_quietly(void *data)
{
	char *const *argv = data;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	execv(argv[0], argv);
	return errno;
}

static void tool(struct finding *f, const char *const *argv, const char *what)
{
	int r;

	if (access(argv[0], X_OK) < 0) {
		found(f, CHECK_UNKNOWN, "%s: cannot be tried without %s", what, argv[0]);
		return;
	}
	r = in_child(CLONE_NEWNET, run_quietly, (void *)(uintptr_t)argv);
	if (r == 0 || geteuid() != 0)
		report(f, r, what);
	else
		found(f, CHECK_MISSING, "%s does not work", what);
}

static void nftables(const struct config *config, struct finding *f)
{
	static const char *const argv[] = { "/usr/sbin/nft",
					    "add table inet t; add chain inet t c { type filter hook "
					    "forward priority 0; }; add map inet t m { type ifname : "
					    "verdict; }; add rule inet t c ct state established "
					    "iifname vmap @m",
					    NULL };

	if (in_child(CLONE_NEWNET, try_netfilter, NULL) != 0 && geteuid() == 0)
		found(f, CHECK_MISSING, "this kernel has no netfilter netlink");
	else
		tool(f, argv, "nftables with maps and connection tracking");
}

static void nat(const struct config *config, struct finding *f)
{
	static const char *const argv[] = { "/usr/sbin/nft",
					    "add table inet t; add chain inet t c { type nat hook "
					    "postrouting priority 100; }; add rule inet t c masquerade",
					    NULL };

	tool(f, argv, "nftables masquerading");
}

static void veth(const struct config *config, struct finding *f)
{
	static const char *const argv[] = { "/usr/sbin/ip", "link", "add", "v0", "type", "veth",
					    "peer", "name", "v1",   NULL };

	tool(f, argv, "virtual Ethernet pairs");
}

static void tun(const struct config *config, struct finding *f)
{
	found(f, access("/dev/net/tun", F_OK) == 0 ? CHECK_OK : CHECK_MISSING, "/dev/net/tun");
}

static void kvm(const struct config *config, struct finding *f)
{
	found(f, access("/dev/kvm", F_OK) == 0 ? CHECK_OK : CHECK_MISSING, "/dev/kvm");
}

/* "memory" as a word of a line. */
static bool has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = text; (p = strstr(p, word)); p += len)
		if ((p == text || p[-1] == ' ' || p[-1] == '\n') && strchr(" \n", p[len]))
			return true;
	return false;
}

static void cgroups(const struct config *config, struct finding *f)
{
	static const char *const wanted[] = { "cpu", "memory", "pids" };
	char text[1024] = "", lacking[64] = "";
	bool v2 = fd_read_path(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers", text, sizeof(text)) >= 0;

	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		char path[64];

		snprintf(path, sizeof(path), "/sys/fs/cgroup/%s/cgroup.procs", wanted[i]);
		if (v2 ? !has_word(text, wanted[i]) : access(path, F_OK) < 0)
			snprintf(lacking + strlen(lacking), sizeof(lacking) - strlen(lacking), " %s",
				 wanted[i]);
	}
	if (lacking[0])
		found(f, CHECK_MISSING, "version %d without the controllers%s", v2 ? 2 : 1, lacking);
	else
		found(f, CHECK_OK, "version %d with cpu, memory and pids", v2 ? 2 : 1);
}

/*
 * Who enters a guest changes its ids there. At that instant the kernel sets whether it can be traced to this
 * number (proc_sys_fs(5)), and 1 means: by the guest's root, too.
 */
static void suid_dumpable(const struct config *config, struct finding *f)
{
	char text[16];

	if (fd_read_path(AT_FDCWD, "/proc/sys/fs/suid_dumpable", text, sizeof(text)) <= 0)
		found(f, CHECK_UNKNOWN, "fs.suid_dumpable cannot be read");
	else if (text[0] == '1')
		found(f, CHECK_MISSING,
		      "fs.suid_dumpable is 1: guests could trace who enters them");
	else
		found(f, CHECK_OK, "fs.suid_dumpable is %c", text[0]);
}

/* What waits in a socket of netlink is counted for nobody: docs/THREATS. 212992 was the kernel's own for long. */
#define SOCKET_BUFFER_MAX (1 << 20)

static void socket_buffers(const struct config *config, struct finding *f)
{
	char text[32];
	uint64_t bytes;

	if (fd_read_path(AT_FDCWD, "/proc/sys/net/core/rmem_max", text, sizeof(text)) <= 0) {
		found(f, CHECK_UNKNOWN, "net.core.rmem_max cannot be read");
		return;
	}
	text[strcspn(text, "\n")] = '\0';
	if (parse_u64(text, UINT64_MAX, &bytes) < 0)
		found(f, CHECK_UNKNOWN, "net.core.rmem_max is '%s'", text);
	else
		found(f, bytes > SOCKET_BUFFER_MAX ? CHECK_MISSING : CHECK_OK,
		      "each socket of a guest may hold %" PRIu64 " KiB of the host's memory",
		      bytes / 1024);
}

const struct check check_kernel[] = {
	{ "root", true, root, "run it as root to see all" },
	{ "kernel", false, kernel, "run Linux 6.1 or newer" },
	{ "namespaces", false, namespaces, "see user.max_user_namespaces and the kernel's config" },
	{ "overlay", false, overlay, "modprobe overlay; a kernel with CONFIG_OVERLAY_FS" },
	{ "idmapped-mounts", false, idmap,
	  "put the state folder on a file system that has them: ext4, xfs, btrfs" },
	{ "cgroups", false, cgroups,
	  "mount /sys/fs/cgroup with the controllers cpu, memory, pids" },
	{ "nftables", false, nftables, "modprobe nf_tables; a kernel with CONFIG_NF_TABLES_INET" },
	{ "nat", false, nat, "modprobe nft_masq; a kernel with CONFIG_NFT_MASQ" },
	{ "veth", false, veth, "modprobe veth; a kernel with CONFIG_VETH" },
	{ "suid-dumpable", false, suid_dumpable,
	  "sysctl fs.suid_dumpable=0 (or 2), also in /etc/sysctl.d" },
	{ "socket-buffers", true, socket_buffers,
	  "sysctl net.core.rmem_max=212992, also in /etc/sysctl.d" },
	{ "tun", true, tun, "modprobe tun: only guests with a kernel of their own need it" },
	{ "kvm", true, kvm, "modprobe kvm: without it such guests are slow" },
	{ 0 },
};
