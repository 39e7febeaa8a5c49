/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lines of nsswitch.conf(5) that name our module. Text in, text out: what was added is taken
 * back byte by byte.
 */
#ifndef VM2_CLI_NSSWITCH_H
#define VM2_CLI_NSSWITCH_H

#include "provision/base/str.h"

/*
 * Append text to out with the service vm2 in the lines passwd, group and shadow, and in initgroups
 * where there is such a line: after `files` or `compat` (so that a tenant's name is found before
 * slower services are asked), else at the end. A missing line is added with a mark of ours. Lines
 * that have it are left alone. Returns whether anything changed.
 */
bool nsswitch_add(const char *text, struct buf *out);

/* The way back. Returns whether anything changed. */
bool nsswitch_remove(const char *text, struct buf *out);

#endif
