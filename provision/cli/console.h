/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm2 guest console. */
#ifndef VM2_CLI_CONSOLE_H
#define VM2_CLI_CONSOLE_H

#include "provision/cli/command.h"

/*
 * Print what the console said: as it is into files and pipes; on a terminal without what would steer
 * that. With --follow, go on with what it says from then on, also when the guest begins anew.
 */
int console_show(struct cli *cli, struct err *err);

#endif
