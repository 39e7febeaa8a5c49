/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "build.h"
#include "provision/guest/steps.h"

const char *const guest_libexecdir = VM2_LIBEXECDIR;
