/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nss_vm2/snapshot_read.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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

bool snapshot_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* O_NONBLOCK: should there be a FIFO in the file's place, no program may hang on it. */
static int open_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	return fd < 0 ? -errno : fd;
}

/* The very file that the head was read from, or -ESTALE. */
static int reopen(const struct snapshot_reader *r)
{
	struct stat st;
	int fd = open_file(r->kept->path);

	if (fd < 0)
		return fd;
	r->kept->fd = fd;
	return fstat(fd, &st) < 0 || !snapshot_same_file(&r->id, &st) ? -ESTALE : 0;
}

/* One page of what follows the head; the last one may be shorter. */
static int read_page(const struct snapshot_reader *r, int fd, uint64_t page, unsigned char *to)
{
	uint64_t at = page * SNAPSHOT_PAGE, left = (uint64_t)r->lines * LINE_SIZE - at;

	return read_exact(fd, to, left < SNAPSHOT_PAGE ? left : SNAPSHOT_PAGE, r->head_len + at);
}

static int fill_page(const struct snapshot_reader *r, uint64_t page)
{
	struct snapshot_kept *k = r->kept;
	int e = 0;

	if (k->left == 0)
		return -ESTALE;
	if (k->fd < 0)
		e = reopen(r);
	if (e == 0)
		e = read_page(r, k->fd, page, k->pages + page * SNAPSHOT_PAGE);
	if (e < 0)
		return e;
	k->have[page / 8] |= (unsigned char)(1 << page % 8);
	k->left--;
	return 0;
}

/* A line of what is kept, which nobody can change any more: its sum is verified once. */
static int kept_line(const struct snapshot_reader *r, uint32_t line, const unsigned char **ret)
{
	struct snapshot_kept *k = r->kept;
	const unsigned char *p = k->pages + (size_t)line * LINE_SIZE;
	uint32_t page = line / (SNAPSHOT_PAGE / LINE_SIZE);
	int e = 0;

	*ret = p;
	if (k->checked[line / 8] & 1 << line % 8)
		return 0;
	if (!(k->have[page / 8] & 1 << page % 8))
		e = fill_page(r, page);
	if (e < 0)
		return e;
	if (get_u32(p + LINE_SUM) != sum_line(p, r->generation, line))
		return -EBADMSG;
	k->checked[line / 8] |= (unsigned char)(1 << line % 8);
	return 0;
}

/* A line with its sum checked; it is there until the next call. */
static int get_line(const struct snapshot_reader *r, uint32_t line, const unsigned char **ret)
{
	uint64_t page = line / (SNAPSHOT_PAGE / LINE_SIZE);
	struct snapshot_window *w = r->window;
	const unsigned char *p;
	int e = 0;

	if (line >= r->lines)
		return -EBADMSG;
	if (r->kept)
		return kept_line(r, line, ret);
	if (w->page != page + 1) {
		w->page = 0;
		e = read_page(r, r->fd, page, w->bytes);
	}
	if (e < 0)
		return e;
	w->page = page + 1;
	p = w->bytes + line % (SNAPSHOT_PAGE / LINE_SIZE) * LINE_SIZE;
	if (get_u32(p + LINE_SUM) != sum_line(p, r->generation, line))
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
	ret->inside = get_u32(p + RECORD_INSIDE);
	ret->inside_lines = get_u32(p + RECORD_INSIDE_LINES);
	return 0;
}

static int read_record(const struct snapshot_reader *r, uint32_t i, struct snapshot_record *ret)
{
	const unsigned char *p;
	int e;

	if (i >= r->count)
		return -EBADMSG;
	e = get_line(r, i, &p);
	return e < 0 ? e : decode_record(p, ret);
}

/* Whether the record at the place is this name: then the next one is what comes after it. */
static bool is_at(const struct snapshot_reader *r, uint32_t place, const char *name)
{
	struct snapshot_record record;

	return place < r->count && read_record(r, place, &record) == 0 &&
	       !strcmp(record.name, name);
}

int snapshot_after(const struct snapshot_reader *r, const char *name, uint32_t *place,
		   struct snapshot_record *ret)
{
	uint32_t lo = 0, hi = r->count, mid;
	struct snapshot_record record;
	int e;

