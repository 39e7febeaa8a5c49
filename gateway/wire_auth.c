/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Authentication: libssh parses, the monitor decides. The monitor's answer is result=ok, denied,
 * prompt (keyboard-interactive goes on) or disconnect, with text for the person in `banner`.
 */
#include "gateway/wire.h"

#include <errno.h>
#include <string.h>

#include "provision/base/cleanup.h"

/* The most prompts that one keyboard-interactive request may hold (libssh: KBDINT_MAX_PROMPT). */
#define PROMPTS_MAX 32

static void show_banner(struct wire *w, const char *text)
{
	ssh_string banner = ssh_string_from_char(text);

	if (banner)
		ssh_send_issue_banner(w->session, banner);
	ssh_string_free(banner);
}

/* The last method was right: what the monitor says of who is let in. */
static void let_in(struct wire *w, const struct msg *reply)
{
	const char *more = msg_get(reply, "accept-env");

	w->authenticated = true;
	w->no_pty = msg_get(reply, "no-pty");
	if (more && more[0]) {
		char *both = xasprintf("%s %s", w->accept_env, more);

		free(w->accept_env);
		w->accept_env = both;
	}
}

/* Send an authentication request; its answer is in reply. Returns what result it holds, or NULL. */
static const char *decide(struct wire *w, struct msg *request, struct msg *reply)
{
	const char *result;
	int r = wire_ask(w, request, reply);

	/* It may hold a password. */
	explicit_bzero(request->data.data, request->data.len);
	if (r != 0)
		return NULL;
	result = msg_get(reply, "result");
	if (msg_get(reply, "banner"))
		show_banner(w, msg_get(reply, "banner"));
	if (!result || !strcmp(result, "disconnect")) {
		const char *reason = msg_get(reply, "reason");

		if (reason)
			ssh_session_set_disconnect_message(w->session, reason);
		w->finished = true;
	}
	if (result && !strcmp(result, "ok") && msg_get(reply, "authenticated"))
		let_in(w, reply);
	return result;
}

/* The monitor learns the user once. A client that changes the name is cut off (RFC 4252, 5). */
static bool know_user(struct wire *w, const char *user)
{
	CLEANUP_MSG struct msg request = { 0 }, reply = { 0 };
	const char *result;

	if (w->finished || w->authenticated || !user)
		return false;
	if (w->user && !strcmp(w->user, user))
		return true;
	if (w->user) {
		wire_break(w, "the user name may not change");
		return false;
	}
	w->user = xstrdup(user);
	if (w->banner)
		show_banner(w, w->banner);
	msg_add(&request, "op", "user");
	msg_add(&request, "name", user);
	wire_peek_session(&request);
	result = decide(w, &request, &reply);
	return result && !strcmp(result, "ok");
}

/* One of several methods is done: which is due. */
static void offer_next(struct wire *w, const char *method)
{
	static const struct {
		const char *name;
		int method;
	} methods[] = {
		{ "publickey", SSH_AUTH_METHOD_PUBLICKEY },
		{ "password", SSH_AUTH_METHOD_PASSWORD },
		{ "keyboard-interactive", SSH_AUTH_METHOD_INTERACTIVE },
	};

	for (size_t i = 0; method && i < ARRAY_LEN(methods); i++)
		if (!strcmp(methods[i].name, method))
			ssh_set_auth_methods(w->session, methods[i].method);
}

/* The monitor's answer as libssh's callbacks return it. */
static int outcome(struct wire *w, const char *result, const struct msg *reply)
{
	if (result && !strcmp(result, "ok"))
		return SSH_AUTH_SUCCESS;
	if (!result || strcmp(result, "partial"))
		return SSH_AUTH_DENIED;
	offer_next(w, msg_get(reply, "method"));
	return SSH_AUTH_PARTIAL;
}

static int ask_request(struct wire *w, const char *user, struct msg *request)
{
	CLEANUP_MSG struct msg reply = { 0 };

	if (!know_user(w, user))
		return SSH_AUTH_DENIED;
	return outcome(w, decide(w, request, &reply), &reply);
}

static int ask_simple(struct wire *w, const char *user, const char *op, const char *key,
		      const char *value)
{
	CLEANUP_MSG struct msg request = { 0 };

	msg_add(&request, "op", op);
	if (key)
		msg_add(&request, key, value);
	return ask_request(w, user, &request);
}

/* libssh has found the key's signature right, and the monitor has it verified again. */
static int ask_proved(struct wire *w, const char *user, const char *key)
{
	CLEANUP_MSG struct msg request = { 0 };

	msg_add(&request, "op", "key-proved");
	msg_add(&request, "key", key);
	wire_peek_signature(&request);
	return ask_request(w, user, &request);
}

static int on_none(ssh_session session, const char *user, void *data)
{
	return ask_simple(data, user, "auth-none", NULL, NULL);
}

