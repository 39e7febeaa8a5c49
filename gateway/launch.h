/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Start one of our own programs with a fixed set of descriptors and a clean environment. */
#ifndef VM2_GATEWAY_LAUNCH_H
#define VM2_GATEWAY_LAUNCH_H

#include <sys/types.h>

#include "provision/base/err.h"

/* The first descriptor that a started program gets; 0 to 2 are the caller's own. */
#define LAUNCH_FD_FIRST 3
#define LAUNCH_FDS_MAX 8

/*
 * Execute argv[0] (an absolute path). fds[i] becomes descriptor LAUNCH_FD_FIRST + i there, in order;
 * all others of the caller must be close-on-exec. Signals have their standard handling and none is
 * blocked. *ret_pid is to be waited for. 0, or -errno.
 */
int launch_program(char *const argv[], const int *fds, int n_fds, pid_t *ret_pid, struct err *err);

#endif
