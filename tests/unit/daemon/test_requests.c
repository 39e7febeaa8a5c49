/* SPDX-License-Identifier: GPL-2.0-or-later */
/* docs/PRIVILEGES and the table of requests say the same. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/daemon/request.h"

/* As docs/PRIVILEGES writes it: op, roles and fields, each from its column on. */
static void row(const struct request_kind *k, char *ret, size_t size)
{
	char roles[64];
	size_t len;

	access_words(k->roles, roles, sizeof(roles));
	snprintf(ret, size, "%-16s %-20s %s", k->op, roles, k->fields);
	for (len = strlen(ret); len > 0 && ret[len - 1] == ' '; len--)
		ret[len - 1] = '\0';
}

/* Long fields go on in the next line, indented to their column. */
static char *unfold(char *text)
{
	static const char indent[] = "\n                                      ";
	size_t len = strlen(indent);
	char *at = text;

	while ((at = strstr(at, indent))) {
		*at = ' ';
		memmove(at + 1, at + len, strlen(at + len) + 1);
	}
	return text;
}

static char *read_table(void)
{
	char *text = xcalloc(1, 65536), *table;
	ssize_t n = fd_read_path(AT_FDCWD, SOURCE_ROOT "/docs/PRIVILEGES", text, 65536);

	cr_assert_gt(n, 0, "docs/PRIVILEGES cannot be read");
	table = strstr(text, "\nop ");
	cr_assert(table, "docs/PRIVILEGES has no table that starts with 'op '");
	memmove(text, table, strlen(table) + 1);
	return unfold(text);
}

Test(requests, are_all_documented)
{
	CLEANUP_FREE char *text = read_table();

	for (const struct request_kind *k = request_kinds; k->op; k++) {
		char line[1024], want[1026];

		row(k, line, sizeof(line));
		snprintf(want, sizeof(want), "\n%s\n", line);
		cr_expect(strstr(text, want), "docs/PRIVILEGES lacks this line:\n%s", line);
	}
}

Test(requests, are_all_there)
{
	CLEANUP_FREE char *text = read_table();
	char *rest = text, *line;
	int lines = 0;

	while ((line = strsep(&rest, "\n"))) {
		size_t len = strcspn(line, " ");
		bool found = false;

		if (!memchr(line, '.', len))
			continue;
		lines++;
		for (const struct request_kind *k = request_kinds; k->op; k++)
			found |= strlen(k->op) == len && !memcmp(k->op, line, len);
		cr_expect(found, "docs/PRIVILEGES has a request that vm2d has not: %s", line);
	}
	cr_assert_gt(lines, 20);
}

Test(requests, make_sense)
{
	for (const struct request_kind *k = request_kinds; k->op; k++) {
		cr_expect(k->handle && k->fields && k->text, "%s", k->op);
		for (const struct request_kind *other = k + 1; other->op; other++)
			cr_expect(strcmp(k->op, other->op), "%s stands twice in the table", k->op);
		/* What changes something is nothing for auditors. */
		cr_expect_not((k->flags & REQUEST_CHANGES) && (k->roles & ROLE_AUDIT), "%s", k->op);
	}
}
