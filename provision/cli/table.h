/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rows as people and programs want them: an aligned table, a list of "name: value" lines, or JSON.
 * On a terminal sizes and times are in words, elsewhere exact. Control characters never reach the
 * output: texts may be the tenants' own.
 */
#ifndef VM2_CLI_TABLE_H
#define VM2_CLI_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "provision/api/msg.h"

enum column_kind {
	COLUMN_TEXT,
	COLUMN_NUMBER,
	COLUMN_LIMIT,	   /* a number; 0 is none */
	COLUMN_SIZE,	   /* bytes */
	COLUMN_SIZE_LIMIT, /* bytes; 0 is none */
	COLUMN_RATE_LIMIT, /* bits a second; 0 is none */
	COLUMN_TIME,	   /* seconds since the epoch; 0 is never */
	COLUMN_DURATION,   /* seconds */
	COLUMN_BOOL,
};

struct column {
	const char *field; /* the message's field, and the name in JSON */
	const char *title;
	enum column_kind kind;
	bool detail; /* shown of one thing, left out of a table of many */
};

enum table_shape {
	TABLE_NONE, /* no rows */
	TABLE_MANY, /* one line each; JSON: an array of objects */
	TABLE_ONE,  /* one thing; JSON: an object */
};

struct table;

/* columns ends with a NULL field and must outlive the table. */
struct table *table_new(const struct column *columns, enum table_shape shape);
struct table *table_free(struct table *t);

/* Copy what the columns name from a message; a field that is missing is shown as "-" or null. */
void table_add(struct table *t, const struct msg *row);

/* Print: people = for a terminal. */
void table_print(const struct table *t, FILE *out, bool people);
void table_print_json(const struct table *t, FILE *out);

/*
 * Append text with control characters, broken UTF-8 and characters that reorder or hide text
 * (Unicode Bidi_Control and the like) written as \xNN or \uNNNN.
 */
void text_escape(struct buf *b, const char *text);

/* Append bytes as "1.5G", seconds as "3d 4h": three digits or so. */
void text_size(struct buf *b, uint64_t bytes);
void text_duration(struct buf *b, uint64_t seconds);

#endif
