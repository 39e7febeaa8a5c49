/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A message that may bring one descriptor, between processes of ours (unix(7), SCM_RIGHTS). */
#ifndef VM2_BASE_PASS_H
#define VM2_BASE_PASS_H

#include <stddef.h>
#include <sys/types.h>

/* Send len bytes and, unless it is -1, the descriptor, which stays the caller's. 0 or -errno. */
int pass_send(int sock, const void *data, size_t len, int fd);

/*
 * As recvmsg(2) with these flags: the number of bytes, or -errno. *ret_fd: the descriptor, closed on exec,
 * the caller's; -1: none came. More than one are closed.
 */
ssize_t pass_receive(int sock, void *data, size_t cap, int flags, int *ret_fd);

#endif
