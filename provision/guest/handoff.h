/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a vm2-guest that was begun learns which guest it is for: one datagram on the socket that it was
 * born with, its words (args.h) with the guest's lock and log beside them. It comes once.
 */
#ifndef VM2_GUEST_HANDOFF_H
#define VM2_GUEST_HANDOFF_H

#include "provision/guest/args.h"

struct handoff {
	struct guest_args args; /* strings belong to the caller who sends; stay for good where received */
	int lock, log;		/* descriptors; where received, the caller's */
};

/* Send it. 0 or -errno; -EPIPE when the other side is gone. */
int handoff_send(int sock, const struct handoff *order);

/* Wait for it: 0, ERR_NOT_FOUND when the other side went without a word, or an error. */
int handoff_receive(int sock, struct handoff *ret, struct err *err);

#endif
