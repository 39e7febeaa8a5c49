/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who is it? Passwords and prompts are PAM's; a key is vm2d's to know, and its signature a verifier's
 * (verify.c), whatever the wire process says of it. A name that there is not takes the same way as any other.
 */
#include "gateway/monitor.h"

#include <errno.h>
#include <string.h>

#include "provision/api/client.h"
#include "provision/base/cleanup.h"
#include "provision/base/log.h"
#include "provision/base/sshcert.h"

/* Names longer than NAME_LEN_MAX are no tenant's; this much is still passed on and recorded. */
#define USER_LEN_MAX 255

/* The text of a key; RSA with 16,384 bits takes 2.8 KB. */
#define KEY_LEN_MAX 16384

/* What an authenticator says of its owner, in its flags (PROTOCOL.u2f): user present, user verified. */
#define FLAG_TOUCHED  0x01
#define FLAG_VERIFIED 0x04

/* How long vm2d may take to answer, in ms. */
#define ANSWER_MS 30000

static int answer(struct monitor *m, const char *result, const char *reason, struct err *err)
{
	CLEANUP_MSG struct msg reply = { 0 };

	msg_add(&reply, "result", result);
	if (reason)
		msg_add(&reply, "reason", reason);
	if (m->state == STATE_AUTHENTICATED)
		msg_add(&reply, "authenticated", "1");
	if (m->state == STATE_AUTHENTICATED && m->may.no & KEYOPTS_NO_PTY)
		msg_add(&reply, "no-pty", "1");
	if (m->state == STATE_AUTHENTICATED)
		msg_add(&reply, "accept-env", m->accept_env);
	if (m->notice.len) {
		CLEANUP_BUF struct buf banner = { 0 };

		buf_printf(&banner, "%s: %s\r\n", m->user, m->notice.data);
		msg_add(&reply, "banner", banner.data);
	}
	buf_free(&m->notice);
	/* It has until the deadline to say good-bye; one that asks on is not ours. */
	if (!strcmp(result, "disconnect"))
		m->state = STATE_ENDING;
	return monitor_send(m, &reply, err);
}

/* One try less; after the last the connection ends. */
static int refuse(struct monitor *m, struct err *err)
{
	if (m->interrupt.data.len)
		return 0;
	if (++m->tries >= m->config->max_tries) {
		log_notice("%s: too many failed attempts as '%.64s'", m->source, m->user);
		return answer(m, "disconnect", "too many failed attempts", err);
	}
	return answer(m, "denied", NULL, err);
}

/* The words are those of provision/base/limits.h. */
static const struct sequence sequences[] = {
	{ "any", { METHOD_NONE } },
	{ "publickey", { METHOD_KEY } },
	{ "publickey,password", { METHOD_KEY, METHOD_PASSWORD } },
	{ "publickey,keyboard-interactive", { METHOD_KEY, METHOD_KBDINT } },
};

static const char *const method_names[] = {
	[METHOD_KEY] = "publickey",
	[METHOD_PASSWORD] = "password",
	[METHOD_KBDINT] = "keyboard-interactive",
};

/* What a login of this name takes, and brings. Where it cannot be known nothing is enough. */
static const struct sequence *sequence_of(struct monitor *m)
{
	CLEANUP_MSG struct msg request = { 0 }, reply = { 0 };
	struct err err = { 0 };
	const char *words;
	int r;

	msg_add(&request, "op", "auth.methods");
	msg_add(&request, "tenant", m->user);
	r = client_call(m->config->socket, &request, ANSWER_MS, NULL, &reply, &err);
	words = r == 0 ? msg_get(&reply, "methods") : NULL;
	free(m->accept_env);
	m->accept_env = xstrdup(r == 0 ? msg_get(&reply, "accept_env") ?: "" : "");
	for (size_t i = 0; words && i < ARRAY_LEN(sequences); i++)
		if (!strcmp(sequences[i].words, words))
			return &sequences[i];
	log_err("%s: cannot learn what a login takes: %s", m->source, words ? words : err.text);
	return NULL;
}

/* The step that is due, or METHOD_NONE: any. */
static enum method due(const struct monitor *m)
{
	return m->sequence->steps[m->step];
}

/* Whether it is a method's turn. */
static bool may_prove(struct monitor *m, enum method method)
{
	if (!m->sequence)
		m->sequence = sequence_of(m);
	return m->sequence && (due(m) == method || m->sequence->steps[0] == METHOD_NONE);
}

