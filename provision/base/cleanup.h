/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Owners that let go by themselves when their scope ends, and the words to hand ownership on.
 * A variable with one of these must be initialised where it is declared.
 */
#ifndef VM2_BASE_CLEANUP_H
#define VM2_BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* CLEANUP(fn): call fn(&variable) at the end of the scope. */
#define CLEANUP(fn) __attribute__((cleanup(fn)))

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

/* Close a descriptor, keeping errno; -1 is nothing. Always returns -1: `fd = fd_close(fd)`. */
static inline int fd_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
	return -1;
}

static inline void cleanup_close(int *fd)
{
	fd_close(*fd);
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup_closedir(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define CLEANUP_FREE CLEANUP(cleanup_free)
#define CLEANUP_CLOSE CLEANUP(cleanup_close)
#define CLEANUP_FCLOSE CLEANUP(cleanup_fclose)
#define CLEANUP_CLOSEDIR CLEANUP(cleanup_closedir)

/* Hand a descriptor on: the variable becomes -1. */
static inline int steal_fd(int *fd)
{
	int got = *fd;

	*fd = -1;
	return got;
}

/* Hand a pointer on: the variable becomes NULL. */
#define steal_ptr(p)                          \
	({                                    \
		__typeof__(*(p)) got_ = *(p); \
		*(p) = NULL;                  \
		got_;                         \
	})

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
