/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gateway/farewell.h"

#include <errno.h>
#include <sys/socket.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

void farewell_say(struct farewells *f, int fd, const char *reason)
{
	CLEANUP_BUF struct buf line = { 0 };

	buf_printf(&line, "vm2: %s, try again later\r\n", reason);
	(void)!send(fd, line.data, line.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	shutdown(fd, SHUT_WR);
	if (f->n == FAREWELLS_MAX) {
		fd_close(fd);
		return;
	}
	f->open[f->n].fd = fd;
	f->open[f->n++].until = clock_ms() + FAREWELL_MS;
}

void farewell_part(struct farewells *f)
{
	int64_t now = clock_ms();
	char ignored[512];

	for (int i = 0; i < f->n;) {
		ssize_t n = recv(f->open[i].fd, ignored, sizeof(ignored), MSG_DONTWAIT);

		if (now < f->open[i].until && (n > 0 || (n < 0 && errno == EAGAIN))) {
			i++;
			continue;
		}
		fd_close(f->open[i].fd);
		f->open[i] = f->open[--f->n];
	}
}
