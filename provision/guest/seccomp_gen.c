/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs at build time: turns the list of refused system calls into a BPF program, so that starting
 * or entering a guest neither loads libseccomp nor compiles anything. docs/GUEST has the same list.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* name, why; all but those of absent() fail with EPERM. Most need the host's root anyway: this keeps their code away. */
static const struct {
	const char *name, *why;
} refused[] = {
	{ "init_module", "loads kernel code" },
	{ "finit_module", "loads kernel code" },
	{ "delete_module", "unloads kernel code" },
	{ "create_module", "loads kernel code (Linux 2.4)" },
	{ "kexec_load", "replaces the host's kernel" },
	{ "kexec_file_load", "replaces the host's kernel" },
	{ "add_key", "keyrings are accounted per host uid and have had many holes" },
	{ "request_key", "the same; calls a program of the host" },
	{ "keyctl", "the same" },
	{ "bpf", "kernel programs; large attack surface" },
	{ "perf_event_open", "sees other guests' timing; large attack surface" },
	{ "userfaultfd", "stops the kernel in the middle of a copy: a tool of exploits" },
	{ "io_uring_setup", "does system calls past this filter; large attack surface" },
	{ "io_uring_enter", "the same" },
	{ "io_uring_register", "the same" },
	{ "open_by_handle_at", "opens files by number, past every folder's permissions" },
	{ "clock_settime", "the host's clock" },
	{ "clock_settime64", "the host's clock" },
	{ "settimeofday", "the host's clock" },
	{ "stime", "the host's clock" },
	{ "swapon", "the host's memory" },
	{ "swapoff", "the host's memory" },
	{ "acct", "accounting is the host's" },
	{ "quotactl", "quota is the host's" },
	{ "quotactl_fd", "quota is the host's" },
	{ "syslog", "the kernel's log is the host's" },
	{ "lookup_dcookie", "profiling of the host" },
	{ "iopl", "hardware" },
	{ "ioperm", "hardware" },
	{ "nfsservctl", "removed long ago" },
	{ "uselib", "obsolete loader" },
	{ "query_module", "kernel code (Linux 2.4)" },
	{ "get_kernel_syms", "kernel code (Linux 2.4)" },
	{ "_sysctl", "removed long ago; past the permissions of /proc/sys" },
	{ "vserver", "never implemented" },
	{ "pciconfig_read", "hardware" },
	{ "pciconfig_write", "hardware" },
	{ "pciconfig_iobase", "hardware" },
	{ "s390_pci_mmio_read", "hardware" },
	{ "s390_pci_mmio_write", "hardware" },
	{ "vm86", "obsolete processor mode" },
	{ "vm86old", "obsolete processor mode" },
};

/*
 * Terminal requests that push input into a terminal: su(1) to a user must not get root's. Line
 * disciplines, which are modules of the host's that a number loads, and have had many holes. And
 * subvolumes of btrfs made inside (linux/btrfs.h), which would be past the guest's disk limit.
 */
static const unsigned int refused_ioctls[] = {
	0x5412 /* TIOCSTI */,
	0x541C /* TIOCLINUX */,
	0x5423 /* TIOCSETD */,
	0x50009401 /* BTRFS_IOC_SNAP_CREATE */,
	0x5000940e /* BTRFS_IOC_SUBVOL_CREATE */,
	0x50009417 /* BTRFS_IOC_SNAP_CREATE_V2 */,
	0x50009418 /* BTRFS_IOC_SUBVOL_CREATE_V2 */,
};

/*
 * Kinds of sockets: a guest has unix, inet, inet6, netlink and packet. Of the others vsock is in no
 * network namespace and leads past the firewall to the host, its hypervisor and other guests; the
 * rest are protocols whose modules the host's kernel would load for a guest that asks.
 */
static const int families[] = { 1, 2, 10, 16, 17 }; /* linux/socket.h: AF_* */

