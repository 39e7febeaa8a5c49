/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile root in a guest, as one static program: tries what must not work, one attempt after the
 * other, each in a process of its own. Prints those that worked, or failed in another way than they
 * must, and exits 1 if there were any. `break-out spy FILE` watches its neighbours in /proc until
 * FILE is there; `break-out walk` looks for what can be written; `break-out hold NAME...` stops
 * whoever has one of these names, `break-out hold` everybody (spy.c). As an init it tries all, and leaves its network.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <linux/if_packet.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "tests/integration/break_out.h"

#define ANY -1 /* it fails, however */
#define X32 0x40000000L
#define LEN(a) (sizeof(a) / sizeof((a)[0]))

/* --- system calls that the filter refuses, whatever their arguments --- */

static const struct {
	const char *name;
	long number;
	int want;
} calls[] = {
	{ "init_module", SYS_init_module, EPERM },
	{ "finit_module", SYS_finit_module, EPERM },
	{ "delete_module", SYS_delete_module, EPERM },
	{ "kexec_load", SYS_kexec_load, EPERM },
	{ "kexec_file_load", SYS_kexec_file_load, EPERM },
	{ "add_key", SYS_add_key, ENOSYS },
	{ "request_key", SYS_request_key, ENOSYS },
	{ "keyctl", SYS_keyctl, ENOSYS },
	{ "bpf", SYS_bpf, EPERM },
	{ "perf_event_open", SYS_perf_event_open, EPERM },
	{ "userfaultfd", SYS_userfaultfd, EPERM },
	{ "io_uring_setup", SYS_io_uring_setup, ENOSYS },
	{ "io_uring_enter", SYS_io_uring_enter, ENOSYS },
	{ "io_uring_register", SYS_io_uring_register, ENOSYS },
	{ "open_by_handle_at", SYS_open_by_handle_at, EPERM },
	{ "clock_settime", SYS_clock_settime, EPERM },
	{ "settimeofday", SYS_settimeofday, EPERM },
	{ "swapon", SYS_swapon, EPERM },
	{ "swapoff", SYS_swapoff, EPERM },
	{ "acct", SYS_acct, EPERM },
	{ "quotactl", SYS_quotactl, EPERM },
	{ "quotactl_fd", SYS_quotactl_fd, EPERM },
	{ "syslog", SYS_syslog, EPERM },
#ifdef __x86_64__
	{ "iopl", SYS_iopl, EPERM },
	{ "ioperm", SYS_ioperm, EPERM },
	{ "_sysctl", SYS__sysctl, EPERM },
	{ "keyctl of x32", X32 | SYS_keyctl, ENOSYS },
	{ "userfaultfd of x32", X32 | SYS_userfaultfd, EPERM },
#endif
};

static int call_it(long number)
{
	return syscall(number, 0, 0, 0, 0, 0, 0) < 0 ? errno : 0;
}

/* keyctl(2) by the gate of 32-bit programs. A kernel without them ends the process. */
static int call_32bit(void)
{
#ifdef __x86_64__
	long r;

	signal(SIGSEGV, SIG_DFL);
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(288L), "b"(0L), "c"(0L), "d"(0L) : "memory");
	return r < 0 ? (int)-r : 0;
#else
	return ENOSYS;
#endif
}

/* --- sockets --- */

