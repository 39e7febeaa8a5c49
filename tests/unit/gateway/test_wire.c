/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The real wire process between a client that misbehaves and this test, which is its monitor. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <libssh/libssh.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provision/api/msg.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "tests/unit/sanitized.h"

#define WAIT_MS 20000
#define FLOOD 60000

static struct {
	int link;  /* to the wire, as its monitor */
	int leash; /* of the wire */
	pid_t nursery, wire, relay, client;
	int deaf; /* writing here makes the client stop reading */
} t;

static void stream_pair(int ret[2])
{
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret), 0);
}

/* Between client and wire; once told so, it takes nothing from the wire any more. */
static void relay(int client, int server, int told)
{
	static char bytes[65536];
	bool deaf = false;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		struct pollfd p[] = { { client, POLLIN, 0 }, { deaf ? -1 : server, POLLIN, 0 },
				      { deaf ? -1 : told, POLLIN, 0 } };
		ssize_t n;

		poll(p, 3, -1);
		if (p[2].revents)
			deaf = true;
		for (int i = 0; i < 2; i++) {
			if (!p[i].revents || (i == 1 && deaf))
				continue;
			n = read(p[i].fd, bytes, sizeof(bytes));
			if (n <= 0 || fd_write_all(i ? client : server, bytes, (size_t)n) < 0)
				_exit(0);
		}
	}
}

static pid_t start_nursery(int link)
{
	char program[] = BUILD_ROOT "/gateway/vm2-gateway-wire";
	char *argv[] = { program, NULL };
	pid_t pid = fork();

	if (pid == 0) {
		if (dup2(link, 3) == 3)
			execv(program, argv);
		_exit(127);
	}
	return pid;
}

static void send_settings(int nursery)
{
	CLEANUP_MSG struct msg settings = { 0 };
	ssh_key key = NULL;
	char *text = NULL;

#if LIBSSH_VERSION_INT >= SSH_VERSION_INT(0, 12, 0)
	cr_assert_eq(ssh_pki_generate_key(SSH_KEYTYPE_ED25519, NULL, &key), SSH_OK);
#else
	cr_assert_eq(ssh_pki_generate(SSH_KEYTYPE_ED25519, 0, &key), SSH_OK);
#endif
	cr_assert_eq(ssh_pki_export_privkey_base64(key, NULL, NULL, NULL, &text), SSH_OK);
	msg_add(&settings, "hostkey", text);
	msg_add_u64(&settings, "max-sessions", 2);
	msg_add(&settings, "kex", "curve25519-sha256");
	msg_add(&settings, "ciphers", "aes128-gcm@openssh.com");
	msg_add(&settings, "macs", "hmac-sha2-256-etm@openssh.com");
	msg_add(&settings, "host-key-algorithms", "ssh-ed25519");
	msg_add(&settings, "public-key-algorithms", "ssh-ed25519,sk-ssh-ed25519@openssh.com");
	cr_assert_eq(msg_send(nursery, &settings, NULL), 0);
	ssh_string_free_char(text);
	ssh_key_free(key);
}

/* The one child of a process, when it has one. */
static pid_t child_of(pid_t pid)
{
	int64_t deadline = clock_ms() + WAIT_MS;
	char path[64], text[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	while (clock_ms() < deadline && fd_read_path(AT_FDCWD, path, text, sizeof(text)) == 0)
		poll(NULL, 0, 10);
	return (pid_t)strtol(text, NULL, 10);
}

/* As the listener: a nursery, and one wire of it. */
static void start_wire(void)
{
	CLEANUP_MSG struct msg birth = { 0 };
	int nursery[2], link[2], leash[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, nursery), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, leash), 0);
	t.nursery = start_nursery(nursery[1]);
	close(nursery[1]);
	send_settings(nursery[0]);
	msg_add(&birth, "op", "wire");
	cr_assert_eq(msg_add_fd(&birth, link[1]), 0);
	cr_assert_eq(msg_add_fd(&birth, leash[1]), 0);
	cr_assert_eq(msg_send(nursery[0], &birth, NULL), 0);
	t.wire = child_of(t.nursery);
	cr_assert_gt(t.wire, 0);
	close(nursery[0]);
	close(link[1]);
	close(leash[1]);
	t.link = link[0];
	t.leash = leash[0];
}

/* Start wire, relay and a client that does what it is given. */
static void start(void (*client)(ssh_session session))
{
	CLEANUP_MSG struct msg connection = { 0 };
	int near[2], far[2], deaf[2];

	stream_pair(near);
	stream_pair(far);
	cr_assert_eq(pipe2(deaf, O_CLOEXEC), 0);
	t.deaf = deaf[1];
	start_wire();
	msg_add(&connection, "op", "connection");
	cr_assert_eq(msg_add_fd(&connection, far[1]), 0);
	cr_assert_eq(msg_send(t.link, &connection, NULL), 0);
	close(far[1]);
	t.relay = fork();
	if (t.relay == 0) {
		close(near[0]);
		relay(near[1], far[0], deaf[0]);
	}
	t.client = fork();
	if (t.client == 0) {
		ssh_session session = ssh_new();
		int no = 0;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(t.link);
		ssh_options_set(session, SSH_OPTIONS_HOST, "wire");
		ssh_options_set(session, SSH_OPTIONS_USER, "acme");
		ssh_options_set(session, SSH_OPTIONS_PROCESS_CONFIG, &no);
		ssh_options_set(session, SSH_OPTIONS_FD, &near[0]);
		if (ssh_connect(session) == SSH_OK)
			client(session);
		_exit(0);
	}
	close(near[0]);
	close(near[1]);
	close(far[0]);
}

