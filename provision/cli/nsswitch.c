/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/nsswitch.h"

#include <ctype.h>
#include <string.h>

#include "provision/base/cleanup.h"

#define SERVICE "vm2"
#define MARK "# added by vm2 host setup"

static const char *const databases[] = { "passwd", "group", "shadow", "initgroups" };
#define MUST_BE_THERE 3 /* of them; glibc's default for those is "files" */

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

/* The index of the database that a line (without its line feed) sets, or -1. */
static int database_of(const char *line, size_t len)
{
	size_t start = 0;

	while (start < len && blank(line[start]))
		start++;
	for (size_t i = 0; i < ARRAY_LEN(databases); i++) {
		size_t n = strlen(databases[i]), at = start + n;

		if (at > len || strncmp(line + start, databases[i], n))
			continue;
		while (at < len && blank(line[at]))
			at++;
		if (at < len && line[at] == ':')
			return (int)i;
	}
	return -1;
}

/* The next service or [action] from *pos on: its place and length; false at the end. */
static bool next_word(const char *line, size_t len, size_t *pos, size_t *at, size_t *n)
{
	size_t i = *pos;

	while (i < len && blank(line[i]))
		i++;
	if (i >= len || line[i] == '#')
		return false;
	*at = i;
	if (line[i] == '[') {
		while (i < len && line[i] != ']')
			i++;
		i += i < len;
	} else {
		while (i < len && !blank(line[i]) && line[i] != '#' && line[i] != '[')
			i++;
	}
	*n = i - *at;
	*pos = i;
	return true;
}

static bool is(const char *line, size_t at, size_t n, const char *word)
{
	return strlen(word) == n && !strncmp(line + at, word, n);
}

static size_t services_at(const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);

	return colon ? (size_t)(colon - line) + 1 : len;
}

/* Where to put " vm2" into a line that sets a database, or 0 when it is there. */
static size_t place_in(const char *line, size_t len)
{
	size_t pos = services_at(line, len), at, n, end = pos, preferred = 0;
	bool after_files = false;

	while (next_word(line, len, &pos, &at, &n)) {
		if (is(line, at, n, SERVICE))
			return 0;
		/* An action belongs to the service before it: nothing may come between. */
		if (line[at] == '[' && after_files)
			preferred = 0;
		after_files = is(line, at, n, "files") || is(line, at, n, "compat");
		end = at + n;
		if (after_files && !preferred)
			preferred = end;
	}
	return preferred ? preferred : end;
}

static size_t line_length(const char *text)
{
	return strcspn(text, "\n");
}

bool nsswitch_add(const char *text, struct buf *out)
{
	bool seen[ARRAY_LEN(databases)] = { false }, changed = false;
	bool open_end = *text && text[strlen(text) - 1] != '\n';

	while (*text) {
		size_t len = line_length(text), place = 0;
		int database = database_of(text, len);

		if (database >= 0) {
			seen[database] = true;
			place = place_in(text, len);
		}
		buf_add(out, text, place);
		buf_puts(out, place ? " " SERVICE : "");
		buf_add(out, text + place, len - place);
		changed = changed || place;
		text += len;
		if (*text)
			buf_add(out, text++, 1);
	}
	for (size_t i = 0; i < MUST_BE_THERE; i++) {
		if (seen[i])
			continue;
		buf_printf(out, "%s%s: files " SERVICE " " MARK "%s", open_end ? "\n" : "", databases[i],
			   open_end ? "" : "\n");
		changed = true;
	}
	return changed;
}

/* Append a line without the service and the blank before it. */
static bool line_without(const char *line, size_t len, struct buf *out)
{
	size_t pos = services_at(line, len), at, n;

	while (next_word(line, len, &pos, &at, &n)) {
		size_t from = at && blank(line[at - 1]) ? at - 1 : at;

		if (!is(line, at, n, SERVICE))
			continue;
		buf_add(out, line, from);
		buf_add(out, line + at + n, len - at - n);
		return true;
	}
	buf_add(out, line, len);
	return false;
}

static bool ours(const char *line, size_t len)
{
	return len > strlen(MARK) && !strncmp(line + len - strlen(MARK), MARK, strlen(MARK));
}

bool nsswitch_remove(const char *text, struct buf *out)
{
	bool changed = false;

	while (*text) {
		size_t len = line_length(text);

		if (ours(text, len) && database_of(text, len) >= 0) {
			changed = true;
			/* The last line without a line feed: the one before it came with ours. */
			if (!text[len] && out->len && out->data[out->len - 1] == '\n')
				out->data[--out->len] = '\0';
		} else {
			if (database_of(text, len) >= 0)
				changed = line_without(text, len, out) || changed;
			else
				buf_add(out, text, len);
			buf_add(out, text + len, text[len] ? 1 : 0);
		}
		text += len + (text[len] ? 1 : 0);
	}
	return changed;
}