static const struct {
	const char *name;
	int family, type, protocol, want;
} sockets[] = {
	{ "ax25", 3, SOCK_DGRAM, 0, EAFNOSUPPORT },
	{ "ipx", 4, SOCK_DGRAM, 0, EAFNOSUPPORT },
	{ "appletalk", 5, SOCK_DGRAM, 0, EAFNOSUPPORT },
	{ "key", 15, SOCK_RAW, 2, EAFNOSUPPORT },
	{ "rds", 21, SOCK_SEQPACKET, 0, EAFNOSUPPORT },
	{ "can", 29, SOCK_RAW, 1, EAFNOSUPPORT },
	{ "tipc", 30, SOCK_SEQPACKET, 0, EAFNOSUPPORT },
	{ "bluetooth", 31, SOCK_RAW, 1, EAFNOSUPPORT },
	{ "alg", 38, SOCK_SEQPACKET, 0, EAFNOSUPPORT },
	{ "nfc", 39, SOCK_SEQPACKET, 0, EAFNOSUPPORT },
	{ "vsock", 40, SOCK_STREAM, 0, EAFNOSUPPORT },
	{ "kcm", 41, SOCK_DGRAM, 0, EAFNOSUPPORT },
	{ "smc", 43, SOCK_STREAM, 0, EAFNOSUPPORT },
	{ "xdp", 44, SOCK_RAW, 0, EAFNOSUPPORT },
	{ "of no known family", 4242, SOCK_STREAM, 0, EAFNOSUPPORT },
	{ "netlink audit", AF_NETLINK, SOCK_RAW, 9, EPROTONOSUPPORT },
	{ "netlink rdma", AF_NETLINK, SOCK_RAW, 20, EPROTONOSUPPORT },
	{ "netlink crypto", AF_NETLINK, SOCK_RAW, 21, EPROTONOSUPPORT },
	{ "netlink of no known kind", AF_NETLINK, SOCK_RAW, 31, EPROTONOSUPPORT },
	{ "dccp", AF_INET, 6, 33, EPROTONOSUPPORT },
	{ "sctp", AF_INET, SOCK_STREAM, 132, EPROTONOSUPPORT },
	{ "sctp over IPv6", AF_INET6, SOCK_STREAM, 132, EPROTONOSUPPORT },
	{ "raw", AF_INET, SOCK_RAW, 1, EPERM },
	{ "raw over IPv6", AF_INET6, SOCK_RAW, 58, EPERM },
	{ "packet", AF_PACKET, SOCK_RAW, 0, EPERM },
};

static int try_socket(size_t i)
{
	return socket(sockets[i].family, sockets[i].type, sockets[i].protocol) < 0 ? errno : 0;
}

/* --- what a program has to be written for --- */

static int result(int r)
{
	return r < 0 ? errno : 0;
}

/* In a network namespace of its own; no control group would count the ring's memory. */
static int ring_of(int kind)
{
	struct tpacket_req ring = { 4096, 1, 2048, 2 };
	int fd;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return errno;
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0)
		return 0;
	/* The kernel looks at the lower 32 bits. */
	return result((int)syscall(SYS_setsockopt, fd, SOL_PACKET, kind | 0x100000000L, &ring, sizeof(ring)));
}

static int ring_to_read(void)
{
	return ring_of(PACKET_RX_RING);
}

static int ring_to_write(void)
{
	return ring_of(PACKET_TX_RING);
}

/* The same by the gate of 32-bit programs, whose arguments are in memory. */
static int ring_by_socketcall(void)
{
#ifdef __x86_64__
	struct tpacket_req ring = { 4096, 1, 2048, 2 };
	char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	unsigned int *args = (unsigned int *)(void *)low;
	long r;

	if (low == MAP_FAILED || unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return errno;
	memcpy(args + 5, &ring, sizeof(ring));
	args[0] = (unsigned int)socket(AF_PACKET, SOCK_RAW, 0);
	args[1] = SOL_PACKET;
	args[2] = PACKET_RX_RING;
	args[3] = (unsigned int)(uintptr_t)(args + 5);
	args[4] = sizeof(ring);
	/* 14: SYS_SETSOCKOPT of linux/net.h */
	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(102L), "b"(14L), "c"(low)
			 : "memory", "r8", "r9", "r10", "r11");
	return r < 0 ? (int)-r : 0;
#else
	return ENOPROTOOPT;
#endif
}

static int make_node(mode_t type, unsigned int major, unsigned int minor)
{
	unlink("/root/.node");
	return result(mknod("/root/.node", type | 0600, makedev(major, minor)));
}

