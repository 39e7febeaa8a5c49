/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/passwd.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The longest name that is passed on: useradd(8)'s. */
#define NAME_MOST 32

static bool name_ok(const char *s, size_t len)
{
	return len >= 1 && len <= NAME_MOST &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") >= len;
}

/* Digits alone, then ':'; GUEST_IDS when it is none. */
static uint32_t parse_id(const char *s)
{
	uint32_t id = 0;

	if (*s == ':')
		return GUEST_IDS;
	for (; *s >= '0' && *s <= '9' && id < GUEST_IDS; s++)
		id = id * 10 + (uint32_t)(*s - '0');
	return *s == ':' && id < GUEST_IDS ? id : GUEST_IDS;
}

/* name:password:id: of one line of len bytes. False when it is not of that form. */
static bool parse_line(const char *line, size_t len, size_t *ret_name_len, uint32_t *ret_id)
{
	const char *end = line + len, *password = memchr(line, ':', len), *id;

	if (!password || !name_ok(line, (size_t)(password - line)))
		return false;
	id = memchr(password + 1, ':', (size_t)(end - password - 1));
	if (!id || !memchr(id + 1, ':', (size_t)(end - id - 1)))
		return false;
	*ret_name_len = (size_t)(password - line);
	*ret_id = parse_id(id + 1);
	return *ret_id < GUEST_IDS;
}

void passwd_list(const char *text, char ret[PASSWD_LIST_SIZE])
{
	unsigned char seen[GUEST_IDS / 8] = { 0 };
	size_t used = 0, len, name_len;
	uint32_t id;

	for (; *text; text += len + (text[len] == '\n')) {
		len = strcspn(text, "\n");
		if (!parse_line(text, len, &name_len, &id) || seen[id / 8] & 1 << id % 8)
			continue;
		/* Five digits, a blank, the newline and the NUL. */
		if (used + name_len + 8 > PASSWD_LIST_SIZE)
			break;
		seen[id / 8] |= (unsigned char)(1 << id % 8);
		used += (size_t)snprintf(ret + used, PASSWD_LIST_SIZE - used, "%u %.*s\n", id,
					 (int)name_len, text);
	}
	ret[used] = '\0';
}
