/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One key exchange of the process with itself, before there are connections: what libssh and libcrypto
 * look up, allocate and bind at their first then lies in memory that all wire processes share. Nothing
 * depends on it.
 */
#include <errno.h>
#include <sys/socket.h>

#include "gateway/wire.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

/* Each turn both sides do what they can; a key exchange takes about ten. */
#define TURNS_MAX 200

/* Without a look at files: there are none where this runs. */
static ssh_session make_client(int fd)
{
	ssh_session client = ssh_new();
	int no = 0;

	if (!client)
		return NULL;
	ssh_options_set(client, SSH_OPTIONS_SSH_DIR, "/");
	ssh_options_set(client, SSH_OPTIONS_HOST, "localhost");
	ssh_options_set(client, SSH_OPTIONS_USER, "nobody");
	ssh_options_set(client, SSH_OPTIONS_PROCESS_CONFIG, &no);
	ssh_options_set(client, SSH_OPTIONS_FD, &fd);
	ssh_set_blocking(client, 0);
	return client;
}

static void exchange(ssh_session client, ssh_session server)
{
	int ours = SSH_AGAIN, theirs = SSH_AGAIN;

	ssh_set_blocking(server, 0);
	for (int i = 0; i < TURNS_MAX && (ours == SSH_AGAIN || theirs == SSH_AGAIN); i++) {
		if (ours == SSH_AGAIN)
			ours = ssh_connect(client);
		if (theirs == SSH_AGAIN)
			theirs = ssh_handle_key_exchange(server);
		if (ours == SSH_ERROR || theirs == SSH_ERROR)
			break;
	}
}

void wire_warm(ssh_bind bind)
{
	ssh_session server = ssh_new(), client;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		ssh_free(server);
		return;
	}
	fd_nonblock(pair[0], 1);
	fd_nonblock(pair[1], 1);
	client = make_client(pair[0]);
	if (server && client && ssh_bind_accept_fd(bind, server, pair[1]) == SSH_OK)
		exchange(client, server);
	else
		fd_close(pair[1]);
	ssh_free(server);
	ssh_free(client);
}
