/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Showing a recording (asciicast v2) again. */
#ifndef VM2_CLI_REPLAY_H
#define VM2_CLI_REPLAY_H

#include <stdbool.h>
#include <stdio.h>

#include "provision/base/err.h"

struct replay {
	double speed;	 /* 1: as it happened */
	double max_idle; /* seconds that a pause lasts at most; 0: as it was */
	bool terminal;	 /* with its timing, and only what screen.h lets through; else all, at once */
};

/*
 * Show a recording from `in` on `out`. A last line that is cut (the host went down) ends it quietly.
 * ERR_FAILED for what is no asciicast v2, with the line's number; -errno for reading and writing.
 */
int replay_show(FILE *in, int out, const struct replay *how, struct err *err);

#endif
