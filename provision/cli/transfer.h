/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that vm2d's worker reads or writes: opened here, with the rights of whoever calls. */
#ifndef VM2_CLI_TRANSFER_H
#define VM2_CLI_TRANSFER_H

#include "provision/cli/command.h"

/* guest export NAME FILE: the file gets its name when it is whole; ERR_EXISTS. */
int transfer_export(struct cli *cli, struct err *err);

/* guest import NAME FILE */
int transfer_import(struct cli *cli, struct err *err);

#endif
