/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/cli/table.h"

static const struct column columns[] = {
	{ "name", "NAME", COLUMN_TEXT, false },
	{ "bytes", "SIZE", COLUMN_SIZE, false },
	{ "limit", "LIMIT", COLUMN_SIZE_LIMIT, false },
	{ "when", "WHEN", COLUMN_TIME, false },
	{ "on", "ON", COLUMN_BOOL, true },
	{ 0 },
};

static char *print(enum table_shape shape, bool json)
{
	struct table *t = table_new(columns, shape);
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	for (int i = 0; i < (shape == TABLE_ONE ? 1 : 2); i++) {
		CLEANUP_MSG struct msg row = { 0 };

		msg_add(&row, "name", i ? "b\033[2J" : "acme");
		msg_add_u64(&row, "bytes", 1536);
		msg_add_u64(&row, "limit", 0);
		msg_add_u64(&row, "when", i ? 0 : 1000000000);
		msg_add(&row, "on", i ? NULL : "1");
		table_add(t, &row);
	}
	if (json)
		table_print_json(t, out);
	else
		table_print(t, out, false);
	fclose(out);
	table_free(t);
	return text;
}

Test(table, aligns_and_escapes)
{
	CLEANUP_FREE char *text = print(TABLE_MANY, false);

	cr_assert_str_eq(text, "NAME      SIZE  LIMIT  WHEN\n"
			       "acme      1536   none  2001-09-09T01:46:40Z\n"
			       "b\\x1b[2J  1536   none  -\n");
}

Test(table, json_has_types)
{
	CLEANUP_FREE char *many = print(TABLE_MANY, true);
	CLEANUP_FREE char *one = print(TABLE_ONE, true);

	cr_assert_str_eq(many,
			 "[{\"name\": \"acme\", \"bytes\": 1536, \"limit\": 0, \"when\": 1000000000, "
			 "\"on\": true},\n {\"name\": \"b\\u001b[2J\", \"bytes\": 1536, \"limit\": 0, "
			 "\"when\": null, \"on\": null}]\n");
	cr_assert_str_eq(one, "{\"name\": \"acme\", \"bytes\": 1536, \"limit\": 0, "
			      "\"when\": 1000000000, \"on\": true}\n");
}

static void is_written(void (*write)(struct buf *b, uint64_t n), uint64_t n, const char *expected)
{
	CLEANUP_BUF struct buf b = { 0 };

	write(&b, n);
	cr_assert_str_eq(b.data, expected);
}

Test(table, sizes_and_times_for_people)
{
	is_written(text_size, 0, "0");
	is_written(text_size, 1023, "1023");
	is_written(text_size, 1024, "1K");
	is_written(text_size, 1536, "1.5K");
	is_written(text_size, 512UL << 20, "512M");
	is_written(text_size, UINT64_MAX, "16E");
	is_written(text_duration, 59, "59s");
	is_written(text_duration, 3661, "1h 1m");
	is_written(text_duration, 90000, "1d 1h");
}

Test(table, nothing_hides_in_a_text)
{
	CLEANUP_BUF struct buf b = { 0 };

	text_escape(&b, "a\n\xe2\x80\xae\xc2\x9b\xff\xc3\xa9");
	cr_assert_str_eq(b.data, "a\\x0a\\u202e\\u009b\\xff\xc3\xa9");
}
