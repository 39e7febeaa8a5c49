/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One sftp request, read but not served. */
#define CORPUS "sftp"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "provision/session/sftp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sftp_request *r = malloc(sizeof(*r));
	uint8_t *exact = malloc(size ? size : 1); /* so that a read beyond it is seen */

	memset(r, 0xa5, sizeof(*r));
	memcpy(exact, data, size);
	if (sftp_decode(sftp_kinds, sftp_n_kinds, exact, size, r) == 0) {
		NEVER(size < 5);
		NEVER(strlen(r->paths[0]) >= PATH_MAX || strlen(r->paths[1]) >= PATH_MAX);
		NEVER(r->data && (r->data < exact || r->data_len > size ||
				  r->data + r->data_len > exact + size));
		NEVER(r->kind && r->kind->type != data[0]);
	}
	free(exact);
	free(r);
	return 0;
}
