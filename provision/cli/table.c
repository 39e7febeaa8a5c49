/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/table.h"

#include <locale.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

#include "provision/base/cleanup.h"

#define COLUMNS_MAX 64

struct table {
	const struct column *columns;
	enum table_shape shape;
	int n_columns;
	int n_rows, cap_rows;
	char **cells; /* n_rows * n_columns; NULL where a row has no such field */
};

struct table *table_new(const struct column *columns, enum table_shape shape)
{
	struct table *t = xcalloc(1, sizeof(*t));

	t->columns = columns;
	t->shape = shape;
	while (t->n_columns < COLUMNS_MAX && columns && columns[t->n_columns].field)
		t->n_columns++;
	return t;
}

struct table *table_free(struct table *t)
{
	if (!t)
		return NULL;
	for (int i = 0; i < t->n_rows * t->n_columns; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t);
	return NULL;
}

/* The row's fields are walked once: a value is found beyond all before it. */
static void take_cells(const struct table *t, const struct msg *row, char **ret)
{
	const char *key, *value;
	size_t pos = 0, len;

	while (msg_next(row, &pos, &key, &len, &value))
		for (int i = 0; i < t->n_columns; i++)
			if (!ret[i] && !strncmp(t->columns[i].field, key, len) && !t->columns[i].field[len])
				ret[i] = xstrdup(value);
}

void table_add(struct table *t, const struct msg *row)
{
	if (t->n_rows == t->cap_rows) {
		int cap = t->cap_rows ? 2 * t->cap_rows : 16;
		char **more = xcalloc((size_t)cap * (size_t)t->n_columns + 1, sizeof(*more));

		if (t->cells)
			memcpy(more, t->cells,
			       (size_t)t->n_rows * (size_t)t->n_columns * sizeof(*more));
		free(t->cells);
		t->cells = more;
		t->cap_rows = cap;
	}
	take_cells(t, row, t->cells + (size_t)t->n_rows++ * (size_t)t->n_columns);
}

/* --- texts --- */

static uint32_t code_point(const char *s, size_t len)
{
	uint32_t c = (unsigned char)s[0];

	if (len == 1)
		return c;
	c &= 0xffU >> (len + 1);
	for (size_t i = 1; i < len; i++)
		c = c << 6 | ((unsigned char)s[i] & 0x3f);
	return c;
}

/* Unicode 15: Bidi_Control, zero-width characters, line separators, tags. */
static bool hides(uint32_t c)
{
	return c == 0x61c || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xe0000 && c <= 0xe007f);
}

/* How many bytes at its beginning are what everybody can see: ASCII, but for control characters. */
static size_t plain_len(const char *text)
{
	size_t len = 0;

	while (text[len] >= 0x20 && text[len] < 0x7f)
		len++;
	return len;
}

void text_escape(struct buf *b, const char *text)
{
	size_t left = strlen(text);

	while (left) {
		size_t len = plain_len(text);
		uint32_t c;

		buf_add(b, text, len);
		text += len;
		left -= len;
		if (!left)
			break;
		len = utf8_len(text, left);
		c = len ? code_point(text, len) : (unsigned char)*text;
		if (!len || c < 0x20 || c == 0x7f)
			buf_printf(b, "\\x%02x", c);
		else if ((c >= 0x80 && c < 0xa0) || hides(c))
			buf_printf(b, "\\u%04x", c);
		else
			buf_add(b, text, len);
		len = len ? len : 1;
		text += len;
		left -= len;
	}
}

void text_size(struct buf *b, uint64_t bytes)
{
	const char *units = "KMGTPE";
	double n = (double)bytes;

	if (bytes < 1024) {
		buf_printf(b, "%lu", (unsigned long)bytes);
		return;
	}
	for (n /= 1024; n >= 1023.5 && units[1]; n /= 1024)
		units++;
	buf_printf(b, n < 9.95 && n - (double)(uint64_t)n >= 0.05 ? "%.1f%c" : "%.0f%c", n, *units);
}

