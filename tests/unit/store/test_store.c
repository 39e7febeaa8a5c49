/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "nss_vm2/snapshot.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/store/accounts.h"
#include "provision/store/password.h"
#include "provision/store/pool.h"
#include "provision/store/store.h"
#include "provision/store/traffic.h"
#include "tests/unit/store/place.h"

static void add_template(struct place *p)
{
	struct store_template t = { .name = "debian", .suite = "bookworm", .state = "ready" };

	cr_assert_eq(store_template_add(p->store, &t, &p->err), 0, "%s", p->err.text);
}

static int add_guest(struct place *p, const char *name, struct store_guest *g)
{
	int r = add_tenant(p, name);

	return r ? r : store_guest_allocate(p->store, p->config, name, "overlay", false, g,
					   &p->err);
}

Test(store, makes_and_reopens_a_database)
{
	PLACE(p, "");
	struct store_plan plan;
	struct stat st;

	cr_assert_eq(stat(p.config->database, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
	cr_assert_eq(add_tenant(&p, "acme"), 0, "%s", p.err.text);
	cr_assert_eq(add_tenant(&p, "acme"), ERR_EXISTS);
	cr_assert(strstr(p.err.text, "'acme'"), "%s", p.err.text);
	p.store = store_close(p.store);
	cr_assert_eq(store_open(p.config->database, &p.store, &p.err), 0, "%s", p.err.text);
	cr_assert_eq(add_tenant(&p, "acme"), ERR_EXISTS);
	cr_assert_eq(store_plan_get(p.store, "small", &plan, &p.err), 0);
	cr_assert(plan.limits.cpu == 100 && plan.limits.memory == 512 << 20);
	cr_assert(plan.limits.disk == 0 && plan.limits.processes == 512);
	cr_assert(!plan.limits.recording && plan.tenants == 1);
}

Test(store, refuses_a_newer_schema)
{
	PLACE(p, "");
	struct store *second = NULL;
	char wal[128];
	int fd;

	/* user_version is the big-endian number at offset 60 (sqlite.org/fileformat2). */
	cr_assert_eq(store_checkpoint(p.store, &p.err), 0);
	p.store = store_close(p.store);
	fd = open(p.config->database, O_RDWR | O_CLOEXEC);
	cr_assert_eq(pwrite(fd, "\0\0\1\0", 4, 60), 4);
	close(fd);
	snprintf(wal, sizeof(wal), "%s-wal", p.config->database);
	cr_assert_eq(unlink(wal), 0);
	cr_assert_eq(store_open(p.config->database, &second, &p.err), ERR_FAILED);
	cr_assert(strstr(p.err.text, "a newer VM2"), "%s", p.err.text);
	fd = open(p.config->database, O_RDWR | O_TRUNC | O_CLOEXEC);
	cr_assert_eq(write(fd, "this is no database, as anybody can see", 39), 39);
	close(fd);
	cr_assert_eq(store_open(p.config->database, &second, &p.err), ERR_FAILED);
	cr_assert_null(second);
	cr_assert(strstr(p.err.text, p.config->database), "%s", p.err.text);
}

Test(store, keeps_references_whole)
{
	PLACE(p, "");
	struct store_tenant t = { .name = "acme", .plan.name = "none" };
	struct store_guest g;

	cr_assert_eq(store_tenant_add(p.store, p.config, &t, NULL, 0, &p.err), ERR_NOT_FOUND);
	cr_assert(strstr(p.err.text, "plan 'none'"), "%s", p.err.text);
	snprintf(t.plan.name, sizeof(t.plan.name), "small");
	snprintf(t.template, sizeof(t.template), "other");
	cr_assert_eq(store_tenant_add(p.store, p.config, &t, NULL, 0, &p.err), ERR_NOT_FOUND);
	cr_assert_eq(add_guest(&p, "acme", &g), ERR_NOT_FOUND);
	cr_assert(strstr(p.err.text, "vm2 template build debian"), "%s", p.err.text);
	add_template(&p);
	cr_assert_eq(store_guest_allocate(p.store, p.config, "acme", "overlay", false, &g, &p.err), 0);
	cr_assert_eq(store_guest_allocate(p.store, p.config, "acme", "overlay", false, &g, &p.err), ERR_EXISTS);
	cr_assert_eq(store_template_remove(p.store, "debian", &p.err), ERR_BUSY, "%s", p.err.text);
	cr_assert_eq(store_tenant_remove(p.store, "acme", &p.err), ERR_BUSY);
	cr_assert(strstr(p.err.text, "guest"), "%s", p.err.text);
	cr_assert_eq(store_guest_remove(p.store, "acme", &p.err), 0);
	cr_assert_eq(store_tenant_remove(p.store, "acme", &p.err), 0, "%s", p.err.text);
	cr_assert_eq(store_tenant_remove(p.store, "acme", &p.err), ERR_NOT_FOUND);
	cr_assert_eq(store_template_remove(p.store, "debian", &p.err), 0);
	cr_assert_eq(store_template_remove(p.store, "debian", &p.err), ERR_NOT_FOUND);
}

Test(store, allocates_the_smallest_free_until_full)
{
	PLACE(p, "[network]\npool4 = 10.82.0.0/29\n[uids]\nguest-count = 6");
	struct store_guest g;
	struct store_tenant t;
	char name[8];

	add_template(&p);
	for (unsigned int i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "t%u", i);
		cr_assert_eq(add_guest(&p, name, &g), 0, "%s", p.err.text);
		cr_assert_eq(g.number, i + 1);
		cr_assert_eq(g.uid_base, 603979776 + i * 65536);
	}
	cr_assert_str_eq(g.address4, "10.82.0.6");
	cr_assert_str_eq(g.address6, "fd82:766d:3200::6");
	cr_assert_eq(add_guest(&p, "late", &g), ERR_BUSY);
	cr_assert_str_eq(p.err.text,
		"the address pool 10.82.0.0/29 is full (5 of 5 in use); "
		"enlarge network.pool4 in vm2.conf");
	cr_assert_eq(store_guest_remove(p.store, "t2", &p.err), 0);
	cr_assert_eq(store_guest_allocate(p.store, p.config, "late", "overlay", false, &g, &p.err), 0);
	cr_assert_eq(g.number, 3);
	cr_assert_str_eq(g.address4, "10.82.0.4");
	cr_assert_eq(store_tenant_get(p.store, "late", &t, &p.err), 0);
	cr_assert_eq(t.guest.intent, STORE_GUEST_CREATING);
	cr_assert_str_eq(t.guest.address4, "10.82.0.4");
	cr_assert_str_eq(t.guest.template, "debian");
	cr_assert_eq(t.uid, 1879048192 + 5);
	cr_assert_eq(store_guest_intent(p.store, "late", STORE_GUEST_PRESENT, &p.err), 0);
	cr_assert_eq(store_tenant_get(p.store, "late", &t, &p.err), 0);
	cr_assert_eq(t.guest.intent, STORE_GUEST_PRESENT);
	cr_assert_eq(store_guest_remove(p.store, "nobody", &p.err), ERR_NOT_FOUND);
}

Test(store, runs_without_addresses)
{
	PLACE(p, "[network]\npool4 =\npool6 =");
	struct store_guest g;

	add_template(&p);
	cr_assert_eq(add_guest(&p, "a", &g), 0, "%s", p.err.text);
	cr_assert_eq(add_guest(&p, "b", &g), 0, "%s", p.err.text);
	cr_assert(!g.address4[0] && !g.address6[0]);
}

Test(store, checks_pools)
{
	static const char *const bad[] = { "10.0.0.0", "10.0.0.1/24", "10.0.0.0/31", "10.0.0.0/7",
		"x/24", "10.0.0/24", "10.0.0.0/", "10.0.0.0/99" };
	static const char *const bad6[] = { "fd82::", "fd82::1/64", "fd82::/97", "fd82::/31",
		"1.2.3.4/64" };
	struct pool4 pool;
	char text[46];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_expect_eq(pool4_parse(bad[i], &pool, NULL), ERR_USAGE, "%s", bad[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad6); i++)
		cr_expect_eq(pool6_address(bad6[i], 1, text, NULL), ERR_USAGE, "%s", bad6[i]);
	cr_assert_eq(pool4_parse("10.82.0.0/30", &pool, NULL), 0);
	cr_assert_eq(pool.first, 0x0a520002);
	cr_assert_eq(pool.count, 1);
}

static int count_session(void *data, const struct store_session *s)
{
	(*(int *)data)++;
	return 0;
}

static int check_closed(void *data, const struct store_session *s)
{
	cr_assert_str_eq(s->state, "closed");
	cr_assert_str_eq(s->command, "true");
	cr_assert_eq(s->status, 3);
	cr_assert_null(s->signal);
	cr_assert(s->bytes_in == 5 && s->bytes_out == 7 && s->recorded);
	return 42;
}

Test(store, follows_sessions)
{
	PLACE(p, "");
	struct store_session s = { .id = "a",
		.tenant = "acme",
		.kind = "exec",
		.command = "true",
		.via = "gateway",
		.started = 1,
		.pid = 1,
		.status = -1 };
	int n = 0;

	cr_assert_eq(store_session_open(p.store, &s, &p.err), ERR_DENIED);
	cr_assert_eq(add_tenant(&p, "acme"), 0);
	cr_assert_eq(store_session_open(p.store, &s, &p.err), 0, "%s", p.err.text);
	s.id = "b";
	cr_assert_eq(store_session_open(p.store, &s, &p.err), 0);
	cr_assert_eq(store_tenant_suspend(p.store, "acme", "unpaid", &p.err), 0);
	s.id = "c";
	cr_assert_eq(store_session_open(p.store, &s, &p.err), ERR_DENIED);
	cr_assert_eq(store_session_each(p.store, "acme", true, 10, count_session, &n, &p.err), 0);
	cr_assert_eq(n, 2);
	s = (struct store_session){
		.id = "a", .ended = 9, .status = 3, .bytes_in = 5, .bytes_out = 7, .recorded = true
	};
	cr_assert_eq(store_session_close(p.store, &s, &p.err), 0);
	cr_assert_eq(store_session_close(p.store, &s, &p.err), ERR_NOT_FOUND);
	cr_assert_eq(store_session_get(p.store, "a", check_closed, NULL, &p.err), 42);
	cr_assert_eq(store_session_lost(p.store, "b", 9, &p.err), 0);
	cr_assert_eq(store_session_each(p.store, NULL, true, 10, count_session, &n, &p.err), 0);
	cr_assert_eq(n, 2);
	cr_assert_eq(store_session_each(p.store, NULL, false, 1, count_session, &n, &p.err), 0);
	cr_assert_eq(n, 3);
}

struct nested {
	struct store *store;
	int depth, rows;
};

static int ask_again(void *data, const struct store_tenant *t)
{
	struct nested *n = data, inner = { n->store, n->depth - 1, 0 };
	struct store_tenant found;
	int r = n->depth ? store_tenant_each(n->store, ask_again, &inner, NULL) : 0;

	n->rows += n->depth ? inner.rows : 1;
	if (r == 0)
		r = store_tenant_get(n->store, t->name, &found, NULL);
	return r == 0 && strcmp(found.name, t->name) ? ERR_FAILED : r;
}

/* What was prepared is kept: not for whoever asks the same while rows of the answer still come. */
Test(store, answers_within_its_own_answers)
{
	PLACE(p, "");
	struct nested n = { p.store, 2, 0 };
	struct store_tenant t;

	for (int i = 0; i < 3; i++)
		cr_assert_eq(add_tenant(&p, (const char *[]){ "anna", "bert", "carl" }[i]), 0);
	for (int i = 0; i < 2; i++) {
		n.rows = 0;
		store_warm(p.store);
		cr_assert_eq(store_tenant_each(p.store, ask_again, &n, &p.err), 0, "%s", p.err.text);
		cr_expect_eq(n.rows, 27);
	}
	cr_expect_eq(store_tenant_get(p.store, "nobody", &t, NULL), ERR_NOT_FOUND);
}

Test(store, adds_a_tenant_with_all_its_keys_or_not)
{
	PLACE(p, "");
	struct store_key keys[2] = {
		{ .type = "ssh-ed25519", .blob = "x", .blob_len = 1, .fingerprint = "SHA256:x" }
	};
	struct store_tenant t = { .name = "acme", .plan.name = "small" };
	struct store_key found;

	keys[1] = keys[0];
	cr_assert_eq(store_tenant_add(p.store, p.config, &t, keys, 2, &p.err), ERR_EXISTS);
	cr_assert_eq(store_tenant_get(p.store, "acme", &t, &p.err), ERR_NOT_FOUND);
	cr_assert_eq(store_tenant_add(p.store, p.config, &t, keys, 1, &p.err), 0, "%s", p.err.text);
	cr_assert_eq(store_key_add(p.store, "acme", &keys[0], &p.err), ERR_EXISTS);
	cr_assert_eq(store_key_match(p.store, "acme", "x", 1, &found, &p.err), 0);
	cr_assert_eq(store_key_match(p.store, "acme", "y", 1, &found, &p.err), ERR_NOT_FOUND);
	cr_assert_eq(store_key_match(p.store, "other", "x", 1, &found, &p.err), ERR_NOT_FOUND);
	cr_assert_eq(store_key_remove(p.store, "acme", "SHA256:y", &p.err), ERR_NOT_FOUND);
	cr_assert_eq(store_key_remove(p.store, "acme", "SHA256:x", &p.err), 0);
}

/* What the kernel would say. */
static int say(void *data, struct store_counts_read *ret, struct err *err)
{
	(void)err;
	*ret = *(const struct store_counts_read *)data;
	return 0;
}

static int sum_hour(void *data, int64_t hour, const struct store_traffic *t)
{
	uint64_t *sums = data;

	sums[0] += t->sent_bytes;
	sums[1]++;
	cr_expect(hour % 3600 == 0);
	return 0;
}

#define COLLECT(at) \
	cr_assert_eq(store_traffic_collect(p.store, say, &counts, at, 7200, &p.err), 0, "%s", p.err.text)

Test(store, sums_the_month)
{
	PLACE(p, "");
	struct store_traffic kernel[2] = { 0 };
	struct store_counts_read counts = { 7, kernel, 2 };
	/* 2023-11-30 23:59:59, 2023-12-01 00:00:00, 2024-02-29 */
	const int64_t last = 1701388799, first = 1701388800, leap = 1709164800;
	struct store_tenant t;
	struct store_guest g;

	cr_assert_eq(store_month(last), 1698796800);
	cr_assert_eq(store_month(first), first);
	cr_assert_eq(store_month(leap), 1706745600);
	add_template(&p);
	cr_assert_eq(add_guest(&p, "acme", &g), 0, "%s", p.err.text);
	kernel[1] = (struct store_traffic){ 10, 1000, 1, 50, 3 };
	COLLECT(last - 7200);
	kernel[1] = (struct store_traffic){ 20, 2000, 1, 50, 3 };
	COLLECT(last);
	cr_assert_eq(store_tenant_get(p.store, "acme", &t, &p.err), 0);
	cr_expect(t.month == 1698796800 && t.month_bytes == 2050, "%lu", (unsigned long)t.month_bytes);
	kernel[1] = (struct store_traffic){ 21, 2100, 1, 50, 4 };
	COLLECT(first);
	cr_assert_eq(store_tenant_get(p.store, "acme", &t, &p.err), 0);
	cr_expect(t.month == first && t.month_bytes == 100 && !t.beyond && !t.held);
	cr_assert_eq(store_traffic_beyond(p.store, "acme", true, &p.err), 0);
	cr_assert_eq(store_tenant_get(p.store, "acme", &t, &p.err), 0);
	cr_expect(t.beyond && !t.held);
	cr_assert_eq(store_traffic_held(p.store, "acme", true, &p.err), 0);
	cr_assert_eq(store_tenant_get(p.store, "acme", &t, &p.err), 0);
	cr_expect(t.beyond && t.held);
	/* What another table counts, and what the next guest does, goes on. */
	kernel[1].sent_bytes = 2200;
	kernel[1].dropped = 9;
	COLLECT(first + 1);
	cr_assert_eq(store_tenant_get(p.store, "acme", &t, &p.err), 0);
	cr_expect(t.month_bytes == 200 && t.beyond && t.held, "%lu", (unsigned long)t.month_bytes);
}

Test(store, adds_each_byte_once)
{
	PLACE(p, "");
	struct store_traffic kernel[3] = { 0 }, t;
	struct store_counts_read counts = { 7, kernel, 3 };
	const int64_t now = 1700000000;
	uint64_t sums[2] = { 0 };
	struct store_guest g;
	int64_t updated = 1;

#define ASSERT_SENT(packets, bytes)                                                                    \
	cr_assert_eq(store_traffic_get(p.store, "acme", &t, &updated, &p.err), 0);                     \
	cr_assert(t.sent_packets == (packets) && t.sent_bytes == (bytes), "%lu, %lu", (unsigned long)t.sent_packets, \
		(unsigned long)t.sent_bytes)
	add_template(&p);
	cr_assert_eq(add_guest(&p, "acme", &g), 0, "%s", p.err.text);
	cr_assert_eq(g.number, 1);
	ASSERT_SENT(0, 0);
	cr_assert_eq(updated, 0);
	kernel[1] = (struct store_traffic){ 10, 1000, 1, 50 };
	COLLECT(now);
	COLLECT(now);
	ASSERT_SENT(10, 1000);
	cr_assert(updated == now && t.received_packets == 1 && t.received_bytes == 50);
	kernel[1] = (struct store_traffic){ 12, 1200, 1, 50 };
	COLLECT(now + 1);
	ASSERT_SENT(12, 1200);
	/* Read while it moved: what is back then is not new, and what others count meanwhile is. */
	kernel[1] = (struct store_traffic){ 1, 100, 3, 150 };
	COLLECT(now + 1);
	ASSERT_SENT(12, 1200);
	cr_assert(t.received_packets == 3 && t.received_bytes == 150);
	kernel[1] = (struct store_traffic){ 13, 1300, 3, 150 };
	COLLECT(now + 1);
	ASSERT_SENT(13, 1300);
	/* Another table counts from zero, be it further than the old one by now. */
	counts.epoch = 8;
	kernel[1] = (struct store_traffic){ 20, 2000, 1, 50 };
	COLLECT(now + 3600);
	ASSERT_SENT(33, 3300);
	/* Without a table nothing is known. */
	counts.epoch = 0;
	COLLECT(now + 3600);
	ASSERT_SENT(33, 3300);
	/* The number is another guest's. */
	counts.epoch = 8;
	cr_assert_eq(store_traffic_forget(p.store, "acme", &p.err), 0);
	kernel[1] = (struct store_traffic){ 30, 3000, 0, 0 };
	COLLECT(now + 3600);
	ASSERT_SENT(63, 6300);
	cr_assert_eq(store_traffic_hours(p.store, "acme", 0, sum_hour, sums, &p.err), 0);
	cr_assert(sums[0] == 6300 && sums[1] == 2);
	/* Hours are forgotten, sums are not. */
	COLLECT(now + 3 * 3600 - 1800);
	sums[0] = sums[1] = 0;
	cr_assert_eq(store_traffic_hours(p.store, "acme", 0, sum_hour, sums, &p.err), 0);
	cr_assert(sums[0] == 5000 && sums[1] == 1);
	ASSERT_SENT(63, 6300);
}

Test(store, finds_whose_guest_has_a_number)
{
	PLACE(p, "");
	char name[STORE_NAME_SIZE] = "";
	struct store_guest g;

	add_template(&p);
	cr_assert_eq(add_guest(&p, "acme", &g), 0, "%s", p.err.text);
	cr_assert_eq(add_guest(&p, "other", &g), 0, "%s", p.err.text);
	cr_assert_eq(store_tenant_by_number(p.store, g.number, name, &p.err), 0, "%s", p.err.text);
	cr_expect_str_eq(name, "other");
	cr_expect_eq(store_tenant_by_number(p.store, g.number + 1, name, NULL), ERR_NOT_FOUND);
}

Test(store, checks_passwords)
{
	PLACE(p, "");
	char long_one[600], hash[STORE_HASH_SIZE];
	CLEANUP_FREE char *made = NULL;

	memset(long_one, 'x', sizeof(long_one) - 1);
	long_one[sizeof(long_one) - 1] = '\0';
	cr_assert_eq(password_hash("", &made, NULL), ERR_USAGE);
	cr_assert_eq(password_hash("a\nb", &made, NULL), ERR_USAGE);
	cr_assert_eq(password_hash(long_one, &made, NULL), ERR_USAGE);
	long_one[PASSWORD_MAX] = '\0';
	cr_assert_eq(password_hash(long_one, &made, NULL), 0);
	cr_assert(str_starts(made, "$y$"));
	cr_assert(password_verify(long_one, made));
	long_one[0] = 'y';
	cr_assert_not(password_verify(long_one, made));
	cr_assert_not(password_verify("this is nobody's password", NULL));
	cr_assert_eq(add_tenant(&p, "acme"), 0);
	cr_assert_eq(store_password_get(p.store, "acme", hash, &p.err), ERR_NOT_FOUND);
	cr_assert_eq(store_password_set(p.store, "acme", made, &p.err), 0);
	cr_assert_eq(store_password_get(p.store, "acme", hash, &p.err), 0);
	cr_assert_str_eq(hash, made);
	cr_assert_eq(store_password_set(p.store, "acme", NULL, &p.err), 0);
	cr_assert_eq(store_password_get(p.store, "acme", hash, &p.err), ERR_NOT_FOUND);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

Test(store, stays_fast_with_10000_tenants, .timeout = 110)
{
	PLACE(p, "[uids]\nguest-count = 19000");
	struct store_guest g;
	struct store_tenant t;
	struct stat st;
	char name[24];
	double start = seconds(), added;

	add_template(&p);
	for (int i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "tenant-%d", i);
		cr_assert_eq(add_guest(&p, name, &g), 0, "%s", p.err.text);
	}
	added = seconds();
	fprintf(stderr, "10,000 tenants with guests: %.2f s to add all", added - start);
	cr_assert_eq(add_guest(&p, "last", &g), 0);
	fprintf(stderr, ", %.2f ms for one more", (seconds() - added) * 1e3);
	cr_assert_eq(g.number, 10001);
	start = seconds();
	cr_assert_eq(store_tenant_get(p.store, "tenant-5000", &t, &p.err), 0);
	fprintf(stderr, ", %.3f ms to get one", (seconds() - start) * 1e3);
	start = seconds();
	cr_assert_eq(accounts_publish(p.store, p.config, &p.err), 0, "%s", p.err.text);
	fprintf(stderr, ", %.2f ms to publish\n", (seconds() - start) * 1e3);
	cr_assert_eq(stat(p.config->accounts, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0644);
}

/* Whether the snapshot has a record of this name. */
static bool is_published(const struct place *p, const char *name)
{
	static char data[1 << 20];
	ssize_t n = fd_read_path(AT_FDCWD, p->config->accounts, data, sizeof(data));

	return n > 0 && memmem(data, (size_t)n, name, strlen(name) + 1);
}

/* One of many who change something at once: adds, publishes and looks. */
static int add_and_look(struct place *p, int number)
{
	char name[32];

	p->store = NULL;
	if (store_open(p->config->database, &p->store, &p->err) != 0)
		return 1;
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "both-%d-%d", number, i);
		if (add_tenant(p, name) != 0 || accounts_publish(p->store, p->config, &p->err) != 0)
			return 2;
		if (!is_published(p, name))
			return 3;
	}
	return 0;
}

