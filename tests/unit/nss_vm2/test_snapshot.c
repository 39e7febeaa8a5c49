/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The snapshot's two halves: what is written is read, and what is damaged is refused. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "nss_vm2/entries.h"
#include "nss_vm2/snapshot.h"

#define MANY 100000

static _Thread_local struct snapshot_window window;

static const struct snapshot_account three[] = {
	{ "zeta", 20002, 1000000 + 2 * 65536, "0 root\n1000 alice\n" },
	{ "acme", 20000, 1000000, NULL },
	{ "none", 20001, 0, NULL },
};

static const struct snapshot_options options = { .home = "/var/lib/vm2/empty",
						 .shell = "/usr/bin/vm2-shell",
						 .generation = 7 };

static char path[64];

static void setup(void)
{
	snprintf(path, sizeof(path), "/tmp/vm2-snap-test.%d", getpid());
}

static void teardown(void)
{
	unlink(path);
}

TestSuite(snapshot, .init = setup, .fini = teardown);

static void put(const void *data, size_t len)
{
	char new[80];
	int fd;

	snprintf(new, sizeof(new), "%s.new", path);
	fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, data, len), (ssize_t)len);
	close(fd);
	cr_assert_eq(rename(new, path), 0);
}

static void *encode(const struct snapshot_account *a, uint32_t n, size_t *len)
{
	void *data = NULL;

	cr_assert_eq(snapshot_encode(a, n, &options, &data, len), 0);
	return data;
}

/* Look everybody up in whatever stands at path: 0 if all is found and right, else the error. */
static int look_around(void)
{
	char inside[SNAPSHOT_NAME_MAX + 1];
	struct snapshot_record rec;
	uint32_t place = 0;
	struct snapshot_reader r;
	struct found f;
	int e = snapshot_open(path, &window, &r), first = 0;

	if (e < 0)
		return e;
	for (size_t i = 0; i < 3; i++) {
		e = found_by_name(&r, three[i].name, &f);
		cr_assert(e < 0 || (f.tenant.uid == three[i].uid && f.guest_id == -1));
		first = first ? first : e;
		e = found_by_number(&r, three[i].uid, &f);
		cr_assert(e < 0 || !strcmp(f.tenant.name, three[i].name));
		first = first ? first : e;
		if (!three[i].guest_base)
			continue;
		e = found_by_number(&r, three[i].guest_base + 65535, &f);
		cr_assert(e < 0 || (!strcmp(f.tenant.name, three[i].name) && f.guest_id == 65535));
		first = first ? first : e;
	}
	e = snapshot_after(&r, "", &place, &rec);
	cr_assert(e < 0 || !strcmp(rec.name, "acme"));
	first = first ? first : e;
	e = found_by_name(&r, "zeta+1000", &f);
	if (e == 0)
		e = snapshot_inside(&r, &f.tenant, 1000, inside);
	cr_assert(e < 0 || !strcmp(inside, "alice"));
	first = first ? first : e;
	if (first == 0)
		first = snapshot_verify(&r);
	snapshot_close(&r);
	return first;
}

Test(snapshot, finds_what_was_written)
{
	struct snapshot_record rec;
	uint32_t place = 0;
	struct snapshot_reader r;
	struct found f;
	size_t len;
	void *data = encode(three, 3, &len);

	put(data, len);
	cr_assert_eq(look_around(), 0);
	cr_assert_eq(snapshot_open(path, &window, &r), 0);
	cr_assert_str_eq(r.home, "/var/lib/vm2/empty");
	cr_assert_str_eq(r.shell, "/usr/bin/vm2-shell");
	cr_assert_eq(found_by_name(&r, "acme+1000", &f), 0);
	cr_assert_eq(found_number(&f), 1001000);
	cr_assert_eq(found_by_number(&r, 1000000, &f), 0);
	cr_assert_eq(f.guest_id, 0);
	cr_assert_eq(found_by_number(&r, 1000000 + 65536, &f), -ENOENT);
	cr_assert_eq(found_by_number(&r, 999999, &f), -ENOENT);
	cr_assert_eq(found_by_number(&r, UINT32_MAX, &f), -ENOENT);
	cr_assert_eq(found_by_number(&r, 0, &f), -ENOENT);
	cr_assert_eq(snapshot_after(&r, "acme", &place, &rec), 0);
	cr_assert_str_eq(rec.name, "none");
	cr_assert_eq(snapshot_after(&r, "zeta", &place, &rec), -ENOENT);
	snapshot_close(&r);
	free(data);
}

