/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/session/slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "provision/base/str.h"

void slots_begin(struct slots *s, int fd, uint64_t most)
{
	*s = (struct slots){ .fd = fd, .most = most };
	s->mine = most ? xcalloc(most, sizeof(*s->mine)) : NULL;
}

void slots_end(struct slots *s)
{
	free(s->mine);
	s->mine = NULL;
}

/* What is locked there by another begins at or before `at`: where it ends. */
static uint64_t after(int fd, uint64_t at)
{
	struct flock other = { .l_type = F_WRLCK, .l_start = (off_t)at, .l_len = 1 };

	if (fcntl(fd, F_OFD_GETLK, &other) < 0 || other.l_type == F_UNLCK || other.l_len == 0)
		return at + 1;
	return (uint64_t)(other.l_start + other.l_len);
}

int64_t slots_take(struct slots *s)
{
	uint64_t at = 0;

	while (at < s->most) {
		struct flock slot = { .l_type = F_WRLCK, .l_start = (off_t)at, .l_len = 1 };

		if (s->mine[at]) {
			at++;
		} else if (fcntl(s->fd, F_OFD_SETLK, &slot) == 0) {
			s->mine[at] = true;
			return (int64_t)at;
		} else if (errno != EAGAIN && errno != EACCES) {
			return -errno;
		} else {
			/* Neighbours that one process has are one lock: as many steps as there are of those. */
			at = after(s->fd, at);
		}
	}
	return s->most ? -EAGAIN : 0;
}

void slots_give(struct slots *s, int64_t slot)
{
	struct flock free_again = { .l_type = F_UNLCK, .l_start = (off_t)slot, .l_len = 1 };

	if (!s->most || slot < 0)
		return;
	s->mine[slot] = false;
	fcntl(s->fd, F_OFD_SETLK, &free_again);
}
