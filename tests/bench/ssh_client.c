/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A client that costs little, for tests/bench/ssh: bench-ssh-client PORT USER KEY N connects N times,
 * one after the other, authenticates with the key, runs `true`, and leaves. Exit status 0 when each
 * of them worked.
 */
#include <libssh/libssh.h>
#include <stdio.h>
#include <stdlib.h>

/* The exit status that came, or -1. libssh 0.11 has another function for it. */
static int exit_status(ssh_channel channel)
{
#if LIBSSH_VERSION_INT >= SSH_VERSION_INT(0, 11, 0)
	uint32_t code;

	return ssh_channel_get_exit_state(channel, &code, NULL, NULL) == SSH_OK ? (int)code : -1;
#else
	return ssh_channel_get_exit_status(channel);
#endif
}

static int run_true(ssh_session session)
{
	ssh_channel channel = ssh_channel_new(session);
	char byte;
	int status = -1;

	if (channel && ssh_channel_open_session(channel) == SSH_OK &&
	    ssh_channel_request_exec(channel, "true") == SSH_OK) {
		while (ssh_channel_read(channel, &byte, 1, 0) > 0)
			;
		status = exit_status(channel);
	}
	ssh_channel_free(channel);
	return status;
}

static int connect_once(unsigned int port, const char *user, ssh_key key)
{
	ssh_session session = ssh_new();
	int no = 0, status = -1;

	ssh_options_set(session, SSH_OPTIONS_HOST, "127.0.0.1");
	ssh_options_set(session, SSH_OPTIONS_PORT, &port);
	ssh_options_set(session, SSH_OPTIONS_USER, user);
	ssh_options_set(session, SSH_OPTIONS_PROCESS_CONFIG, &no);
	ssh_options_set(session, SSH_OPTIONS_KEY_EXCHANGE, "curve25519-sha256");
	ssh_options_set(session, SSH_OPTIONS_HOSTKEYS, "ssh-ed25519");
	ssh_options_set(session, SSH_OPTIONS_CIPHERS_C_S, "aes128-gcm@openssh.com");
	ssh_options_set(session, SSH_OPTIONS_CIPHERS_S_C, "aes128-gcm@openssh.com");
	if (ssh_connect(session) == SSH_OK &&
	    ssh_userauth_publickey(session, NULL, key) == SSH_AUTH_SUCCESS)
		status = run_true(session);
	if (status != 0)
		fprintf(stderr, "bench-ssh-client: %s\n", ssh_get_error(session));
	ssh_disconnect(session);
	ssh_free(session);
	return status;
}

int main(int argc, char **argv)
{
	ssh_key key = NULL;

	if (argc != 5 || ssh_pki_import_privkey_file(argv[3], NULL, NULL, NULL, &key) != SSH_OK) {
		fprintf(stderr, "usage: bench-ssh-client PORT USER KEY N\n");
		return 2;
	}
	for (int i = atoi(argv[4]); i > 0; i--)
		if (connect_once((unsigned int)atoi(argv[1]), argv[2], key) != 0)
			return 1;
	return 0;
}
