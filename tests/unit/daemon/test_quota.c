/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The keeper alone finds quotas that are used up, and months that begin; by a clock of the test's own. */
#include <string.h>
#include <time.h>

#include "provision/base/cleanup.h"
#include "provision/daemon/locks.h"
#include "provision/daemon/quota.h"
#include "provision/store/traffic.h"
#include "tests/unit/store/place.h"

#define QUOTA (1ULL << 20)

static time_t now;

/* In the place of the C library's. */
time_t time(time_t *ret)
{
	if (ret)
		*ret = now;
	return now;
}

static int say(void *data, struct store_counts_read *ret, struct err *err)
{
	(void)err;
	*ret = *(const struct store_counts_read *)data;
	return 0;
}

/* One round of the keeper's: what it makes of what the kernel has counted. */
static struct store_tenant keep(struct place *p, uint64_t sent_bytes)
{
	struct store_traffic kernel[2] = { [1] = { .sent_packets = sent_bytes, .sent_bytes = sent_bytes } };
	struct store_counts_read counts = { 7, kernel, 2 };
	struct store_tenant t;

	cr_assert_eq(store_traffic_collect(p->store, say, &counts, time(NULL), 7200, &p->err), 0, "%s",
		p->err.text);
	quota_keep(p->config, p->store);
	cr_assert_eq(store_tenant_get(p->store, "acme", &t, &p->err), 0, "%s", p->err.text);
	return t;
}

/* How many leaves of the ledger's say so. */
static int noted(const struct place *p, const char *change)
{
	CLEANUP_FREE char *command = xasprintf(
		"grep -rao '\"change\":\"%s\",\"quota\":1048576' %s/ledger | wc -l", change, p->folder);
	FILE *f = popen(command, "r");
	int n = -1;

	cr_assert(f && fscanf(f, "%d", &n) == 1);
	pclose(f);
	return n;
}

Test(quota, a_month_that_begins_lifts_it)
{
	PLACE(p, "");
	const struct store_template template = { .name = "debian", .suite = "bookworm", .state = "ready" };
	struct limits_part own = { 0 };
	struct store_tenant t;
	struct store_guest g;
	uint64_t up, down;

	cr_assert_eq(lock_folder(p.config, &p.err), 0, "%s", p.err.text);
	cr_assert_eq(store_template_add(p.store, &template, &p.err), 0, "%s", p.err.text);
	cr_assert_eq(add_tenant(&p, "acme"), 0, "%s", p.err.text);
	for (size_t i = 0; i < LIMITS_COUNT; i++) {
		const char *name = limit_table[i].name;
		uint64_t value = !strcmp(name, "quota") ? QUOTA : LIMITS_BEYOND_BLOCK;

		if (strcmp(name, "quota") && strcmp(name, "beyond"))
			continue;
		limit_set(&limit_table[i], &own.of, value);
		own.given |= 1ULL << i;
	}
	cr_assert_eq(store_tenant_change(p.store, "acme", NULL, &own, &p.err), 0, "%s", p.err.text);
	cr_assert_eq(store_guest_allocate(p.store, p.config, "acme", "overlay", false, &g, &p.err), 0, "%s",
		p.err.text);
	cr_assert_eq(g.number, 1);

	/* 2023-12-31 23:59:30 */
	now = 1704067170;
	t = keep(&p, QUOTA);
	cr_expect(!t.beyond && noted(&p, "block") == 0);
	t = keep(&p, QUOTA + 1);
	quota_rates(&t, &up, &down);
	cr_expect(t.beyond && t.held && up == 8 && down == 8);
	cr_expect_str_eq(quota_state(&t), "block");
	cr_expect_eq(noted(&p, "block"), 1);
	/* 15 s later it is the same month, and a quarter of a minute later the next. */
	now += 15;
	t = keep(&p, QUOTA + 1);
	cr_expect(t.beyond && noted(&p, "block") == 1 && noted(&p, "lifted") == 0);
	now += 15;
	t = keep(&p, QUOTA + 1);
	quota_rates(&t, &up, &down);
	cr_expect(!t.beyond && !t.held && up == 0 && down == 0);
	cr_expect_eq(noted(&p, "lifted"), 1);
	/* What is counted from then on is the new month's. */
	t = keep(&p, 2 * QUOTA + 1);
	cr_expect(!t.beyond && quota_used(&t, now) == QUOTA);
	t = keep(&p, 2 * QUOTA + 2);
	cr_expect(t.beyond && noted(&p, "block") == 2);
}
