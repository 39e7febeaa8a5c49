/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * By which system calls statfs(2) is asked, and how its answer is laid out: by programs of this program's
 * ABI, and by those of 32 bits that an x86-64 kernel runs beside them. Others (x32, 32-bit ARM) are not
 * answered here: they see what the kernel shows.
 */
#ifndef VM2_GUEST_ABI_H
#define VM2_GUEST_ABI_H

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/vfs.h>

#if defined(__x86_64__)
#define ABI_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ABI_ARCH AUDIT_ARCH_AARCH64
#endif

/* Of 32 bits (arch/x86/entry/syscalls/syscall_32.tbl). */
enum {
	ABI32_STATFS = 99,
	ABI32_FSTATFS = 100,
	ABI32_STATFS64 = 268,
	ABI32_FSTATFS64 = 269
};

/* What they have in mind (include/uapi/asm-generic/statfs.h): of the first two calls, and of the others. */
struct abi32_statfs {
	uint32_t type, bsize, blocks, bfree, bavail, files, ffree;
	uint32_t fsid[2], namelen, frsize, flags, spare[4];
};
struct __attribute__((packed, aligned(4))) abi32_statfs64 {
	uint32_t type, bsize;
	uint64_t blocks, bfree, bavail, files, ffree;
	uint32_t fsid[2], namelen, frsize, flags, spare[4];
};

/* One call. */
struct abi_call {
	bool by_fd;    /* fstatfs */
	uint64_t what; /* the descriptor, or where in memory the path is */
	uint64_t at;   /* where in memory the answer goes */
	size_t size;   /* of the answer, which tells its layout */
};

union abi_answer {
	struct statfs own;
	struct abi32_statfs old;
	struct abi32_statfs64 wide;
};

/* Read it: 0, or -EINVAL when the kernel would say so. */
int abi_read(const struct seccomp_data *data, struct abi_call *ret);

/* Lay fs out for it: 0, or -EOVERFLOW when it has no room for such numbers. */
int abi_lay_out(const struct abi_call *call, const struct statfs *fs, union abi_answer *ret);

#endif
