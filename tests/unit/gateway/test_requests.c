/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A monitor whose wire process has been taken over. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/monitor.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

/* What the monitor sent last: this test stands in the wire's place. */
static char answer[256];

int monitor_send(struct monitor *m, const struct msg *message, struct err *err)
{
	const char *text = msg_get(message, "result");

	snprintf(answer, sizeof(answer), "%s", text ? text : msg_get(message, "op"));
	return 0;
}

int certificate_check(const struct monitor *m, const char *key, struct msg *reply, struct err *err)
{
	return err_set(err, ERR_DENIED, "none is read here");
}

/* Which signature is right here; NULL: none. */
static const char *right;
static unsigned int verified;

int verify_signature(const struct monitor *m, const struct msg *proved, struct err *err)
{
	const char *signature = msg_get(proved, "signature");

	verified++;
	if (m->session_id && right && signature && !strcmp(signature, right))
		return 0;
	return err_set(err, ERR_DENIED, "it is not right");
}

static struct config config = { .socket = (char *)(uintptr_t)"/nowhere/vm2d.sock", .max_tries = 3,
				.max_sessions = 2, .accept_env = (char *)(uintptr_t)"LANG LC_*" };

static struct monitor fresh(void)
{
	return (struct monitor){ .config = &config, .state = STATE_STARTING, .wire = -1, .starting = -1, .forward = -1,
				 .source = "192.0.2.1:1", .host = "192.0.2.1" };
}

static int ask(struct monitor *m, const char *op, const char *key, const char *value)
{
	struct msg request = { 0 };
	struct err err = { 0 };
	int r;

	answer[0] = '\0';
	msg_add(&request, "op", op);
	if (key)
		msg_add(&request, key, value);
	r = requests_serve(m, &request, &err);
	msg_free(&request);
	return r;
}

static const char *const names[] = { "user",	     "auth-none",     "auth-password", "key-offer",
				     "key-proved",   "kbdint-start",  "kbdint-answer", "open",
				     "resize",	     "signal",	      "close",	       "forward",
				     "listen",	     "unlisten",   "agent",	   "broken" };
static const enum monitor_state states[] = { STATE_STARTING, STATE_USER_KNOWN, STATE_KEY_OFFERED,
					     STATE_PROMPTING, STATE_AUTHENTICATED };

/* The table, told again in other words: a line a request, a column a state. */
static const bool allowed[][5] = {
	{ 1, 0, 0, 0, 0 }, { 0, 1, 1, 0, 0 }, { 0, 1, 1, 0, 0 }, { 0, 1, 1, 0, 0 },
	{ 0, 0, 1, 0, 0 }, { 0, 1, 1, 0, 0 }, { 0, 0, 0, 1, 0 }, { 0, 0, 0, 0, 1 },
	{ 0, 0, 0, 0, 1 }, { 0, 0, 0, 0, 1 }, { 0, 0, 0, 0, 1 }, { 0, 0, 0, 0, 1 },
	{ 0, 0, 0, 0, 1 }, { 0, 0, 0, 0, 1 }, { 0, 0, 0, 0, 1 }, { 1, 1, 1, 1, 1 },
};

Test(requests, each_only_in_its_states)
{
	for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
		for (size_t s = 0; s < sizeof(states) / sizeof(states[0]); s++) {
			struct monitor m = fresh();

			cr_assert_eq(requests_allowed(names[n], states[s]), allowed[n][s], "%s in %d",
				     names[n], states[s]);
			m.state = states[s];
			if (!allowed[n][s])
				cr_assert_eq(ask(&m, names[n], "channel", "1"), ERR_DENIED, "%s in %d",
					     names[n], states[s]);
		}
	}
}

Test(requests, unknown_and_nameless_end_the_connection)
{
	struct monitor m = fresh();
	struct msg empty = { 0 };

	cr_assert_neq(ask(&m, "shutdown", NULL, NULL), 0);
	cr_assert_neq(requests_serve(&m, &empty, NULL), 0);
	cr_assert_neq(ask(&m, "kbdint-answer", "answer", "x"), 0);
}

