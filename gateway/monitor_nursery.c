/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The process that monitors are forked from (gateway/nursery.h). It never sees a byte of theirs: it takes
 * the listener's messages and answers each with the number of a new process.
 */
#include "gateway/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gateway/launch.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

/* So many are made by one, as of wire processes (gateway/wire.h), and for the same reason. */
#define BORN_MAX 100

/*
 * A fork whose parent is ours: the listener counts, ends and reaps monitors, wherever they come from. There
 * is one thread, and none of what fork(3) runs besides.
 */
static pid_t fork_sibling(void)
{
	struct clone_args args = { .flags = CLONE_PARENT };

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

/* In the child: the message's descriptors where an executed one had them, and nothing else of the parent's. */
static int become_monitor(const struct msg *message)
{
	int high[MONITOR_FDS];

	for (int i = 0; i < MONITOR_FDS; i++) {
		high[i] = fcntl(message->fds[i], F_DUPFD_CLOEXEC, LAUNCH_FD_FIRST + LAUNCH_FDS_MAX);
		if (high[i] < 0)
			return -errno;
	}
	for (int i = 0; i < MONITOR_FDS; i++) {
		if (dup3(high[i], LAUNCH_FD_FIRST + i, O_CLOEXEC) < 0)
			return -errno;
	}
	return fd_close_from(LAUNCH_FD_FIRST + MONITOR_FDS);
}

/* 0 in the child; 1 in the parent; -EPIPE when the listener wants no more. */
static int give_birth(int link)
{
	CLEANUP_MSG struct msg message = { 0 }, answer = { 0 };
	pid_t pid;

	if (msg_recv(link, &message, 0, NULL) != 0 || message.n_fds != MONITOR_FDS)
		return -EPIPE;
	pid = fork_sibling();
	if (pid == 0) {
		if (become_monitor(&message) < 0)
			_exit(1);
		/* They are closed: the numbers may be others' by now. */
		message.n_fds = 0;
		return 0;
	}
	if (pid < 0)
		return -EPIPE;
	msg_add_u64(&answer, "pid", (uint64_t)pid);
	return msg_send(link, &answer, NULL) == 0 ? 1 : -EPIPE;
}

void monitor_nursery(int link)
{
	int r = 1;

	for (int born = 0; born < BORN_MAX && r == 1; born++)
		r = give_birth(link);
	if (r != 0)
		_exit(0);
}
