/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Asks statfs(2) in a guest in ways that stat(1) does not. `disk-asker WHAT...`; prints the number of blocks
 * or the error. Static, since a guest's tree may hold nothing to link with.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void say(const char *what, long r, const struct statfs *fs)
{
	if (r < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %llu\n", what,
		       (unsigned long long)fs->f_blocks * (unsigned long long)fs->f_bsize >> 20);
}

static void ask(const char *what, const char *path)
{
	struct statfs fs;

	say(what, syscall(SYS_statfs, path, &fs), &fs);
}

/* Pointers to nothing, to what cannot be read or written, and a path that ends nowhere. */
static void bad(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *two =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct statfs fs;

	mprotect(two + page, page, PROT_NONE);
	memset(two, 'x', page);
	ask("no path", NULL);
	ask("no end", two + page - 3);
	memcpy(two + page - 2, "/", 2);
	ask("at the edge", two + page - 2);
	say("nowhere to", syscall(SYS_statfs, "/", NULL), &fs);
	say("half of it", syscall(SYS_statfs, "/", two + page - sizeof(fs) / 2), &fs);
	mprotect(two, page, PROT_READ);
	say("read-only", syscall(SYS_statfs, "/", two), &fs);
	say("kernel's", syscall(SYS_statfs, "/", (void *)(uintptr_t)0xffffffff81000000), &fs);
	ask("empty", "");
	say("no file", syscall(SYS_fstatfs, -1, &fs), &fs);
}

/* Where a lookup waits, if it does; what is no file; and links without end. */
static void odd(void)
{
	struct statfs fs;
	int pair[2], fd;

	mkfifo("/root/fifo", 0600);
	ask("fifo", "/root/fifo");
	if (symlink("loop", "/root/loop") == 0)
		ask("loop", "/root/loop");
	if (symlink("/", "/root/up") == 0)
		ask("link", "/root/up/root/up/etc");
	ask("magic", "/proc/self/cwd");
	ask("device", "/dev/null");
	if (pipe(pair) == 0)
		say("pipe", syscall(SYS_fstatfs, pair[0], &fs), &fs);
	fd = open("/root/gone", O_RDWR | O_CREAT, 0600);
	unlink("/root/gone");
	say("deleted", syscall(SYS_fstatfs, fd, &fs), &fs);
	fd = open("/root", O_PATH);
	say("held", syscall(SYS_fstatfs, fd, &fs), &fs);
	if (chdir("/usr/bin") == 0)
		ask("beside", "../lib");
	if (chdir("/root") == 0)
		ask("beyond", "../../../../etc/../root/up/usr");
	if (mkdir("/root/cell", 0700) == 0 && chroot("/root/cell") == 0 && chdir("/") == 0) {
		mkdir("/in", 0700);
		ask("chroot", "/../../in");
		ask("chroot up", "../in");
		ask("chroot out", "/etc");
	}
}

/* As fast as can be, for a second: how many, in thousands, rounded. */
static void spin(void)
{
	struct timespec begin, now;
	struct statfs fs;
	long n = 0;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		syscall(SYS_statfs, "/", &fs);
		n++;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 <
		 3000);
	printf("%ld\n", n);
}