Test(requests, the_user_is_named_once)
{
	struct monitor m = fresh();

	cr_assert_eq(ask(&m, "user", "name", "acme"), 0);
	cr_assert_str_eq(answer, "ok");
	cr_assert_neq(ask(&m, "user", "name", "root"), 0);
	cr_assert_str_eq(m.user, "acme");
}

Test(requests, a_key_that_was_not_accepted_proves_nothing)
{
	struct monitor m = fresh();

	ask(&m, "user", "name", "acme");
	cr_assert_neq(ask(&m, "key-proved", "key", "ssh-ed25519 AAAA"), 0, "nothing was offered");
	cr_assert_eq(ask(&m, "key-offer", "key", "ssh-ed25519 AAAA"), 0);
	cr_assert_str_eq(answer, "denied", "vm2d is not there");
	cr_assert_eq(m.state, STATE_USER_KNOWN);
	cr_assert_neq(ask(&m, "key-proved", "key", "ssh-ed25519 AAAA"), 0);
}

Test(requests, only_the_accepted_key_counts_and_only_once)
{
	struct monitor m = fresh();

	ask(&m, "user", "name", "acme");
	m.state = STATE_KEY_OFFERED;
	m.key = strdup("ssh-ed25519 AAAA");
	m.key_credential = strdup("key SHA256:x");
	cr_assert_eq(ask(&m, "key-proved", "key", "ssh-ed25519 BBBB"), 0);
	cr_assert_str_eq(answer, "denied");
	cr_assert_neq(ask(&m, "key-proved", "key", "ssh-ed25519 AAAA"), 0);
	cr_assert_eq(m.state, STATE_USER_KNOWN);
}

static int prove(struct monitor *m, const char *signature, const char *flags)
{
	struct msg request = { 0 };
	int r;

	answer[0] = '\0';
	m->state = STATE_KEY_OFFERED;
	msg_add(&request, "op", "key-proved");
	msg_add(&request, "key", m->key);
	msg_add(&request, "signature", signature);
	msg_add(&request, "flags", flags);
	r = requests_serve(m, &request, NULL);
	msg_free(&request);
	return r;
}

/* A login of two steps: the first alone asks no PAM, whose modules are the machine's. */
static const struct sequence both = { "publickey,password", { METHOD_KEY, METHOD_PASSWORD } };

static struct monitor offered(const char *key)
{
	struct monitor m = fresh();

	m.user = strdup("acme");
	m.key = strdup(key);
	m.key_credential = strdup("key SHA256:x");
	m.session_id = strdup("AAAA");
	m.sequence = &both;
	return m;
}

Test(requests, a_key_is_proved_by_its_signature_alone)
{
	struct monitor m = offered("ssh-ed25519 AAAA");

	right = "GOOD";
	cr_assert_eq(prove(&m, NULL, NULL), 0);
	cr_assert_str_eq(answer, "denied", "none");
	cr_assert_eq(prove(&m, "BAD", NULL), 0);
	cr_assert_str_eq(answer, "denied", "another");
	cr_assert_eq(m.step, 0);
	cr_assert_eq(prove(&m, "GOOD", NULL), 0);
	cr_assert_str_eq(answer, "partial");
	cr_assert_eq(verified, 3);
}

Test(requests, a_session_is_said_once_and_before)
{
	struct monitor m = fresh();
	struct msg request = { 0 };

	msg_add(&request, "op", "user");
	msg_add(&request, "name", "acme");
	msg_add(&request, "session", "AAAA");
	cr_assert_eq(requests_serve(&m, &request, NULL), 0);
	cr_assert_str_eq(m.session_id, "AAAA");
	cr_assert_neq(requests_serve(&m, &request, NULL), 0, "a second time");
	msg_free(&request);
	cr_assert_eq(ask(&m, "auth-none", "session", "BBBB"), 0);
	cr_assert_eq(ask(&m, "key-offer", "session", "BBBB"), ERR_USAGE);
	cr_assert_str_eq(m.session_id, "AAAA");
}

