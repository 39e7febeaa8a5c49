/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/supervisors.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"
#include "provision/guest/run.h"
#include "provision/guest/steps.h"

/* All words of args.c, each of which may be a path. */
#define WORDS_MAX 65536
#define END_MS 10000

static bool runs_our_program(const char *pid)
{
	CLEANUP_FREE char *link = xasprintf("/proc/%s/exe", pid);
	CLEANUP_FREE char *program = xasprintf("%s/vm2-guest", guest_libexecdir);
	char path[4096];
	ssize_t n = readlink(link, path, sizeof(path) - 1);

	path[n < 0 ? 0 : n] = '\0';
	/* Or vm2-guest-keep; an upgrade leaves running ones with "... (deleted)". */
	return str_starts(path, program);
}

/* Its child, on the way to become init, is the same program with the same words. */
static bool is_of_the_host(const char *pid)
{
	CLEANUP_FREE char *path = xasprintf("/proc/%s/ns/user", pid);
	struct stat its, own;

	return stat(path, &its) == 0 && stat("/proc/self/ns/user", &own) == 0 &&
	       its.st_ino == own.st_ino;
}

static bool has_word(const char *words, size_t len, const char *key, const char *value)
{
	CLEANUP_FREE char *word = xasprintf("%s=%s", key, value);

	for (const char *p = words; p < words + len; p += strlen(p) + 1)
		if (!strcmp(p, word))
			return true;
	return false;
}

/* The name in its words, where they are of this instance; else NULL. */
static const char *name_in(const struct config *config, const char *words, size_t len)
{
	const char *name = words + strlen(words) + 1;

	return name < words + len && name_valid(name) &&
			       has_word(words, len, "instance", config->instance) &&
			       has_word(words, len, "run", config->run) ?
		       name :
		       NULL;
}

static void look_at(const struct config *config, const char *entry, char *words,
		    void (*fn)(void *data, const struct supervisor_found *found), void *data)
{
	struct supervisor_found found = { 0 };
	CLEANUP_FREE char *path = NULL;
	uint64_t pid;
	ssize_t n;

	if (parse_u64(entry, INT32_MAX, &pid) < 0 || !runs_our_program(entry) ||
	    !is_of_the_host(entry))
		return;
	found.pid = (pid_t)pid;
	found.start = process_start_time(found.pid);
	path = xasprintf("/proc/%s/cmdline", entry);
	n = fd_read_path(AT_FDCWD, path, words, WORDS_MAX);
	found.name = n > 0 ? name_in(config, words, (size_t)n) : NULL;
	if (found.start && found.name)
		fn(data, &found);
}

void supervisors_each(const struct config *config,
		      void (*fn)(void *data, const struct supervisor_found *found), void *data)
{
	CLEANUP_CLOSEDIR DIR *dir = opendir("/proc");
	CLEANUP_FREE char *words = xcalloc(1, WORDS_MAX);
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		look_at(config, e->d_name, words, fn, data);
}

bool supervisors_stray(const struct config *config, const struct supervisor_found *found)
{
	CLEANUP_CLOSE int dirfd = run_open(config, found->name, false);

	return process_lives(found->pid, found->start) &&
	       (dirfd < 0 || !run_held_by(dirfd, found->pid, found->start));
}

int supervisors_end(const struct supervisor_found *found)
{
	CLEANUP_CLOSE int pidfd = process_open(found->pid, found->start);
	int r;

	if (pidfd < 0)
		return 0;
	r = process_signal(pidfd, SIGKILL);
	return r < 0 ? r : process_wait(pidfd, END_MS);
}
