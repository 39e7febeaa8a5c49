/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/logout.h"

#include <stdio.h>

#include "provision/daemon/errand.h"
#include "provision/session/login.h"

static void write_inside(const void *data)
{
	login_end(data);
}

void logout_record(const struct config *config, const char *tenant, unsigned int line, pid_t pid)
{
	struct login l = { .pid = pid };
	char name[32];

	snprintf(name, sizeof(name), "pts/%u", line);
	l.line = name;
	errand_run(config, tenant, write_inside, &l);
}
