/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nss_vm2/snapshot_read.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* How much of a table is read at once when a search has come close: fewer system calls. */
#define WINDOW_BYTES 1536

/* One of the three sorted tables, and the piece of it that was read last. */
struct table {
	const struct snapshot_reader *reader;
	uint64_t at;
	uint32_t count;
	uint32_t size;
	uint32_t first; /* the window: entries first .. first + have - 1 */
	uint32_t have;
	unsigned char window[WINDOW_BYTES];
};

/* Exactly len bytes; a file that ends before is a broken one. */
static int read_exact(int fd, void *buf, size_t len, uint64_t at)
{
	ssize_t n;

	do
		n = pread(fd, buf, len, (off_t)at);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EBADMSG;
}

static void table_init(struct table *t, const struct snapshot_reader *r, uint64_t at,
		       uint32_t count, uint32_t size)
{
	t->reader = r;
	t->at = at;
	t->count = count;
	t->size = size;
	t->first = 0;
	t->have = 0;
}

/* Entry i with its sum checked. lo and hi: what the search may still want, read in one go if small. */
static int table_get(struct table *t, uint32_t lo, uint32_t hi, uint32_t i,
		     const unsigned char **ret)
{
	const unsigned char *p;
	int r;

	if (i >= t->count)
		return -EBADMSG;
	if (i < t->first || i - t->first >= t->have) {
		bool close_by = hi - lo <= WINDOW_BYTES / t->size;

		t->first = close_by ? lo : i;
		t->have = close_by ? hi - lo : 1;
		r = read_exact(t->reader->fd, t->window, (size_t)t->have * t->size,
			       t->at + (uint64_t)t->first * t->size);
		if (r < 0)
			return r;
	}
	p = t->window + (size_t)(i - t->first) * t->size;
	if (get_u32(p + t->size - 4) != sum_entry(p, t->size - 4, i))
		return -EBADMSG;
	*ret = p;
	return 0;
}

/* A record's bytes as a record, if they make sense. */
static int decode_record(const unsigned char *p, struct snapshot_record *ret)
{
	size_t len = strnlen((const char *)p + RECORD_NAME, SNAPSHOT_NAME_MAX);
	uint32_t uid = get_u32(p + RECORD_UID);
	uint32_t base = get_u32(p + RECORD_BASE);

	if (!snapshot_name_ok((const char *)p + RECORD_NAME, len) || !snapshot_uid_ok(uid) ||
	    (base && !snapshot_base_ok(base)))
		return -EBADMSG;
	memcpy(ret->name, p + RECORD_NAME, len);
	ret->name[len] = 0;
	ret->uid = uid;
	ret->guest_base = base;
	return 0;
}

static int read_record(const struct snapshot_reader *r, uint32_t i, struct snapshot_record *ret)
{
	const unsigned char *p;
	struct table t;
	int e;

	table_init(&t, r, r->records_at, r->count, RECORD_SIZE);
	e = table_get(&t, i, i + 1, i, &p);
	return e < 0 ? e : decode_record(p, ret);
}

int snapshot_after(const struct snapshot_reader *r, const char *name, struct snapshot_record *ret)
{
	uint32_t lo = 0, hi = r->count, mid;
	struct snapshot_record record, best;
	const unsigned char *p;
	bool found = false;
	struct table t;
	int e;

	table_init(&t, r, r->records_at, r->count, RECORD_SIZE);
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		e = table_get(&t, lo, hi, mid, &p);
		if (e == 0)
			e = decode_record(p, &record);
		if (e < 0)
			return e;
		if (strcmp(record.name, name) > 0) {
			best = record;
			found = true;
			hi = mid;
		} else {
			lo = mid + 1;
		}
	}
	if (!found)
		return -ENOENT;
	*ret = best;
	return 0;
}

int snapshot_by_name(const struct snapshot_reader *r, const char *name,
		     struct snapshot_record *ret)
{
	uint32_t lo = 0, hi = r->count, mid;
	struct snapshot_record record;
	const unsigned char *p;
	struct table t;
	int e, order;

	if (!snapshot_name_ok(name, strnlen(name, SNAPSHOT_NAME_MAX + 1)))
		return -ENOENT;
	table_init(&t, r, r->records_at, r->count, RECORD_SIZE);
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		e = table_get(&t, lo, hi, mid, &p);
		if (e == 0)
			e = decode_record(p, &record);
		if (e < 0)
			return e;
		order = strcmp(name, record.name);
		if (order == 0) {
			*ret = record;
			return 0;
		}
		if (order < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return -ENOENT;
}

/* The entry with the greatest key that is not above key: its key and record number. */
static int index_floor(const struct snapshot_reader *r, uint64_t at, uint32_t count, uint32_t key,
		       uint32_t *ret_key, uint32_t *ret_record)
{
	uint32_t lo = 0, hi = count, mid, found_key = 0, found_record = 0;
	const unsigned char *p;
	bool found = false;
	struct table t;
	int e;

	table_init(&t, r, at, count, INDEX_SIZE);
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		e = table_get(&t, lo, hi, mid, &p);
		if (e < 0)
			return e;
		if (get_u32(p + INDEX_KEY) > key) {
			hi = mid;
			continue;
		}
		found_key = get_u32(p + INDEX_KEY);
		found_record = get_u32(p + INDEX_RECORD);
		found = true;
		lo = mid + 1;
	}
	if (!found)
		return -ENOENT;
	*ret_key = found_key;
	*ret_record = found_record;
	return 0;
}

