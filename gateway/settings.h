/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What wire processes are told first of all: host keys, algorithms, limits, the banner (docs/GATEWAY). */
#ifndef VM2_GATEWAY_SETTINGS_H
#define VM2_GATEWAY_SETTINGS_H

#include "provision/api/msg.h"
#include "provision/base/config.h"

/* Fill the message in; it holds private keys: wipe its bytes when it is sent. 0, or -errno. */
int settings_make(const struct config *config, struct msg *settings, struct err *err);

#endif
