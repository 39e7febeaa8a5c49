/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the integration tests share: an installed, running VM2 in this disposable host, and stock
 * clients run as people run them. Every wait has a limit.
 */
#ifndef VM2_TESTS_LIB_H
#define VM2_TESTS_LIB_H

#include <criterion/criterion.h>
#include <stddef.h>

/* What a command did. out and err are NUL-terminated and cut at 1 MiB. */
struct result {
	int status; /* exit status, 128 + signal, or 255 past the limit of 120 s */
	char *out;
	char *err;
};

/* Run a line of shell. Never fails: look at the result. Its texts live until the test ends. */
struct result sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The same, and fail the test unless it exits 0. Returns what it printed, without the last newline. */
const char *ok(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Have VM2 set up and running in this host, with the template `debian`. Once per host, then quick.
 * Skips the test by name when this is no disposable host. VM2_TEST_SETUP in the environment: options
 * for host setup.
 */
void host_ready(void);

/* A tenant of this name with the key that ssh() uses; removed and made anew. */
void tenant_ready(const char *name);

/* The same, but made only if it is not there: one that the tests of a program share. */
void tenant_shared(const char *name);

/* Run a command in a tenant's guest by stock ssh with the tests' key. */
struct result ssh(const char *tenant, const char *options, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The options of ssh() as text: port, key, known hosts. Of an option given twice ssh takes the first. */
extern const char ssh_options[];

/* Run a line of shell until it exits 0, at most `seconds`; fail the test after that. */
void wait_for(int seconds, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Assertions that show what was there. */
#define assert_status(r, want)                                                                     \
	do {                                                                                       \
		struct result r_ = (r);                                                            \
		cr_assert_eq(r_.status, (want), "status %d, not %d\nout: %s\nerr: %s", r_.status, \
			     (want), r_.out, r_.err);                                              \
	} while (0)
#define assert_has(text, part) \
	cr_assert(strstr((text), (part)), "'%s' is not in: %s", (part), (text))
#define assert_lacks(text, part) \
	cr_assert_not(strstr((text), (part)), "'%s' is in: %s", (part), (text))

#endif
