/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A probe in the place of the wire process: whatever it tries beyond its list kills it. */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/sandbox.h"
#include "tests/unit/sanitized.h"

/* One attempt: a bare system call, so that no library stands between. */
struct attempt {
	const char *name;
	long number;
	long arguments[6];
};

static char path[] = "/etc/passwd";

#define P(pointer) ((long)(uintptr_t)(pointer))

static const struct attempt attempts[] = {
	{ "open a file", SYS_openat, { AT_FDCWD, P(path), O_RDONLY } },
	{ "open a file the old way", SYS_open, { P(path), O_RDONLY } },
	{ "open by handle", SYS_open_by_handle_at, { AT_FDCWD, 0, 0 } },
	{ "stat a file", SYS_newfstatat, { AT_FDCWD, P(path), 0, 0 } },
	{ "make a folder", SYS_mkdirat, { AT_FDCWD, P(path), 0700 } },
	{ "remove a file", SYS_unlinkat, { AT_FDCWD, P(path), 0 } },
	{ "rename a file", SYS_renameat2, { AT_FDCWD, P(path), AT_FDCWD, P(path), 0 } },
	{ "change a mode", SYS_fchmodat, { AT_FDCWD, P(path), 0777 } },
	{ "change an owner", SYS_fchownat, { AT_FDCWD, P(path), 0, 0, 0 } },
	{ "make a socket", SYS_socket, { AF_INET, SOCK_STREAM, 0 } },
	{ "make a socket pair", SYS_socketpair, { AF_UNIX, SOCK_STREAM, 0, 0 } },
	{ "connect", SYS_connect, { 0, 0, 0 } },
	{ "bind", SYS_bind, { 0, 0, 0 } },
	{ "listen", SYS_listen, { 0, 1 } },
	{ "accept", SYS_accept4, { 0, 0, 0, 0 } },
	{ "set a socket option", SYS_setsockopt, { 0, SOL_SOCKET, SO_DEBUG, 0, 0 } },
	{ "make a pipe", SYS_pipe2, { 0, 0 } },
	{ "fork", SYS_fork, { 0 } },
	{ "vfork by clone", SYS_clone, { CLONE_VM | CLONE_VFORK | SIGCHLD, 0 } },
	{ "clone3", SYS_clone3, { 0, 0 } },
	{ "execute", SYS_execve, { P(path), 0, 0 } },
	{ "execute by descriptor", SYS_execveat, { 0, P(path), 0, 0, 0 } },
	{ "executable memory", SYS_mmap, { 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANON, -1 } },
	{ "make memory executable", SYS_mprotect, { 0, 4096, PROT_EXEC } },
	{ "executable by key", SYS_pkey_mprotect, { 0, 4096, PROT_EXEC, -1 } },
	{ "a file of memory", SYS_memfd_create, { P(path), 0 } },
	{ "trace", SYS_ptrace, { PTRACE_TRACEME, 0, 0, 0 } },
	{ "read another's memory", SYS_process_vm_readv, { 1, 0, 0, 0, 0, 0 } },
	{ "kill", SYS_kill, { 1, 0 } },
	{ "kill a thread", SYS_tgkill, { 1, 1, 0 } },
	{ "hold a process", SYS_pidfd_open, { 1, 0 } },
	{ "take a descriptor", SYS_pidfd_getfd, { 0, 0, 0 } },
	{ "make namespaces", SYS_unshare, { CLONE_NEWUSER } },
	{ "enter a namespace", SYS_setns, { 0, 0 } },
	{ "mount", SYS_mount, { P(path), P(path), 0, MS_BIND, 0 } },
	{ "change the root", SYS_chroot, { P(path) } },
	{ "change the folder", SYS_chdir, { P(path) } },
	{ "ioctl", SYS_ioctl, { 0, TIOCSTI, P(path) } },
	{ "duplicate", SYS_dup, { 0 } },
	{ "duplicate by fcntl", SYS_fcntl, { 0, F_DUPFD, 10 } },
	{ "a program of the kernel", SYS_bpf, { 0, 0, 0 } },
	{ "a ring of requests", SYS_io_uring_setup, { 1, 0 } },
	{ "keys of the kernel", SYS_keyctl, { 0, 0, 0, 0, 0 } },
	{ "performance counters", SYS_perf_event_open, { 0, 0, 0, 0, 0 } },
	{ "become another", SYS_setuid, { 0 } },
	{ "raise a limit", SYS_prlimit64, { 0, RLIMIT_NOFILE, 0, 0 } },
	{ "another signal handler", SYS_rt_sigaction, { SIGSYS, 0, 0, 8 } },
	{ "prctl", SYS_prctl, { PR_SET_DUMPABLE, 1, 0, 0, 0 } },
};

static int status_of(pid_t pid)
{
	int status = 0;

	cr_assert_eq(waitpid(pid, &status, 0), pid);
	return status;
}

ParameterizedTestParameters(sandbox, probe)
{
	return cr_make_param_array(const struct attempt, (void *)(uintptr_t)attempts,
				   sizeof(attempts) / sizeof(attempts[0]));
}

ParameterizedTest(const struct attempt *a, sandbox, probe)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (sandbox_enter(NULL, 64, NULL) != 0)
			_exit(77);
		syscall(a->number, a->arguments[0], a->arguments[1], a->arguments[2], a->arguments[3],
			a->arguments[4], a->arguments[5]);
		_exit(1);
	}
	status = status_of(pid);
	cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s: status %#x", a->name,
		  (unsigned int)status);
}

Test(sandbox, what_it_needs_still_works)
{
	int pipes[2], status;
	pid_t pid;

#ifdef SANITIZED
	cr_skip_test("a sanitizer does not live in the sandbox");
#endif
	cr_assert_eq(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		char byte = 0;
		void *memory;

		if (sandbox_enter(NULL, 64, NULL) != 0 || write(pipes[1], "x", 1) != 1 ||
		    read(pipes[0], &byte, 1) != 1 || byte != 'x')
			_exit(1);
		memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
		_exit(memory == MAP_FAILED ? 2 : 0);
	}
	status = status_of(pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned int)status);
}

/* In the room there is no file and no way to add one; made before the filter, so that it can look. */
Test(sandbox, the_room_is_empty)
{
	int room[SANDBOX_ROOM_FDS], status;
	struct err err = { 0 };
	pid_t pid;

#ifdef SANITIZED
	cr_skip_test("a sanitizer does not live in the sandbox");
#endif
	if (sandbox_room(room, &err) != 0)
		cr_skip_test("no user namespaces here: %s", err.text);
	pid = fork();
	if (pid == 0) {
		for (int i = 0; i < SANDBOX_ROOM_FDS; i++) {
			if (setns(room[i], 0) != 0)
				_exit(10 + i);
		}
		if (access("/etc", F_OK) == 0 || access("/proc", F_OK) == 0)
			_exit(1);
		if (mkdir("/x", 0700) == 0 || errno != EROFS)
			_exit(2);
		_exit(0);
	}
	status = status_of(pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned int)status);
	pid = fork();
	if (pid == 0)
		_exit(sandbox_enter(room, 64, NULL) == 0 ? 0 : 1);
	status = status_of(pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", (unsigned int)status);
}