static int node_of_disk(void)
{
	return make_node(S_IFBLK, 8, 0);
}

static int node_of_memory(void)
{
	return make_node(S_IFCHR, 1, 1);
}

static int node_of_vhost(void)
{
	return make_node(S_IFCHR, 10, 238);
}

static int node_of_tun(void)
{
	return make_node(S_IFCHR, 10, 200);
}

/* In a user namespace of its own, where it has all capabilities anew. */
static int node_from_below(void)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return errno;
	return node_of_disk();
}

static int devices_that_are_there(void)
{
	static const char *const names[] = {
		"mem", "kmem", "port", "kmsg", "kvm", "fuse", "net/tun", "vhost-net", "vhost-vsock",
		"vhost-vdpa", "loop-control", "loop0", "btrfs-control", "mapper/control", "rtc0", "vda",
		"sda", "uinput", "hpet", "cpu_dma_latency", "snapshot", "userfaultfd", "vsock", "ttyS0",
		"tty0", "tty1", "autofs", "watchdog", "dri/card0", "ppp", "rfkill", "input/event0",
	};
	char path[64];

	for (size_t i = 0; i < LEN(names); i++) {
		snprintf(path, sizeof(path), "/dev/%s", names[i]);
		if (access(path, F_OK) == 0) {
			printf("%s is there\n", path);
			return 0;
		}
	}
	return ENOENT;
}

/*
 * Opened and not written: if the fence did not hold, it would be this machine's number. A covered
 * file can be opened by all; what is written there is forgotten.
 */
static int open_to_write(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return errno;
	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) ? EACCES : 0;
}

/* What makes the kernel run a program, ends the machine, or is the host's alone. */
static int numbers_of_the_host(void)
{
	static const char *const files[] = {
		"/proc/sys/kernel/core_pattern",
		"/proc/sys/kernel/modprobe",
		"/proc/sys/kernel/hotplug",
		"/proc/sys/kernel/poweroff_cmd",
		"/proc/sys/kernel/usermodehelper/bset",
		"/proc/sys/kernel/panic",
		"/proc/sys/kernel/sysrq",
		"/proc/sys/kernel/pty/max",
		"/proc/sys/kernel/threads-max",
		"/proc/sys/kernel/randomize_va_space",
		"/proc/sys/fs/file-max",
		"/proc/sys/fs/protected_hardlinks",
		"/proc/sys/vm/drop_caches",
		"/proc/sys/vm/overcommit_memory",
		"/proc/sys/net/core/bpf_jit_enable",
		"/proc/sys/net/ipv4/ip_forward",
		"/proc/sys/net/ipv4/conf/all/rp_filter",
		"/proc/sysrq-trigger",
		"/proc/irq/default_smp_affinity",
		"/sys/kernel/uevent_helper",
		"/sys/kernel/mm/ksm/run",
		"/sys/power/state",
		"/sys/module/kernel/parameters/panic",
		"/sys/fs/cgroup/cgroup.max.descendants",
		"/sys/fs/cgroup/cgroup.max.depth",
		"/sys/fs/cgroup/cgroup.type",
		"/sys/fs/cgroup/memory.max",
		"/sys/fs/cgroup/pids.max",
		"/sys/fs/cgroup/cpu.max",
	};
	int written = 0;

	for (size_t i = 0; i < LEN(files); i++)
		if (open_to_write(files[i]) == 0) {
			printf("%s can be written\n", files[i]);
			written++;
		}
	return written ? 0 : EACCES;
}

static int sysfs_to_write(void)
{
	if (mount(NULL, "/sys", NULL, MS_REMOUNT | MS_BIND, NULL) < 0)
		return errno;
	return open_to_write("/sys/kernel/mm/ksm/run");
}

static int sysfs_as_a_file_system(void)
{
	return result(mount(NULL, "/sys", NULL, MS_REMOUNT, NULL));
}