/*
 * Of netlink: route, usersock, sock_diag, xfrm, netfilter, uevent and generic (linux/netlink.h).
 * Left out are audit, which is the host's alone, and those that drive hardware, key stores and the
 * like; a number that nobody has registered yet loads a module.
 */
#define AF_NETLINK 16
static const int netlinks[] = { 0, 2, 4, 6, 12, 15, 16 };

/* Of internet protocols: DCCP, L2TP, SCTP and SMC, modules that few have a use for; many holes. */
static const int inet_families[] = { 2, 10 };
static const int inet_refused[] = { 33, 115, 132, 256 };

/*
 * Rings of packet sockets (linux/if_packet.h), which root of a user namespace has in a network namespace of
 * its own: no control group counts their memory, so that a guest could take all of the host's. As on a
 * kernel without them. By socketcall(2) of 32-bit programs no option is set at all: it has its arguments in
 * memory, where a filter cannot look, and makes no socket either.
 */
#define SOL_PACKET 263
#define SOCKETCALL_SETSOCKOPT 14 /* linux/net.h: SYS_SETSOCKOPT */
static const scmp_datum_t refused_rings[] = { 5 /* PACKET_RX_RING */, 13 /* PACKET_TX_RING */ };

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define INT_ARG 0xffffffffu /* the kernel looks at the lower 32 bits only: so must the filter */

/* Refuse a call whose argument `arg` is not in the ascending list. */
static int refuse_others(scmp_filter_ctx ctx, int call, int error, unsigned int arg,
			 const int *list, size_t n, const struct scmp_arg_cmp *first)
{
	const int last = list[n - 1];
	const struct scmp_arg_cmp beyond = SCMP_CMP(arg, SCMP_CMP_GT, (scmp_datum_t)last);
	size_t next = 0;

	for (int value = 0; value <= last; value++) {
		const struct scmp_arg_cmp is =
			SCMP_CMP(arg, SCMP_CMP_MASKED_EQ, INT_ARG, (scmp_datum_t)value);
		const struct scmp_arg_cmp both[] = { is, first ? *first : is };

		if (value == list[next]) {
			next++;
			continue;
		}
		if (seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO((uint32_t)error), call, first ? 2 : 1,
					   both) < 0)
			return -1;
	}
	const struct scmp_arg_cmp both[] = { beyond, first ? *first : beyond };

	return seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO((uint32_t)error), call, first ? 2 : 1, both);
}

static int refuse_sockets(scmp_filter_ctx ctx, int call)
{
	const struct scmp_arg_cmp netlink = SCMP_A0(SCMP_CMP_MASKED_EQ, INT_ARG, AF_NETLINK);

	if (refuse_others(ctx, call, EAFNOSUPPORT, 0, families, ARRAY_LEN(families), NULL) < 0 ||
	    refuse_others(ctx, call, EPROTONOSUPPORT, 2, netlinks, ARRAY_LEN(netlinks), &netlink) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(inet_families) * ARRAY_LEN(inet_refused); i++) {
		const int family = inet_families[i % ARRAY_LEN(inet_families)];
		const int protocol = inet_refused[i / ARRAY_LEN(inet_families)];

		if (seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPROTONOSUPPORT), call, 2,
				     SCMP_A0(SCMP_CMP_MASKED_EQ, INT_ARG, (scmp_datum_t)family),
				     SCMP_A2(SCMP_CMP_MASKED_EQ, INT_ARG, (scmp_datum_t)protocol)) < 0)
			return -1;
	}
	return 0;
}

static int refuse_rings(scmp_filter_ctx ctx)
{
	for (size_t i = 0; i < ARRAY_LEN(refused_rings); i++)
		if (seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOPROTOOPT), SCMP_SYS(setsockopt), 2,
				     SCMP_A1(SCMP_CMP_MASKED_EQ, INT_ARG, SOL_PACKET),
				     SCMP_A2(SCMP_CMP_MASKED_EQ, INT_ARG, refused_rings[i])) < 0)
			return -1;
	if (seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOPROTOOPT), SCMP_SYS(socketcall), 1,
			     SCMP_A0(SCMP_CMP_MASKED_EQ, INT_ARG, SOCKETCALL_SETSOCKOPT)) < 0)
		return -1;
	return 0;
}

