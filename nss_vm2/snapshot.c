/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nss_vm2/snapshot.h"

#include <errno.h>
#include <stdlib.h>

#include "nss_vm2/snapshot_format.h"

/* A number to be sorted, and the place of its record. */
struct entry {
	uint32_t key;
	uint32_t record;
};

static int compare_names(const void *a, const void *b)
{
	const struct snapshot_account *const *x = a;
	const struct snapshot_account *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

static int compare_keys(const void *a, const void *b)
{
	const struct entry *x = a;
	const struct entry *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

static bool account_ok(const struct snapshot_account *a)
{
	return a->name && snapshot_name_ok(a->name, strnlen(a->name, SNAPSHOT_NAME_MAX + 1)) &&
	       snapshot_uid_ok(a->uid) && (!a->guest_base || snapshot_base_ok(a->guest_base));
}

/* A field of passwd(5): absolute, and nothing that would break its line. */
static bool string_ok(const char *s)
{
	return s && s[0] == '/' && strlen(s) <= SNAPSHOT_STRING_MAX && !strpbrk(s, ":\n");
}

static void write_records(unsigned char *p, const struct snapshot_account **sorted, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++, p += RECORD_SIZE) {
		memcpy(p + RECORD_NAME, sorted[i]->name, strlen(sorted[i]->name));
		put_u32(p + RECORD_UID, sorted[i]->uid);
		put_u32(p + RECORD_BASE, sorted[i]->guest_base);
		put_u32(p + RECORD_SUM, sum_entry(p, RECORD_SUM, i));
	}
}

/* Sort the keys and write them; each must be `apart` from the one before it. 0 or -EINVAL. */
static int write_index(unsigned char *p, unsigned char *bounds, struct entry *entries,
		       uint32_t count, uint32_t apart)
{
	qsort(entries, count, sizeof(*entries), compare_keys);
	for (uint32_t i = 0; i < count; i++, p += INDEX_SIZE) {
		if (i > 0 && entries[i].key - entries[i - 1].key < apart)
			return -EINVAL;
		put_u32(p + INDEX_KEY, entries[i].key);
		put_u32(p + INDEX_RECORD, entries[i].record);
		put_u32(p + INDEX_SUM, sum_entry(p, INDEX_SUM, i));
	}
	if (count > 0) {
		put_u32(bounds, entries[0].key);
		put_u32(bounds + 4, entries[count - 1].key);
	}
	return 0;
}

static void write_head(unsigned char *p, size_t head_len, size_t total, uint32_t count,
		       uint32_t ranges, const char *home, const char *shell)
{
	memcpy(p + HEAD_MAGIC, SNAPSHOT_MAGIC, 8);
	put_u32(p + HEAD_VERSION, SNAPSHOT_VERSION);
	put_u32(p + HEAD_LEN, (uint32_t)head_len);
	put_u64(p + HEAD_TOTAL, total);
	put_u32(p + HEAD_COUNT, count);
	put_u32(p + HEAD_RANGES, ranges);
	put_u32(p + HEAD_HOME_LEN, (uint32_t)strlen(home));
	put_u32(p + HEAD_SHELL_LEN, (uint32_t)strlen(shell));
	memcpy(p + HEAD_STRINGS, home, strlen(home));
	memcpy(p + HEAD_STRINGS + strlen(home) + 1, shell, strlen(shell));
	put_u32(p + HEAD_BODY_SUM, sum_add(SUM_START, p + head_len, total - head_len));
	put_u32(p + HEAD_SUM, sum_head(p, head_len));
}

/* Records and indexes after the head. 0, or -EINVAL for what is not unique. */
static int write_body(unsigned char *p, unsigned char *bounds,
		      const struct snapshot_account **sorted, uint32_t count, uint32_t ranges,
		      struct entry *entries)
{
	uint32_t n = 0;
	int r;

	write_records(p, sorted, count);
	p += (size_t)count * RECORD_SIZE;
	for (uint32_t i = 0; i < count; i++)
		entries[i] = (struct entry){ name_key(sorted[i]->name), i };
	write_index(p, bounds, entries, count, 0);
	p += (size_t)count * INDEX_SIZE;
	for (uint32_t i = 0; i < count; i++)
		entries[i] = (struct entry){ sorted[i]->uid, i };
	r = write_index(p, bounds + 8, entries, count, 1);
	if (r < 0)
		return r;
	p += (size_t)count * INDEX_SIZE;
	for (uint32_t i = 0; i < count; i++)
		if (sorted[i]->guest_base)
			entries[n++] = (struct entry){ sorted[i]->guest_base, i };
	return write_index(p, bounds + 16, entries, ranges, SNAPSHOT_RANGE);
}

/* Order the accounts by name. The number of guest ranges, or -EINVAL. */
static int64_t sort_accounts(const struct snapshot_account *accounts, uint32_t count,
			     const struct snapshot_account **sorted)
{
	int64_t ranges = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (!account_ok(&accounts[i]))
			return -EINVAL;
		sorted[i] = &accounts[i];
		ranges += accounts[i].guest_base != 0;
	}
	qsort(sorted, count, sizeof(*sorted), compare_names);
	for (uint32_t i = 1; i < count; i++)
		if (!strcmp(sorted[i - 1]->name, sorted[i]->name))
			return -EINVAL;
	return ranges;
}

int snapshot_encode(const struct snapshot_account *accounts, uint32_t count, const char *home,
		    const char *shell, bool listed, void **ret_data, size_t *ret_len)
{
	const struct snapshot_account **sorted;
	struct entry *entries = NULL;
	unsigned char *data = NULL;
	size_t head_len, total = 0;
	int64_t ranges;
	int r = -ENOMEM;

	if (count > SNAPSHOT_COUNT_MAX || !string_ok(home) || !string_ok(shell))
		return -EINVAL;
	sorted = calloc((size_t)count + 1, sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	ranges = sort_accounts(accounts, count, sorted);
	head_len = HEAD_STRINGS + strlen(home) + strlen(shell) + 2;
	if (ranges < 0) {
		r = (int)ranges;
	} else {
		total = head_len + (size_t)count * (RECORD_SIZE + 2 * INDEX_SIZE) +
			(size_t)ranges * INDEX_SIZE;
		entries = calloc((size_t)count + 1, sizeof(*entries));
		data = calloc(1, total);
		if (entries && data)
			r = write_body(data + head_len, data + HEAD_BOUNDS, sorted, count,
				       (uint32_t)ranges, entries);
	}
	free(sorted);
	free(entries);
	if (r < 0) {
		free(data);
		return r;
	}
	put_u32(data + HEAD_FLAGS, listed ? 0 : FLAG_UNLISTED);
	write_head(data, head_len, total, count, (uint32_t)ranges, home, shell);
	*ret_data = data;
	*ret_len = total;
	return 0;
}