void text_duration(struct buf *b, uint64_t s)
{
	unsigned long days = s / 86400, hours = s / 3600 % 24, minutes = s / 60 % 60;

	if (days)
		buf_printf(b, "%lud %luh", days, hours);
	else if (hours)
		buf_printf(b, "%luh %lum", hours, minutes);
	else if (minutes)
		buf_printf(b, "%lum %lus", minutes, (unsigned long)s % 60);
	else
		buf_printf(b, "%lus", (unsigned long)s);
}

static void text_time(struct buf *b, uint64_t seconds, bool people)
{
	time_t when = (time_t)seconds;
	struct tm tm;
	char text[64] = "";

	if (people ? !localtime_r(&when, &tm) : !gmtime_r(&when, &tm))
		return;
	strftime(text, sizeof(text), people ? "%Y-%m-%d %H:%M:%S" : "%Y-%m-%dT%H:%M:%SZ", &tm);
	buf_puts(b, text);
}

/* As it is given: "10mbit". */
static void text_rate(struct buf *b, uint64_t bits)
{
	static const char *const units[] = { "bit", "kbit", "mbit", "gbit" };
	size_t unit = 0;

	while (unit + 1 < ARRAY_LEN(units) && bits && bits % 1000 == 0) {
		bits /= 1000;
		unit++;
	}
	buf_printf(b, "%lu%s", (unsigned long)bits, units[unit]);
}

static void number_text(struct buf *b, enum column_kind kind, uint64_t n, bool people)
{
	switch (kind) {
	case COLUMN_LIMIT:
	case COLUMN_SIZE_LIMIT:
	case COLUMN_RATE_LIMIT:
		if (!n)
			buf_puts(b, "none");
		else if (kind == COLUMN_RATE_LIMIT && people)
			text_rate(b, n);
		else if (kind == COLUMN_SIZE_LIMIT && people)
			text_size(b, n);
		else
			buf_printf(b, "%lu", (unsigned long)n);
		break;
	case COLUMN_SIZE:
		if (people)
			text_size(b, n);
		else
			buf_printf(b, "%lu", (unsigned long)n);
		break;
	case COLUMN_TIME:
		if (n)
			text_time(b, n, people);
		else
			buf_puts(b, "-");
		break;
	case COLUMN_DURATION:
		if (people)
			text_duration(b, n);
		else
			buf_printf(b, "%lu", (unsigned long)n);
		break;
	case COLUMN_BOOL:
		buf_puts(b, n ? "yes" : "no");
		break;
	case COLUMN_NUMBER:
	case COLUMN_TEXT:
		buf_printf(b, "%lu", (unsigned long)n);
		break;
	}
}

static void cell_text(struct buf *b, const struct column *column, const char *value, bool people)
{
	uint64_t n;

	if (!value || !*value)
		buf_puts(b, "-");
	else if (column->kind != COLUMN_TEXT && parse_u64(value, UINT64_MAX, &n) == 0)
		number_text(b, column->kind, n, people);
	else
		text_escape(b, value);
}

/* How many places a text takes on a terminal. */
static int text_width(const char *s)
{
	size_t plain = plain_len(s), left = strlen(s + plain);
	int width = (int)plain;

	s += plain;
	while (left) {
		size_t len = utf8_len(s, left);
		int w = len > 1 ? wcwidth((wchar_t)code_point(s, len)) : 1;

		width += w > 0 ? w : 1;
		len = len ? len : 1;
		s += len;
		left -= len;
	}
	return width;
}

/* --- tables --- */

static const char *cell(const struct table *t, int row, int column)
{
	return t->cells[row * t->n_columns + column];
}

static bool right_aligned(const struct column *c)
{
	return c->kind != COLUMN_TEXT && c->kind != COLUMN_TIME && c->kind != COLUMN_BOOL;
}

/* A cell as it is printed: where in all texts it begins, and its places on a terminal. */
struct text {
	size_t at;
	int width;
};

/* Those of all columns but details, which are left as they are, of a row, or (-1) the titles. */
static void add_texts(const struct table *t, int row, bool people, struct buf *all, struct text *ret)
{
	for (int i = 0; i < t->n_columns; i++) {
		if (t->columns[i].detail)
			continue;
		ret[i].at = all->len;
		if (row < 0)
			buf_puts(all, t->columns[i].title);
		else
			cell_text(all, &t->columns[i], cell(t, row, i), people);
		ret[i].width = text_width(all->data + ret[i].at);
		buf_add(all, "", 1);
	}
}