	if (!name[0])
		hi = 0;
	else if (is_at(r, *place, name))
		lo = hi = *place + 1;
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		e = read_record(r, mid, &record);
		if (e < 0)
			return e;
		if (strcmp(record.name, name) > 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	if (lo >= r->count)
		return -ENOENT;
	e = read_record(r, lo, &record);
	if (e < 0)
		return e;
	/* Names that do not ascend would let a walk go on for ever. */
	if (strcmp(record.name, name) <= 0)
		return -EBADMSG;
	*place = lo;
	*ret = record;
	return 0;
}

/* How to know the record that is looked for, among those that have its key. */
typedef bool match_fn(const struct snapshot_record *record, const void *wanted);

/*
 * Through the buckets that an entry with this key may be in: the first one that is not full is the last.
 * 0, -ENOENT, -EBADMSG or -errno.
 */
static int index_find(const struct snapshot_reader *r, int which, uint32_t key, match_fn *match,
		      const void *wanted, struct snapshot_record *ret)
{
	uint32_t buckets = r->buckets[which], at = first_bucket(key, buckets), n = BUCKET_MOST;
	struct snapshot_record record;
	const unsigned char *p;
	int e;

	for (uint32_t looked = 0; looked < buckets && n == BUCKET_MOST; looked++) {
		for (uint32_t i = 0; i < n; i++) {
			/* Anew each time: reading a record may have overwritten it. */
			e = get_line(r, r->index_at[which] + at, &p);
			if (e < 0)
				return e;
			n = get_u32(p + BUCKET_COUNT);
			if (n > BUCKET_MOST)
				return -EBADMSG;
			if (i >= n || get_u32(p + i * BUCKET_ENTRY) != key)
				continue;
			e = read_record(r, get_u32(p + i * BUCKET_ENTRY + 4), &record);
			if (e < 0)
				return e;
			if (match(&record, wanted)) {
				*ret = record;
				return 0;
			}
		}
		at = at + 1 < buckets ? at + 1 : 0;
	}
	return -ENOENT;
}

static bool has_name(const struct snapshot_record *record, const void *wanted)
{
	return !strcmp(record->name, wanted);
}

static bool has_uid(const struct snapshot_record *record, const void *wanted)
{
	const uint32_t *uid = wanted;

	return record->uid == *uid;
}

static bool has_guest_uid(const struct snapshot_record *record, const void *wanted)
{
	const uint32_t *uid = wanted;

	return record->guest_base && *uid >= record->guest_base &&
	       *uid - record->guest_base < SNAPSHOT_RANGE;
}

int snapshot_by_name(const struct snapshot_reader *r, const char *name,
		     struct snapshot_record *ret)
{
	if (!snapshot_name_ok(name, strnlen(name, SNAPSHOT_NAME_MAX + 1)))
		return -ENOENT;
	return index_find(r, BY_NAME, key_of_name(name), has_name, name, ret);
}

int snapshot_by_uid(const struct snapshot_reader *r, uint32_t uid, struct snapshot_record *ret)
{
	return index_find(r, BY_UID, key_of_uid(uid), has_uid, &uid, ret);
}

int snapshot_by_guest_uid(const struct snapshot_reader *r, uint32_t uid,
			  struct snapshot_record *ret)
{
	int e = index_find(r, BY_BASE, key_of_base(uid), has_guest_uid, &uid, ret);

