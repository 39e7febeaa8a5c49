/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `vm2 tenant totp`: a tenant's new secret for one-time codes, shown once. */
#ifndef VM2_CLI_TOTP_H
#define VM2_CLI_TOTP_H

#include "provision/cli/command.h"

/* The verb's run: the URI, its QR code on a terminal, the recovery codes. */
int totp_run(struct cli *cli, struct err *err);

#endif
