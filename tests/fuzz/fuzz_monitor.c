/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A monitor whose wire process has been taken over: whatever it sends, in whatever order. PAM and
 * vm2d are played here, and know one tenant, one key and one password. An input is a row of messages,
 * each with its length, two bytes, before it.
 */
#define CORPUS "monitor"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/monitor.h"
#include "provision/api/client.h"
#include "provision/base/cleanup.h"
#include "provision/base/sshcert.h"

#define TENANT	 "acme"
#define KEY	 "ssh-ed25519 GOOD"
#define CERTIFICATE "ssh-ed25519-cert-v01@openssh.com GOOD"
#define PASSWORD "right"
#define SESSION	 "FIRST"
#define SIGNATURE "GOOD"
#define MESSAGES_MAX 40

static struct config config = { .socket = (char *)(uintptr_t)"/nowhere", .max_tries = 3,
				.max_sessions = 2, .accept_env = (char *)(uintptr_t)"LANG LC_*" };

/* What the monitor may rely on by now; reset for each input. */
static struct {
	struct pam_conv conv;
	char user[256];
	bool key_accepted, key_proved, password_right, account_right, refuse_account, both;
	int guesses;
} seen;

/* --- PAM --- */

int pam_start(const char *service, const char *user, const struct pam_conv *conv, pam_handle_t **ret)
{
	seen.conv = *conv;
	*ret = (pam_handle_t *)&seen;
	return PAM_SUCCESS;
}

int pam_end(pam_handle_t *pamh, int status)
{
	return PAM_SUCCESS;
}

int pam_set_item(pam_handle_t *pamh, int item, const void *value)
{
	if (item == PAM_USER)
		snprintf(seen.user, sizeof(seen.user), "%s", (const char *)value);
	return PAM_SUCCESS;
}

int pam_get_item(const pam_handle_t *pamh, int item, const void **ret)
{
	*ret = item == PAM_USER ? seen.user : NULL;
	return PAM_SUCCESS;
}

int pam_authenticate(pam_handle_t *pamh, int flags)
{
	const struct pam_message info = { PAM_TEXT_INFO, "a word" }, hidden = { PAM_PROMPT_ECHO_OFF, "Password: " };
	const struct pam_message *messages[] = { &info, &hidden };
	struct pam_response *answers = NULL;
	int r = seen.conv.conv(2, messages, &answers, seen.conv.appdata_ptr);
	bool right;

	if (r != PAM_SUCCESS)
		return PAM_AUTH_ERR;
	NEVER(!answers);
	seen.guesses++;
	right = answers[1].resp && !strcmp(answers[1].resp, PASSWORD) && !strcmp(seen.user, TENANT);
	seen.password_right |= right;
	free(answers[0].resp);
	free(answers[1].resp);
	free(answers);
	return right ? PAM_SUCCESS : PAM_AUTH_ERR;
}

int pam_acct_mgmt(pam_handle_t *pamh, int flags)
{
	NEVER(!seen.password_right && !seen.key_proved);
	NEVER(seen.both && (!seen.password_right || !seen.key_proved));
	NEVER(seen.key_proved && !seen.key_accepted);
	if (seen.refuse_account || strcmp(seen.user, TENANT))
		return PAM_ACCT_EXPIRED;
	seen.account_right = true;
	return PAM_SUCCESS;
}

/* No password is ever too old here. */
int pam_chauthtok(pam_handle_t *pamh, int flags)
{
	NEVER(true);
	return PAM_SUCCESS;
}

int pam_open_session(pam_handle_t *pamh, int flags)
{
	NEVER(!seen.account_right);
	return PAM_SUCCESS;
}

int pam_close_session(pam_handle_t *pamh, int flags)
{
	return PAM_SUCCESS;
}

const char *pam_strerror(pam_handle_t *pamh, int code)
{
	return "no";
}

/* --- the processes that read certificates and verify signatures, and vm2d --- */

int certificate_check(const struct monitor *m, const char *key, struct msg *reply, struct err *err)
{
	NEVER(!sshcert_type(key));
	if (strcmp(key, CERTIFICATE))
		return err_set(err, ERR_DENIED, "no");
	msg_add(reply, "ca", "ssh-ed25519 CA");
	msg_add(reply, "principal", TENANT);
	msg_add(reply, "id", "x");
	msg_add(reply, "serial", "1");
	msg_add(reply, "options", "no-pty");
	return 0;
}

/* The verifier: it is asked for the accepted key, in the session that was said first, and for nothing else. */
int verify_signature(const struct monitor *m, const struct msg *proved, struct err *err)
{
	const char *signature = msg_get(proved, "signature");

	NEVER(!seen.key_accepted || (strcmp(m->key, KEY) && strcmp(m->key, CERTIFICATE)));
	if (strcmp(m->user, TENANT) || !m->session_id || strcmp(m->session_id, SESSION) || !signature ||
	    strcmp(signature, SIGNATURE))
		return err_set(err, ERR_DENIED, "no");
	seen.key_proved = true;
	return 0;
}

/* Its authority counts for the tenant; what it holds the monitor had from the process that reads it. */
static int let_certificate_in(const struct msg *request, struct msg *reply, struct err *err)
{
	NEVER(strcmp(msg_get(request, "key"), "ssh-ed25519 CA") ||
	      strcmp(msg_get(request, "principal"), TENANT));
	if (strcmp(msg_get(request, "tenant"), TENANT))
		return err_set(err, ERR_DENIED, "no");
	seen.key_accepted = true;
	msg_add(reply, "fingerprint", "SHA256:ca");
	return 0;
}

