/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/pass.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* Room for one, aligned as cmsg(3) wants it: more the kernel closes. */
union control {
	struct cmsghdr head;
	char data[CMSG_SPACE(sizeof(int))];
};

int pass_send(int sock, const void *data, size_t len, int fd)
{
	union control control = { 0 };
	struct iovec iov = { (void *)(size_t)data, len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_LEN(sizeof(int));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(int));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL) == (ssize_t)len ? 0 : -errno;
}

ssize_t pass_receive(int sock, void *data, size_t cap, int flags, int *ret_fd)
{
	union control control = { 0 };
	struct iovec iov = { data, cap };
	/* CMSG_SPACE is rounded up, and on some machines holds two. */
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = CMSG_LEN(sizeof(int)) };
	ssize_t n = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);

	*ret_fd = -1;
	if (n < 0)
		return -errno;
	if (msg.msg_controllen >= CMSG_LEN(sizeof(int)) && control.head.cmsg_level == SOL_SOCKET &&
	    control.head.cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(&control.head), sizeof(int));
	return n;
}
