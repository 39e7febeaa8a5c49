/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The listener: accepts connections, waits until a request has come, and hands each to a worker of
 * its own, forked ahead of time. It reads nothing of them and touches no database. A connection
 * that says nothing costs no worker.
 */
#ifndef VM2_DAEMON_SERVER_H
#define VM2_DAEMON_SERVER_H

#include "provision/daemon/request.h"

/*
 * The listening socket: the one that a service manager passed (sd_listen_fds(3)), else a new one
 * at config->socket, mode 0666: who may ask for what is decided by the peer's credentials.
 */
int server_listen(const struct config *config, int *ret, struct err *err);

/*
 * Serve until SIGTERM or SIGINT. Workers and sessions go on after that. Blocks those signals and
 * SIGCHLD in the calling process.
 */
int server_run(struct host *host, int listener, struct err *err);

#endif
