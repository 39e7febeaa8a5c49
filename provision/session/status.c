/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/session/status.h"

#include <stdio.h>
#include <string.h>

struct status status_from(const siginfo_t *info)
{
	struct status s = { 0 };

	if (info->si_code == CLD_EXITED) {
		s.exit = info->si_status & 0xff;
	} else {
		s.signal = info->si_status;
		s.core = info->si_code == CLD_DUMPED;
	}
	return s;
}

const char *status_signal_name(int sig, char buf[16])
{
	const char *name = sigabbrev_np(sig);

	if (name)
		return name;
	snprintf(buf, 16, "RTMIN+%d", sig - SIGRTMIN);
	return buf;
}

int status_signal_number(const char *name)
{
	for (int sig = 1; sig < 32; sig++) {
		const char *known = sigabbrev_np(sig);

		if (known && strcmp(known, name) == 0)
			return sig;
	}
	return 0;
}
