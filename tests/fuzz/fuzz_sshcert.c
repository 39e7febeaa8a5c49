/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A certificate, as bytes. */
#define CORPUS "sshcert"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "provision/base/sshcert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct keyopts again = { 0 };
	struct buf options = { 0 };
	struct sshcert c = { 0 };
	struct err err = { 0 };

	if (sshcert_parse(data, size, &c, &err) == 0) {
		/* What was signed, and how, is all of it: nothing stands beside. */
		NEVER(c.tbs.at != data || c.tbs.left + 4 + c.signature.left != size);
		NEVER(c.ca.at < data || c.ca.at + c.ca.left != data + c.tbs.left);
		NEVER(c.n_principals > SSHCERT_PRINCIPALS_MAX || strlen(c.id) > SSHCERT_ID_LEN);
		for (size_t i = 0; i < c.n_principals; i++)
			NEVER(!c.principals[i][0] || strpbrk(c.principals[i], "\n\033"));
		/* What it restricts survives being told to the monitor. */
		keyopts_write(&c.options, &options);
		NEVER(keyopts_parse(options.data ? options.data : "", &again, &err) != 0);
		NEVER(again.no != c.options.no || !again.command != !c.options.command ||
		      !again.from != !c.options.from || again.verify != c.options.verify);
		if (c.options.command)
			NEVER(strcmp(c.options.command, again.command));
		sshcert_usable(&c, 1000, "192.0.2.1:22", &err);
	} else {
		NEVER(!err.text[0] || strpbrk(err.text, "\n\033"));
	}
	keyopts_free(&again);
	buf_free(&options);
	sshcert_free(&c);
	return 0;
}