/* A step is done, but not the last: the client learns what is due. */
static int go_on(struct monitor *m, struct err *err)
{
	CLEANUP_MSG struct msg reply = { 0 };

	m->step++;
	m->state = STATE_USER_KNOWN;
	buf_free(&m->notice);
	msg_add(&reply, "result", "partial");
	msg_add(&reply, "method", method_names[due(m)]);
	return monitor_send(m, &reply, err);
}

static void note_credential(struct monitor *m, const char *credential)
{
	char *both = m->credential ? xasprintf("%s and %s", m->credential, credential) :
				     xstrdup(credential);

	free(m->credential);
	m->credential = both;
}

/* They are who they say. May they come in? If not they are told why: it is their own account. */
static int admit(struct monitor *m, const char *credential, struct err *err)
{
	CLEANUP_FREE char *reason = NULL;

	note_credential(m, credential);
	if (due(m) != METHOD_NONE && m->sequence->steps[m->step + 1] != METHOD_NONE)
		return go_on(m, err);
	buf_free(&m->notice);
	if (pam_account(m) != PAM_SUCCESS) {
		log_notice("%s: '%.64s' is not let in: %s", m->source, m->user,
			   m->notice.data);
		reason = xasprintf("%s: %s", m->user, m->notice.data);
		return answer(m, "disconnect", reason, err);
	}
	m->state = STATE_AUTHENTICATED;
	m->starting = fd_close(m->starting);
	log_info("%s: '%.64s' logged in with %s", m->source, m->user, m->credential);
	return answer(m, "ok", NULL, err);
}

int auth_user(struct monitor *m, const struct msg *request, struct err *err)
{
	const char *name, *session;
	int r = msg_need(request, "name", &name, err);

	if (r != 0)
		return r;
	if (strlen(name) > USER_LEN_MAX)
		return answer(m, "disconnect", "the user name is too long", err);
	/* Before any key is offered, and for all of them: not said, no signature can be right. */
	session = msg_get(request, "session");
	m->session_id = session ? xstrdup(session) : NULL;
	m->user = xstrdup(name);
	m->state = STATE_USER_KNOWN;
	return answer(m, "ok", NULL, err);
}

/* What a client asks first, to learn the methods: no try is counted for it. */
int auth_none(struct monitor *m, const struct msg *request, struct err *err)
{
	return answer(m, "denied", NULL, err);
}

/* Out of turn it is the same as for a name that is nobody's: nothing tells whether it was right. */
static int check_in_turn(struct monitor *m, enum method method)
{
	int r;

	m->decoy = !may_prove(m, method);
	r = pam_check(m);
	m->decoy = false;
	return r;
}

int auth_password(struct monitor *m, const struct msg *request, struct err *err)
{
	const char *password;
	int r = msg_need(request, "password", &password, err);

	if (r != 0)
		return r;
	m->password = password;
	r = check_in_turn(m, METHOD_PASSWORD);
	m->password = NULL;
	if (r != PAM_SUCCESS)
		return refuse(m, err);
	return admit(m, "password", err);
}

int auth_kbdint_start(struct monitor *m, const struct msg *request, struct err *err)
{
	int r;

	m->conversing = true;
	r = check_in_turn(m, METHOD_KBDINT);
	r = r == PAM_SUCCESS ? admit(m, "keyboard-interactive", err) : refuse(m, err);
	m->conversing = false;
	return r;
}

/* vm2d compares the key with the tenant's; *ret names it for the records, *ret_may says what it may. */
static int ask_key(struct monitor *m, const char *key, char **ret, struct keyopts *ret_may,
		   struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 }, reply = { 0 };
	const char *fingerprint, *options;
	int r;

	msg_add(&request, "op", "auth.key");
	msg_add(&request, "tenant", m->user);
	msg_add(&request, "key", key);
	msg_add(&request, "source", m->source);
	r = client_call(m->config->socket, &request, ANSWER_MS, NULL, &reply, err);
	options = r == 0 ? msg_get(&reply, "options") : NULL;
	if (options)
		r = keyopts_parse(options, ret_may, err);
	if (r != 0)
		return r;
	fingerprint = msg_get(&reply, "fingerprint");
	*ret = xasprintf("key %s", fingerprint ? fingerprint : "?");
	return 0;
}

