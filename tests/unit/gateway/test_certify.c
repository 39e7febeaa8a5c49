/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm2-gateway-certify as it is, and certificates as ssh-keygen makes them. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provision/api/msg.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/sshcert.h"

static char place[64];

static void make_place(void)
{
	strcpy(place, "/tmp/vm2-certify-XXXXXX");
	cr_assert(mkdtemp(place));
}

static void drop_place(void)
{
	char line[128];

	snprintf(line, sizeof(line), "rm -rf %s", place);
	cr_assert_eq(system(line), 0);
}

TestSuite(certify, .init = make_place, .fini = drop_place, .timeout = 100);

/* A certificate's text, of a key of a type, signed by an authority of a type. To be freed. */
static char *make(const char *type, const char *ca, const char *options)
{
	CLEANUP_FREE char *line = xasprintf(
		"cd %s && rm -f k* && ssh-keygen -q -N '' -t %s -f k && { [ -e %s ] || ssh-keygen -q -N '' %s -f %s; } "
		"&& ssh-keygen -q -s %s -I someone -n acme,other %s k.pub && cut -d' ' -f1,2 k-cert.pub | tr -d '\n'",
		place, type, ca, ca, ca, ca, options);
	FILE *f = popen(line, "r");
	char *text = xcalloc(1, 16384);

	cr_assert(f);
	cr_assert_gt(fread(text, 1, 16383, f), 0);
	cr_assert_eq(pclose(f), 0);
	return text;
}

/* What the program says about it. */
static struct msg ask(const char *key)
{
	struct msg request = { 0 }, reply = { 0 };
	int pair[2], status;
	pid_t pid;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	pid = fork();
	if (pid == 0) {
		dup2(pair[1], 3);
		close_range(4, ~0U, 0);
		execl(BUILD_ROOT "/gateway/vm2-gateway-certify", "certify", NULL);
		_exit(127);
	}
	close(pair[1]);
	msg_add(&request, "key", key);
	msg_add(&request, "source", "192.0.2.7:50000");
	cr_assert_eq(msg_send(pair[0], &request, NULL), 0);
	cr_assert_eq(msg_recv(pair[0], &reply, clock_ms() + 20000, NULL), 0, "no answer");
	close(pair[0]);
	waitpid(pid, &status, 0);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%d", status);
	msg_free(&request);
	return reply;
}

static void expect(const char *key, const char *options)
{
	CLEANUP_MSG struct msg reply = ask(key);
	size_t at = 0;

	cr_assert_null(msg_get(&reply, "error"), "%s", msg_get(&reply, "error"));
	cr_assert_str_eq(msg_get(&reply, "options"), options);
	cr_assert_str_eq(msg_get(&reply, "id"), "someone");
	cr_assert_str_eq(msg_next_value(&reply, "principal", &at), "acme");
	cr_assert_str_eq(msg_next_value(&reply, "principal", &at), "other");
}

static void expect_error(const char *key, const char *part)
{
	CLEANUP_MSG struct msg reply = ask(key);

	cr_assert(msg_get(&reply, "error") && !msg_get(&reply, "ca"), "it was taken");
	cr_assert(strstr(msg_get(&reply, "error"), part), "%s", msg_get(&reply, "error"));
}

Test(certify, takes_those_of_every_type)
{
	static const char *const keys[] = { "ed25519", "ecdsa", "rsa" };
	static const char *const cas[] = { "-ted25519", "-tecdsa", "-tecdsa -b384", "-tecdsa -b521" };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		CLEANUP_FREE char *text = make(keys[i], "-ted25519", "-V -1h:+1h");

		expect(text, "");
	}
	for (size_t i = 1; i < ARRAY_LEN(cas); i++) {
		CLEANUP_FREE char *line = xasprintf("cd %s && ssh-keygen -q -N '' %s -f ca%zu", place, cas[i], i);
		CLEANUP_FREE char *ca = xasprintf("ca%zu", i);

		cr_assert_eq(system(line), 0);
		CLEANUP_FREE char *text = make("ed25519", ca, "");

		expect(text, "");
	}
	CLEANUP_FREE char *line = xasprintf("cd %s && ssh-keygen -q -N '' -trsa -f rsa", place);

	cr_assert_eq(system(line), 0);
	for (int bits = 256; bits <= 512; bits += 256) {
		CLEANUP_FREE char *how = xasprintf("-t rsa-sha2-%d", bits);
		CLEANUP_FREE char *text = make("ed25519", "rsa", how);

		expect(text, "");
	}
	CLEANUP_FREE char *old = make("ed25519", "rsa", "-t ssh-rsa");

	expect_error(old, "signature is not its authority's");
}

Test(certify, reads_what_it_restricts)
{
	CLEANUP_FREE char *all = make("ed25519", "-ted25519",
				      "-O force-command='echo \"a\" b' -O source-address=192.0.2.0/24 "
				      "-O no-pty -O no-port-forwarding");
	CLEANUP_FREE char *bare = make("ed25519", "-ted25519", "-O clear");

	expect(all, "from=\"192.0.2.0/24\",no-pty,no-port-forwarding,command=\"echo \\\"a\\\" b\"");
	expect(bare, "restrict");
}

Test(certify, refuses_with_a_reason)
{
	static const struct {
		const char *options, *says;
	} wrong[] = {
		{ "-V -2h:-1h", "not valid at this time" },
		{ "-V +1h:+2h", "not valid at this time" },
		{ "-O source-address=198.51.100.0/24", "not for this source" },
		{ "-h", "not that of a user" },
		{ "-O critical:new@example.org=x", "critical option that is not known" },
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		CLEANUP_FREE char *text = make("ed25519", "-ted25519", wrong[i].options);

		expect_error(text, wrong[i].says);
	}
	expect_error("ssh-ed25519-cert-v01@openssh.com AAAA", "broken");
	expect_error("ssh-ed25519-cert-v01@openssh.com", "broken");
}

/* No byte of it can be another, nor be missing, nor stand behind it. */
Test(certify, a_changed_one_is_none)
{
	CLEANUP_FREE char *text = make("ed25519", "-ted25519", "");
	unsigned char blob[SSHCERT_MAX];
	const char *base64 = strchr(text, ' ') + 1;
	int len = sshwire_decode(base64, strlen(base64), blob);

	cr_assert_gt(len, 300);
	for (int i = 0; i < len; i += 3) {
		CLEANUP_BUF struct buf changed = { 0 };

		blob[i] ^= 1;
		buf_add(&changed, text, (size_t)(base64 - text));
		sshwire_encode(blob, (size_t)len, &changed);
		blob[i] ^= 1;
		CLEANUP_MSG struct msg reply = ask(changed.data);

		cr_assert(msg_get(&reply, "error"), "byte %d", i);
	}
}
