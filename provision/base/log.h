/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log of a program: lines on stderr. Under a service manager each line is prefixed with its
 * level as "<N>" (sd-daemon(3)) when stderr is no terminal. Only programs log; libraries return
 * their errors.
 */
#ifndef VM2_BASE_LOG_H
#define VM2_BASE_LOG_H

#include "provision/base/err.h"

enum { LOG_LEVEL_ERR = 3, LOG_LEVEL_WARN = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_INFO = 6 };

/* One line, in one write(2), at most 2,048 bytes; control characters become '?'. Keeps errno. */
void log_line(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_err(...) log_line(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)

#endif
