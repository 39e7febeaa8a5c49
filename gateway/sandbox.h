/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sandbox of the wire process, in two steps. The room is made once by the listener: user,
 * mount, network, IPC and UTS namespaces in which there is nothing (an empty read-only root, no
 * interface that is up). A wire process enters it before it reads its first byte from the network,
 * and gives up all system calls but those of the table in sandbox.c.
 */
#ifndef VM2_GATEWAY_SANDBOX_H
#define VM2_GATEWAY_SANDBOX_H

#include <stdint.h>

#include "provision/base/err.h"

/* How many descriptors stand for a room: its user, mount, network, IPC and UTS namespaces. */
#define SANDBOX_ROOM_FDS 5

/*
 * Make the room, as any user. ret_fds (SANDBOX_ROOM_FDS descriptors, close-on-exec) are to be kept
 * by the caller for as long as somebody is to enter. 0, or -errno when the host does not let this
 * user make user namespaces (untouched then; sandbox_enter() does without a room).
 */
int sandbox_room(int *ret_fds, struct err *err);

/* Enter the room alone, with no capability in it. room_fds are closed. 0, or -errno. */
int sandbox_enter_room(const int *room_fds, struct err *err);

/*
 * Enter: the room (room_fds may be NULL: none), no capability, no new privileges, limits (max_fd is
 * the highest descriptor number plus one that may be open), not dumpable, and the allow-list. The
 * first other system call kills the process (SIGSYS). Not to be undone. room_fds are closed.
 * 0, or -errno: then the process must not go on.
 */
int sandbox_enter(const int *room_fds, uint64_t max_fd, struct err *err);

#endif
