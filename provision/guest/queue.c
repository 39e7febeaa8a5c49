/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Of vm2-guests that were begun ahead, before anybody wants a guest: guest.h. */
#include "provision/guest/queue.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/guest/guest.h"
#include "provision/guest/steps.h"

/* Room for one descriptor, aligned as cmsg(3) wants it. */
union control {
	struct cmsghdr head;
	char data[CMSG_SPACE(sizeof(int))];
};

int guest_queue_make(int *ret_take, int *ret_put)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	*ret_take = pair[0];
	*ret_put = pair[1];
	return 0;
}

bool guest_queue_empty(int take)
{
	int bytes = 0;

	return ioctl(take, FIONREAD, &bytes) == 0 && bytes == 0;
}

int guest_queue_fill(const struct config *config, int put, struct err *err)
{
	union control control = { 0 };
	struct guest_begun begun = { 0 };
	char byte = 'v';
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	int r = launch_begin(config, &begun, err);

	if (r != 0)
		return r;
	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&control.head), &begun.link, sizeof(int));
	if (sendmsg(put, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) != 1)
		r = err_sys(err, errno, "cannot keep a vm2-guest ahead");
	close(begun.link);
	return r;
}

/* Each is taken by one process: the kernel sees to that. */
static int take_any(int take)
{
	union control control = { 0 };
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	int fd;

	if (take < 0 || recvmsg(take, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1 ||
	    control.head.cmsg_type != SCM_RIGHTS || control.head.cmsg_len != CMSG_LEN(sizeof(int)))
		return 0;
	memcpy(&fd, CMSG_DATA(&control.head), sizeof(fd));
	return fd;
}

int queue_take(int take)
{
	struct pollfd p = { .events = POLLIN };

	/* One that says something by now has failed, or was killed. */
	while ((p.fd = take_any(take)) > 0) {
		if (poll(&p, 1, 0) == 0)
			return p.fd;
		close(p.fd);
	}
	return 0;
}
