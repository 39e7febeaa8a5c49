/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The /etc/passwd of a guest, which its root writes, as vm2d lists the accounts in it. */
#define CORPUS "passwd"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>

#include "provision/guest/passwd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = calloc(1, size + 1), list[PASSWD_LIST_SIZE], name[64];
	unsigned int id;
	int n;

	memcpy(text, data, size);
	passwd_list(text, list);
	/* Lines of the one form, to the end. */
	for (const char *p = list; *p; p += n) {
		n = 0;
		NEVER(sscanf(p, "%u %32[A-Za-z0-9_.-]%n", &id, name, &n) != 2 || id >= GUEST_IDS);
		NEVER(p[n] != '\n');
		n++;
	}
	free(text);
	return 0;
}
