/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gateway/sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "provision/base/cleanup.h"

/* A system call that a wire process may make, and what for. */
struct allowed {
	int number;
	const char *reason;
};

static const struct allowed allowed[] = {
	{ SCMP_SYS(read), "output of sessions, from pipes" },
	{ SCMP_SYS(write), "input of sessions, into pipes; a line for the log" },
	{ SCMP_SYS(recvfrom), "the connection (libssh)" },
	{ SCMP_SYS(sendto), "the connection (libssh)" },
	{ SCMP_SYS(recvmsg), "messages of the monitor, with pipes beside them" },
	{ SCMP_SYS(sendmsg), "messages to the monitor" },
	{ SCMP_SYS(poll), "waiting" },
	{ SCMP_SYS(ppoll), "waiting, where libc makes it of poll" },
	{ SCMP_SYS(close), "a session is over" },
	{ SCMP_SYS(shutdown), "the connection is over (libssh)" },
	{ SCMP_SYS(getsockopt), "the connection's pending error (libssh)" },
	{ SCMP_SYS(brk), "memory" },
	{ SCMP_SYS(munmap), "memory" },
	{ SCMP_SYS(mremap), "memory" },
	{ SCMP_SYS(madvise), "memory given back" },
	{ SCMP_SYS(getrandom), "keys and padding (libcrypto)" },
	{ SCMP_SYS(clock_gettime), "time, where the vDSO does not serve" },
	{ SCMP_SYS(gettimeofday), "time, where the vDSO does not serve" },
	{ SCMP_SYS(time), "time, where the vDSO does not serve" },
	{ SCMP_SYS(getpid), "libcrypto asks whether it was forked" },
	{ SCMP_SYS(futex), "locks of libcrypto and libc, never contended" },
	{ SCMP_SYS(restart_syscall), "a wait that a stop and continue interrupted" },
	{ SCMP_SYS(rt_sigreturn), "the end of a signal handler" },
	{ SCMP_SYS(exit), "the end" },
	{ SCMP_SYS(exit_group), "the end" },
};

/* Those that are allowed for some arguments only. */
static int allow_some(scmp_filter_ctx filter)
{
	static const int memory[] = { SCMP_SYS(mmap), SCMP_SYS(mprotect) };
	static const int commands[] = { F_GETFL, F_SETFL, F_GETFD, F_SETFD };
	int r = 0;

	/* Memory, but none that can be executed. */
	for (size_t i = 0; i < ARRAY_LEN(memory) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, memory[i], 1,
				     SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	/* Pipes are made non-blocking; a received descriptor is made close-on-exec. */
	for (size_t i = 0; i < ARRAY_LEN(commands) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
				     SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)commands[i]));
	return r;
}

static int filter_calls(struct err *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = filter ? 0 : -ENOMEM;

	for (size_t i = 0; i < ARRAY_LEN(allowed) && r == 0; i++)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i].number, 0);
	if (r == 0)
		r = allow_some(filter);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	return r == 0 ? 0 : err_sys(err, -r, "cannot restrict system calls");
}

static int enter_room(const int *fds, struct err *err)
{
	for (int i = 0; i < SANDBOX_ROOM_FDS; i++) {
		if (setns(fds[i], 0) < 0)
			return err_sys(err, errno, "cannot enter the empty room");
		fd_close(fds[i]);
	}
	return 0;
}

/* No more of anything: what is zero here the process never needs. */
static int limit(uint64_t max_fd, struct err *err)
{
	const struct {
		int what;
		rlim_t most;
	} limits[] = {
		{ RLIMIT_NOFILE, max_fd },
		{ RLIMIT_NPROC, 0 },
		{ RLIMIT_FSIZE, 0 },
		{ RLIMIT_CORE, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		struct rlimit value = { limits[i].most, limits[i].most };

		if (setrlimit(limits[i].what, &value) < 0)
			return err_sys(err, errno, "cannot set resource limit %d", limits[i].what);
	}
	return 0;
}

/* Entering a user namespace gave all capabilities in it: none of them is kept. */
static int drop_capabilities(struct err *err)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	if (syscall(SYS_capset, &header, none) < 0)
		return err_sys(err, errno, "cannot drop capabilities");
	return 0;
}

int sandbox_enter_room(const int *room_fds, struct err *err)
{
	int r = enter_room(room_fds, err);

	return r == 0 ? drop_capabilities(err) : r;
}

int sandbox_enter(const int *room_fds, uint64_t max_fd, struct err *err)
{
	int r = room_fds ? enter_room(room_fds, err) : 0;

	if (r == 0)
		r = limit(max_fd, err);
	if (r == 0)
		r = drop_capabilities(err);
	if (r != 0)
		return r;
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, errno, "cannot give up privileges");
	return filter_calls(err);
}