static int on_password(ssh_session session, const char *user, const char *password, void *data)
{
	return ask_simple(data, user, "auth-password", "password", password);
}

/* libssh has verified the signature when the state is VALID (and only then calls with VALID). */
static int on_key(ssh_session session, const char *user, struct ssh_key_struct *key, char state,
		  void *data)
{
	CLEANUP_BUF struct buf text = { 0 };
	struct wire *w = data;
	char *base64 = NULL;

	if (state != SSH_PUBLICKEY_STATE_NONE && state != SSH_PUBLICKEY_STATE_VALID)
		return SSH_AUTH_DENIED;
	if (ssh_pki_export_pubkey_base64(key, &base64) != SSH_OK)
		return SSH_AUTH_DENIED;
	buf_printf(&text, "%s %s", ssh_key_type_to_char(ssh_key_type(key)), base64);
	ssh_string_free_char(base64);
	/* A client may send its signature without asking first: then the offer is made here. */
	if (!w->offered || strcmp(w->offered, text.data) || state == SSH_PUBLICKEY_STATE_NONE) {
		free(w->offered);
		w->offered = NULL;
		if (ask_simple(w, user, "key-offer", "key", text.data) != SSH_AUTH_SUCCESS)
			return SSH_AUTH_DENIED;
		w->offered = xstrdup(text.data);
	}
	if (state == SSH_PUBLICKEY_STATE_NONE)
		return SSH_AUTH_SUCCESS;
	free(w->offered);
	w->offered = NULL;
	return ask_proved(w, user, text.data);
}

/* Pass the monitor's prompts to the client. */
static int send_prompts(struct wire *w, ssh_message message, const struct msg *reply)
{
	const char *prompts[PROMPTS_MAX], *text, *instruction = msg_get(reply, "instruction");
	char echo[PROMPTS_MAX];
	unsigned int n = 0;
	size_t at = 0, echo_at = 0;

	while (n < PROMPTS_MAX && (text = msg_next_value(reply, "prompt", &at))) {
		const char *shown = msg_next_value(reply, "echo", &echo_at);

		prompts[n] = text;
		echo[n++] = shown && !strcmp(shown, "1");
	}
	return ssh_message_auth_interactive_request(message, "", instruction ? instruction : "", n,
						    prompts, echo);
}

static int on_interactive(struct wire *w, ssh_message message)
{
	CLEANUP_MSG struct msg request = { 0 }, reply = { 0 };
	const char *result;

	if (ssh_message_auth_kbdint_is_response(message)) {
		int n = ssh_userauth_kbdint_getnanswers(w->session);

		if (w->finished || w->authenticated || !w->user)
			return 1;
		msg_add(&request, "op", "kbdint-answer");
		for (int i = 0; i < n; i++)
			msg_add(&request, "answer",
				ssh_userauth_kbdint_getanswer(w->session, (unsigned int)i));
	} else {
		if (!know_user(w, ssh_message_auth_user(message)))
			return 1;
		msg_add(&request, "op", "kbdint-start");
	}
	result = decide(w, &request, &reply);
	if (result && !strcmp(result, "prompt"))
		return send_prompts(w, message, &reply) == SSH_OK ? 0 : 1;
	switch (outcome(w, result, &reply)) {
	case SSH_AUTH_SUCCESS:
		ssh_message_auth_reply_success(message, 0);
		return 0;
	case SSH_AUTH_PARTIAL:
		ssh_message_auth_reply_success(message, 1);
		return 0;
	default:
		return 1;
	}
}

/* What no other callback takes. 1: libssh's standard answer, which is a refusal of all but services. */
static int on_message(ssh_session session, ssh_message message, void *data)
{
	if (ssh_message_type(message) == SSH_REQUEST_AUTH &&
	    ssh_message_subtype(message) == SSH_AUTH_METHOD_INTERACTIVE)
		return on_interactive(data, message);
	if (ssh_message_type(message) == SSH_REQUEST_CHANNEL)
		return wire_channel_message(data, message);
	if (ssh_message_type(message) == SSH_REQUEST_CHANNEL_OPEN)
		return wire_forward_open(data, message);
	if (ssh_message_type(message) == SSH_REQUEST_GLOBAL)
		return wire_forward_global(data, message);
	return 1;
}

void wire_auth_setup(struct wire *w)
{
	ssh_callbacks_init(&w->callbacks);
	w->callbacks.userdata = w;
	w->callbacks.auth_none_function = on_none;
	w->callbacks.auth_password_function = on_password;
	w->callbacks.auth_pubkey_function = on_key;
	w->callbacks.channel_open_request_session_function = wire_channel_new;
	ssh_set_server_callbacks(w->session, &w->callbacks);
	ssh_set_message_callback(w->session, on_message, w);
	ssh_set_auth_methods(w->session, SSH_AUTH_METHOD_PUBLICKEY | SSH_AUTH_METHOD_PASSWORD |
						 SSH_AUTH_METHOD_INTERACTIVE);
}
