/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's default language, for a customer whose client says none (as pam_env(8) does it). */
#ifndef VM2_SESSION_LOCALE_H
#define VM2_SESSION_LOCALE_H

#include <stddef.h>

#define LOCALE_MAX 64

/* The value of the last line LANG=VALUE or LANG="VALUE"; empty when there is none that is a name. */
void locale_parse(const char *text, size_t len, char ret[LOCALE_MAX]);

/* From /etc/default/locale (Debian) or /etc/locale.conf (locale.conf(5)). In the guest. Never fails. */
void locale_read(char ret[LOCALE_MAX]);

#endif