Test(requests, an_authenticator_is_touched)
{
	struct monitor m = offered("sk-ssh-ed25519@openssh.com AAAA");

	right = "GOOD";
	cr_assert_eq(prove(&m, "GOOD", NULL), 0);
	cr_assert_str_eq(answer, "denied");
	cr_assert_eq(prove(&m, "GOOD", "4"), 0);
	cr_assert_str_eq(answer, "denied", "known, but not touched");
	m.tries = 0;
	m.offered.verify = true;
	cr_assert_eq(prove(&m, "GOOD", "1"), 0);
	cr_assert_str_eq(answer, "denied", "touched by whoever");
	cr_assert_eq(prove(&m, "BAD", "5"), 0);
	cr_assert_str_eq(answer, "denied");
	m.tries = 0;
	cr_assert_eq(prove(&m, "GOOD", "5"), 0);
	cr_assert_str_eq(answer, "partial");
}

Test(requests, another_offer_takes_the_first_back)
{
	struct monitor m = fresh();

	ask(&m, "user", "name", "acme");
	m.state = STATE_KEY_OFFERED;
	m.key = strdup("ssh-ed25519 AAAA");
	m.key_credential = strdup("key SHA256:x");
	cr_assert_eq(ask(&m, "key-offer", "key", "ssh-ed25519 BBBB"), 0);
	cr_assert_null(m.key);
	cr_assert_eq(m.state, STATE_USER_KNOWN);
}

Test(requests, tries_are_counted_and_end)
{
	struct monitor m = fresh();

	ask(&m, "user", "name", "acme");
	for (int i = 0; i < 5; i++) {
		ask(&m, "auth-none", NULL, NULL);
		cr_assert_str_eq(answer, "denied", "asking for the methods is no try");
	}
	ask(&m, "key-offer", "key", "ssh-ed25519 A");
	ask(&m, "key-offer", "key", "ssh-ed25519 B");
	cr_assert_str_eq(answer, "denied");
	ask(&m, "key-offer", "key", "ssh-ed25519 C");
	cr_assert_str_eq(answer, "disconnect");
	cr_assert_neq(ask(&m, "key-offer", "key", "ssh-ed25519 D"), 0, "a wire process that goes on");
	cr_assert_neq(ask(&m, "auth-password", "password", "x"), 0);
}

Test(requests, sessions_of_no_known_kind_or_channel)
{
	struct monitor m = fresh();

	m.state = STATE_AUTHENTICATED;
	m.user = strdup("acme");
	cr_assert_neq(ask(&m, "open", "kind", "root"), 0);
	cr_assert_neq(ask(&m, "open", "channel", "-1"), 0);
	cr_assert_neq(ask(&m, "open", NULL, NULL), 0);
	cr_assert_eq(ask(&m, "resize", "channel", "7"), 0, "one that has ended is no error");
	cr_assert_eq(ask(&m, "close", "channel", "7"), 0);
	cr_assert_eq(m.n_sessions, 0);
}

static int forward(struct monitor *m, const char *op, const char *key, const char *host, const char *port)
{
	struct msg request = { 0 };
	int r;

	answer[0] = '\0';
	msg_add(&request, "op", op);
	msg_add(&request, key, "7");
	msg_add(&request, "host", host);
	msg_add(&request, "port", port);
	r = requests_serve(m, &request, NULL);
	msg_free(&request);
	return r;
}

Test(requests, forwards_to_nowhere)
{
	CLEANUP_BUF struct buf long_name = { 0 };
	struct monitor m = fresh();

	m.state = STATE_AUTHENTICATED;
	m.user = strdup("acme");
	for (int i = 0; i < 256; i++)
		buf_puts(&long_name, "x");
	cr_assert_neq(forward(&m, "forward", "channel", NULL, "80"), 0);
	cr_assert_neq(forward(&m, "forward", "channel", "a b", "80"), 0);
	cr_assert_neq(forward(&m, "forward", "channel", "a\nb", "80"), 0);
	cr_assert_neq(forward(&m, "forward", "channel", long_name.data, "80"), 0);
	cr_assert_neq(forward(&m, "forward", "channel", "localhost", "65536"), 0);
	cr_assert_neq(forward(&m, "forward", "listener", "localhost", "80"), 0, "without its number");
	cr_assert_neq(forward(&m, "listen", "listener", "localhost", "-1"), 0);
	cr_assert_eq(forward(&m, "unlisten", "listener", NULL, NULL), 0, "one that has ended is no error");
	cr_assert_eq(m.forward, -1, "none of these has opened a session");
}

