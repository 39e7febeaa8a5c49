/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A line of authorized_keys. */
#define CORPUS "authkey"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "provision/store/authkey.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct authkey *key = calloc(1, sizeof(*key));
	char *line = calloc(1, size + 1), fingerprint[64];
	struct err err = { 0 };

	memcpy(line, data, size);
	if (authkey_parse(line, key, &err) == 0) {
		NEVER(key->len == 0 || key->len > sizeof(key->blob));
		NEVER(strlen(key->type) >= sizeof(key->type) || strlen(key->comment) >= sizeof(key->comment));
		struct authkey again = { 0 };

		/* What is kept is read as the same again. */
		NEVER(authkey_restrict(&again, key->options, &err) != 0 || strcmp(again.options, key->options));
		NEVER(strpbrk(key->comment, "\n\r\033\177"));
		authkey_fingerprint(key->blob, key->len, fingerprint);
		NEVER(strlen(fingerprint) != 50);
	} else {
		NEVER(!err.text[0] || strpbrk(err.text, "\n\033"));
	}
	free(line);
	free(key);
	return 0;
}
