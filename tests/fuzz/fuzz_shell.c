/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm2-shell's arguments and environment. An input is a row of texts, each with a NUL behind it: the
 * arguments, an empty text, the environment.
 */
#define CORPUS "shell"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "gateway/shell/ask.h"
#include "provision/base/cleanup.h"

#define WORDS_MAX 128

/* Says `value`, and says it once. */
static bool says(const struct msg *m, const char *key, const char *value)
{
	size_t pos = 0;
	const char *got = msg_next_value(m, key, &pos);

	return got && !strcmp(got, value) && !msg_next_value(m, key, &pos);
}

static void check(const struct msg *m, char *const argv[])
{
	const char *key, *value;
	size_t pos = 0, len;

	NEVER(!says(m, "op", "session.open") || !says(m, "tenant", "acme") || !says(m, "via", "shell"));
	NEVER(argv[0] && argv[1] && argv[2] ? !says(m, "command", argv[2]) || !says(m, "kind", "exec") :
					     msg_get(m, "command") || !says(m, "kind", "shell"));
	NEVER(msg_get(m, "source") || msg_get(m, "credential") || msg_get(m, "argv"));
	while (msg_next(m, &pos, &key, &len, &value))
		if (len == 3 && !memcmp(key, "env", 3))
			NEVER((strncmp(value, "LANG", 4) && strncmp(value, "LC_", 3)) || strlen(value) > 255);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = calloc(1, size + 2), *words[2][WORDS_MAX + 1] = { { NULL } };
	CLEANUP_MSG struct msg request = { 0 };
	struct err err = { 0 };
	int list = 0, n = 0;

	memcpy(text, data, size);
	for (char *p = text; p < text + size; p += strlen(p) + 1) {
		if (!*p && list == 0) {
			list = 1;
			n = 0;
		} else if (n < WORDS_MAX) {
			words[list][n++] = p;
		}
	}
	if (ask_fill(&request, "acme", words[0], words[1], false, &err) == 0)
		check(&request, words[0]);
	else
		NEVER(!strstr(err.text, "usage") || request.data.len);
	free(text);
	return 0;
}