static int some_request(struct monitor *m, unsigned int *seed)
{
	static const char *const keys[] = { "name", "key",  "channel", "kind", "command", "pty",
					    "env",  "cols", "signal",  "term", "answer" };
	static const char *const values[] = { "acme", "1",  "-1",  "99999999999999999999", "exec", "shell",
					      "",     "0",  "KILL", "LANG=C", "ssh-ed25519 AAAA", "2" };
	/* Not those that ask PAM: its modules are the machine's. */
	static const char *const ops[] = { "user", "auth-none",	   "key-offer", "key-proved", "kbdint-answer",
					   "open", "resize", "signal", "close", "nonsense",
					   "forward", "listen", "unlisten", "agent" };
	struct msg request = { 0 };
	int r;

	msg_add(&request, "op", ops[rand_r(seed) % 14]);
	for (int i = rand_r(seed) % 6; i > 0; i--)
		msg_add(&request, keys[rand_r(seed) % 11], values[rand_r(seed) % 12]);
	r = requests_serve(m, &request, NULL);
	msg_free(&request);
	return r;
}

Test(requests, no_order_of_requests_gets_in)
{
	unsigned int seed = 1;

	for (int connection = 0; connection < 2000; connection++) {
		struct monitor m = fresh();

		/* A refused request ends the connection; a hostile wire starts another. */
		for (int i = 0; i < 50; i++) {
			int r = some_request(&m, &seed);

			cr_assert_neq(m.state, STATE_AUTHENTICATED);
			cr_assert_eq(m.n_sessions, 0);
			if (r != 0 && m.state == STATE_STARTING)
				break;
		}
		free(m.user);
		free(m.key);
		free(m.key_credential);
	}
}

/* docs/PRIVILEGES and the monitor's table say the same. */
Test(requests, of_a_broken_protocol_only_what_can_be_read_is_told)
{
	struct monitor m = fresh();

	cr_assert_eq(ask(&m, "broken", "reason", "more than was allowed"), -EPROTO);
	cr_assert_eq(ask(&m, "broken", "reason", "so\n<3>another line"), ERR_USAGE);
	cr_assert_eq(ask(&m, "broken", NULL, NULL), ERR_USAGE);
}

Test(requests, are_all_documented)
{
	static const struct {
		enum monitor_state state;
		const char *word;
	} columns[] = {
		{ STATE_STARTING, "starting" },	  { STATE_USER_KNOWN, "user-known" },
		{ STATE_KEY_OFFERED, "key-offered" }, { STATE_PROMPTING, "prompting" },
		{ STATE_AUTHENTICATED, "authenticated" },
	};
	CLEANUP_FREE char *text = xcalloc(1, 65536);
	CLEANUP_BUF struct buf want = { 0 };
	const char *name, *found;

	cr_assert_gt(fd_read_path(AT_FDCWD, SOURCE_ROOT "/docs/PRIVILEGES", text, 65536), 0);
	for (size_t i = 0; (name = requests_name(i)); i++) {
		size_t from = want.len;

		buf_printf(&want, "%-16s", name);
		for (size_t k = 0; k < ARRAY_LEN(columns); k++)
			if (requests_allowed(name, columns[k].state))
				buf_printf(&want, " %s", columns[k].word);
		buf_puts(&want, "\n");
		cr_expect(strstr(text, want.data + from), "docs/PRIVILEGES lacks: %s", want.data + from);
	}
	/* As a whole: nothing stands there that the code has not, and it is the last table. */
	found = strstr(text, want.data);
	cr_assert(found, "docs/PRIVILEGES does not have the monitor's table as it is:\n%s", want.data);
	cr_assert_eq(strlen(found), want.len, "docs/PRIVILEGES has more rows: %s", found + want.len);
}