/* One of its own, for a network namespace of its own. */
static int sysfs_anew(void)
{
	if (unshare(CLONE_NEWNET) < 0)
		return errno;
	for (int i = 0; i < 16 && umount2("/sys/firmware", MNT_DETACH) == 0; i++)
		continue;
	if (mount("sysfs", "/mnt", "sysfs", 0, NULL) < 0)
		return errno;
	return open_to_write("/mnt/kernel/mm/ksm/run") ? open_to_write("/mnt/kernel/uevent_helper") : 0;
}

static int mount_a_disk(void)
{
	static const char *const types[] = { "ext4", "xfs", "btrfs", "vfat", "iso9660", "squashfs" };

	for (size_t i = 0; i < LEN(types); i++)
		if (mount("/dev/root", "/mnt", types[i], MS_RDONLY, NULL) == 0 || errno == EACCES)
			return 0;
	return EPERM;
}

/* The same by the calls of the new kind, whose descriptors might be made elsewhere. */
static int mount_a_disk_anew(void)
{
	int fs = fsopen("ext4", 0);

	if (fs < 0)
		return errno;
	fsconfig(fs, FSCONFIG_SET_STRING, "source", "/dev/vda", 0);
	return result(fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
}

static int debugfs(void)
{
	if (mount("x", "/mnt", "debugfs", 0, NULL) == 0 || mount("x", "/mnt", "tracefs", 0, NULL) == 0 ||
	    mount("x", "/mnt", "securityfs", 0, NULL) == 0 || mount("x", "/mnt", "pstore", 0, NULL) == 0 ||
	    mount("x", "/mnt", "devtmpfs", 0, NULL) == 0 || mount("x", "/mnt", "efivarfs", 0, NULL) == 0)
		return 0;
	return EPERM;
}

/* Of the first version, the limits and release_agent, which the kernel runs as the host's root. */
static int control_groups_of_the_host(void)
{
	static const char *const kinds[] = { "memory", "pids", "cpu", "freezer", "devices", "rdma" };
	static const char *const files[] = { "release_agent", "memory.limit_in_bytes", "pids.max",
					     "cpu.cfs_quota_us", "devices.allow", "tasks",
					     "cgroup.procs", "notify_on_release" };
	char path[64];

	for (size_t k = 0; k < LEN(kinds); k++) {
		if (mount("x", "/mnt", "cgroup", 0, kinds[k]) < 0)
			continue;
		for (size_t f = 0; f < LEN(files); f++) {
			snprintf(path, sizeof(path), "/mnt/%s", files[f]);
			if (open_to_write(path) == 0) {
				printf("%s of %s can be written\n", files[f], kinds[k]);
				return 0;
			}
		}
		if (mkdir("/mnt/out", 0755) == 0) {
			printf("a group of %s can be made\n", kinds[k]);
			return 0;
		}
		umount2("/mnt", MNT_DETACH);
	}
	return EPERM;
}

/* Above the group that it sees as the root of all. */
static int control_group_above(void)
{
	if (mount("x", "/mnt", "cgroup2", 0, NULL) < 0)
		return errno;
	return open_to_write("/mnt/../cgroup.procs") ? EPERM : 0;
}

/* Namespaces: those that own its own, and those beside it. */
static int owner_of(const char *path, unsigned long request)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? errno : result(ioctl(fd, request));
}

static int parent_user_namespace(void)
{
	return owner_of("/proc/self/ns/user", NS_GET_PARENT);
}

static int owner_of_network(void)
{
	return owner_of("/proc/self/ns/net", NS_GET_USERNS);
}

static int parent_processes(void)
{
	return owner_of("/proc/self/ns/pid", NS_GET_PARENT);
}

#define MNT_GET_NEXT _IOR(0xb7, 11, uint64_t[2]) /* linux/nsfs.h, since Linux 6.12 */
#define MNT_GET_PREV _IOR(0xb7, 12, uint64_t[2])