	/* A range that is not aligned reaches into the next 65,536. */
	if (e == -ENOENT && uid >= SNAPSHOT_RANGE)
		e = index_find(r, BY_BASE, key_of_base(uid - SNAPSHOT_RANGE), has_guest_uid, &uid, ret);
	return e;
}

/* Look for an id in a line of names. 0 and its name, -ENOENT or -EBADMSG. */
static int find_inside(const unsigned char *line, uint32_t id, char *ret)
{
	uint32_t at = 0, len;

	while (at + INSIDE_NAME < LINE_SUM && line[at + INSIDE_LEN] != 0) {
		len = line[at + INSIDE_LEN];
		if (at + INSIDE_NAME + len > LINE_SUM ||
		    !snapshot_inside_ok((const char *)line + at + INSIDE_NAME, len))
			return -EBADMSG;
		if ((line[at + INSIDE_ID] | (uint32_t)line[at + INSIDE_ID + 1] << 8) == id) {
			memcpy(ret, line + at + INSIDE_NAME, len);
			ret[len] = 0;
			return 0;
		}
		at += INSIDE_NAME + len;
	}
	return -ENOENT;
}

int snapshot_inside(const struct snapshot_reader *r, const struct snapshot_record *tenant,
		    uint32_t id, char ret[SNAPSHOT_NAME_MAX + 1])
{
	uint32_t lines = r->lines - r->inside_at;
	const unsigned char *p;
	int e = -ENOENT;

	if (tenant->inside_lines > INSIDE_LINES_MAX || tenant->inside_lines > lines ||
	    tenant->inside > lines - tenant->inside_lines)
		return -EBADMSG;
	for (uint32_t i = 0; e == -ENOENT && i < tenant->inside_lines; i++) {
		e = get_line(r, r->inside_at + tenant->inside + i, &p);
		if (e == 0)
			e = find_inside(p, id, ret);
	}
	return e;
}

/* A string of the head: absolute, of exactly this length, and fit for a line of passwd(5). */
static bool head_string_ok(const char *s, uint32_t len)
{
	return strnlen(s, (size_t)len + 1) == len && s[0] == '/' && !strpbrk(s, ":\n");
}

/* The places of all lines; all counts are bounded first, so that nothing overflows. */
static int check_lines(struct snapshot_reader *r, uint64_t file_len)
{
	uint32_t inside = get_u32(r->head + HEAD_INSIDE);

	r->count = get_u32(r->head + HEAD_COUNT);
	if (r->count > SNAPSHOT_COUNT_MAX || inside > SNAPSHOT_COUNT_MAX)
		return -EBADMSG;
	r->lines = r->count;
	for (int i = 0; i < INDEXES; i++) {
		r->index_at[i] = r->lines;
		r->buckets[i] = get_u32(r->head + HEAD_BUCKETS + 4 * i);
		if (r->buckets[i] > SNAPSHOT_COUNT_MAX)
			return -EBADMSG;
		r->lines += r->buckets[i];
	}
	r->inside_at = r->lines;
	r->lines += inside;
	return get_u64(r->head + HEAD_TOTAL) != file_len ||
			       r->head_len + (uint64_t)r->lines * LINE_SIZE != file_len ?
		       -EBADMSG :
		       0;
}

/* The head's numbers against each other and against the file's length. */
static int check_head(struct snapshot_reader *r, size_t have, uint64_t file_len)
{
	uint32_t len = get_u32(r->head + HEAD_LEN);
	uint32_t home_len = get_u32(r->head + HEAD_HOME_LEN);
	uint32_t shell_len = get_u32(r->head + HEAD_SHELL_LEN);

	if (memcmp(r->head + HEAD_MAGIC, SNAPSHOT_MAGIC, 8) ||
	    get_u32(r->head + HEAD_VERSION) != SNAPSHOT_VERSION || len > have ||
	    len % LINE_SIZE != 0 || home_len > SNAPSHOT_STRING_MAX ||
	    shell_len > SNAPSHOT_STRING_MAX || len < HEAD_STRINGS + home_len + shell_len + 2 ||
	    get_u32(r->head + HEAD_SUM) != sum_head(r->head, len))
		return -EBADMSG;
	r->head_len = len;
	if (check_lines(r, file_len) < 0)
		return -EBADMSG;
	r->generation = get_u32(r->head + HEAD_GENERATION);
	r->listed = !(get_u32(r->head + HEAD_FLAGS) & FLAG_UNLISTED);
	r->home = (const char *)r->head + HEAD_STRINGS;
	r->shell = r->home + home_len + 1;
	if (!head_string_ok(r->home, home_len) || !head_string_ok(r->shell, shell_len))
		return -EBADMSG;
	return 0;
}

/* Read as much of the head as there is, and check it. */
static int read_head(struct snapshot_reader *r)
{
	ssize_t n;

	if (fstat(r->fd, &r->id) < 0)
		return -errno;
	if (!S_ISREG(r->id.st_mode) || r->id.st_size < HEAD_STRINGS)
		return -EBADMSG;
	do
		n = pread(r->fd, r->head, sizeof(r->head), 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n < HEAD_STRINGS ? -EBADMSG : check_head(r, (size_t)n, (uint64_t)r->id.st_size);
}

int snapshot_open(const char *path, struct snapshot_window *window, struct snapshot_reader *r)
{
	int e;

	r->kept = NULL;
	r->window = window;
	window->page = 0;
	r->fd = open_file(path);
	if (r->fd < 0) {
		e = r->fd;
		r->fd = -1;
		return e;
	}
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
	const unsigned char *p;
	int e = 0;

	for (uint32_t i = 0; e == 0 && i < r->lines; i++)
		e = get_line(r, i, &p);
	return e;
}
