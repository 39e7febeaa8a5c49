/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gateway/monitor.h"

#include <errno.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/log.h"

#define SERVICE "vm2-gateway"

/* Keep what PAM says for the banner; while a session opens it goes to that channel at once. */
static void take_text(struct monitor *m, const char *text, bool as_error)
{
	if (!m->progress_channel)
		buf_printf(&m->notice, "%s%s", m->notice.len ? "\n" : "", text);
	else if (as_error || m->progress_pty)
		session_text(m, m->progress_channel, text, as_error);
}

/* Answers are freed by PAM (pam_conv(3)); a half-filled row is wiped and freed here. */
static void drop_answers(struct pam_response *answers, int n)
{
	for (int i = 0; i < n; i++) {
		if (answers[i].resp)
			explicit_bzero(answers[i].resp, strlen(answers[i].resp));
		free(answers[i].resp);
	}
	free(answers);
}

/* Send the questions to the client. What was said before them is their instruction. */
static int ask(struct monitor *m, int n, const struct pam_message **questions)
{
	CLEANUP_MSG struct msg prompt = { 0 };

	msg_add(&prompt, "result", "prompt");
	if (m->notice.len)
		msg_add(&prompt, "instruction", m->notice.data);
	buf_free(&m->notice);
	for (int i = 0; i < n; i++) {
		int style = questions[i]->msg_style;

		if (style != PAM_PROMPT_ECHO_ON && style != PAM_PROMPT_ECHO_OFF)
			continue;
		msg_add(&prompt, "prompt", questions[i]->msg);
		msg_add(&prompt, "echo", style == PAM_PROMPT_ECHO_ON ? "1" : "0");
	}
	return monitor_send(m, &prompt, NULL);
}

/*
 * Wait for the answers. Anything else that the state before would have allowed is the client's
 * change of mind: it is kept for later, and this conversation fails.
 */
static int await(struct monitor *m, struct msg *answers)
{
	enum monitor_state before = m->state;
	const char *op;
	int r;

	m->state = STATE_PROMPTING;
	r = msg_recv(m->wire, answers, m->deadline, NULL);
	m->state = before;
	if (r != 0 || !(op = msg_get(answers, "op")))
		return -EPIPE;
	if (requests_allowed(op, STATE_PROMPTING))
		return 0;
	msg_free(&m->interrupt);
	m->interrupt = *answers;
	*answers = (struct msg){ 0 };
	return -EINTR;
}

/* Put the client's answers, in order, where the questions were. */
static int converse(struct monitor *m, int n, const struct pam_message **questions,
		    struct pam_response *ret)
{
	CLEANUP_MSG struct msg answers = { 0 };
	const char *answer;
	size_t at = 0;
	int r = PAM_SUCCESS;

	if (ask(m, n, questions) != 0 || await(m, &answers) != 0)
		return PAM_CONV_ERR;
	for (int i = 0; i < n && r == PAM_SUCCESS; i++) {
		int style = questions[i]->msg_style;

		if (style != PAM_PROMPT_ECHO_ON && style != PAM_PROMPT_ECHO_OFF)
			continue;
		answer = msg_next_value(&answers, "answer", &at);
		if (answer && strlen(answer) < PAM_MAX_RESP_SIZE)
			ret[i].resp = xstrdup(m->decoy ? "" : answer);
		else
			r = PAM_CONV_ERR;
	}
	explicit_bzero(answers.data.data, answers.data.len);
	return r;
}

/* The password method has one answer, to the first hidden question. */
static int give_password(struct monitor *m, int n, const struct pam_message **questions,
			 struct pam_response *ret)
{
	for (int i = 0; i < n; i++) {
		int style = questions[i]->msg_style;

		if (style != PAM_PROMPT_ECHO_ON && style != PAM_PROMPT_ECHO_OFF)
			continue;
		if (!m->password || style == PAM_PROMPT_ECHO_ON)
			return PAM_CONV_ERR;
		ret[i].resp = xstrdup(m->decoy ? "" : m->password);
		m->password = NULL;
	}
	return PAM_SUCCESS;
}

