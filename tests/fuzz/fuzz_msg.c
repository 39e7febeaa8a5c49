/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What comes over a socket. */
#define CORPUS "msg"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "provision/api/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct msg m = { 0 }, again = { 0 };
	const char *key, *value;
	size_t pos = 0, len, n = 0;
	uint64_t number = 0;

	if (msg_parse(&m, data, size) != 0) {
		NEVER(m.data.len);
		msg_free(&m);
		return 0;
	}
	while (msg_next(&m, &pos, &key, &len, &value)) {
		char name[64];

		NEVER(len == 0 || key[len] != '=' || value != key + len + 1);
		NEVER(value + strlen(value) >= m.data.data + m.data.len);
		if (len < sizeof(name)) {
			memcpy(name, key, len);
			name[len] = '\0';
			NEVER(!msg_get(&m, name));
			msg_get_u64(&m, name, 0, 100, &number, NULL);
			NEVER(number > 100);
			msg_add(&again, name, value);
		}
		n++;
	}
	NEVER(n == 0 || pos != m.data.len);
	if (again.data.len == m.data.len)
		NEVER(memcmp(again.data.data, m.data.data, m.data.len));
	msg_free(&again);
	msg_free(&m);
	return 0;
}
