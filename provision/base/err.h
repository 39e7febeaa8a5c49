/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One error convention for all of VM2.
 *
 * A function that can fail returns int: 0 for done, a positive ERR_* for an outcome that has a
 * name of its own, or a negative errno for a fault of the system. The text is put in a struct err
 * that the caller owns. A text is one line and says what failed, on what, why, and what to do; it
 * gains context on its way up (err_wrap) and crosses a socket whole.
 */
#ifndef VM2_BASE_ERR_H
#define VM2_BASE_ERR_H

#include <stdarg.h>

/* The longest text, with its NUL. A longer one is cut. */
#define ERR_TEXT_MAX 1024

/*
 * Named outcomes. The numbers are the exit statuses of the `vm2` command, so an outcome crosses
 * from the daemon to the shell unchanged.
 */
enum {
	ERR_FAILED = 1,	   /* it was tried and did not work */
	ERR_USAGE = 2,	   /* the request itself is wrong */
	ERR_NOT_FOUND = 3, /* no such thing */
	ERR_DENIED = 4,	   /* the caller may not */
	ERR_BUSY = 5,	   /* busy, or unavailable for now */
	ERR_EXISTS = 6,	   /* it is there already */
};

/* An error: what the function returned, and the text for a person. Zeroed means "none". */
struct err {
	int code;
	char text[ERR_TEXT_MAX];
};

/*
 * Set an error and return its code, so that `return err_set(err, ERR_BUSY, "...")` reads well.
 * code: an ERR_* or a negative errno. err may be NULL: then only the code is returned.
 * Control characters in the text become '?': a text may quote hostile input.
 */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same, with ": " and the system's words for an errno appended; returns -errnum. */
int err_sys(struct err *err, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "context: " before the text. Returns err's code (ERR_FAILED when err is NULL). */
int err_wrap(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The exit status for a return value: 0, an ERR_*; a negative errno maps to the nearest ERR_*. */
int err_exit_status(int code);

#endif
