/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nss_vm2/snapshot_read.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* One of the sorted tables. */
struct table {
	const struct snapshot_reader *reader;
	uint64_t at;
	uint32_t count;
	uint32_t size;
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

static int fill_page(const struct snapshot_reader *r, uint64_t page)
{
	uint64_t at = page * SNAPSHOT_PAGE, left = (uint64_t)r->id.st_size - at;
	struct snapshot_kept *k = r->kept;
	int e = 0;

	if (k->left == 0)
		return -ESTALE;
	if (k->fd < 0)
		e = reopen(r);
	if (e == 0)
		e = read_exact(k->fd, k->pages + at, left < SNAPSHOT_PAGE ? left : SNAPSHOT_PAGE,
			       at);
	if (e < 0)
		return e;
	k->have[page / 8] |= (unsigned char)(1 << page % 8);
	k->left--;
	return 0;
}

/* An entry in what is kept, which nobody can change any more: its sum is verified once. */
static int kept_entry(const struct table *t, uint32_t i, uint64_t at, const unsigned char **ret)
{
	const struct snapshot_reader *r = t->reader;
	struct snapshot_kept *k = r->kept;
	uint64_t bit = (at - r->records_at) / INDEX_SIZE, last = (at + t->size - 1) / SNAPSHOT_PAGE;
	const unsigned char *p = k->pages + at;
	int e = 0;

	*ret = p;
	if (k->checked[bit / 8] & 1 << bit % 8)
		return 0;
	for (uint64_t page = at / SNAPSHOT_PAGE; e == 0 && page <= last; page++)
		if (!(k->have[page / 8] & 1 << page % 8))
			e = fill_page(r, page);
	if (e < 0)
		return e;
	if (get_u32(p + t->size - 4) != sum_entry(p, t->size - 4, i))
		return -EBADMSG;
	k->checked[bit / 8] |= (unsigned char)(1 << bit % 8);
	return 0;
}

/* Read as much of [lo, hi) around entry i as fits. */
static int fill_window(const struct table *t, uint32_t lo, uint32_t hi, uint32_t i)
{
	struct snapshot_window *w = t->reader->window;
	uint32_t most = SNAPSHOT_PAGE / t->size;
	uint32_t first = i - lo > most / 2 ? i - most / 2 : lo;
	uint32_t have = (hi - first < most ? hi - first : most) * t->size;
	int e;

	w->have = 0;
	w->at = t->at + (uint64_t)first * t->size;
	e = read_exact(t->reader->fd, w->bytes, have, w->at);
	if (e == 0)
		w->have = have;
	return e;
}

static void table_init(struct table *t, const struct snapshot_reader *r, uint64_t at,
		       uint32_t count, uint32_t size)
{
	*t = (struct table){ r, at, count, size };
}

/*
 * Entry i with its sum checked; [lo, hi) is what the search may still want: read around i. It is there
 * until the next call.
 */
static int table_get(const struct table *t, uint32_t lo, uint32_t hi, uint32_t i,
		     const unsigned char **ret)
{
	const struct snapshot_window *w = t->reader->window;
	uint64_t at = t->at + (uint64_t)i * t->size;
	const unsigned char *p;
	int e;

	if (lo > i || i >= hi || hi > t->count)
		return -EBADMSG;
	if (t->reader->kept)
		return kept_entry(t, i, at, ret);
	if (at < w->at || at + t->size > w->at + w->have) {
		e = fill_window(t, lo, hi, i);
		if (e < 0)
			return e;
	}
	p = w->bytes + (at - w->at);
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
	const unsigned char *p;
	struct table t;
	int e;

	if (!name[0])
		hi = 0;
	else if (is_at(r, *place, name))
		lo = hi = *place + 1;
	table_init(&t, r, r->records_at, r->count, RECORD_SIZE);
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		e = table_get(&t, lo, hi, mid, &p);
		if (e == 0)
			e = decode_record(p, &record);
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

/* Interpolate this often, then halve: hostile or odd keys cost no more than a binary search. */
#define GUESSES 6

/* Where key ought to be in [lo, hi), if keys are spread evenly from low to high. */
static uint32_t guess(uint32_t lo, uint32_t hi, uint32_t low, uint32_t high, uint32_t key)
{
	if (key <= low || high <= low)
		return lo;
	if (key >= high)
		return hi - 1;
	return lo + (uint32_t)((uint64_t)(key - low) * (hi - 1 - lo) / (high - low));
}

/*
 * A guess errs to one side again and again, and leaves the other end of the window where it was: so
 * every other one is moved past where the key ought to be, by more than it is likely to be wrong.
 */
static uint32_t overshoot(uint32_t lo, uint32_t hi, uint32_t at, uint32_t last)
{
	uint32_t margin = 4 + (at > last ? at - last : last - at) / 8;

	if (last < lo)
		return at + margin < hi ? at + margin : hi - 1;
	return at - lo > margin ? at - margin : lo;
}

/* The place of the last entry whose key is not above key, and the window that it is in. */
static int index_floor(struct table *t, const unsigned char *bounds, uint32_t key,
		       uint32_t *ret_place)
{
	uint32_t low = get_u32(bounds), high = get_u32(bounds + 4), lo = 0, hi = t->count, at;
	uint32_t mid = 0;
	const unsigned char *p;
	int e;

	if (t->count == 0 || key < low)
		return -ENOENT;
	for (int round = 0; lo < hi; round++) {
		uint32_t last = mid;

		mid = round < GUESSES ? guess(lo, hi, low, high, key) : lo + (hi - lo) / 2;
		if (round < GUESSES && round % 2 && low != key)
			mid = overshoot(lo, hi, mid, last);
		e = table_get(t, lo, hi, mid, &p);
		if (e < 0)
			return e;
		at = get_u32(p + INDEX_KEY);
		if (at > key) {
			hi = mid;
			high = at;
		} else {
			lo = mid + 1;
			low = at;
		}
	}
	if (lo == 0)
		return -ENOENT;
	*ret_place = lo - 1;
	return 0;
}

static int index_search(const struct snapshot_reader *r, int which, uint32_t key, struct table *t,
			uint32_t *ret_place)
{
	table_init(t, r, r->index_at[which], which == BY_BASE ? r->ranges : r->count, INDEX_SIZE);
	return index_floor(t, r->head + HEAD_BOUNDS + 8 * which, key, ret_place);
}

/* An index entry's key, and the record that it names. */
static int index_record(struct table *t, uint32_t place, uint32_t *ret_key,
			struct snapshot_record *ret)
{
	const unsigned char *p;
	int e;

	e = table_get(t, 0, t->count, place, &p);
	if (e < 0)
		return e;
	*ret_key = get_u32(p + INDEX_KEY);
	return read_record(t->reader, get_u32(p + INDEX_RECORD), ret);
}

int snapshot_by_name(const struct snapshot_reader *r, const char *name,
		     struct snapshot_record *ret)
{
	struct snapshot_record record;
	uint32_t place, key, want;
	const unsigned char *p;
	struct table t;
	int e;

	if (!snapshot_name_ok(name, strnlen(name, SNAPSHOT_NAME_MAX + 1)))
		return -ENOENT;
	want = name_key(name);
	e = index_search(r, BY_NAME, want, &t, &place);
	if (e < 0)
		return e;
	/* Several names can have one key: they stand in a row, of which this is the end. */
	for (;; place--) {
		e = table_get(&t, 0, t.count, place, &p);
		if (e < 0)
			return e;
		if (get_u32(p + INDEX_KEY) != want)
			return -ENOENT;
		e = index_record(&t, place, &key, &record);
		if (e < 0)
			return e;
		if (name_key(record.name) != key)
			return -EBADMSG;
		if (!strcmp(record.name, name)) {
			*ret = record;
			return 0;
		}
		if (place == 0)
			return -ENOENT;
	}
}

int snapshot_by_uid(const struct snapshot_reader *r, uint32_t uid, struct snapshot_record *ret)
{
	struct snapshot_record record;
	uint32_t key, place;
	struct table t;
	int e;

	e = index_search(r, BY_UID, uid, &t, &place);
	if (e < 0)
		return e;
	e = index_record(&t, place, &key, &record);
	if (e < 0)
		return e;
	if (record.uid != key)
		return -EBADMSG;
	if (key != uid)
		return -ENOENT;
	*ret = record;
	return 0;
}

int snapshot_by_guest_uid(const struct snapshot_reader *r, uint32_t uid,
			  struct snapshot_record *ret)
{
	struct snapshot_record record;
	uint32_t key, place;
	struct table t;
	int e;

	e = index_search(r, BY_BASE, uid, &t, &place);
	if (e < 0)
		return e;
	e = index_record(&t, place, &key, &record);
	if (e < 0)
		return e;
	if (!record.guest_base || record.guest_base != key)
		return -EBADMSG;
	if (uid - key >= SNAPSHOT_RANGE)
		return -ENOENT;
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
	r->index_at[BY_NAME] = r->records_at + (uint64_t)r->count * RECORD_SIZE;
	r->index_at[BY_UID] = r->index_at[BY_NAME] + (uint64_t)r->count * INDEX_SIZE;
	r->index_at[BY_BASE] = r->index_at[BY_UID] + (uint64_t)r->count * INDEX_SIZE;
	if (get_u64(r->head + HEAD_TOTAL) != file_len ||
	    r->index_at[BY_BASE] + (uint64_t)r->ranges * INDEX_SIZE != file_len)
		return -EBADMSG;
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
	window->have = 0;
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
