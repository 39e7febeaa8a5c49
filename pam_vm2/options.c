/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pam_vm2/options.h"

#include <string.h>

#include "provision/base/str.h"

#define TIMEOUT_STANDARD 5
#define TIMEOUT_MAX 60

static bool parse_one(const char *arg, struct options *o)
{
	uint64_t seconds;

	if (str_starts(arg, "socket=/"))
		o->socket = arg + strlen("socket=");
	else if (str_starts(arg, "timeout=") &&
		 parse_u64(arg + strlen("timeout="), TIMEOUT_MAX, &seconds) == 0 && seconds > 0)
		o->timeout_ms = (int)seconds * 1000;
	else if (!strcmp(arg, "debug"))
		o->debug = true;
	else if (!strcmp(arg, "use_first_pass"))
		o->use_first_pass = true;
	else if (!strcmp(arg, "try_first_pass"))
		o->try_first_pass = true;
	else if (!strcmp(arg, "nodelay"))
		o->nodelay = true;
	else
		/* pam_get_authtok(3) reads these by itself. */
		return !strcmp(arg, "use_authtok") || str_starts(arg, "authtok_type=");
	return true;
}

const char *options_parse(int argc, const char **argv, struct options *ret)
{
	struct options o = { .socket = OPTIONS_SOCKET, .timeout_ms = TIMEOUT_STANDARD * 1000 };
	const char *bad = NULL;

	for (int i = 0; i < argc; i++)
		if (!parse_one(argv[i], &o) && !bad)
			bad = argv[i];
	*ret = o;
	return bad;
}
