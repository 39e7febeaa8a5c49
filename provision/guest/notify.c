/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/notify.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/pass.h"
#include "provision/guest/abi.h"

/* For a keeper that is busy. It reads within milliseconds. */
#define SEND_S 2

#ifdef ABI_ARCH

/* Next to the list of refused calls (seccomp_gen.c), whose verdicts beat this one's: seccomp(2). */
static const struct sock_filter filter[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ABI_ARCH, 0, 4),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_statfs, 8, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fstatfs, 7, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_I386, 0, 6),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ABI32_STATFS, 3, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ABI32_FSTATFS, 2, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ABI32_STATFS64, 1, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ABI32_FSTATFS64, 0, 1),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

int notify_load(void)
{
	struct sock_fprog program = {
		.len = (unsigned short)ARRAY_LEN(filter),
		.filter = (struct sock_filter *)(uintptr_t)filter,
	};
	/* Once the keeper has read what is asked, only death interrupts: statfs(2) knows no EINTR of signals. */
	long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			  SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
			  &program);

	return fd < 0 ? -errno : (int)fd;
}

#else

int notify_load(void)
{
	return -ENOSYS;
}

#endif

/* By the descriptor: the folder's own path may be longer than an address can be. */
static struct sockaddr_un address_in(int dirfd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" NOTIFY_SOCKET,
		 dirfd);
	return address;
}

int notify_bind(int dirfd)
{
	const struct sockaddr_un address = address_in(dirfd);
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	unlinkat(dirfd, NOTIFY_SOCKET, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return steal_fd(&fd);
}

int notify_connect(int dirfd)
{
	const struct timeval limit = { .tv_sec = SEND_S };
	const struct sockaddr_un address = address_in(dirfd);
	CLEANUP_CLOSE int fd = dirfd < 0 ? -1 : socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return 0;
	return steal_fd(&fd);
}

int notify_enter(int keeper)
{
	CLEANUP_CLOSE int listener = notify_load();

	return listener < 0 ? 0 : pass_send(keeper, "", 1, listener);
}