static int other_mount_namespaces(void)
{
	uint64_t info[2];
	int fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);

	info[0] = 16;
	if (ioctl(fd, MNT_GET_PREV, info) >= 0 || ioctl(fd, MNT_GET_NEXT, info) >= 0)
		return 0;
	return EPERM;
}

/* A chroot in a chroot, then up and up: what is there is the guest's. */
static int chroot_out(void)
{
	int top = open("/", O_RDONLY | O_DIRECTORY);

	mkdir("/root/.jail", 0755);
	if (chroot("/root/.jail") < 0 || fchdir(top) < 0)
		return errno;
	for (int i = 0; i < 64; i++)
		if (chdir("..") < 0)
			return errno;
	if (chroot(".") < 0)
		return errno;
	return result(access("/run/vm2-test/ready", F_OK)) && result(access("/run/host/outside", F_OK)) ? ENOENT : 0;
}

static int below_every_mount(void)
{
	for (int i = 0; i < 8; i++)
		if (umount2("/", MNT_DETACH) < 0)
			break;
	if (syscall(SYS_pivot_root, ".", ".") == 0)
		umount2(".", MNT_DETACH);
	return result(access("/run/vm2-test/ready", F_OK)) && result(access("/run/host/outside", F_OK)) ? ENOENT : 0;
}

/* --- the machine's time, memory and processors --- */

static int adjust_clock(void)
{
	struct timex t = { .modes = ADJ_TICK, .tick = 10000 };

	return result(adjtimex(&t));
}

static int wake_the_machine(void)
{
	return clock_nanosleep(CLOCK_BOOTTIME_ALARM, 0, &(struct timespec){ 0, 1 }, NULL);
}

static int real_time(void)
{
	return result(sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ 50 }));
}

static int nicer_than_others(void)
{
	return result(setpriority(PRIO_PROCESS, 0, -10));
}

static int more_files(void)
{
	return result(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 1 << 20, 1 << 20 }));
}

static int no_memory_killer(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	return fd < 0 ? errno : result((int)write(fd, "-1", 2));
}

static int freeze_the_files(void)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY);

	return result(ioctl(fd, FIFREEZE, 0));
}

/* --- terminals --- */

static int on_terminal(unsigned long request, void *arg)
{
	int fd = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY);

	return fd < 0 ? 0 : (int)(syscall(SYS_ioctl, fd, request, arg) < 0 ? errno : 0);
}

static int type_into_a_terminal(void)
{
	return on_terminal(TIOCSTI, (char[]){ "x" });
}

static int type_past_the_filter(void)
{
	return on_terminal(TIOCSTI | 0x100000000UL, (char[]){ "x" });
}

static int line_discipline(void)
{
	return on_terminal(TIOCSETD, &(int){ 3 });
}

static int console_of_the_host(void)
{
	return on_terminal(TIOCCONS, NULL);
}

/* --- watching others --- */

static int watch_file_systems(void)
{
	int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_FID, O_RDONLY);

	if (fd < 0)
		return errno;
	if (fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, FAN_OPEN, AT_FDCWD, "/sys") == 0)
		return 0;
	return result(fanotify_mark(fd, FAN_MARK_ADD | FAN_MARK_MOUNT, FAN_OPEN_PERM, AT_FDCWD, "/dev/null"));
}

/* Who opens a file would wait for its answer: the host's processes that enter, too. */
static int be_asked_for_permission(void)
{
	if (fanotify_init(FAN_CLASS_PRE_CONTENT, O_RDONLY) >= 0)
		return 0;
	return result(fanotify_init(FAN_CLASS_CONTENT, O_RDONLY));
}