Test(snapshot, knows_no_other_names)
{
	static const char *const names[] = {
		"", "+", "+1", "acme+", "acme+01", "acme+65536", "acme+-1", "acme+1x", "acme+1+1",
		"acme+99999999999999", "none+0", "acm", "acmee", "Acme", "zzz", "aaa", "root",
		"acme/../x", "a23456789012345678901234567890123", "\xff",
	};
	struct snapshot_reader r;
	struct found f;
	size_t len;
	void *data = encode(three, 3, &len);

	put(data, len);
	cr_assert_eq(snapshot_open(path, &window, &r), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		cr_expect_eq(found_by_name(&r, names[i], &f), -ENOENT, "%s", names[i]);
	snapshot_close(&r);
	free(data);
}

Test(snapshot, may_be_empty_or_absent)
{
	struct snapshot_reader r;
	struct found f;
	size_t len;
	void *data = encode(NULL, 0, &len);

	cr_assert_eq(snapshot_open("/nowhere/accounts.snap", &window, &r), -ENOENT);
	cr_assert_eq(snapshot_open("/dev/null", &window, &r), -EBADMSG);
	put(data, len);
	cr_assert_eq(snapshot_open(path, &window, &r), 0);
	cr_assert_eq(found_by_name(&r, "acme", &f), -ENOENT);
	cr_assert_eq(found_by_number(&r, 20000, &f), -ENOENT);
	snapshot_close(&r);
	free(data);
}

Test(snapshot, encodes_no_nonsense)
{
	static const struct snapshot_account bad[][2] = {
		{ { "a", 20000, 0, NULL }, { "a", 20001, 0, NULL } },
		{ { "a", 20000, 0, NULL }, { "b", 20000, 0, NULL } },
		{ { "a", 20000, 1000000, NULL }, { "b", 20001, 1065535, NULL } },
		{ { "a", 20000, 0, NULL }, { "root:", 20001, 0, NULL } },
		{ { "a", 20000, 0, NULL }, { "b", 0, 0, NULL } },
		{ { "a", 20000, 0, NULL }, { "b", UINT32_MAX, 0, NULL } },
		{ { "a", 20000, 0, NULL }, { "b", 20001, 1, NULL } },
		{ { "a", 20000, 0, NULL }, { "b", 20001, UINT32_MAX - 65535, NULL } },
	};
	static const struct snapshot_options strings[] = { { .home = "/h:x", .shell = "/s" },
							    { .home = "h", .shell = "/s" },
							    { .home = "/h", .shell = "" } };
	void *data = NULL;
	size_t len = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		cr_expect_eq(snapshot_encode(bad[i], 2, &options, &data, &len), -EINVAL, "%zu", i);
	for (size_t i = 0; i < sizeof(strings) / sizeof(*strings); i++)
		cr_expect_eq(snapshot_encode(three, 3, &strings[i], &data, &len), -EINVAL);
	cr_expect(!data && len == 7);
}

Test(snapshot, refuses_any_length_but_its_own)
{
	size_t len;
	char *data = encode(three, 3, &len);

	for (size_t n = 0; n < len; n++) {
		put(data, n);
		cr_assert_eq(look_around(), -EBADMSG, "cut at %zu", n);
	}
	data = realloc(data, len + 1);
	data[len] = 0;
	put(data, len + 1);
	cr_assert_eq(look_around(), -EBADMSG);
	free(data);
}

Test(snapshot, finds_every_changed_byte)
{
	size_t len;
	unsigned char *data = encode(three, 3, &len);

	for (size_t n = 0; n < len; n++) {
		for (int bit = 0; bit < 8; bit++) {
			data[n] ^= (unsigned char)(1 << bit);
			put(data, len);
			cr_assert_eq(look_around(), -EBADMSG, "byte %zu", n);
			data[n] ^= (unsigned char)(1 << bit);
		}
	}
	free(data);
}

/* A piece of an older file of the same layout in its place, and a line in the place of another. */
Test(snapshot, takes_no_line_of_another_file_or_place)
{
	struct snapshot_options older = options;
	size_t len, head;
	unsigned char *data = encode(three, 3, &len), *copy = malloc(len);
	void *old = NULL;

	older.generation = 6;
	cr_assert_eq(snapshot_encode(three, 3, &older, &old, &len), 0);
	head = get_u32(data + HEAD_LEN);
	for (size_t at = head; at < len; at += LINE_SIZE) {
		memcpy(copy, data, len);
		memcpy(copy + at, (unsigned char *)old + at, LINE_SIZE);
		put(copy, len);
		cr_assert_eq(look_around(), -EBADMSG, "line at %zu", at);
		memcpy(copy + at, data + (at == head ? head + LINE_SIZE : head), LINE_SIZE);
		put(copy, len);
		cr_assert_eq(look_around(), -EBADMSG, "line at %zu", at);
	}
	free(copy);
	free(data);
	free(old);
}

/* Whatever is found in a file whose sums are right is what was asked for. */
static void ask_hostile(void)
{
	struct snapshot_reader r;
	struct found f;
	struct passwd pw;
	char buf[512];

	if (snapshot_open(path, &window, &r) < 0)
		return;
	for (size_t i = 0; i < 3; i++) {
		if (!found_by_name(&r, three[i].name, &f))
			cr_assert(!entry_passwd(&r, &f, &pw, buf, sizeof(buf)) && pw.pw_uid >= 1000);
		if (!found_by_number(&r, three[i].uid, &f))
			cr_assert_eq(found_number(&f), three[i].uid);
		if (!found_by_number(&r, three[i].guest_base + 1000, &f)) {
			cr_assert_eq(found_number(&f), three[i].guest_base + 1000);
			entry_passwd(&r, &f, &pw, buf, sizeof(buf));
		}
	}
	snapshot_close(&r);
}

/* Somebody who knows the sums: they are right, and what they cover is not. */
Test(snapshot, survives_hostile_numbers_with_right_sums)
{
	size_t len;
	unsigned char *data = encode(three, 3, &len);
	size_t head = get_u32(data + HEAD_LEN);
	unsigned int seed = 1;

	for (int round = 0; round < 20000; round++) {
		unsigned char *copy = malloc(len);
		size_t at = (size_t)rand_r(&seed) % (len - 4);

		memcpy(copy, data, len);
		put_u32(copy + at, (uint32_t)rand_r(&seed) << (rand_r(&seed) % 32));
		if (round % 3 == 0)
			put_u32(copy + HEAD_COUNT + 4 * (round % 5), (uint32_t)rand_r(&seed));
		for (size_t line = 0; head + line * LINE_SIZE < len; line++)
			put_u32(copy + head + line * LINE_SIZE + LINE_SUM,
				sum_line(copy + head + line * LINE_SIZE, 7, (uint32_t)line));
		put_u32(copy + HEAD_SUM, sum_head(copy, head));
		put(copy, len);
		ask_hostile();
		free(copy);
	}
	free(data);
}

/* A thousand names for one guest, and the same for many guests: bounded, and written once. */
Test(snapshot, keeps_names_inside_guests_once_and_within_bounds)
{
	struct snapshot_account *a = calloc(1000, sizeof(*a));
	char(*names)[16] = calloc(1000, sizeof(*names)), *text = calloc(1, 40000), inside[33];
	struct snapshot_reader r;
	size_t len, one, used = 0;
	struct found f;
	void *data;

	for (uint32_t i = 0; i < 1000; i++) {
		used += (size_t)sprintf(text + used, "%u somebody-%u\n", i, i);
		sprintf(names[i], "t%u", i);
		a[i] = (struct snapshot_account){ names[i], 70000 + i, (i + 16) * 65536, text };
	}
	free(encode(a, 1, &one));
	data = encode(a, 1000, &len);
	cr_assert_lt(len, one + 1000 * 2 * LINE_SIZE);
	put(data, len);
	cr_assert_eq(snapshot_open(path, &window, &r), 0);
	cr_assert_eq(snapshot_verify(&r), 0);
	cr_assert_eq(found_by_name(&r, "t999+100", &f), 0);
	cr_assert_eq(snapshot_inside(&r, &f.tenant, 100, inside), 0);
	cr_assert_str_eq(inside, "somebody-100");
	/* Of a list that is too long, the rest is not known. */
	cr_assert_eq(snapshot_inside(&r, &f.tenant, 999, inside), -ENOENT);
	cr_assert_eq(snapshot_inside(&r, &f.tenant, 5000, inside), -ENOENT);
	snapshot_close(&r);
	free(data);
	free(text);
	free(names);
	free(a);
}

/* Time of the processor, so that what else the machine does is not counted. */
static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void *encode_many(uint32_t n, size_t *len)
{
	struct snapshot_account *a = calloc(n, sizeof(*a));
	char(*names)[SNAPSHOT_NAME_MAX] = calloc(n, sizeof(*names));
	void *data;

	for (uint32_t i = 0; i < n; i++) {
		snprintf(names[i], sizeof(names[i]), "tenant-%u", i);
		a[i].name = names[i];
		a[i].uid = 100000 + i;
		a[i].guest_base = i < 60000 ? 1000000 + i * 65536 : 0;
	}
	data = encode(a, n, len);
	free(names);
	free(a);
	return data;
}

Test(snapshot, is_fast_with_100000_accounts)
{
	struct snapshot_reader r;
	double start, mid, end;
	struct found f;
	char name[40];
	size_t len;
	void *data = encode_many(MANY, &len);

	put(data, len);
	start = now_us();
	for (uint32_t i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "tenant-%u", i * 7919 % MANY);
		cr_assert_eq(snapshot_open(path, &window, &r), 0);
		cr_assert_eq(found_by_name(&r, name, &f), 0);
		snapshot_close(&r);
		cr_assert_eq(f.tenant.uid, 100000 + i * 7919 % MANY);
	}
	mid = now_us();
	for (uint32_t i = 0; i < 10000; i++) {
		uint32_t uid = 1000000 + i * 5 * 65536 + i;

		cr_assert_eq(snapshot_open(path, &window, &r), 0);
		cr_assert_eq(found_by_number(&r, uid, &f), 0);
		snapshot_close(&r);
		cr_assert_eq(found_number(&f), uid);
	}
	end = now_us();
	cr_log_info("100,000 accounts: by name %.1f us, by a guest's uid %.1f us a lookup",
		    (mid - start) / 10000, (end - mid) / 10000);
	free(data);
}

