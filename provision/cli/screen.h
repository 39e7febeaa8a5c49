/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of a recording may reach an auditor's terminal. A recording is the customer's output, and a
 * terminal obeys more than text: it can be made to type answers (reports), to change the clipboard,
 * its title or its keyboard. What draws passes: text, colours, cursor, erasing, scrolling, character
 * sets, the alternate screen. All else is left out (ECMA-48; xterm's ctlseqs).
 */
#ifndef VM2_CLI_SCREEN_H
#define VM2_CLI_SCREEN_H

#include "provision/base/str.h"

/* The parser's state between two pieces of output. Zeroed is the start. */
struct screen {
	int state;
	char sequence[64]; /* what was held back until its end shows what it is */
	size_t len;
};

/* Append to out what may be shown of len bytes. */
void screen_filter(struct screen *s, const char *data, size_t len, struct buf *out);

/*
 * What puts a terminal back in order after a replay. The cursor is saved before what would move it
 * on a terminal that was in order already.
 */
#define SCREEN_RESET \
	"\0337\033[?1049l\0337\033[r\0338\033[?25h\033[?7h\033[?5l\033[?6l\033[4l\033(B\033[0m\017"

#endif
