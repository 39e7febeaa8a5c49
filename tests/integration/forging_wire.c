/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stands in for vm2-gateway-wire, with the real one as NAME.real: its nursery is the real one, each of its
 * wire processes was taken over at once. Whoever connects says what it asks of its monitor, a line a message
 * with tabs between the fields, and reads the answers.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "provision/api/msg.h"
#include "provision/base/cleanup.h"

#define LINK 3
#define REAL "/usr/libexec/vm2/vm2-gateway-wire.real"

static bool ask(char *line, FILE *out)
{
	CLEANUP_MSG struct msg request = { 0 }, answer = { 0 };
	const char *key, *value;
	size_t at = 0, len;

	for (char *field; (field = strsep(&line, "\t\n"));) {
		char *text = strchr(field, '=');

		if (!text)
			continue;
		*text = '\0';
		msg_add(&request, field, text + 1);
	}
	if (msg_send(LINK, &request, NULL) != 0 || msg_recv(LINK, &answer, 0, NULL) != 0)
		return false;
	while (msg_next(&answer, &at, &key, &len, &value))
		fprintf(out, "%.*s=%s\t", (int)len, key, value);
	return fputs("\n", out) >= 0 && fflush(out) == 0;
}

static void serve(void)
{
	CLEANUP_MSG struct msg connection = { 0 };
	static char line[65536];
	FILE *in, *out;

	if (msg_recv(LINK, &connection, 0, NULL) != 0 || connection.n_fds != 1)
		return;
	in = fdopen(dup(connection.fds[0]), "r");
	out = fdopen(dup(connection.fds[0]), "w");
	while (in && out && fgets(line, sizeof(line), in) && ask(line, out))
		;
}

/* The real nursery: a socket to it. */
static int start_real(char *argv[])
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		exit(1);
	if (fork() == 0) {
		dup2(pair[1], LINK);
		execv(REAL, argv);
		_exit(127);
	}
	close(pair[1]);
	return pair[0];
}

/* The leash goes to the real one, with a wire process that never hears of anything; the socket here. */
static void give_birth(int real, struct msg *birth)
{
	CLEANUP_MSG struct msg message = { 0 };
	int pair[2];

	if (birth->n_fds != 2 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	msg_add(&message, "op", "wire");
	if (msg_add_fd(&message, pair[1]) != 0 || msg_add_fd(&message, birth->fds[1]) != 0 ||
	    msg_send(real, &message, NULL) != 0)
		exit(1);
	close(pair[1]);
	if (fork() == 0 && dup2(birth->fds[0], LINK) == LINK) {
		msg_free(birth);
		serve();
		_exit(0);
	}
	close(pair[0]);
}

int main(int argc, char **argv)
{
	CLEANUP_MSG struct msg settings = { 0 };
	int real;

	real = start_real(argv);
	/* Not before: the real one wants to hear of its children. */
	signal(SIGCHLD, SIG_IGN);
	if (msg_recv(LINK, &settings, 0, NULL) != 0 || msg_send(real, &settings, NULL) != 0)
		return 1;
	for (;;) {
		CLEANUP_MSG struct msg birth = { 0 };

		if (msg_recv(LINK, &birth, 0, NULL) != 0)
			return 0;
		give_birth(real, &birth);
	}
}
