/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reading half of the snapshot: what libnss_vm2.so.2 is made of. libc only, no allocation, no
 * mapping (a file cut short under a mapping would kill the program with SIGBUS: pread(2) answers
 * with a short read instead). A reader lives for one lookup, or in nss_vm2/cache.h for as long as the
 * file is the same; a file replaced during a lookup is not seen.
 *
 * Every byte that a lookup uses is covered by a checksum that the lookup verifies: the head as a
 * whole, and each line that it touches by its own. All lines are left to snapshot_verify(), since that
 * costs time in proportion to the number of tenants.
 */
#ifndef VM2_NSS_SNAPSHOT_READ_H
#define VM2_NSS_SNAPSHOT_READ_H

#include <stdint.h>
#include <sys/stat.h>

#include "nss_vm2/snapshot_format.h"

/* What is read of the file comes in pieces so long, counted from the end of its head. */
#define SNAPSHOT_PAGE 4096

/* The piece of the file that was read last. */
struct snapshot_window {
	uint64_t page; /* and 1; 0: none was */
	unsigned char bytes[SNAPSHOT_PAGE];
};

/* What a process keeps of the file (nss_vm2/cache.h): room for all of it, filled by and by. */
struct snapshot_kept {
	const char *path;
	int fd; /* open while a lookup reads what is not there yet; else -1 */
	unsigned char *pages;
	unsigned char *have;	/* a bit for each page: it was read */
	unsigned char *checked; /* a bit for each line: its sum is right */
	uint32_t left;		/* pages that may still be read */
	size_t len;		/* of the memory that holds all three */
};

/* An open snapshot. Its fields are the reading half's and the cache's own, save home and shell. */
struct snapshot_reader {
	int fd;
	struct stat id; /* of the file */
	struct snapshot_window *window;
	struct snapshot_kept *kept; /* NULL: by the window */
	bool listed;		    /* whether enumerations list the tenants */
	uint32_t head_len;
	uint32_t generation;
	uint32_t count;
	uint32_t buckets[INDEXES];
	/* The first line of each index, of the names inside guests, and how many lines there are. */
	uint32_t index_at[INDEXES];
	uint32_t inside_at;
	uint32_t lines;
	const char *home;  /* of every tenant; lives in head */
	const char *shell; /* the same */
	unsigned char head[HEAD_MAX];
};

/* One tenant's account, checked. */
struct snapshot_record {
	char name[SNAPSHOT_NAME_MAX + 1];
	uint32_t uid;
	uint32_t guest_base; /* 0: none */
	uint32_t inside;     /* its lines of names inside the guest: the first, and how many */
	uint32_t inside_lines;
};

/*
 * Open and check the head; window is where the file is read to, until it is closed. 0, or -errno:
 * what open(2) says; -EBADMSG when it is no regular file or no snapshot of this version, or its length
 * is wrong. The caller calls snapshot_close() after 0.
 */
int snapshot_open(const char *path, struct snapshot_window *window, struct snapshot_reader *r);
void snapshot_close(struct snapshot_reader *r);

/* Whether that is one and the same file, unchanged. */
bool snapshot_same_file(const struct stat *a, const struct stat *b);

/* Look up by name, or by the tenant's own uid. 0, -ENOENT, -EBADMSG for a broken file, or -errno. */
int snapshot_by_name(const struct snapshot_reader *r, const char *name,
		     struct snapshot_record *ret);
int snapshot_by_uid(const struct snapshot_reader *r, uint32_t uid, struct snapshot_record *ret);

/* The tenant whose guest's range holds this host uid. The same results. */
int snapshot_by_guest_uid(const struct snapshot_reader *r, uint32_t uid,
			  struct snapshot_record *ret);

/*
 * The first tenant in order of names that comes after this name ("": the first of all). *place is a
 * hint for the next call, 0 at first: with it a walk does not search; a wrong one does no harm.
 */
int snapshot_after(const struct snapshot_reader *r, const char *name, uint32_t *place,
		   struct snapshot_record *ret);

/* The name of an account inside a tenant's guest. 0, -ENOENT where none is known, -EBADMSG, -errno. */
int snapshot_inside(const struct snapshot_reader *r, const struct snapshot_record *tenant,
		    uint32_t id, char ret[SNAPSHOT_NAME_MAX + 1]);

/* Read the whole file and check all sums. 0, -EBADMSG or -errno. */
int snapshot_verify(const struct snapshot_reader *r);

#endif
