/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/session/locale.h"

#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/session/passwd.h"

static void take_value(const char *value, size_t len, char ret[LOCALE_MAX])
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_.@-";

	if (len >= 2 && (*value == '"' || *value == '\'') && value[len - 1] == *value) {
		value++;
		len -= 2;
	}
	if (len == 0 || len >= LOCALE_MAX)
		return;
	for (size_t i = 0; i < len; i++)
		if (!value[i] || !strchr(allowed, value[i]))
			return;
	memcpy(ret, value, len);
	ret[len] = '\0';
}

void locale_parse(const char *text, size_t len, char ret[LOCALE_MAX])
{
	const char *end = text + len;

	ret[0] = '\0';
	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *stop = newline ? newline : end;

		if (stop - text > 5 && memcmp(text, "LANG=", 5) == 0)
			take_value(text + 5, (size_t)(stop - text) - 5, ret);
		text = stop + 1;
	}
}

void locale_read(char ret[LOCALE_MAX])
{
	static const char *const paths[] = { "/etc/default/locale", "/etc/locale.conf" };

	ret[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(paths) && !ret[0]; i++) {
		size_t len = 0;
		CLEANUP_FREE char *text = passwd_text(paths[i], &len);

		locale_parse(text, len, ret);
	}
}
