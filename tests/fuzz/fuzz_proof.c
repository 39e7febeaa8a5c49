/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a monitor passes on to a verifier; the corpus has true ones of one login and some that are not. */
#define CORPUS "proof"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "gateway/proof.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const keys[] = { "AAAAC3NzaC1lZDI1NTE5AAAAIGhvc3Q=" };
	static const struct proof_host host = { "ssh-ed25519,ecdsa-sha2-nistp256,rsa-sha2-512,"
						"sk-ssh-ed25519@openssh.com", keys, 1 };
	struct msg m = { 0 };
	struct err err = { 0 };

	if (msg_parse(&m, data, size) == 0) {
		/* Whoever made the signatures signed for one user alone. */
		if (proof_check(&m, &host, &err) == 0)
			NEVER(strcmp(msg_get(&m, "user"), "acme"));
		else
			NEVER(!err.text[0]);
	}
	msg_free(&m);
	return 0;
}