/*
 * Leases (fcntl(2)): whoever opens such a file waits until the holder lets go or fs.lease-break-time, 45 seconds, is
 * over. So a guest would keep each session, and what enters it for the host, waiting at every file that a loader
 * opens. As on a file system that has none.
 */
static int refuse_leases(scmp_filter_ctx ctx)
{
	const int calls[] = { SCMP_SYS(fcntl), SCMP_SYS(fcntl64) };

	for (size_t i = 0; i < ARRAY_LEN(calls); i++)
		if (seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EINVAL), calls[i], 1,
				     SCMP_A1(SCMP_CMP_MASKED_EQ, INT_ARG, F_SETLEASE)) < 0)
			return -1;
	return 0;
}

/*
 * What kernels may be built without: as on those, the call is not there (ENOSYS), and programs do
 * without it. On EPERM crun(1) refuses to start a container, for one.
 */
static int error_of(const char *name)
{
	static const char *const absent[] = { "add_key", "request_key", "keyctl", "io_uring_setup",
					      "io_uring_enter", "io_uring_register" };

	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		if (strcmp(absent[i], name) == 0)
			return ENOSYS;
	return EPERM;
}

static int add_rules(scmp_filter_ctx ctx)
{
	if (refuse_rings(ctx) < 0 || refuse_leases(ctx) < 0 ||
	    refuse_sockets(ctx, SCMP_SYS(socket)) < 0 ||
	    refuse_sockets(ctx, SCMP_SYS(socketpair)) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		int nr = seccomp_syscall_resolve_name(refused[i].name);

		if (nr == __NR_SCMP_ERROR)
			continue; /* this libseccomp does not know it */
		if (seccomp_rule_add(ctx, SCMP_ACT_ERRNO((unsigned int)error_of(refused[i].name)), nr,
				     0) < 0 &&
		    nr > 0)
			return -1;
	}
	for (size_t i = 0; i < sizeof(refused_ioctls) / sizeof(refused_ioctls[0]); i++)
		/* The kernel looks at the lower 32 bits only: so must the filter. */
		if (seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
				     SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu,
					     refused_ioctls[i])) < 0)
			return -1;
	return 0;
}

static int print_program(int fd, FILE *out)
{
	struct sock_filter insn;

	while (read(fd, &insn, sizeof(insn)) == (ssize_t)sizeof(insn))
		fprintf(out, "{ 0x%x, %u, %u, 0x%x },\n", insn.code, insn.jt, insn.jf, insn.k);
	return fclose(out);
}

int main(int argc, char **argv)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	FILE *tmp = tmpfile(), *out = argc == 2 ? fopen(argv[1], "w") : NULL;

	if (!ctx || !tmp || !out)
		return EXIT_FAILURE;
	/* 32-bit programs run in guests too, and must not be a way round. */
	if (seccomp_arch_native() == SCMP_ARCH_X86_64 &&
	    (seccomp_arch_add(ctx, SCMP_ARCH_X86) < 0 || seccomp_arch_add(ctx, SCMP_ARCH_X32) < 0))
		return EXIT_FAILURE;
	if (seccomp_arch_native() == SCMP_ARCH_AARCH64 && seccomp_arch_add(ctx, SCMP_ARCH_ARM) < 0)
		return EXIT_FAILURE;
	seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree: less for each call */
	if (add_rules(ctx) < 0 || seccomp_export_bpf(ctx, fileno(tmp)) < 0)
		return EXIT_FAILURE;
	rewind(tmp);
	return print_program(fileno(tmp), out) ? EXIT_FAILURE : EXIT_SUCCESS;
}
