/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs at build time: turns the list of refused system calls into a BPF program, so that starting
 * or entering a guest neither loads libseccomp nor compiles anything. docs/GUEST has the same list.
 */
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* name, why; all fail with EPERM. Most need the host's root anyway: this keeps their code away. */
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
	{ "vm86", "obsolete processor mode" },
	{ "vm86old", "obsolete processor mode" },
};

/*
 * Terminal requests that push input into a terminal: su(1) to a user must not get root's. And
 * subvolumes of btrfs made inside (linux/btrfs.h), which would be past the guest's disk limit.
 */
static const unsigned int refused_ioctls[] = {
	0x5412 /* TIOCSTI */,
	0x541C /* TIOCLINUX */,
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

static int refuse_families(scmp_filter_ctx ctx, int call)
{
	const int last = families[sizeof(families) / sizeof(families[0]) - 1];
	size_t next = 0;

	for (int family = 0; family <= last; family++) {
		if (family == families[next]) {
			next++;
			continue;
		}
		if (seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), call, 1,
				     SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffffu, family)) < 0)
			return -1;
	}
	return seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), call, 1,
				SCMP_A0(SCMP_CMP_GT, last));
}

static int add_rules(scmp_filter_ctx ctx)
{
	if (refuse_families(ctx, SCMP_SYS(socket)) < 0 ||
	    refuse_families(ctx, SCMP_SYS(socketpair)) < 0)
		return -1;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		int nr = seccomp_syscall_resolve_name(refused[i].name);

		if (nr == __NR_SCMP_ERROR)
			continue; /* this libseccomp does not know it */
		if (seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), nr, 0) < 0 && nr > 0)
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
