/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The hostile root of a guest: what it looks for in /proc and /sys. */
#ifndef VM2_TESTS_BREAK_OUT_H
#define VM2_TESTS_BREAK_OUT_H

/*
 * Look at every process that appears, as fast as can be, until the file `end` is there: its program,
 * root, folder, environment, descriptors and memory. Prints what is not the guest's own. 0, or 1
 * when there was something.
 */
int spy(const char *end);

/* In the background: stop every process of one of these names, or, with none, every one; for good. */
int hold(char *const names[]);

/* Print every file below /proc (without processes) and /sys that can be opened for writing. */
int walk(void);

/* As the guest's init: go to a network namespace of its own, and stay until it is asked to stop. */
int leave(void);

#endif
