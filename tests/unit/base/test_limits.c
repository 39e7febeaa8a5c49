/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of limits: what people may write, and the text that keeps them. */
#include <criterion/criterion.h>
#include <string.h>

#include "provision/base/limits.h"

static const struct limit *find(const char *name)
{
	for (size_t i = 0; i < LIMITS_COUNT; i++)
		if (!strcmp(limit_table[i].name, name))
			return &limit_table[i];
	cr_assert_fail("no limit is called %s", name);
	return NULL;
}

static int parse(const char *name, const char *text, uint64_t *ret)
{
	struct err err = { 0 };
	int r = limit_parse(find(name), text, ret, &err);

	if (r != 0)
		cr_assert(strstr(err.text, name) && strstr(err.text, text), "%s", err.text);
	return r;
}

Test(limits, take_what_people_write)
{
	uint64_t value = 7;

	cr_assert(parse("memory", "64M", &value) == 0 && value == 64 << 20);
	cr_assert(parse("memory", "none", &value) == 0 && value == 0);
	cr_assert(parse("disk", "unlimited", &value) == 0 && value == 0);
	cr_assert(parse("idle", "90", &value) == 0 && value == 90);
	cr_assert(parse("idle", "2h", &value) == 0 && value == 7200);
	cr_assert(parse("up", "10mbit", &value) == 0 && value == 10000000);
	cr_assert(parse("down", "64000", &value) == 0 && value == 64000);
	cr_assert(parse("down", "1gbit", &value) == 0 && value == 1000000000);
	cr_assert(parse("cpu", "0", &value) == 0 && value == 0);
	cr_assert(parse("recording", "required", &value) == 0 && value == 1);
	cr_assert(parse("recording", "best-effort", &value) == 0 && value == 0);
}

Test(limits, refuse_the_rest_untouched)
{
	static const char *const wrong[][2] = {
		{ "memory", "1024" },	 { "memory", "x" },	   { "memory", "" },
		{ "memory", "-1" },	 { "memory", "99999T" },   { "cpu", "102401" },
		{ "cpu", "18446744073709551616" }, { "cpu", "1M" }, { "recording", "" },
		{ "recording", "none" }, { "recording", "required best-effort" },
		{ "recording", "require" }, { "idle", "m" },	   { "idle", "1y" },
		{ "up", "10m" }, { "up", "1kbit" }, { "up", "mbit" }, { "down", "9999999gbit" },
		{ "idle", "99999999999999999999999s" },		   { "idle", "1ms" },
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		uint64_t value = 7;

		cr_expect_eq(parse(wrong[i][0], wrong[i][1], &value), ERR_USAGE, "%s = %s",
			     wrong[i][0], wrong[i][1]);
		cr_expect_eq(value, 7);
	}
}

/* Values that differ from each other and from the defaults, as far as there are any. */
static void fill(struct limits *ret)
{
	for (size_t i = 0; i < LIMITS_COUNT; i++)
		limit_set(&limit_table[i], ret,
			  limit_table[i].kind == LIMIT_WORD ? 1 : limit_table[i].least + i);
}

Test(limits, survive_their_text)
{
	struct limits_part part = { 0 }, back;
	struct limits limits = { 0 };
	CLEANUP_BUF struct buf text = { 0 };

	fill(&limits);
	limits_whole(&limits, &part);
	limits_write(&part, &text);
	limits_read(text.data, &back);
	cr_assert_eq(memcmp(&part, &back, sizeof(part)), 0, "%s", text.data);
}

Test(limits, skip_what_a_newer_version_wrote)
{
	struct limits_part part;

	limits_read("future=12 cpu=50 cpu memory=1 =3 recording=sometimes  processes=9", &part);
	cr_assert_eq(part.of.cpu, 50);
	cr_assert_eq(part.of.processes, 9);
	cr_assert_eq(__builtin_popcountll(part.given), 2);
}

Test(limits, of_a_tenant_lie_over_its_plans)
{
	struct limits_part own = { 0 }, change;
	struct limits limits = { .cpu = 100, .memory = 512 << 20, .processes = 64 };

	limits_read("cpu=200 memory=1073741824", &change);
	limits_merge(&own, &change);
	limits_apply(&limits, &own);
	cr_assert(limits.cpu == 200 && limits.memory == 1 << 30 && limits.processes == 64);
	change = (struct limits_part){ .dropped = 1ULL << (find("cpu") - limit_table) };
	limits_merge(&own, &change);
	limits = (struct limits){ .cpu = 100, .memory = 512 << 20 };
	limits_apply(&limits, &own);
	cr_assert(limits.cpu == 100 && limits.memory == 1 << 30);
}
