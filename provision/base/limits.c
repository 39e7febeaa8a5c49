/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/limits.h"

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

static int refuse(const struct limit *l, const char *text, struct err *err)
{
	if (l->kind == LIMIT_WORD)
		return err_set(err, ERR_USAGE, "%s = '%.40s' is none of: %s", l->name, text,
			       l->words);
	return err_set(err, ERR_USAGE,
		       "%s = '%.40s' is neither %s from %" PRIu64 " to %" PRIu64 " nor none", l->name,
		       text, l->kind == LIMIT_SIZE ? "a size (like 512M)" : "a number", l->least,
		       l->greatest);
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
	if (!strcmp(text, "none") || !strcmp(text, "unlimited"))
		r = 0;
	else
		r = l->kind == LIMIT_SIZE ? parse_size(text, &value) :
					    parse_u64(text, UINT64_MAX, &value);
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

static void read_one(const char *name, const char *value, struct limits_part *ret)
{
	uint64_t number;

	for (size_t i = 0; i < LIMITS_COUNT; i++) {
		if (strcmp(limit_table[i].name, name) != 0 ||
		    limit_parse(&limit_table[i], value, &number, NULL) != 0)
			continue;
		limit_set(&limit_table[i], &ret->of, number);
		ret->given |= 1ULL << i;
	}
}

void limits_read(const char *text, struct limits_part *ret)
{
	CLEANUP_FREE char *copy = xstrdup(text);
	char *rest = copy, *word, *equals;

	*ret = (struct limits_part){ 0 };
	while ((word = strsep(&rest, " \n"))) {
		equals = strchr(word, '=');
		if (!equals)
			continue;
		*equals = '\0';
		read_one(word, equals + 1, ret);
	}
}
