/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void scrub(char *text)
{
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
}

static void set_text(struct err *err, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

static void set_text(struct err *err, const char *fmt, va_list ap)
{
	char text[ERR_TEXT_MAX];

	/* By way of a copy: an argument may be err->text itself. */
	vsnprintf(text, sizeof(text), fmt, ap);
	scrub(text);
	memcpy(err->text, text, sizeof(text));
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	va_start(ap, fmt);
	set_text(err, fmt, ap);
	va_end(ap);
	err->code = code;
	return code;
}

/* The kernel's own ENOTSUPP (include/linux/errno.h), for which libc has no word. */
#define KERNEL_ENOTSUPP 524

static const char *reason(int errnum)
{
	if (errnum == KERNEL_ENOTSUPP)
		return "the kernel has no room for it (filters: net.core.bpf_jit_limit)";
	return strerrordesc_np(errnum) ?: "unknown error";
}

int err_sys(struct err *err, int errnum, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	if (!err)
		return -errnum;
	va_start(ap, fmt);
	set_text(err, fmt, ap);
	va_end(ap);
	len = strlen(err->text);
	snprintf(err->text + len, sizeof(err->text) - len, ": %s", reason(errnum));
	err->code = -errnum;
	return -errnum;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
	char old[ERR_TEXT_MAX];
	va_list ap;
	size_t len;

	if (!err)
		return ERR_FAILED;
	memcpy(old, err->text, sizeof(old));
	va_start(ap, fmt);
	set_text(err, fmt, ap);
	va_end(ap);
	len = strlen(err->text);
	snprintf(err->text + len, sizeof(err->text) - len, ": %s", old);
	return err->code;
}

int err_exit_status(int code)
{
	if (code >= 0)
		return code;
	switch (-code) {
	case ENOENT:
	case ESRCH:
		return ERR_NOT_FOUND;
	case EPERM:
	case EACCES:
		return ERR_DENIED;
	case EBUSY:
	case EAGAIN:
	case ECONNREFUSED:
	case ETIMEDOUT:
		return ERR_BUSY;
	case EEXIST:
		return ERR_EXISTS;
	case EINVAL:
		return ERR_USAGE;
	default:
		return ERR_FAILED;
	}
}
