/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/abi.h"

#include <errno.h>
#include <sys/syscall.h>

int abi_read(const struct seccomp_data *data, struct abi_call *ret)
{
	const __u64 *args = data->args;

	if (data->arch != AUDIT_ARCH_I386) {
		*ret = (struct abi_call){ data->nr == SYS_fstatfs, args[0], args[1],
					  sizeof(struct statfs) };
		return 0;
	}
	/* Of registers the kernel takes the lower half: above it is what a 64-bit program left there. */
	*ret = (struct abi_call){ data->nr == ABI32_FSTATFS || data->nr == ABI32_FSTATFS64,
				  (uint32_t)args[0], (uint32_t)args[1],
				  sizeof(struct abi32_statfs) };
	if (data->nr == ABI32_STATFS || data->nr == ABI32_FSTATFS)
		return 0;
	ret->at = (uint32_t)args[2];
	ret->size = sizeof(struct abi32_statfs64);
	return (uint32_t)args[1] == ret->size ? 0 : -EINVAL;
}

/* What has 32 bits in both of them. */
#define COMMON(fs)                                                                \
	.type = (uint32_t)(fs)->f_type, .bsize = (uint32_t)(fs)->f_bsize,         \
	.namelen = (uint32_t)(fs)->f_namelen, .frsize = (uint32_t)(fs)->f_frsize, \
	.flags = (uint32_t)(fs)->f_flags,                                         \
	.fsid = { (uint32_t)(fs)->f_fsid.__val[0], (uint32_t)(fs)->f_fsid.__val[1] }

int abi_lay_out(const struct abi_call *call, const struct statfs *fs, union abi_answer *ret)
{
	if (call->size == sizeof(struct abi32_statfs64)) {
		ret->wide = (struct abi32_statfs64){
			COMMON(fs),	      .blocks = fs->f_blocks,
			.bfree = fs->f_bfree, .bavail = fs->f_bavail,
			.files = fs->f_files, .ffree = fs->f_ffree,
		};
	} else if (call->size == sizeof(struct abi32_statfs)) {
		if ((fs->f_blocks | fs->f_bfree | fs->f_bavail | fs->f_files | fs->f_ffree) >> 32)
			return -EOVERFLOW;
		ret->old = (struct abi32_statfs){
			COMMON(fs),
			.blocks = (uint32_t)fs->f_blocks,
			.bfree = (uint32_t)fs->f_bfree,
			.bavail = (uint32_t)fs->f_bavail,
			.files = (uint32_t)fs->f_files,
			.ffree = (uint32_t)fs->f_ffree,
		};
	} else {
		ret->own = *fs;
	}
	return 0;
}
