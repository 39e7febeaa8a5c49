/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void log_line(int level, const char *fmt, ...)
{
	int saved = errno;
	char line[2048];
	size_t len;
	va_list ap;

	if (isatty(STDERR_FILENO))
		snprintf(line, sizeof(line), "%s: ", program_invocation_short_name);
	else
		snprintf(line, sizeof(line), "<%d>%s[%d]: ", level, program_invocation_short_name,
			 (int)getpid());
	len = strlen(line);
	va_start(ap, fmt);
	vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	va_end(ap);
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	len = strlen(line);
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0) {
		/* Nowhere is left to say so. */
	}
	errno = saved;
}