static void stop(void)
{
	/* The wire is the nursery's, and goes with it. */
	const pid_t all[] = { t.client, t.relay, t.nursery };

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		if (all[i] <= 0)
			continue;
		kill(all[i], SIGKILL);
		waitpid(all[i], NULL, 0);
	}
}

/* As the monitor: let everybody in who asks. False: nothing was asked. */
static bool let_in(void)
{
	int64_t deadline = clock_ms() + WAIT_MS;
	bool in = false;

	while (!in) {
		CLEANUP_MSG struct msg request = { 0 }, reply = { 0 };

		if (msg_recv(t.link, &request, deadline, NULL) != 0)
			return false;
		in = !strcmp(msg_get(&request, "op"), "auth-none");
		msg_add(&reply, "result", "ok");
		if (in)
			msg_add(&reply, "authenticated", "1");
		cr_assert_eq(msg_send(t.link, &reply, NULL), 0);
	}
	return true;
}

static uint64_t memory_kib(pid_t pid)
{
	char path[64], text[8192], *at;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (fd_read_path(AT_FDCWD, path, text, sizeof(text)) < 0)
		return 0;
	at = strstr(text, "VmRSS:");
	return at ? strtoull(at + 6, NULL, 10) : 0;
}

static void ask_and_never_read(ssh_session session)
{
	if (ssh_userauth_none(session, NULL) != SSH_AUTH_SUCCESS)
		return;
	if (write(t.deaf, "", 1) != 1)
		return;
	ssh_set_blocking(session, 0);
	/* The wire's limit is two channels: each of the others is refused, in some words. */
	for (int i = 1; i < FLOOD; i++) {
		ssh_channel channel = ssh_channel_new(session);

		if (!channel || ssh_channel_open_session(channel) == SSH_ERROR ||
		    (i % 200 == 0 && ssh_blocking_flush(session, 2000) != SSH_OK))
			break;
	}
	pause();
}

Test(wire, keeps_little_for_a_client_that_does_not_read, .timeout = 120)
{
	uint64_t before, most = 0;

#ifdef SANITIZED
	cr_skip_test("a sanitizer does not live in the sandbox");
#endif
	start(ask_and_never_read);
	cr_assert(let_in());
	before = memory_kib(t.wire);
	cr_assert_gt(before, 0);
	for (int i = 0; i < 60; i++) {
		uint64_t now = memory_kib(t.wire);

		most = now > most ? now : most;
		usleep(100000);
	}
	cr_expect_lt(most, before + 1500, "from %lu to %lu KiB", (unsigned long)before,
		     (unsigned long)most);
	stop();
}

static void talk_nonsense(ssh_session session)
{
	char bytes[64];

	memset(bytes, 0xff, sizeof(bytes));
	if (write(ssh_get_fd(session), bytes, sizeof(bytes)) > 0)
		pause();
}

Test(wire, ends_with_a_client_that_breaks_the_protocol, .timeout = 60)
{
	int status = 0;
	int64_t deadline = clock_ms() + WAIT_MS;

#ifdef SANITIZED
	cr_skip_test("a sanitizer does not live in the sandbox");
#endif
	start(talk_nonsense);
	while (waitpid(t.wire, &status, WNOHANG) == 0 && clock_ms() < deadline)
		usleep(10000);
	cr_expect_lt(clock_ms(), deadline, "it goes on");
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	t.wire = 0;
	stop();
}

/* A true login's signature, or one that is not, from the fuzzer's corpus, as bytes of a message. */
static ssize_t read_proof(const char *name, char *ret, size_t size)
{
	CLEANUP_FREE char *path = xasprintf(SOURCE_ROOT "/tests/fuzz/corpus/proof/%s", name);
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);

	cr_assert_geq(fd, 0, "%s", path);
	return read(fd, ret, size);
}

/* As the monitor: have the nursery fork a verifier, and ask it. */
static bool ask_verifier(const char *name)
{
	CLEANUP_MSG struct msg message = { 0 }, reply = { 0 };
	char proof[4096];
	ssize_t len = read_proof(name, proof, sizeof(proof));
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	msg_add(&message, "op", "verify");
	cr_assert_eq(msg_add_fd(&message, pair[1]), 0);
	close(pair[1]);
	cr_assert_eq(msg_send(t.leash, &message, NULL), 0);
	cr_assert_eq(send(pair[0], proof, (size_t)len, 0), len);
	cr_assert_eq(msg_recv(pair[0], &reply, clock_ms() + WAIT_MS, NULL), 0, "no answer");
	close(pair[0]);
	cr_assert(msg_get(&reply, "valid") || msg_get(&reply, "error"));
	return msg_get(&reply, "valid");
}

Test(wire, has_signatures_verified_apart, .timeout = 60)
{
	struct pollfd end = { .events = POLLIN };
	int status = 0;

#ifdef SANITIZED
	cr_skip_test("a sanitizer does not live in the sandbox");
#endif
	start_wire();
	cr_expect(ask_verifier("ed25519"));
	cr_expect(ask_verifier("sk-ed25519"));
	cr_expect_not(ask_verifier("other-user"));
	cr_expect_not(ask_verifier("ecdsa"), "its algorithm is not to be used here");
	/* The wire itself is as it was, and ends with its leash. */
	cr_expect_eq(kill(t.wire, 0), 0);
	shutdown(t.leash, SHUT_WR);
	end.fd = t.leash;
	cr_expect_eq(poll(&end, 1, WAIT_MS), 1);
	cr_expect_eq(recv(t.leash, &status, sizeof(status), 0), (ssize_t)sizeof(status));
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%x", (unsigned int)status);
	stop();
}
