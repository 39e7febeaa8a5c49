/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nss_vm2/snapshot.h"

#include <errno.h>
#include <stdlib.h>

#include "nss_vm2/snapshot_format.h"

/* Entries of an index for each of its buckets, of the seven that have room: few buckets overflow. */
#define LOAD 4

/* The file in the making. */
struct writer {
	const struct snapshot_account **sorted;
	uint32_t count;
	uint32_t buckets[INDEXES];
	unsigned char *lines; /* after the head */
	/* The lists of names, each once: lines that do not lie in the file yet. */
	unsigned char *inside;
	uint32_t inside_lines, inside_room;
	/* Where each is, by the text's address: the number of an account that has it, and 1. */
	uint32_t *lists, lists_room;
	struct list {
		uint32_t at, lines;
	} *list_of; /* for each account */
};

static void writer_free(struct writer *w)
{
	free(w->sorted);
	free(w->inside);
	free(w->lists);
	free(w->list_of);
}

static int compare_names(const void *a, const void *b)
{
	const struct snapshot_account *const *x = a;
	const struct snapshot_account *const *y = b;

	return strcmp((*x)->name, (*y)->name);
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

/* Order the accounts by name, and count. 0 or -EINVAL. */
static int sort_accounts(struct writer *w, const struct snapshot_account *accounts)
{
	uint32_t ranges = 0;
	bool in_order = true;

	for (uint32_t i = 0; i < w->count; i++) {
		if (!account_ok(&accounts[i]))
			return -EINVAL;
		w->sorted[i] = &accounts[i];
		ranges += accounts[i].guest_base != 0;
		in_order = in_order && (i == 0 || strcmp(accounts[i - 1].name, accounts[i].name) < 0);
	}
	if (!in_order)
		qsort(w->sorted, w->count, sizeof(struct snapshot_account *), compare_names);
	for (uint32_t i = 1; !in_order && i < w->count; i++)
		if (!strcmp(w->sorted[i - 1]->name, w->sorted[i]->name))
			return -EINVAL;
	w->buckets[BY_NAME] = w->buckets[BY_UID] = w->count ? w->count / LOAD + 1 : 0;
	w->buckets[BY_BASE] = ranges ? ranges / LOAD + 1 : 0;
	return 0;
}

/* --- names inside guests --- */

/* The next "ID NAME\n" of a list; false at its end or at what is none. */
static bool next_inside(const char **text, uint32_t *ret_id, const char **ret_name, size_t *ret_len)
{
	char *end;
	unsigned long id;

	if (**text < '0' || **text > '9')
		return false;
	id = strtoul(*text, &end, 10);
	if (id >= SNAPSHOT_RANGE || *end != ' ')
		return false;
	*ret_id = (uint32_t)id;
	*ret_name = end + 1;
	*ret_len = strcspn(end + 1, "\n");
	*text = *ret_name + *ret_len;
	*text += **text == '\n';
	return snapshot_inside_ok(*ret_name, *ret_len);
}

static unsigned char *new_inside_line(struct writer *w)
{
	if (w->inside_lines == w->inside_room) {
		uint32_t room = w->inside_room * 2 + 16;
		unsigned char *more = realloc(w->inside, (size_t)room * LINE_SIZE);

		if (!more)
			return NULL;
		w->inside = more;
		w->inside_room = room;
	}
	return memset(w->inside + (size_t)w->inside_lines++ * LINE_SIZE, 0, LINE_SIZE);
}

/* Lay a list into lines; what is more than it may have is left out. 0 or -ENOMEM. */
static int lay_list(struct writer *w, const char *text, struct list *ret)
{
	struct list list = { w->inside_lines, 0 };
	size_t used = LINE_SIZE, len;
	unsigned char *line = NULL;
	const char *name;
	uint32_t id;

	while (next_inside(&text, &id, &name, &len)) {
		if (used + INSIDE_NAME + len > LINE_SUM) {
			if (list.lines == INSIDE_LINES_MAX)
				break;
			line = new_inside_line(w);
			if (!line)
				return -ENOMEM;
			list.lines++;
			used = 0;
		}
		line[used + INSIDE_ID] = (unsigned char)id;
		line[used + INSIDE_ID + 1] = (unsigned char)(id >> 8);
		line[used + INSIDE_LEN] = (unsigned char)len;
		memcpy(line + used + INSIDE_NAME, name, len);
		used += INSIDE_NAME + len;
	}
	*ret = list;
	return 0;
}

/* All guests of one template have the same list until somebody adds an account: it lies there once. */
static int lay_lists(struct writer *w)
{
	w->lists_room = w->count * 2 + 1;
	w->lists = calloc(w->lists_room, sizeof(*w->lists));
	w->list_of = calloc((size_t)w->count + 1, sizeof(*w->list_of));
	if (!w->lists || !w->list_of)
		return -ENOMEM;
	for (uint32_t i = 0; i < w->count; i++) {
		const char *text = w->sorted[i]->inside;
		uint32_t at;
		int r;

		if (!text || !text[0])
			continue;
		at = first_bucket(spread((uint32_t)((uintptr_t)text >> 4)), w->lists_room);
		while (w->lists[at] && w->sorted[w->lists[at] - 1]->inside != text)
			at = (at + 1) % w->lists_room;
		if (w->lists[at]) {
			w->list_of[i] = w->list_of[w->lists[at] - 1];
			continue;
		}
		r = lay_list(w, text, &w->list_of[i]);
		if (r < 0)
			return r;
		w->lists[at] = i + 1;
	}
	return 0;
}

/* --- the file --- */

static void write_records(const struct writer *w)
{
	unsigned char *p = w->lines;

	for (uint32_t i = 0; i < w->count; i++, p += LINE_SIZE) {
		memcpy(p + RECORD_NAME, w->sorted[i]->name, strlen(w->sorted[i]->name));
		put_u32(p + RECORD_UID, w->sorted[i]->uid);
		put_u32(p + RECORD_BASE, w->sorted[i]->guest_base);
		put_u32(p + RECORD_INSIDE, w->list_of[i].at);
		put_u32(p + RECORD_INSIDE_LINES, w->list_of[i].lines);
	}
}

static uint32_t key_of(const struct snapshot_account *a, int which)
{
	return which == BY_NAME ? key_of_name(a->name) :
	       which == BY_UID	? key_of_uid(a->uid) :
				  key_of_base(a->guest_base);
}

/* Keys of numbers are one to one, so that one that is there already is a number given twice. */
static bool has_key(const unsigned char *bucket, uint32_t key)
{
	for (uint32_t i = 0; i < get_u32(bucket + BUCKET_COUNT); i++)
		if (get_u32(bucket + i * BUCKET_ENTRY) == key)
			return true;
	return false;
}

/* 0, or -EINVAL for a number that is not unique. */
static int write_index(const struct writer *w, unsigned char *p, int which)
{
	for (uint32_t i = 0; i < w->count; i++) {
		uint32_t key = key_of(w->sorted[i], which), at, n;
		unsigned char *bucket;

		if (which == BY_BASE && !w->sorted[i]->guest_base)
			continue;
		at = first_bucket(key, w->buckets[which]);
		for (;; at = (at + 1) % w->buckets[which]) {
			bucket = p + (size_t)at * LINE_SIZE;
			n = get_u32(bucket + BUCKET_COUNT);
			if (which != BY_NAME && has_key(bucket, key))
				return -EINVAL;
			if (n < BUCKET_MOST)
				break;
		}
		put_u32(bucket + n * BUCKET_ENTRY, key);
		put_u32(bucket + n * BUCKET_ENTRY + 4, i);
		put_u32(bucket + BUCKET_COUNT, n + 1);
	}
	return 0;
}

static void write_sums(unsigned char *lines, size_t count, uint32_t generation)
{
	for (size_t i = 0; i < count; i++)
		put_u32(lines + i * LINE_SIZE + LINE_SUM,
			sum_line(lines + i * LINE_SIZE, generation, (uint32_t)i));
}

static void write_head(const struct writer *w, unsigned char *p, size_t head_len, size_t total,
		       const struct snapshot_options *o)
{
	memcpy(p + HEAD_MAGIC, SNAPSHOT_MAGIC, 8);
	put_u32(p + HEAD_VERSION, SNAPSHOT_VERSION);
	put_u32(p + HEAD_LEN, (uint32_t)head_len);
	put_u64(p + HEAD_TOTAL, total);
	put_u32(p + HEAD_COUNT, w->count);
	for (int i = 0; i < INDEXES; i++)
		put_u32(p + HEAD_BUCKETS + 4 * i, w->buckets[i]);
	put_u32(p + HEAD_INSIDE, w->inside_lines);
	put_u32(p + HEAD_HOME_LEN, (uint32_t)strlen(o->home));
	put_u32(p + HEAD_SHELL_LEN, (uint32_t)strlen(o->shell));
	put_u32(p + HEAD_FLAGS, o->unlisted ? FLAG_UNLISTED : 0);
	put_u32(p + HEAD_GENERATION, o->generation);
	memcpy(p + HEAD_STRINGS, o->home, strlen(o->home));
	memcpy(p + HEAD_STRINGS + strlen(o->home) + 1, o->shell, strlen(o->shell));
	put_u32(p + HEAD_SUM, sum_head(p, head_len));
}

static int compare_bases(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* 0, or -EINVAL for ranges that overlap. Where all are aligned alike, their keys say it already. */
static int check_ranges(const struct writer *w)
{
	uint32_t *bases = calloc((size_t)w->count + 1, sizeof(*bases)), n = 0;
	bool alike = true;
	int r = 0;

	if (!bases)
		return -ENOMEM;
	for (uint32_t i = 0; i < w->count; i++) {
		if (!w->sorted[i]->guest_base)
			continue;
		bases[n++] = w->sorted[i]->guest_base;
		alike = alike && bases[n - 1] % SNAPSHOT_RANGE == bases[0] % SNAPSHOT_RANGE;
	}
	if (!alike)
		qsort(bases, n, sizeof(*bases), compare_bases);
	for (uint32_t i = 1; !alike && i < n; i++)
		if (bases[i] - bases[i - 1] < SNAPSHOT_RANGE)
			r = -EINVAL;
	free(bases);
	return r;
}

/* All lines, after the head that is head_len bytes long. 0, -EINVAL or -ENOMEM. */
static int write_file(struct writer *w, size_t head_len, const struct snapshot_options *o,
		      unsigned char **ret, size_t *ret_len)
{
	size_t lines = (size_t)w->count + w->buckets[BY_NAME] + w->buckets[BY_UID] +
		       w->buckets[BY_BASE] + w->inside_lines;
	size_t total = head_len + lines * LINE_SIZE;
	unsigned char *data = calloc(1, total), *p = data + head_len;
	int r = 0;

	if (!data)
		return -ENOMEM;
	w->lines = p;
	write_records(w);
	p += (size_t)w->count * LINE_SIZE;
	for (int i = 0; r == 0 && i < INDEXES; i++) {
		r = write_index(w, p, i);
		p += (size_t)w->buckets[i] * LINE_SIZE;
	}
	if (r < 0) {
		free(data);
		return r;
	}
	if (w->inside_lines)
		memcpy(p, w->inside, (size_t)w->inside_lines * LINE_SIZE);
	write_sums(w->lines, lines, o->generation);
	write_head(w, data, head_len, total, o);
	*ret = data;
	*ret_len = total;
	return 0;
}

int snapshot_encode(const struct snapshot_account *accounts, uint32_t count,
		    const struct snapshot_options *options, void **ret_data, size_t *ret_len)
{
	struct writer w = { .count = count };
	unsigned char *data;
	size_t head_len;
	int r;

	if (count > SNAPSHOT_COUNT_MAX || !string_ok(options->home) || !string_ok(options->shell))
		return -EINVAL;
	head_len = HEAD_STRINGS + strlen(options->home) + strlen(options->shell) + 2;
	head_len = (head_len + LINE_SIZE - 1) / LINE_SIZE * LINE_SIZE;
	w.sorted = calloc((size_t)count + 1, sizeof(*w.sorted));
	r = w.sorted ? sort_accounts(&w, accounts) : -ENOMEM;
	if (r == 0)
		r = check_ranges(&w);
	if (r == 0)
		r = lay_lists(&w);
	if (r == 0)
		r = write_file(&w, head_len, options, &data, ret_len);
	writer_free(&w);
	if (r == 0)
		*ret_data = data;
	return r;
}
