/* SPDX-License-Identifier: GPL-2.0-or-later */
/* /etc/vm2/vm2.conf. */
#define CORPUS "config"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "provision/base/config.h"
#include "provision/base/fd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct config *config = NULL;
	struct err err = { 0 };
	char path[64];
	int fd = memfd_create("config", MFD_CLOEXEC), r;

	NEVER(fd < 0 || fd_write_all(fd, data, size) < 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = config_load(path, &config, &err);
	NEVER((r == 0) != (config != NULL));
	if (r == 0) {
		NEVER(!strlen(config->instance) || strlen(config->instance) > 8);
		NEVER(config->socket[0] != '/' || config->workers < 1 || config->mtu < 1280);
	} else {
		NEVER(!err.text[0] || strpbrk(err.text, "\n\033"));
	}
	config_free(config);
	close(fd);
	return 0;
}