/* Uids and ranges with great gaps, and names in any order: each is found, its neighbours are not. */
Test(snapshot, finds_all_of_an_uneven_crowd)
{
	enum { CROWD = 5000 };
	struct snapshot_account *a = calloc(CROWD, sizeof(*a));
	char(*names)[SNAPSHOT_NAME_MAX] = calloc(CROWD, sizeof(*names));
	struct snapshot_record rec;
	struct snapshot_reader r;
	uint32_t place = 0, n = 0;
	char last[40] = "";
	struct found f;
	size_t len;
	void *data;

	for (uint32_t i = 0; i < CROWD; i++) {
		snprintf(names[i], sizeof(names[i]), "t%x", i * 2654435761U);
		a[i].name = names[i];
		a[i].uid = i < 4000 ? 70000 + 2 * i : 4000000000U + 3 * i * i;
		a[i].guest_base = i < 3000 ? 600000000 + i * 65536 + (i > 1500 ? 2000000000 : 0) : 0;
	}
	data = encode(a, CROWD, &len);
	put(data, len);
	cr_assert_eq(snapshot_open(path, &window, &r), 0);
	cr_assert_eq(snapshot_verify(&r), 0);
	for (uint32_t i = 0; i < CROWD; i++) {
		cr_assert(!found_by_name(&r, names[i], &f) && f.tenant.uid == a[i].uid);
		cr_assert(!found_by_number(&r, a[i].uid, &f) && !strcmp(f.tenant.name, names[i]));
		cr_assert_eq(found_by_number(&r, a[i].uid + 1, &f), -ENOENT);
		if (!a[i].guest_base)
			continue;
		cr_assert(!found_by_number(&r, a[i].guest_base + i, &f) &&
			  !strcmp(f.tenant.name, names[i]) && f.guest_id == (int32_t)i);
	}
	for (; snapshot_after(&r, last, &place, &rec) == 0; n++) {
		cr_assert_gt(strcmp(rec.name, last), 0);
		memcpy(last, rec.name, sizeof(rec.name));
		if (n % 7 == 0)
			place = n * 31;
	}
	cr_assert_eq(n, CROWD);
	snapshot_close(&r);
	free(data);
	free(names);
	free(a);
}

static atomic_bool stop;

static void *hammer(void *unused)
{
	uintptr_t lookups = 0;

	(void)unused;
	while (!stop) {
		cr_assert_eq(look_around(), 0);
		lookups++;
	}
	return (void *)lookups;
}

Test(snapshot, is_whole_while_it_is_replaced)
{
	struct snapshot_account more[4] = { three[0], three[1], three[2], { "more", 30000, 0, NULL } };
	size_t len3, len4;
	void *data3 = encode(three, 3, &len3), *data4 = encode(more, 4, &len4), *lookups;
	pthread_t threads[4];

	put(data3, len3);
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, hammer, NULL);
	for (int i = 0; i < 2000; i++)
		put(i % 2 ? data3 : data4, i % 2 ? len3 : len4);
	stop = true;
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &lookups);
		cr_assert_neq(lookups, NULL);
	}
	free(data3);
	free(data4);
}