static int conversation(int n, const struct pam_message **questions, struct pam_response **ret,
			void *data)
{
	struct monitor *m = data;
	struct pam_response *answers;
	bool any = false;
	int r = PAM_SUCCESS;

	if (n <= 0 || n > PAM_MAX_NUM_MSG)
		return PAM_CONV_ERR;
	for (int i = 0; i < n; i++) {
		int style = questions[i]->msg_style;

		if (style == PAM_PROMPT_ECHO_ON || style == PAM_PROMPT_ECHO_OFF)
			any = true;
		else
			take_text(m, questions[i]->msg, style == PAM_ERROR_MSG);
	}
	answers = xcalloc((size_t)n, sizeof(*answers));
	if (any && m->conversing)
		r = converse(m, n, questions, answers);
	else if (any)
		r = give_password(m, n, questions, answers);
	if (r == PAM_SUCCESS)
		*ret = answers;
	else
		drop_answers(answers, n);
	return r;
}

int pam_prepare(struct monitor *m)
{
	struct pam_conv conv = { .conv = conversation, .appdata_ptr = m };
	int r;

	if (m->pam)
		return PAM_SUCCESS;
	r = pam_start(SERVICE, NULL, &conv, &m->pam);
	if (r != PAM_SUCCESS) {
		log_err("PAM service %s does not start: %s", SERVICE,
			m->pam ? pam_strerror(m->pam, r) : "no memory");
		m->pam = NULL;
		return r;
	}
	return pam_set_item(m->pam, PAM_TTY, "ssh");
}

/* Another transaction, in which nothing happens, holds them. It is never ended. */
void pam_keep(void)
{
	struct pam_conv conv = { .conv = conversation };
	pam_handle_t *kept = NULL;

	pam_start(SERVICE, NULL, &conv, &kept);
}

static int prepare_user(struct monitor *m)
{
	int r = pam_prepare(m);

	if (r == PAM_SUCCESS)
		r = pam_set_item(m->pam, PAM_RHOST, m->host);
	return r == PAM_SUCCESS ? pam_set_item(m->pam, PAM_USER, m->user) : r;
}

/* A module may rewrite PAM_USER; the session would then belong to another than was authenticated. */
static int same_user(struct monitor *m)
{
	const void *user = NULL;

	if (pam_get_item(m->pam, PAM_USER, &user) != PAM_SUCCESS || !user || strcmp(user, m->user))
		return PAM_USER_UNKNOWN;
	return PAM_SUCCESS;
}

int pam_check(struct monitor *m)
{
	int r = prepare_user(m);

	if (r == PAM_SUCCESS)
		r = pam_authenticate(m->pam, 0);
	if (m->decoy)
		return PAM_AUTH_ERR;
	return r == PAM_SUCCESS ? same_user(m) : r;
}

int pam_account(struct monitor *m)
{
	int r = prepare_user(m);

	if (r == PAM_SUCCESS)
		r = pam_acct_mgmt(m->pam, 0);
	/* Where questions can be asked, an old password is changed at once. */
	if (r == PAM_NEW_AUTHTOK_REQD && m->conversing)
		r = pam_chauthtok(m->pam, PAM_CHANGE_EXPIRED_AUTHTOK);
	if (r == PAM_SUCCESS)
		r = same_user(m);
	if (r != PAM_SUCCESS && !m->notice.len)
		buf_printf(&m->notice, "%s", m->pam ? pam_strerror(m->pam, r) : "PAM is not available");
	return r;
}

int pam_session_open(struct monitor *m, uint64_t channel, bool pty)
{
	int r;

	if (m->pam_session)
		return PAM_SUCCESS;
	m->progress_channel = channel;
	m->progress_pty = pty;
	r = pam_open_session(m->pam, 0);
	m->progress_channel = 0;
	m->pam_session = r == PAM_SUCCESS;
	return r;
}

void pam_finish(struct monitor *m)
{
	if (!m->pam)
		return;
	if (m->pam_session)
		pam_close_session(m->pam, PAM_SILENT);
	pam_end(m->pam, PAM_SUCCESS);
	m->pam = NULL;
	m->pam_session = false;
}