/* Ask, and be killed while it is under way, again and again. */
static void die(void)
{
	for (int i = 0; i < 300; i++) {
		struct timespec wait = { .tv_nsec = i * 1000 };
		pid_t pid = fork();
		struct statfs fs;

		if (pid == 0)
			for (;;)
				syscall(SYS_statfs, "/usr", &fs);
		nanosleep(&wait, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	ask("after", "/");
}

/* What of the host's is open here: a listener would be. */
static void held(void)
{
	char path[32], target[256];

	for (int fd = 3; fd < 256; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t n = readlink(path, target, sizeof(target) - 1);

		if (n > 0)
			printf("%d: %.*s\n", fd, (int)n, target);
	}
}

#ifdef __x86_64__
/*
 * As a program of 32 bits calls: by its numbers, of registers the lower half (above it there is more here),
 * and with its own layouts (provision/guest/abi.h).
 */
static long call32(long nr, uint64_t a, uint64_t b, uint64_t c)
{
	const uint64_t more = UINT64_C(0xdead) << 32;
	long r;

	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(nr), "b"(a | more), "c"(b | more), "d"(c | more)
			 : "r8", "r9", "r10", "r11", "memory", "cc");
	if ((int)r >= 0)
		return 0;
	errno = -(int)r;
	return -1;
}

/* All of it is what a program of 64 bits is told, and nothing is written past its end. */
static void say32(const char *what, long r, const char *path, const void *answer, bool wide)
{
	const uint32_t *words = answer, *tail = words + (wide ? 12 : 7);
	const struct statfs fs = { .f_bsize = words[1],
				   .f_blocks = wide ? words[2] | (uint64_t)words[3] << 32 :
						      words[2] };
	struct statfs own;

	say(what, r, &fs);
	if (r == 0 && (syscall(SYS_statfs, path, &own) < 0 || words[0] != own.f_type ||
		       memcmp(tail, &own.f_fsid, 8) || tail[2] != own.f_namelen ||
		       tail[3] != own.f_frsize || tail[4] != own.f_flags ||
		       words[wide ? 4 : 3] != own.f_bfree || words[wide ? 6 : 4] != own.f_bavail ||
		       words[wide ? 8 : 5] != own.f_files || words[wide ? 10 : 6] != own.f_ffree))
		printf("%s: differs\n", what);
	if (words[wide ? 21 : 16] != UINT32_MAX)
		printf("%s: beyond\n", what);
}

static void ask32(void)
{
	char *low = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	uint64_t path = (uint64_t)(uintptr_t)low, at = path + 4096;
	void *answer = low + 4096;
	int fd = open("/usr", O_PATH);

	strcpy(low, "/usr");
#define ASK32(what, wide, ...)     \
	memset(answer, 0xff, 256); \
	say32(what, call32(__VA_ARGS__), low, answer, wide)

	ASK32("statfs64", true, 268, path, 84, at);
	ASK32("fstatfs64", true, 269, (unsigned int)fd, 84, at);
	ASK32("statfs", false, 99, path, at, 0);
	ASK32("fstatfs", false, 100, (unsigned int)fd, at, 0);
	ASK32("other size", true, 268, path, 88, at);
	ASK32("nowhere", true, 268, path, 84, 16);
	ASK32("at the edge", true, 268, path, 84, path + 8192 - 80);
	strcpy(low, "/dev/shm");
	ASK32("tmpfs", true, 268, path, 84, at);
	strcpy(low, "/nothing");
	ASK32("no file", true, 268, path, 84, at);
}
#else
static void ask32(void)
{
}
#endif

/* Have a filter of the caller's own say this of a call. What seccomp(2) returns. */
static long filter_call(uint32_t call, uint32_t verdict, unsigned int flags)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), /* struct seccomp_data: nr */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, verdict),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

/* What becomes of statfs under a tracer that wants to see it first (proot(1), strace --seccomp-bpf). */
static void trace(void)
{
	int status = 0, seen = 0;
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		if (filter_call(SYS_statfs, SECCOMP_RET_TRACE, 0) == 0)
			ask("traced", "/");
		_exit(0);
	}
	waitpid(pid, &status, 0);
	ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_EXITKILL | PTRACE_O_TRACESECCOMP);
	while (WIFSTOPPED(status)) {
		seen += status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8);
		ptrace(PTRACE_CONT, pid, NULL, NULL);
		if (waitpid(pid, &status, 0) < 0)
			break;
	}
	printf("seen: %d\n", seen);
}

/* Filters of the program's own: each adds to what there is. */
static void filters(void)
{
	long listener =
		filter_call(SYS_getppid, SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
	struct statfs fs = { 0 };

	say("listener", listener, &fs);
	close((int)listener);
	say("parent is there", syscall(SYS_getppid) < 0 ? -1 : 0, &fs);
	trace();
	say("nobody's", filter_call(SYS_getppid, SECCOMP_RET_USER_NOTIF, 0), &fs);
	say("parent", syscall(SYS_getppid), &fs);
	ask("still", "/");
	say("refused", filter_call(SYS_statfs, SECCOMP_RET_ERRNO | EPERM, 0), &fs);
	ask("own", "/");
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 2)
		return 2;
	if (!strcmp(argv[1], "bad"))
		bad();
	else if (!strcmp(argv[1], "odd"))
		odd();
	else if (!strcmp(argv[1], "spin"))
		spin();
	else if (!strcmp(argv[1], "die"))
		die();
	else if (!strcmp(argv[1], "held"))
		held();
	else if (!strcmp(argv[1], "32"))
		ask32();
	else if (!strcmp(argv[1], "filters"))
		filters();
	else
		for (int i = 1; i < argc; i++)
			ask(argv[i], argv[i]);
	return 0;
}
