/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The numbers of the snapshot's format, for its two halves only. docs/SNAPSHOT explains them. */
#ifndef VM2_NSS_SNAPSHOT_FORMAT_H
#define VM2_NSS_SNAPSHOT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SNAPSHOT_MAGIC "VM2ACCT\n"
#define SNAPSHOT_VERSION 2

#define SNAPSHOT_NAME_MAX 32	     /* the longest login name, useradd(8) */
#define SNAPSHOT_RANGE 65536	     /* host uids of one guest */
#define SNAPSHOT_STRING_MAX 255	     /* home and shell, each, without NUL */
#define SNAPSHOT_COUNT_MAX (1U << 24) /* accounts; keeps all sums far inside 64 bits */

/* The header: where each field is, in bytes. All numbers are little-endian. */
enum {
	HEAD_MAGIC = 0,
	HEAD_VERSION = 8,
	HEAD_LEN = 12,
	HEAD_TOTAL = 16,
	HEAD_COUNT = 24,
	HEAD_RANGES = 28,
	HEAD_HOME_LEN = 32,
	HEAD_SHELL_LEN = 36,
	HEAD_BODY_SUM = 40,
	HEAD_SUM = 44,
	HEAD_BOUNDS = 48, /* smallest and greatest key of each index */
	HEAD_FLAGS = 72,
	HEAD_STRINGS = 76,
	HEAD_MAX = HEAD_STRINGS + 2 * (SNAPSHOT_STRING_MAX + 1),
};

/* HEAD_FLAGS: enumerations list nobody. Readers pass over bits that they do not know. */
#define FLAG_UNLISTED 1U

/* The indexes, in their order in the file. */
enum { BY_NAME, BY_UID, BY_BASE, INDEXES };

/* A record (one account), and an entry of the three indexes. */
enum {
	RECORD_NAME = 0,
	RECORD_UID = 32,
	RECORD_BASE = 36,
	RECORD_ZERO = 40,
	RECORD_SUM = 44,
	RECORD_SIZE = 48,

	INDEX_KEY = 0,
	INDEX_RECORD = 4,
	INDEX_SUM = 8,
	INDEX_SIZE = 12,
};

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

/* FNV-1a, 32 bits (draft-eastlake-fnv, section 2): finds any change of one byte. */
#define SUM_START 2166136261U

static inline uint32_t sum_add(uint32_t sum, const unsigned char *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum = (sum ^ p[i]) * 16777619U;
	return sum;
}

/* The sum of a record or index entry: its bytes before the sum, and its place in its table. */
static inline uint32_t sum_entry(const unsigned char *p, size_t len, uint32_t place)
{
	unsigned char at[4];

	put_u32(at, place);
	return sum_add(sum_add(SUM_START, at, sizeof(at)), p, len);
}

/*
 * The key of a name in the index by name: FNV-1a, then the last steps of MurmurHash3 (fmix32, public
 * domain), which spread short and similar names evenly over the 32 bits.
 */
static inline uint32_t name_key(const char *name)
{
	uint32_t h = sum_add(SUM_START, (const unsigned char *)name, strlen(name));

	h = (h ^ h >> 16) * 0x85ebca6bU;
	h = (h ^ h >> 13) * 0xc2b2ae35U;
	return h ^ h >> 16;
}

static inline uint32_t sum_head(const unsigned char *head, size_t len)
{
	uint32_t sum = sum_add(SUM_START, head, HEAD_SUM);

	return sum_add(sum, head + HEAD_BOUNDS, len - HEAD_BOUNDS);
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

#endif
