/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What statfs(2) or fstatfs(2) is asked in a guest, found as the kernel would find it for whoever asks
 * (seccomp_unotify(2)). The asker, his memory and his files are the guest's: nothing of them is trusted.
 */
#ifndef VM2_GUEST_ASKED_H
#define VM2_GUEST_ASKED_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "provision/guest/abi.h"

/*
 * Hold what is asked about by a descriptor (O_PATH), or -errno: then the kernel is to answer. proc is the asker's folder
 * in /proc and pid his number; owner the guest's first uid, its root's; how are further flags for openat2(2): with
 * RESOLVE_CACHED it does not wait, and -EAGAIN says that it would have to.
 */
int asked_hold(uid_t owner, int proc, pid_t pid, const struct abi_call *call, uint64_t how);

/* Write to the asker's memory: as many bytes as were written, or -errno (-EFAULT: it is not his to be written). */
ssize_t asked_write(uid_t owner, pid_t pid, uint64_t at, const void *bytes, size_t len);

/* Who asks, of proc_pid_status(5): what the kernel goes by when it looks at paths for him. */
#define ASKER_GROUPS 256
struct asker {
	uid_t uid; /* on the host, as the next ones */
	gid_t gid;
	gid_t groups[ASKER_GROUPS];
	int n_groups;
};

/* Read it from the text of /proc/PID/status. 0 or -EBADMSG. */
int asked_read_status(const char *text, struct asker *ret);

#endif
