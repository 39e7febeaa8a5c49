/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef VM2_GUEST_QUEUE_H
#define VM2_GUEST_QUEUE_H

/* The link to a vm2-guest that waits (struct guest_begun); 0 when there is none. */
int queue_take(int take);

#endif
