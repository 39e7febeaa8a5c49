/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "provision/base/cleanup.h"

#define ROW(name, kind, least, greatest, standard, words, ...) \
	{ #name, LIMIT_##kind, least, greatest, standard, words, offsetof(struct limits, name) },

const struct limit limit_table[LIMITS_COUNT] = { LIMITS(ROW) };

_Static_assert(LIMITS_COUNT <= 64, "a bit for each limit");

uint64_t limit_get(const struct limit *limit, const struct limits *limits)
{
	uint64_t value;

	memcpy(&value, (const char *)limits + limit->offset, sizeof(value));
	return value;
}

void limit_set(const struct limit *limit, struct limits *limits, uint64_t value)
{
	memcpy((char *)limits + limit->offset, &value, sizeof(value));
}

void limits_default(struct limits *ret)
{
	for (size_t i = 0; i < LIMITS_COUNT; i++)
		limit_set(&limit_table[i], ret, limit_table[i].standard);
}

/* The place of a word in a list separated by spaces, or -1. */
static int word_at(const char *words, const char *word, size_t len)
{
	for (int i = 0; *words; i++) {
		size_t n = strcspn(words, " ");

		if (n == len && !strncmp(words, word, n))
			return i;
		words += n;
		words += strspn(words, " ");
	}
	return -1;
}

static const char *const kinds[] = {
	[LIMIT_NUMBER] = "a number",
	[LIMIT_SIZE] = "a size (like 512M)",
	[LIMIT_TIME] = "a time in seconds (or like 30m)",
	[LIMIT_RATE] = "a rate in bits a second (or like 10mbit)",
};

/* A number with one of some suffixes, or with none. */
struct suffix {
	const char *text;
	uint64_t times;
};

static const struct suffix times[] = { { "s", 1 }, { "m", 60 }, { "h", 3600 }, { "d", 86400 }, { 0 } };

/* As tc(8) has them: powers of ten. */
static const struct suffix rates[] = { { "kbit", 1000 }, { "mbit", 1000000 }, { "gbit", 1000000000 },
	{ "bit", 1 }, { 0 } };

static int parse_suffixed(const char *text, const struct suffix *units, uint64_t *ret)
{
	char digits[24];
	size_t len = strlen(text);
	uint64_t unit = 1, n;
	int r;

	for (; units->text; units++) {
		size_t own = strlen(units->text);

		if (len < own || strcmp(text + len - own, units->text) != 0)
			continue;
		unit = units->times;
		len -= own;
		break;
	}
	if (len >= sizeof(digits))
		return -ERANGE;
	memcpy(digits, text, len);
	digits[len] = '\0';
	r = parse_u64(digits, UINT64_MAX / unit, &n);
	if (r == 0)
		*ret = n * unit;
	return r;
}

static int parse_value(const struct limit *l, const char *text, uint64_t *ret)
{
	if (!strcmp(text, "none") || !strcmp(text, "unlimited")) {
		*ret = 0;
		return 0;
	}
	if (l->kind == LIMIT_SIZE)
		return parse_size(text, ret);
	if (l->kind == LIMIT_RATE)
		return parse_suffixed(text, rates, ret);
	return l->kind == LIMIT_TIME ? parse_suffixed(text, times, ret) :
				       parse_u64(text, UINT64_MAX, ret);
}

static int refuse(const struct limit *l, const char *text, struct err *err)
{
	if (l->kind == LIMIT_WORD)
		return err_set(err, ERR_USAGE, "%s = '%.40s' is none of: %s", l->name, text,
			       l->words);
	return err_set(err, ERR_USAGE,
		       "%s = '%.40s' is neither %s from %" PRIu64 " to %" PRIu64 " nor none", l->name,
		       text, kinds[l->kind], l->least, l->greatest);
}

int limit_parse(const struct limit *l, const char *text, uint64_t *ret, struct err *err)
{
	uint64_t value = 0;
	int r;

	if (l->kind == LIMIT_WORD) {
		r = word_at(l->words, text, strlen(text));
		if (r < 0)
			return refuse(l, text, err);
		*ret = (uint64_t)r;
		return 0;
	}
	r = parse_value(l, text, &value);
	if (r < 0 || (value && (value < l->least || value > l->greatest)))
		return refuse(l, text, err);
	*ret = value;
	return 0;
}

void limit_print(const struct limit *l, uint64_t value, struct buf *b)
{
	const char *word = l->words;

	if (l->kind != LIMIT_WORD) {
		buf_printf(b, "%" PRIu64, value);
		return;
	}
	for (; value && strchr(word, ' '); value--)
		word = strchr(word, ' ') + 1;
	buf_add(b, word, strcspn(word, " "));
}

void limits_merge(struct limits_part *part, const struct limits_part *from)
{
	limits_apply(&part->of, from);
	part->given = (part->given | from->given) & ~from->dropped;
}

void limits_apply(struct limits *limits, const struct limits_part *part)
{
	for (size_t i = 0; i < LIMITS_COUNT; i++)
		if (part->given >> i & 1)
			limit_set(&limit_table[i], limits, limit_get(&limit_table[i], &part->of));
}

void limits_whole(const struct limits *limits, struct limits_part *ret)
{
	*ret = (struct limits_part){ .of = *limits,
				     .given = UINT64_MAX >> (64 - LIMITS_COUNT) };
}

void limits_write(const struct limits_part *part, struct buf *b)
{
	const char *space = "";

	for (size_t i = 0; i < LIMITS_COUNT; i++) {
		const struct limit *l = &limit_table[i];

		if (!(part->given >> i & 1))
			continue;
		buf_printf(b, "%s%s=", space, l->name);
		limit_print(l, limit_get(l, &part->of), b);
		space = " ";
	}
}

/* The place of a limit, looked for from this one on, since they are mostly in order; LIMITS_COUNT: none. */
static size_t place_of(const char *name, size_t from)
{
	for (size_t n = 0; n < LIMITS_COUNT; n++)
		if (!strcmp(limit_table[(from + n) % LIMITS_COUNT].name, name))
			return (from + n) % LIMITS_COUNT;
	return LIMITS_COUNT;
}

void limits_read(const char *text, struct limits_part *ret)
{
	CLEANUP_FREE char *copy = xstrdup(text);
	char *rest = copy, *word, *equals;
	size_t i, next = 0;
	uint64_t number;

	*ret = (struct limits_part){ 0 };
	while ((word = strsep(&rest, " \n"))) {
		equals = strchr(word, '=');
		if (!equals)
			continue;
		*equals = '\0';
		i = place_of(word, next);
		if (i == LIMITS_COUNT || limit_parse(&limit_table[i], equals + 1, &number, NULL) != 0)
			continue;
		limit_set(&limit_table[i], &ret->of, number);
		ret->given |= 1ULL << i;
		next = i + 1;
	}
}
