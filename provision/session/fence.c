/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/session/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* What the relay has no use for, and whoever took it over would. */
static const unsigned int refused[] = {
	SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev,
	SYS_pidfd_getfd, SYS_setns, SYS_unshare, SYS_mount, SYS_umount2, SYS_move_mount, SYS_open_tree,
	SYS_fsopen, SYS_pivot_root, SYS_chroot, SYS_bpf, SYS_perf_event_open, SYS_userfaultfd,
	SYS_io_uring_setup, SYS_io_uring_enter, SYS_add_key, SYS_request_key, SYS_keyctl,
	SYS_open_by_handle_at, SYS_mknodat,
	/* Landlock does not look at these; by descriptor they work. */
	SYS_fchmodat, SYS_fchownat, SYS_setxattr, SYS_lsetxattr, SYS_removexattr, SYS_lremovexattr,
	SYS_utimensat, 452 /* fchmodat2 */, 463 /* setxattrat */, 466 /* removexattrat */,
#ifdef SYS_chmod
	SYS_chmod, SYS_chown, SYS_lchown, SYS_mknod,
#endif
};

/* linux/landlock.h may be older than the kernel: what each version of it added. */
#define ACCESS_V1 ((1ULL << 13) - 1)  /* Linux 5.13: EXECUTE to MAKE_SYM */
#define ACCESS_REFER (1ULL << 13)     /* 5.19 */
#define ACCESS_TRUNCATE (1ULL << 14)  /* 6.2 */
#define ACCESS_EXECUTE (1ULL << 0)

static uint64_t known_accesses(long version)
{
	uint64_t known = ACCESS_V1;

	if (version >= 2)
		known |= ACCESS_REFER;
	if (version >= 3)
		known |= ACCESS_TRUNCATE;
	return known;
}

static int allow_below(int rules, int folder, uint64_t access)
{
	const struct landlock_path_beneath_attr attr = { .allowed_access = access & ~ACCESS_EXECUTE,
							 .parent_fd = folder };

	return syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &attr, 0) < 0 ?
		       -errno :
		       0;
}

static int raise_files(const char *ledger, int recordings)
{
	const long version =
		syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	const uint64_t access = known_accesses(version);
	CLEANUP_CLOSE int rules = -1, folder = -1;
	int r;

	if (version < 1)
		return 0; /* not there, or switched off */
	/* Only the first member, which every version has: the rest of a newer header is not asked for. */
	rules = (int)syscall(SYS_landlock_create_ruleset, &access, sizeof(access), 0);
	fd_mkdirs(ledger, 0750); /* from now on it cannot be */
	folder = open(ledger, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (rules < 0)
		return -errno;
	r = folder < 0 ? 0 : allow_below(rules, folder, access);
	if (r == 0 && recordings >= 0)
		r = allow_below(rules, recordings, access);
	if (r == 0 && syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		r = -errno;
	return r;
}

static int raise_calls(void)
{
#ifdef ARCH
	enum { HEAD = 6, TAIL = 7, N = ARRAY_LEN(refused) };
	const uint32_t refuse = SECCOMP_RET_ERRNO | EPERM, kill = SECCOMP_RET_KILL_PROCESS;
	const uint32_t first = offsetof(struct seccomp_data, args[0]);
	struct sock_filter code[HEAD + 2 * N + TAIL] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, kill),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		/* x32, where a number means something else */
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000u, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, kill),
	};
	const struct sock_filter tail[TAIL] = {
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		/* The lower half of the first argument; both machines are little-endian. */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, first),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, refuse),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, refuse),
	};
	struct sock_fprog program = { .len = ARRAY_LEN(code), .filter = code };

	for (size_t i = 0; i < N; i++) {
		code[HEAD + 2 * i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused[i], 0, 1);
		code[HEAD + 2 * i + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, refuse);
	}
	for (size_t i = 0; i < TAIL; i++)
		code[HEAD + 2 * N + i] = tail[i];
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0 ? -errno : 0;
#else
	return 0;
#endif
}

/* The leak checker traces the process and reads its /proc when it ends. */
#if defined(__SANITIZE_ADDRESS__)
#define TRACED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TRACED true
#endif
#endif
#ifndef TRACED
#define TRACED false
#endif

int fence_raise(const char *ledger, int recordings, struct err *err)
{
	int r = TRACED ? 0 : raise_files(ledger, recordings);

	if (r < 0)
		return err_sys(err, -r, "cannot keep the session from the host's files");
	r = TRACED ? 0 : raise_calls();
	return r < 0 ? err_sys(err, -r, "cannot set the session's system call filter") : 0;
}
