/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/integration/break_out.h"

/* How many findings are printed. */
#define SHOWN 20

static int found;

static bool has_name(const char *pid, const char *wanted)
{
	char path[300], name[32];
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%s/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, name, sizeof(name));
	close(fd);
	return n > 0 && (size_t)n == strlen(wanted) + 1 && memcmp(name, wanted, (size_t)n - 1) == 0;
}

/* Its like look at the same things, and hold them. */
static bool is_spy(const char *pid)
{
	return has_name(pid, "break-out");
}

static void finding(const char *pid, const char *what, const char *detail)
{
	/* Looked at once more: it may have become one since, by its exec. */
	if (is_spy(pid))
		return;
	if (found++ < SHOWN)
		printf("%s of %s: %s\n", what, pid, detail);
}

/* Its console is a terminal of the host that was made for it; its init may be the one lent to it. */
static bool is_lent(const char *pid, const char *name, const char *target, const struct stat *st)
{
	char path[64];
	struct stat console;
	int fd;

	if (stat("/dev/console", &console) == 0 && console.st_rdev == st->st_rdev &&
	    console.st_ino == st->st_ino)
		return true;
	if (strcmp(pid, "1") != 0 || strcmp(name, "exe") != 0 || strcmp(target, "/") != 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%s/exe", pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 && (errno == EACCES || errno == EROFS);
}

/* A path that the kernel shows is the guest's when it leads to the same file from the guest's root. */
static void check_link(const char *pid, const char *name)
{
	char path[600], target[4096];
	struct stat seen, own;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%s/%s", pid, name);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return;
	target[n] = '\0';
	if (stat(path, &seen) < 0 || is_lent(pid, name, target, &seen))
		return;
	if (target[0] == '/' && strstr(target, " (deleted)") == NULL &&
	    (stat(target, &own) < 0 || own.st_dev != seen.st_dev || own.st_ino != seen.st_ino) &&
	    readlink(path, target, sizeof(target) - 1) == n) /* it is still the same process */
		finding(pid, name, target);
}

/* Whoever's program it is: this root must not be able to write it. */
static void check_program(const char *pid)
{
	char path[300];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/exe", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	/* An owner without a number here is the host's root. */
	if (fstat(fd, &st) == 0 && st.st_uid == 65534 && !is_lent(pid, "exe", "/", &st))
		finding(pid, "exe", "a program of the host can be opened");
	close(fd);
}

static void check_environment(const char *pid)
{
	char path[300], text[8192];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%s/environ", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);
	close(fd);
	for (ssize_t i = 0; i < n; i++)
		text[i] = text[i] ? text[i] : ' ';
	text[n < 0 ? 0 : n] = '\0';
	if (strstr(text, "VM2_TEMPLATE_TREE") || strstr(text, "VM2_BUILD") || strstr(text, "CRITERION"))
		finding(pid, "environ", text);
}

static void check_memory(const char *pid)
{
	char path[300], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "vm2-session") || strstr(line, "vm2-guest"))
			finding(pid, "maps", line);
	if (f)
		fclose(f);
}

static void check_descriptors(const char *pid)
{
	char path[300], name[270];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(name, sizeof(name), "fd/%s", e->d_name);
		check_link(pid, name);
	}
	if (dir)
		closedir(dir);
}

static void check_process(const char *pid)
{
	if (is_spy(pid))
		return;
	check_link(pid, "root");
	check_link(pid, "cwd");
	check_link(pid, "exe");
	check_program(pid);
	check_environment(pid);
	check_memory(pid);
	check_descriptors(pid);
}

int spy(const char *end)
{
	char self[16];
	struct dirent *e;
	long rounds = 0;
	DIR *proc = opendir("/proc");

	snprintf(self, sizeof(self), "%d", getpid());
	while (proc && access(end, F_OK) < 0) {
		rewinddir(proc);
		rounds++;
		while ((e = readdir(proc)))
			if (isdigit((unsigned char)e->d_name[0]) && strcmp(e->d_name, self) != 0)
				check_process(e->d_name);
	}
	printf("%ld rounds, %d findings\n", rounds, found);
	return found ? 1 : 0;
}

/* --- who is held --- */

int hold(char *const names[])
{
	DIR *proc = opendir("/proc");
	struct dirent *e;

	if (!proc || fork() != 0)
		return proc ? 0 : 1;
	setsid();
	for (int fd = 0; fd < 3; fd++)
		close(fd);
	while (!names[0])
		kill(-1, SIGSTOP);
	for (;; rewinddir(proc))
		while ((e = readdir(proc)))
			for (int i = 0; names[i] && isdigit((unsigned char)e->d_name[0]); i++)
				if (has_name(e->d_name, names[i]))
					kill((pid_t)strtol(e->d_name, NULL, 10), SIGSTOP);
}

/* --- what can be written --- */

static int visit(const char *path, const struct stat *st, int type, struct FTW *at)
{
	int fd;

	(void)at;
	if (type != FTW_F || S_ISLNK(st->st_mode))
		return 0;
	if (strncmp(path, "/proc/", 6) == 0 && isdigit((unsigned char)path[6]))
		return 0;
	fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0) {
		/* What is covered by /dev/null takes everything. */
		if (!S_ISCHR(st->st_mode))
			puts(path);
		close(fd);
	}
	return 0;
}

int walk(void)
{
	int r = nftw("/proc", visit, 64, FTW_PHYS | FTW_MOUNT);

	return r == 0 ? nftw("/sys", visit, 64, FTW_PHYS | FTW_MOUNT) : r;
}

/* --- as an init --- */

int leave(void)
{
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	if (unshare(CLONE_NEWNET) < 0)
		return 1;
	sigwaitinfo(&stop, NULL);
	return 0;
}
