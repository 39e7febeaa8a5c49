/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Stands in for vm2-gateway-wire: one that was taken over, and asks its monitor without end. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "provision/api/msg.h"

#define LINK 3

static void ask(const char *op, const char *name)
{
	CLEANUP_MSG struct msg m = { 0 };

	msg_add(&m, "op", op);
	msg_add(&m, "name", name);
	if (msg_send(LINK, &m, NULL) != 0)
		exit(0);
}

/* In the place of the process for one connection. */
static void attack(void)
{
	CLEANUP_MSG struct msg connection = { 0 };

	/* The connection stays open in `connection`. */
	if (msg_recv(LINK, &connection, 0, NULL) != 0)
		return;
	ask("user", "acme");
	for (int ahead = 1;;) {
		struct pollfd p = { .fd = LINK, .events = POLLIN };
		CLEANUP_MSG struct msg answer = { 0 };

		/* Always some requests ahead, so that the monitor has something to do at any time. */
		while (ahead < 50) {
			ask("auth-none", NULL);
			ahead++;
		}
		if (poll(&p, 1, -1) > 0 && msg_recv(LINK, &answer, 0, NULL) != 0)
			return;
		ahead--;
	}
}

int main(void)
{
	CLEANUP_MSG struct msg settings = { 0 };

	signal(SIGCHLD, SIG_IGN);
	if (msg_recv(LINK, &settings, 0, NULL) != 0)
		return 0;
	for (;;) {
		CLEANUP_MSG struct msg birth = { 0 };

		if (msg_recv(LINK, &birth, 0, NULL) != 0)
			return 0;
		/* Nobody holds it by its leash: it ends when its monitor has. */
		if (fork() == 0 && dup2(birth.fds[0], LINK) == LINK) {
			msg_free(&birth);
			attack();
			return 0;
		}
	}
}
