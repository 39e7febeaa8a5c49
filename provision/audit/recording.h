/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A recording: what a session's terminal showed, as asciicast v2 (one JSON header line, then one
 * JSON array a line: [seconds, "o" | "r", text]). Written by vm2-session as it happens.
 */
#ifndef VM2_AUDIT_RECORDING_H
#define VM2_AUDIT_RECORDING_H

#include <stddef.h>
#include <stdint.h>

#include "provision/base/err.h"

/* The first segment's name in a session's folder. */
#define RECORDING_FIRST "000000.cast"

struct recording;

/* What the header says. Strings may be NULL. */
struct recording_header {
	unsigned int cols, rows;
	int64_t started; /* seconds since the epoch */
	const char *title;
	const char *term;
	const char *shell;
};

/*
 * Make RECORDING_FIRST in the folder (0440, must not exist) and write its header.
 * *ret is to be closed with recording_close.
 */
int recording_create(int folder_fd, const struct recording_header *header, struct recording **ret,
		     struct err *err);

/*
 * Add output, or a new size, at milliseconds of clock_ms() `now`. Bytes that end within a UTF-8
 * sequence are held until it is whole (or closed). Each event reaches the kernel at once (one
 * write): a kill loses nothing shown before it. 0 or -errno; after an error the recording is
 * ended by recording_close and what was written stays readable.
 */
int recording_output(struct recording *r, int64_t now, const void *data, size_t len,
		     struct err *err);
int recording_resize(struct recording *r, int64_t now, unsigned int cols, unsigned int rows,
		     struct err *err);

/* Write what is held of an unfinished UTF-8 sequence; to be called before recording_digest. */
int recording_finish(struct recording *r, struct err *err);

/* SHA-256 of the file as written so far. */
void recording_digest(const struct recording *r, unsigned char ret[32]);

/* Bytes written so far. */
uint64_t recording_bytes(const struct recording *r);

/* Flush, close, free. NULL is nothing. Always NULL. */
struct recording *recording_close(struct recording *r);

#endif
