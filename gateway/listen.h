/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the gateway listens: addresses as text, sockets made of them or taken over. */
#ifndef VM2_GATEWAY_LISTEN_H
#define VM2_GATEWAY_LISTEN_H

#include <sys/socket.h>

#include "provision/base/err.h"

#define LISTEN_MAX 16

/*
 * Parse one "192.0.2.1:2222" or "[2001:db8::1]:2222" (numbers only, port 1 to 65535).
 * 0 with the address and its length, or ERR_USAGE.
 */
int listen_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len, struct err *err);

/*
 * The sockets to accept on, non-blocking and close-on-exec: those that the service manager hands
 * over (sd_listen_fds(3): LISTEN_PID, LISTEN_FDS), else one for each of the addresses, which are
 * separated by spaces. ret_fds has room for LISTEN_MAX. *ret_n of them are to be closed by the
 * caller. 0, ERR_USAGE, or -errno.
 */
int listen_open(const char *addresses, int *ret_fds, int *ret_n, struct err *err);

/*
 * Have the n sockets where a program that this process becomes finds them with listen_open(). Whatever
 * descriptors stood there are closed: there is no way back.
 */
void listen_hand_over(int *fds, int n);

#endif