int snapshot_by_uid(const struct snapshot_reader *r, uint32_t uid, struct snapshot_record *ret)
{
	struct snapshot_record record;
	uint32_t key, number;
	int e;

	e = index_floor(r, r->by_uid_at, r->count, uid, &key, &number);
	if (e < 0)
		return e;
	if (key != uid)
		return -ENOENT;
	e = read_record(r, number, &record);
	if (e < 0)
		return e;
	if (record.uid != uid)
		return -EBADMSG;
	*ret = record;
	return 0;
}

int snapshot_by_guest_uid(const struct snapshot_reader *r, uint32_t uid,
			  struct snapshot_record *ret)
{
	struct snapshot_record record;
	uint32_t key, number;
	int e;

	e = index_floor(r, r->by_base_at, r->ranges, uid, &key, &number);
	if (e < 0)
		return e;
	if (uid - key >= SNAPSHOT_RANGE)
		return -ENOENT;
	e = read_record(r, number, &record);
	if (e < 0)
		return e;
	if (!record.guest_base || record.guest_base != key)
		return -EBADMSG;
	*ret = record;
	return 0;
}

/* A string of the head: absolute, of exactly this length, and fit for a line of passwd(5). */
static bool head_string_ok(const char *s, uint32_t len)
{
	return strnlen(s, (size_t)len + 1) == len && s[0] == '/' && !strpbrk(s, ":\n");
}

/* The head's numbers against each other and against the file's length. */
static int check_head(struct snapshot_reader *r, size_t have, uint64_t file_len)
{
	uint32_t len = get_u32(r->head + HEAD_LEN);
	uint32_t home_len = get_u32(r->head + HEAD_HOME_LEN);
	uint32_t shell_len = get_u32(r->head + HEAD_SHELL_LEN);

	if (memcmp(r->head + HEAD_MAGIC, SNAPSHOT_MAGIC, 8) ||
	    get_u32(r->head + HEAD_VERSION) != SNAPSHOT_VERSION || len > have ||
	    home_len > SNAPSHOT_STRING_MAX || shell_len > SNAPSHOT_STRING_MAX ||
	    len != HEAD_STRINGS + home_len + shell_len + 2 ||
	    get_u32(r->head + HEAD_SUM) != sum_head(r->head, len))
		return -EBADMSG;
	r->count = get_u32(r->head + HEAD_COUNT);
	r->ranges = get_u32(r->head + HEAD_RANGES);
	if (r->count > SNAPSHOT_COUNT_MAX || r->ranges > r->count)
		return -EBADMSG;
	r->records_at = len;
	r->by_uid_at = r->records_at + (uint64_t)r->count * RECORD_SIZE;
	r->by_base_at = r->by_uid_at + (uint64_t)r->count * INDEX_SIZE;
	if (get_u64(r->head + HEAD_TOTAL) != file_len ||
	    r->by_base_at + (uint64_t)r->ranges * INDEX_SIZE != file_len)
		return -EBADMSG;
	r->home = (const char *)r->head + HEAD_STRINGS;
	r->shell = r->home + home_len + 1;
	if (!head_string_ok(r->home, home_len) || !head_string_ok(r->shell, shell_len))
		return -EBADMSG;
	return 0;
}

/* Read as much of the head as there is, and check it. */
static int read_head(struct snapshot_reader *r)
{
	struct stat st;
	ssize_t n;

	if (fstat(r->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < HEAD_STRINGS)
		return -EBADMSG;
	do
		n = pread(r->fd, r->head, sizeof(r->head), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n < HEAD_STRINGS ? -EBADMSG : check_head(r, (size_t)n, (uint64_t)st.st_size);
}

int snapshot_open(const char *path, struct snapshot_reader *r)
{
	int e;

	/* O_NONBLOCK: should there be a FIFO in the file's place, no program may hang on it. */
	r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (r->fd < 0)
		return -errno;
	e = read_head(r);
	if (e < 0)
		snapshot_close(r);
	return e;
}

void snapshot_close(struct snapshot_reader *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
}

int snapshot_verify(const struct snapshot_reader *r)
{
	uint64_t total = get_u64(r->head + HEAD_TOTAL);
	uint32_t sum = SUM_START;
	unsigned char buf[4096];
	size_t want;
	int e;

	for (uint64_t at = r->records_at; at < total; at += want) {
		want = total - at < sizeof(buf) ? (size_t)(total - at) : sizeof(buf);
		e = read_exact(r->fd, buf, want, at);
		if (e < 0)
			return e;
		sum = sum_add(sum, buf, want);
	}
	return sum == get_u32(r->head + HEAD_BODY_SUM) ? 0 : -EBADMSG;
}
