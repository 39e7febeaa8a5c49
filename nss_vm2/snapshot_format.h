/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The numbers of the snapshot's format, for its two halves only. docs/SNAPSHOT explains them. */
#ifndef VM2_NSS_SNAPSHOT_FORMAT_H
#define VM2_NSS_SNAPSHOT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SNAPSHOT_MAGIC "VM2ACCT\n"
#define SNAPSHOT_VERSION 3

#define SNAPSHOT_NAME_MAX 32	     /* the longest login name, useradd(8) */
#define SNAPSHOT_RANGE 65536	     /* host uids of one guest */
#define SNAPSHOT_STRING_MAX 255	     /* home and shell, each, without NUL */
#define SNAPSHOT_COUNT_MAX (1U << 24) /* accounts; keeps all sums far inside 64 bits */

/* All that follows the head are lines of one length (a processor's cache line), each with its sum. */
#define LINE_SIZE 64

/* The header: where each field is, in bytes. All numbers are little-endian. */
enum {
	HEAD_MAGIC = 0,
	HEAD_VERSION = 8,
	HEAD_LEN = 12,
	HEAD_TOTAL = 16,
	HEAD_COUNT = 24,
	HEAD_BUCKETS = 28, /* of each of the three indexes */
	HEAD_INSIDE = 40,  /* lines with the names of accounts inside guests */
	HEAD_HOME_LEN = 44,
	HEAD_SHELL_LEN = 48,
	HEAD_FLAGS = 52,
	HEAD_GENERATION = 56,
	HEAD_SUM = 60,
	HEAD_STRINGS = 64,
	/* With the strings at their longest, in whole lines. */
	HEAD_MAX = HEAD_STRINGS + 2 * (SNAPSHOT_STRING_MAX + 1),
};

/* HEAD_FLAGS: enumerations list nobody. Readers pass over bits that they do not know. */
#define FLAG_UNLISTED 1U

/* The indexes, in their order in the file. */
enum { BY_NAME, BY_UID, BY_BASE, INDEXES };

/* The kinds of lines: a record (one account), a bucket of an index, names inside a guest. */
enum {
	RECORD_NAME = 0,
	RECORD_UID = 32,
	RECORD_BASE = 36,
	RECORD_INSIDE = 40,	  /* the first of its lines of names, counted from the first of all */
	RECORD_INSIDE_LINES = 44, /* 0: none */

	BUCKET_ENTRY = 8, /* 4 bytes of key, 4 of the number of the record */
	BUCKET_MOST = 7,
	BUCKET_COUNT = 56,

	INSIDE_ID = 0, /* 2 bytes; then one with the name's length, 0 after the last; then the name */
	INSIDE_LEN = 2,
	INSIDE_NAME = 3,

	LINE_SUM = 60,
};

/* What one guest's list may have at most. */
#define INSIDE_LINES_MAX 64

static inline uint32_t get_u32(const unsigned char *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t get_u64(const unsigned char *p)
{
	return get_u32(p) | (uint64_t)get_u32(p + 4) << 32;
}

static inline void put_u32(unsigned char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (unsigned char)(v >> 8 * i);
}

static inline void put_u64(unsigned char *p, uint64_t v)
{
	put_u32(p, (uint32_t)v);
	put_u32(p + 4, (uint32_t)(v >> 32));
}

/* The last steps of MurmurHash3 (fmix32, public domain): one to one, and spreads near numbers. */
static inline uint32_t spread(uint32_t h)
{
	h = (h ^ h >> 16) * 0x85ebca6bU;
	h = (h ^ h >> 13) * 0xc2b2ae35U;
	return h ^ h >> 16;
}

/*
 * MurmurHash3_x86_32 (public domain) of len bytes, a multiple of four. Each step is one to one, so
 * that any change within four bytes in a row is found for certain.
 */
static inline uint32_t sum_add(uint32_t h, const unsigned char *p, size_t len)
{
	for (size_t i = 0; i < len; i += 4) {
		uint32_t k = get_u32(p + i) * 0xcc9e2d51U;

		h ^= (k << 15 | k >> 17) * 0x1b873593U;
		h = (h << 13 | h >> 19) * 5 + 0xe6546b64U;
	}
	return spread(h ^ (uint32_t)len);
}

/* The sum of a line: lines of another place or of another file do not pass for it. */
static inline uint32_t sum_line(const unsigned char *p, uint32_t generation, uint32_t line)
{
	return sum_add(generation ^ line, p, LINE_SUM);
}

static inline uint32_t sum_head(const unsigned char *head, size_t len)
{
	return sum_add(sum_add(0, head, HEAD_SUM), head + HEAD_STRINGS, len - HEAD_STRINGS);
}

/* FNV-1a, 32 bits (draft-eastlake-fnv, section 2), spread. */
static inline uint32_t key_of_name(const char *name)
{
	uint32_t h = 2166136261U;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619U;
	return spread(h);
}

static inline uint32_t key_of_uid(uint32_t uid)
{
	return spread(uid);
}

/* Ranges do not overlap, so that no two begin in the same 65,536. */
static inline uint32_t key_of_base(uint32_t base)
{
	return spread(base / SNAPSHOT_RANGE);
}

/* The bucket that a key belongs to; where that is full, one of those after it, round the end. */
static inline uint32_t first_bucket(uint32_t key, uint32_t buckets)
{
	return (uint32_t)((uint64_t)key * buckets >> 32);
}

/* A tenant's name: [a-z] then [a-z0-9-], 1 to 32 bytes, no '-' at the end. */
static inline bool snapshot_name_ok(const char *s, size_t len)
{
	if (len < 1 || len > SNAPSHOT_NAME_MAX || s[0] < 'a' || s[0] > 'z' || s[len - 1] == '-')
		return false;
	for (size_t i = 1; i < len; i++)
		if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '-'))
			return false;
	return true;
}

/*
 * A host uid that the snapshot may give to a tenant or a guest: nothing below 1000 (the system's
 * own, Debian Policy 9.2.2), nor (uid_t)-1, nor 65534 and 65535 (nobody; the 16-bit -1).
 */
static inline bool snapshot_uid_ok(uint32_t uid)
{
	return uid >= 1000 && uid != 65534 && uid != 65535 && uid != UINT32_MAX;
}

/* A guest's range: above the 16-bit uids, and not over the end. */
static inline bool snapshot_base_ok(uint32_t base)
{
	return base >= SNAPSHOT_RANGE && base < UINT32_MAX - SNAPSHOT_RANGE;
}

/* The name of an account inside a guest, as far as it is repeated outside. */
static inline bool snapshot_inside_ok(const char *s, size_t len)
{
	if (len < 1 || len > SNAPSHOT_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++)
		if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
		      (s[i] >= '0' && s[i] <= '9') || s[i] == '-' || s[i] == '_' || s[i] == '.'))
			return false;
	return true;
}

#endif
