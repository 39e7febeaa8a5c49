/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a guest's console said. */
#include <errno.h>
#include <fcntl.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/daemon/handlers.h"
#include "provision/guest/run.h"

/* The older half first. One that is not there has said nothing. */
int guest_console(struct request *r)
{
	static const char *const files[] = { "console.old", "console" };
	CLEANUP_CLOSE int folder = -1;
	struct store_tenant t;
	const char *name = NULL;
	int n = request_name(r, "name", &name);

	if (n == 0)
		n = store_tenant_get(r->store, name, &t, &r->err);
	if (n != 0)
		return n;
	folder = run_open(r->config, name, false);
	for (size_t i = 0; folder >= 0 && i < ARRAY_LEN(files); i++) {
		/* Safe: only root writes in that folder; they can be read through these and no more. */
		CLEANUP_CLOSE int fd = openat(folder, files[i], O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

		n = fd < 0 ? 0 : msg_add_fd(&r->out, fd);
		if (n < 0)
			return err_sys(&r->err, -n, "cannot pass the console of %s on", name);
	}
	return 0;
}