static void add_spaces(struct buf *line, int n)
{
	static const char spaces[] = "                ";

	for (; n > 0; n -= (int)strlen(spaces))
		buf_add(line, spaces, n < (int)strlen(spaces) ? (size_t)n : strlen(spaces));
}

static void add_line(const struct table *t, const char *all, const struct text *texts, const int *widths,
		     struct buf *lines)
{
	int gap = 0; /* before the next one, so that none is behind the last */

	for (int i = 0; i < t->n_columns; i++) {
		int pad = widths[i] - texts[i].width;
		bool right = right_aligned(&t->columns[i]);

		if (t->columns[i].detail)
			continue;
		add_spaces(lines, gap + (right ? pad : 0));
		buf_puts(lines, all + texts[i].at);
		gap = 2 + (right ? 0 : pad);
	}
	buf_puts(lines, "\n");
}

static void print_many(const struct table *t, FILE *out, bool people)
{
	size_t columns = (size_t)t->n_columns, rows = (size_t)t->n_rows + 1;
	CLEANUP_FREE struct text *texts = xcalloc(columns * rows, sizeof(*texts));
	CLEANUP_BUF struct buf all = { 0 }, lines = { 0 };
	int widths[COLUMNS_MAX] = { 0 };

	for (size_t row = 0; row < rows; row++) {
		struct text *own = texts + row * columns;

		add_texts(t, (int)row - 1, people, &all, own);
		for (size_t i = 0; i < columns; i++)
			widths[i] = own[i].width > widths[i] ? own[i].width : widths[i];
	}
	for (size_t row = 0; row < rows; row++)
		add_line(t, all.data, texts + row * columns, widths, &lines);
	fwrite(lines.data, 1, lines.len, out);
}

static void print_one(const struct table *t, FILE *out, bool people)
{
	int width = 0;

	for (int i = 0; i < t->n_columns; i++) {
		int w = text_width(t->columns[i].title);

		width = w > width ? w : width;
	}
	for (int row = 0; row < t->n_rows; row++)
		for (int i = 0; i < t->n_columns; i++) {
			CLEANUP_BUF struct buf b = { 0 };

			cell_text(&b, &t->columns[i], cell(t, row, i), people);
			fprintf(out, "%-*s  %s\n", width, t->columns[i].title, b.data);
		}
}

void table_print(const struct table *t, FILE *out, bool people)
{
	/* For wcwidth(3), and only here: to find the locale's files takes a while. */
	setlocale(LC_CTYPE, "");
	if (t->shape == TABLE_ONE)
		print_one(t, out, people);
	else
		print_many(t, out, people);
}

/* --- JSON --- */

static void cell_json(struct buf *b, const struct column *column, const char *value)
{
	uint64_t n;

	if (!value)
		buf_puts(b, "null");
	else if (column->kind == COLUMN_TEXT)
		buf_json(b, value);
	else if (parse_u64(value, UINT64_MAX, &n) < 0)
		buf_puts(b, "null");
	else if (column->kind == COLUMN_BOOL)
		buf_puts(b, n ? "true" : "false");
	else if (column->kind == COLUMN_TIME && !n)
		buf_puts(b, "null");
	else
		buf_printf(b, "%lu", (unsigned long)n);
}

static void row_json(struct buf *b, const struct table *t, int row)
{
	buf_puts(b, "{");
	for (int i = 0; i < t->n_columns; i++) {
		buf_puts(b, i ? ", " : "");
		buf_json(b, t->columns[i].field);
		buf_puts(b, ": ");
		cell_json(b, &t->columns[i], cell(t, row, i));
	}
	buf_puts(b, "}");
}

void table_print_json(const struct table *t, FILE *out)
{
	CLEANUP_BUF struct buf b = { 0 };

	if (t->shape == TABLE_ONE) {
		if (t->n_rows)
			row_json(&b, t, 0);
		else
			buf_puts(&b, "{}");
	} else {
		buf_puts(&b, "[");
		for (int row = 0; row < t->n_rows; row++) {
			buf_puts(&b, row ? ",\n " : "");
			row_json(&b, t, row);
		}
		buf_puts(&b, "]");
	}
	fprintf(out, "%s\n", b.data);
}