/*
 * A certificate: what it says is read and its signature verified in a process of its own; that its
 * authority counts, and for whom, is vm2d's word.
 */
static int ask_authority(struct monitor *m, const char *key, char **ret, struct keyopts *ret_may,
			 struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 }, reply = { 0 }, certificate = { 0 };
	const char *value, *options;
	size_t at = 0;
	int r = certificate_check(m, key, &certificate, err);

	if (r != 0)
		return r;
	msg_add(&request, "op", "auth.ca");
	msg_add(&request, "tenant", m->user);
	msg_add(&request, "key", msg_get(&certificate, "ca"));
	while ((value = msg_next_value(&certificate, "principal", &at)))
		msg_add(&request, "principal", value);
	msg_add(&request, "source", m->source);
	r = client_call(m->config->socket, &request, ANSWER_MS, NULL, &reply, err);
	options = msg_get(&certificate, "options");
	if (r == 0)
		r = options ? keyopts_parse(options, ret_may, err) :
			      err_set(err, -EBADMSG, "a certificate came back without its options");
	if (r != 0)
		return r;
	value = msg_get(&reply, "fingerprint");
	*ret = xasprintf("certificate %s serial %s of %s", msg_get(&certificate, "id"),
			 msg_get(&certificate, "serial"), value ? value : "?");
	return 0;
}

static int ask(struct monitor *m, const char *key, char **ret, struct keyopts *ret_may, struct err *err)
{
	return sshcert_type(key) ? ask_authority(m, key, ret, ret_may, err) :
				   ask_key(m, key, ret, ret_may, err);
}

int auth_key_offer(struct monitor *m, const struct msg *request, struct err *err)
{
	struct err why = { 0 };
	const char *key;
	char *credential;
	int r = msg_need(request, "key", &key, err);

	if (r != 0)
		return r;
	/* An earlier offer counts no more, whatever becomes of this one. */
	m->state = STATE_USER_KNOWN;
	cleanup_free(&m->key);
	cleanup_free(&m->key_credential);
	m->key = m->key_credential = NULL;
	keyopts_free(&m->offered);
	if (strlen(key) > KEY_LEN_MAX || !may_prove(m, METHOD_KEY) || (r = ask(m, key, &credential, &m->offered, &why)) != 0) {
		if (r != 0 && r != ERR_DENIED)
			log_err("%s: cannot look a key up: %s", m->source, why.text);
		else if (r != 0 && sshcert_type(key))
			log_notice("%s: '%.64s': %s", m->source, m->user, why.text);
		return refuse(m, err);
	}
	m->key = xstrdup(key);
	m->key_credential = credential;
	m->state = STATE_KEY_OFFERED;
	return answer(m, "ok", NULL, err);
}

/*
 * A key in an authenticator counts when its owner touched it, and was recognised where that is asked
 * for: the flags of its signature, which were verified with it (PROTOCOL.u2f).
 */
static bool touched(const struct monitor *m, const struct msg *request)
{
	const char *why = NULL;
	uint64_t flags = 0;

	if (!str_starts(m->key, "sk-"))
		return true;
	msg_get_u64(request, "flags", 0, UINT8_MAX, &flags, NULL);
	if (!m->offered.touchless && !(flags & FLAG_TOUCHED))
		why = "was not touched";
	else if (m->offered.verify && !(flags & FLAG_VERIFIED))
		why = "did not check whose finger it was";
	if (why)
		log_notice("%s: the authenticator of '%.64s' %s", m->source, m->user, why);
	return !why;
}

/* The wire says that it is: it has met a bug, or an attack, when the verifier does not. */
static bool proved(const struct monitor *m, const struct msg *request)
{
	struct err err = { 0 };
	int r = verify_signature(m, request, &err);

	if (r != 0)
		log_err("%s: a signature for '%.64s' that is not right: %s", m->source, m->user, err.text);
	return r == 0;
}

/* Only for the very key whose offer was accepted on this connection, and once for each offer. */
int auth_key_proved(struct monitor *m, const struct msg *request, struct err *err)
{
	const char *key;
	int r = msg_need(request, "key", &key, err);

	if (r != 0)
		return r;
	m->state = STATE_USER_KNOWN;
	if (!m->key || strcmp(m->key, key) || !proved(m, request) || !touched(m, request))
		return refuse(m, err);
	m->may = m->offered;
	m->offered = (struct keyopts){ 0 };
	return admit(m, m->key_credential, err);
}
