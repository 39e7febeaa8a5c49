/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which commands carry files, by how clients start the other end of scp, rsync and sftp. It holds back
 * who keeps to the rules: a shell, a pipe or a renamed program carries files as well (docs/GATEWAY).
 */
#ifndef VM2_DAEMON_CARRY_H
#define VM2_DAEMON_CARRY_H

enum { CARRY_UP = 1, CARRY_DOWN = 2 };

/* The ways, CARRY_*, in which a command line carries files; 0 for all other commands. */
unsigned int carry_ways(const char *command);

#endif