/* Of projects a host keeps the disk of guests. */
static int project_of_a_file(void)
{
	int fd = open("/root/.project", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct fsxattr x = { 0 };

	if (ioctl(fd, FS_IOC_FSGETXATTR, &x) < 0)
		return errno;
	x.fsx_projid++;
	return result(ioctl(fd, FS_IOC_FSSETXATTR, &x));
}

/* A program of the host's that runs inside, and init's terminal, are on mounts of the host's. */
static int mounts_of_the_host(void)
{
	if (syscall(SYS_open_tree, AT_FDCWD, "/proc/1/exe", OPEN_TREE_CLONE) >= 0)
		return 0;
	return result((int)syscall(SYS_open_tree, AT_FDCWD, "/proc/1/fd/0", OPEN_TREE_CLONE));
}

static int kernel_memory(void)
{
	static const char *const files[] = { "/proc/kcore", "/proc/kmsg", "/proc/kpageflags",
					     "/proc/kpagecount", "/proc/vmallocinfo", "/proc/slabinfo",
					     "/proc/timer_list" };
	char bytes[64];

	for (size_t i = 0; i < LEN(files); i++) {
		int fd;

		while (umount2(files[i], MNT_DETACH) == 0)
			continue;
		fd = open(files[i], O_RDONLY | O_NONBLOCK);
		if (fd >= 0 && read(fd, bytes, sizeof(bytes)) > 0) {
			printf("%s can be read\n", files[i]);
			return 0;
		}
	}
	return EPERM;
}

/* Whoever enters would wait for it: by both gates, and with what the kernel does not look at. */
static int lease(void)
{
	int fd = open("/root/leased", O_RDONLY | O_CREAT, 0600);
	long r;

	if (fd < 0 || syscall(SYS_fcntl, fd, F_SETLEASE | 0x100000000L, F_RDLCK) == 0)
		return 0;
#ifdef __x86_64__
	for (long nr = 55;; nr = 221) { /* fcntl and fcntl64 of i386 */
		__asm__ volatile("int $0x80"
				 : "=a"(r)
				 : "a"(nr), "b"((long)fd), "c"((long)F_SETLEASE), "d"((long)F_RDLCK)
				 : "memory", "r8", "r9", "r10", "r11");
		if (r == 0)
			return 0;
		if (nr == 221)
			break;
	}
#endif
	r = fcntl(fd, F_SETLEASE, F_RDLCK);
	return result((int)r);
}

static const struct {
	const char *name;
	int (*try)(void);
	int want;
} attempts[] = {
	{ "have a lease", lease, EINVAL },
	{ "keyctl of 32-bit programs", call_32bit, ENOSYS },
	{ "have a ring of packets to read", ring_to_read, ENOPROTOOPT },
	{ "have a ring of packets to write", ring_to_write, ENOPROTOOPT },
	{ "have a ring by socketcall", ring_by_socketcall, ENOPROTOOPT },
	{ "make the node of a disk", node_of_disk, EPERM },
	{ "make the node of the memory", node_of_memory, EPERM },
	{ "make the node of vhost", node_of_vhost, EPERM },
	{ "make the node of tun", node_of_tun, EPERM },
	{ "make a node in a user namespace", node_from_below, EPERM },
	{ "find a device", devices_that_are_there, ENOENT },
	{ "write the host's numbers", numbers_of_the_host, EACCES },
	{ "write sysfs", sysfs_to_write, ANY },
	{ "make sysfs writable", sysfs_as_a_file_system, EPERM },
	{ "write a new sysfs", sysfs_anew, ANY },
	{ "mount a disk", mount_a_disk, EPERM },
	{ "mount a disk by fsopen", mount_a_disk_anew, ANY },
	{ "mount debugfs and its like", debugfs, EPERM },
	{ "write control groups of version 1", control_groups_of_the_host, EPERM },
	{ "write the control group above", control_group_above, EPERM },
	{ "get the host's user namespace", parent_user_namespace, EPERM },
	{ "get the network's owner", owner_of_network, EPERM },
	{ "get the host's processes", parent_processes, EPERM },
	{ "get other mount namespaces", other_mount_namespaces, EPERM },
	{ "leave by chroot", chroot_out, ENOENT },
	{ "leave below the mounts", below_every_mount, ENOENT },
	{ "adjust the clock", adjust_clock, EPERM },
	{ "wake the machine", wake_the_machine, ANY },
	{ "run in real time", real_time, EPERM },
	{ "be nicer than others", nicer_than_others, EACCES },
	{ "have more open files", more_files, EPERM },
	{ "escape the memory killer", no_memory_killer, EACCES },
	{ "freeze the file system", freeze_the_files, ANY },
	{ "type into a terminal", type_into_a_terminal, EPERM },
	{ "type past the filter", type_past_the_filter, EPERM },
	{ "load a line discipline", line_discipline, EPERM },
	{ "take the host's console", console_of_the_host, ANY },
	{ "watch whole file systems", watch_file_systems, ANY },
	{ "be asked for permission", be_asked_for_permission, EPERM },
	{ "set the project of a file", project_of_a_file, ANY },
	{ "take a mount of the host", mounts_of_the_host, ANY },
	{ "read the kernel's memory", kernel_memory, EPERM },
};

/* --- all of it --- */

static int run_one(size_t i)
{
	if (i < LEN(calls))
		return call_it(calls[i].number);
	i -= LEN(calls);
	if (i < LEN(sockets))
		return try_socket(i);
	return attempts[i - LEN(sockets)].try();
}

static void describe(size_t i, const char **ret_name, int *ret_want)
{
	*ret_want = EPERM;
	if (i < LEN(calls)) {
		*ret_name = calls[i].name;
		*ret_want = calls[i].want;
	} else if (i < LEN(calls) + LEN(sockets)) {
		*ret_name = sockets[i - LEN(calls)].name;
		*ret_want = sockets[i - LEN(calls)].want;
	} else {
		*ret_name = attempts[i - LEN(calls) - LEN(sockets)].name;
		*ret_want = attempts[i - LEN(calls) - LEN(sockets)].want;
	}
}

/* In a child, which may end as it likes: only a result of 0 is a success of the attempt. */
static int attempt(size_t i)
{
	const char *name;
	int status, want;
	pid_t pid;

	describe(i, &name, &want);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int r;

		/* What it mounts and unmounts is not to be in the way of the next. */
		if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(1);
		r = run_one(i);
		fflush(stdout);
		_exit(r > 255 ? 255 : r);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return 1;
	if (WIFSIGNALED(status))
		return 0;
	if (WEXITSTATUS(status) != 0 && (want == ANY || WEXITSTATUS(status) == want))
		return 0;
	printf("%s: %s\n", name,
	       WEXITSTATUS(status) ? strerror(WEXITSTATUS(status)) : "it worked");
	return 1;
}

static int try_all(void)
{
	size_t all = LEN(calls) + LEN(sockets) + LEN(attempts);
	int failed = 0;

	for (size_t i = 0; i < all; i++)
		failed += attempt(i);
	printf("%zu attempts, %d not stopped\n", all, failed);
	return failed ? 1 : 0;
}

/* What is tried is told in /root/as-init, once it is all. */
static int be_init(void)
{
	int console = dup(STDOUT_FILENO),
	    fd = open("/root/as-init.new", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	dup2(fd, STDOUT_FILENO);
	try_all();
	fflush(stdout);
	dup2(console, STDOUT_FILENO);
	rename("/root/as-init.new", "/root/as-init");
	return leave();
}

int main(int argc, char **argv)
{
	if (getpid() == 1)
		return be_init();
	if (argc == 3 && strcmp(argv[1], "spy") == 0)
		return spy(argv[2]);
	if (argc > 1 && strcmp(argv[1], "hold") == 0)
		return hold(argv + 2);
	if (argc == 2 && strcmp(argv[1], "walk") == 0)
		return walk();
	return try_all();
}
