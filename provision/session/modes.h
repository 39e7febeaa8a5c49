/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A terminal's modes as an SSH client asks for them: those of the terminal that the person sits at, so
 * that the guest's behaves as that one did. Computes only.
 */
#ifndef VM2_SESSION_MODES_H
#define VM2_SESSION_MODES_H

#include <termios.h>

/*
 * Have in t what text says: "NUMBER=VALUE ..." with the numbers of RFC 4254, 8. What is not known, or
 * no such thing, is passed over.
 */
void modes_apply(const char *text, struct termios *t);

#endif