Test(store, publishes_each_change_before_it_returns)
{
	PLACE(p, "");
	pid_t pids[6];
	int status;

	p.store = store_close(p.store);
	for (int i = 0; i < 6; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(add_and_look(&p, i));
	}
	for (int i = 0; i < 6; i++) {
		cr_assert_eq(waitpid(pids[i], &status, 0), pids[i]);
		cr_assert_eq(status, 0, "%x", status);
	}
}

/* One that was killed in the midst has not published for those who wait behind it. */
Test(store, publishes_after_one_that_was_killed)
{
	PLACE(p, "");
	uint64_t turns[2] = { 5, 4 };
	char lock[128];
	int fd;

	cr_assert_eq(add_tenant(&p, "early"), 0);
	snprintf(lock, sizeof(lock), "%s/.accounts.lock", p.folder);
	fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_eq(write(fd, turns, sizeof(turns)), sizeof(turns));
	cr_assert_eq(accounts_publish(p.store, p.config, &p.err), 0, "%s", p.err.text);
	cr_assert(is_published(&p, "early"));
	cr_assert_eq(pread(fd, turns, sizeof(turns), 0), sizeof(turns));
	cr_assert(turns[0] == 6 && turns[1] == 6);
	close(fd);
}

/* Lists of accounts inside guests: each once, as long as a guest has it, and all in the snapshot. */
Test(store, keeps_each_list_of_accounts_inside_once)
{
	PLACE(p, "");
	struct store_guest g;
	bool changed = false;

	add_template(&p);
	cr_assert_eq(add_guest(&p, "one", &g), 0, "%s", p.err.text);
	cr_assert_eq(add_guest(&p, "two", &g), 0, "%s", p.err.text);
	cr_assert_eq(store_guest_inside(p.store, "one", "0 root\n7 alike\n", &changed, &p.err), 0);
	cr_assert(changed);
	cr_assert_eq(store_guest_inside(p.store, "one", "0 root\n7 alike\n", &changed, &p.err), 0);
	cr_assert(!changed);
	cr_assert_eq(store_guest_inside(p.store, "two", "0 root\n7 alike\n", &changed, &p.err), 0);
	cr_assert_eq(accounts_publish(p.store, p.config, &p.err), 0, "%s", p.err.text);
	cr_assert(is_published(&p, "alike"));
	cr_assert_eq(store_guest_inside(p.store, "one", "0 root\n8 other\n", &changed, &p.err), 0);
	cr_assert(changed);
	cr_assert_eq(store_guest_remove(p.store, "two", &p.err), 0);
	cr_assert_eq(accounts_publish(p.store, p.config, &p.err), 0, "%s", p.err.text);
	cr_assert(is_published(&p, "other") && !is_published(&p, "alike"));
	cr_assert_eq(store_guest_inside(p.store, "one", "", &changed, &p.err), 0);
	cr_assert(changed);
	cr_assert_eq(accounts_publish(p.store, p.config, &p.err), 0, "%s", p.err.text);
	cr_assert(!is_published(&p, "other"));
	/* No guest, no list. */
	cr_assert_eq(store_guest_inside(p.store, "nobody", "0 root\n", &changed, &p.err), 0);
	cr_assert(!changed);
}
