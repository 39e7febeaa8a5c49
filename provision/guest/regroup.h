/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A running guest whose control group somebody has removed or emptied is held to its plan again. */
#ifndef VM2_GUEST_REGROUP_H
#define VM2_GUEST_REGROUP_H

#include "provision/guest/guest.h"

/*
 * Have the guest's control group, with its limits, and all of the guest's processes in it: they run on.
 * What memory they have had counts where they were then; and the guest sees its own control groups
 * again from its next start on. For one that runs, under its lock. 0 or ERR_*.
 */
int regroup(const struct config *config, const struct guest_spec *spec, struct err *err);

#endif