int client_call(const char *path, const struct msg *request, int timeout_ms,
		const struct client_sink *sink, struct msg *reply, struct err *err)
{
	if (!strcmp(msg_get(request, "op"), "auth.methods")) {
		msg_add(reply, "methods", seen.both ? "publickey,password" : "any");
		return 0;
	}
	if (!strcmp(msg_get(request, "op"), "auth.ca"))
		return let_certificate_in(request, reply, err);
	NEVER(strcmp(msg_get(request, "op"), "auth.key"));
	if (strcmp(msg_get(request, "tenant"), TENANT) || strcmp(msg_get(request, "key"), KEY))
		return err_set(err, ERR_DENIED, "no");
	seen.key_accepted = true;
	msg_add(reply, "fingerprint", "SHA256:x");
	return 0;
}

/* Its side of the connection is looked at by check_orders(). */
static int orders[MESSAGES_MAX], n_orders;

int client_connect(const char *path, int *ret_fd, struct err *err)
{
	int pair[2];

	NEVER(!seen.account_right || n_orders == MESSAGES_MAX);
	NEVER(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0);
	*ret_fd = pair[0];
	orders[n_orders++] = pair[1];
	return 0;
}

static bool says(const struct msg *m, const char *key, const char *value)
{
	size_t pos = 0;
	const char *got = msg_next_value(m, key, &pos);

	/* And does not say it a second time. */
	return got && !strcmp(got, value) && !msg_next_value(m, key, &pos);
}

static bool credible(const char *credential)
{
	static const char *const once[] = { "password", "keyboard-interactive", "key SHA256:x",
					    "certificate x serial 1 of SHA256:ca" };
	static const char *const twice[] = { "key SHA256:x and password",
					     "certificate x serial 1 of SHA256:ca and password" };

	for (size_t i = 0; credential && i < ARRAY_LEN(once) && !seen.both; i++)
		if (!strcmp(credential, once[i]))
			return true;
	for (size_t i = 0; credential && i < ARRAY_LEN(twice) && seen.both; i++)
		if (!strcmp(credential, twice[i]))
			return true;
	return false;
}

static void check_order(const struct msg *m)
{
	const char *env;
	size_t pos = 0;

	NEVER(!says(m, "op", "session.open") || !says(m, "tenant", TENANT));
	NEVER(!says(m, "via", "gateway") || !says(m, "source", "192.0.2.1:1"));
	NEVER(msg_get(m, "argv") || msg_get(m, "name"));
	NEVER(!credible(msg_get(m, "credential")));
	while ((env = msg_next_value(m, "env", &pos)))
		NEVER(!str_starts(env, "LANG=") && !str_starts(env, "LC_"));
}

static void check_orders(void)
{
	for (int i = 0; i < n_orders; i++) {
		struct msg m = { 0 };
		bool first = true;

		while (msg_recv(orders[i], &m, 1, NULL) == 0) {
			if (first)
				check_order(&m);
			first = false;
			msg_free(&m);
		}
		close(orders[i]);
	}
	n_orders = 0;
}

/* --- the wire --- */

int monitor_send(struct monitor *m, const struct msg *message, struct err *err)
{
	const char *result = msg_get(message, "result");

	NEVER(msg_get(message, "authenticated") && !seen.account_right);
	NEVER(result && !strcmp(result, "ok") && !strcmp(result, "authenticated"));
	return 0;
}

static void push(int wire, const uint8_t *data, size_t size)
{
	size_t at = 0;

	for (int i = 0; i < MESSAGES_MAX && at + 2 <= size; i++) {
		size_t len = (size_t)data[at] << 8 | data[at + 1];

		at += 2;
		if (len > size - at)
			len = size - at;
		/* An empty datagram would be the end of the connection. */
		if (len == 0 || len > MSG_MAX || send(wire, data + at, len, MSG_DONTWAIT) < 0)
			break;
		at += len;
	}
}

/* As gateway/monitor.c: a request, and the one that came in the middle of it. */
static int serve(struct monitor *m)
{
	CLEANUP_MSG struct msg request = { 0 };
	int r = msg_recv(m->wire, &request, 1, NULL);

	if (r == 0)
		r = requests_serve(m, &request, NULL);
	while (r == 0 && m->interrupt.data.len) {
		CLEANUP_MSG struct msg next = m->interrupt;

		m->interrupt = (struct msg){ 0 };
		r = requests_serve(m, &next, NULL);
	}
	return r;
}

static void check(const struct monitor *m)
{
	NEVER(m->state == STATE_PROMPTING);
	if (m->state == STATE_AUTHENTICATED)
		NEVER(!seen.account_right || (!seen.key_proved && !seen.password_right) ||
		      strcmp(m->user, TENANT));
	else
		NEVER(m->sessions || n_orders);
	NEVER(m->n_sessions > config.max_sessions || seen.guesses > (int)config.max_tries);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct monitor m = { .config = &config, .state = STATE_STARTING, .starting = -1, .forward = -1, .deadline = 1,
			     .source = "192.0.2.1:1", .local = "192.0.2.2:22", .host = "192.0.2.1" };
	int pair[2];

	memset(&seen, 0, sizeof(seen));
	if (size > 0) {
		seen.refuse_account = data[0] & 1;
		seen.both = data[0] & 2;
		data++;
		size--;
	}
	NEVER(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0);
	m.wire = pair[0];
	push(pair[1], data, size);
	while (serve(&m) == 0)
		check(&m);
	check(&m);
	session_close_all(&m);
	pam_finish(&m);
	check_orders();
	close(pair[0]);
	close(pair[1]);
	free(m.user);
	free(m.session_id);
	free(m.key);
	free(m.key_credential);
	free(m.credential);
	buf_free(&m.notice);
	msg_free(&m.interrupt);
	return 0;
}
