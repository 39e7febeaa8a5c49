/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/handoff.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

/* Of all words, each of which may be a path. */
#define WORDS_SIZE 65536
#define FDS 2

/* Room for the descriptors, aligned as cmsg(3) wants it. */
union control {
	struct cmsghdr head;
	char data[CMSG_SPACE(FDS * sizeof(int))];
};

int handoff_send(int sock, const struct handoff *order)
{
	const int fds[FDS] = { order->lock, order->log };
	CLEANUP_BUF struct buf words = { 0 };
	union control control = { 0 };
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	char *argv[ARGS_MAX];

	args_write(&order->args, "vm2-guest", argv);
	for (int i = 0; argv[i]; i++)
		buf_add(&words, argv[i], strlen(argv[i]) + 1);
	args_free(argv);
	iov = (struct iovec){ words.data, words.len };
	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(&control.head), fds, sizeof(fds));
	return sendmsg(sock, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The words' strings are in the datagram, which is kept. */
static int read_words(char *words, size_t len, struct guest_args *ret, struct err *err)
{
	char *argv[ARGS_MAX];
	int argc = 0;

	for (char *p = words; p < words + len && argc < ARGS_MAX; p += strlen(p) + 1)
		argv[argc++] = p;
	return args_read(argc, argv, ret, err);
}

int handoff_receive(int sock, struct handoff *ret, struct err *err)
{
	char *words = xcalloc(1, WORDS_SIZE + 1);
	struct iovec iov = { words, WORDS_SIZE };
	union control control = { 0 };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control) };
	int fds[FDS], r;
	ssize_t n;

	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return err_set(err, ERR_NOT_FOUND, "nobody waits for it any more");
	if (n < 0 || control.head.cmsg_type != SCM_RIGHTS ||
	    control.head.cmsg_len != CMSG_LEN(sizeof(fds)))
		return err_sys(err, n < 0 ? errno : EBADMSG, "cannot read which guest is to start");
	memcpy(fds, CMSG_DATA(&control.head), sizeof(fds));
	r = read_words(words, (size_t)n, &ret->args, err);
	ret->lock = fds[0];
	ret->log = fds[1];
	return r;
}
