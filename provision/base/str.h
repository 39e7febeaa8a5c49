/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Strings: a growing buffer, numbers, names, and the escaping that JSON wants. */
#ifndef VM2_BASE_STR_H
#define VM2_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A growing byte string, NUL-terminated when data is not NULL. Zeroed is empty. */
struct buf {
	char *data;
	size_t len;
	size_t cap;
};

/* Append; memory that cannot be had aborts the program (abort(3)): these hold small texts. */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_puts(struct buf *b, const char *s);
void buf_printf(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), nonnull(2)));
/* Append as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. NULL: null. */
void buf_json(struct buf *b, const char *s);
void buf_json_n(struct buf *b, const char *s, size_t len);
void buf_free(struct buf *b);
#define CLEANUP_BUF __attribute__((cleanup(buf_free)))

/* Memory or abort(3). */
void *xcalloc(size_t n, size_t size);
/*
 * The same, holding anything: for buffers that are large beside what comes to be in them. Clearing
 * one would cost a page fault for each of its pages.
 */
void *xmalloc(size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Decimal digits only, no sign, no space, at most max. 0, or -EINVAL / -ERANGE. */
int parse_u64(const char *s, uint64_t max, uint64_t *ret);

/* A size: digits with an optional K, M, G or T (powers of 1024), in bytes. 0, -EINVAL, -ERANGE. */
int parse_size(const char *s, uint64_t *ret);

/*
 * A name of a tenant, template or plan: [a-z] then [a-z0-9-], 1 to 32 characters, no '-' at the
 * end (so it is at once a login name, useradd(8), and a host name label, RFC 1123).
 */
#define NAME_LEN_MAX 32
bool name_valid(const char *s);

/* The length of the UTF-8 sequence at s (1..4) within len, or 0 if it is not valid (RFC 3629). */
size_t utf8_len(const char *s, size_t len);

/* Whether a word fits one of the patterns in a list separated by spaces (glob(7): * ? [...]). */
bool str_fits(const char *patterns, const char *word);

/* Whether s starts with prefix. */
bool str_starts(const char *s, const char *prefix);

#endif
