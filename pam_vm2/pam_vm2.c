/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pam_vm2.so: asks vm2d about a tenant, for any program that speaks PAM (pam(3)). It decides
 * nothing itself, holds no state between calls, and is never kept waiting beyond its timeout.
 */
#include <errno.h>
#include <limits.h>
#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <syslog.h>
#include <unistd.h>

#include "pam_vm2/options.h"
#include "provision/api/client.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

/* The longest password that is passed on; crypt(3) takes 512 bytes (CRYPT_MAX_PASSPHRASE_SIZE). */
#define PASSWORD_MAX 511

/* The longest code: a recovery code with hyphens, and some spaces. */
#define CODE_MAX 32

/* As pam_unix(8): a person does not mind two seconds, a guessing program does. */
#define FAIL_DELAY_US 2000000

/* pam_set_data(3): this login was by password. */
#define DATA_PASSWORD "vm2-password"

/* A guest that must be made and started first takes longer than an answer from the database. */
#define OPEN_TIMEOUT_MS 60000

/* One call of the module. */
struct call {
	pam_handle_t *pamh;
	struct options options;
	bool silent;
	const char *user;
};

/* What is left of the time: progress must not prolong it. */
struct waiting {
	const struct call *call;
	int64_t deadline_ms;
};

/* Options, and who it is about. A PAM code; PAM_USER_UNKNOWN for what can be no tenant's name. */
static int call_start(struct call *c, pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	const char *bad;
	int r;

	*c = (struct call){ .pamh = pamh, .silent = (flags & PAM_SILENT) != 0 };
	bad = options_parse(argc, argv, &c->options);
	if (bad)
		pam_syslog(pamh, LOG_ERR, "unknown or wrong option '%s' ignored", bad);
	r = pam_get_user(pamh, &c->user, NULL);
	if (r != PAM_SUCCESS)
		return r == PAM_CONV_AGAIN ? PAM_INCOMPLETE : r;
	return c->user && name_valid(c->user) ? PAM_SUCCESS : PAM_USER_UNKNOWN;
}

/* The fields that all questions have in common. */
static void fill_request(const struct call *c, const char *op, struct msg *m)
{
	const void *rhost = NULL;

	msg_add(m, "op", op);
	msg_add(m, "tenant", c->user);
	if (pam_get_item(c->pamh, PAM_RHOST, &rhost) == PAM_SUCCESS && rhost && *(const char *)rhost)
		msg_add(m, "source", rhost);
}

static void show_progress(void *data, const char *text)
{
	const struct waiting *w = data;

	if (!w->call->silent && clock_ms() < w->deadline_ms)
		pam_info(w->call->pamh, "%s", text);
}

/* A datagram more than answers: read to the end message within one deadline for all. */
static int ask_within(const struct call *c, int fd, int timeout_ms, struct msg *reply,
		      struct err *err)
{
	struct waiting w = { c, clock_ms() + timeout_ms };

	for (;;) {
		CLEANUP_MSG struct msg m = { 0 };
		const char *event;
		uint64_t status;
		int r = msg_recv(fd, &m, w.deadline_ms, err);

		if (r != 0)
			return ERR_BUSY;
		event = msg_get(&m, "event");
		if (event && !strcmp(event, "progress") && msg_get(&m, "text"))
			show_progress(&w, msg_get(&m, "text"));
		if (!event || strcmp(event, "end"))
			continue;
		r = msg_get_u64(&m, "status", ERR_BUSY, 255, &status, err);
		if (r != 0)
			return ERR_BUSY;
		if (status != 0)
			err_set(err, (int)status, "%s",
				msg_get(&m, "error") ? msg_get(&m, "error") : "no reason given");
		*reply = m;
		m = (struct msg){ 0 };
		return (int)status;
	}
}

/* Ask vm2d. 0 or an ERR_*; ERR_BUSY for everything that hinders an answer. */
static int ask(const struct call *c, const struct msg *request, int timeout_ms, struct msg *reply,
	       struct err *err)
{
	struct timeval limit = { .tv_sec = timeout_ms / 1000 };
	CLEANUP_CLOSE int fd = -1;
	int r;

	if (client_connect(c->options.socket, &fd, err) != 0)
		return ERR_BUSY;
	/* A daemon that does not read must not hold us in sendmsg(2) either (socket(7)). */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	r = msg_send(fd, request, err);
	if (r != 0 && r != -EPIPE)
		return ERR_BUSY;
	return ask_within(c, fd, timeout_ms, reply, err);
}

/* Log the outcome: trouble always, the rest with debug. No secret is ever in err. */
static void log_outcome(const struct call *c, const char *op, int r, const struct err *err)
{
	if (r == ERR_BUSY || r == ERR_FAILED || r == ERR_USAGE)
		pam_syslog(c->pamh, LOG_ERR, "%s for %s: %s", op, c->user, err->text);
	else if (c->options.debug)
		pam_syslog(c->pamh, LOG_DEBUG, "%s for %s: %s", op, c->user,
			   r == 0 ? "yes" : err->text);
}

/* Wipe what a request with a password leaves behind. */
static void wipe_request(struct msg *m)
{
	if (m->data.data)
		explicit_bzero(m->data.data, m->data.cap);
	msg_free(m);
}

/*
 * The password: one that an earlier module asked for, or pam_get_authtok(3), which keeps it as
 * PAM_AUTHTOK (libpam wipes that) for those that follow.
 */
static int get_password(const struct call *c, const char **ret)
{
	const void *item = NULL;
	int r;

	if (c->options.use_first_pass || c->options.try_first_pass) {
		r = pam_get_item(c->pamh, PAM_AUTHTOK, &item);
		if (r == PAM_SUCCESS && item) {
			*ret = item;
			return PAM_SUCCESS;
		}
		if (c->options.use_first_pass)
			return PAM_AUTH_ERR;
	}
	r = pam_get_authtok(c->pamh, PAM_AUTHTOK, ret, NULL);
	if (r == PAM_CONV_AGAIN)
		return PAM_INCOMPLETE;
	/* No password was typed: that is a code for changing one, and none of pam_authenticate(3)'s. */
	return r == PAM_AUTHTOK_ERR ? PAM_AUTH_ERR : r;
}

/* A name that no tenant can have gets a question all the same: it must not be quicker to refuse. */
#define NOBODY "x-no-such-tenant"

#define CLEANUP_REQUEST __attribute__((cleanup(wipe_request)))

/* A question with secrets in it. */
static void fill_secret(const struct call *c, const char *op, const char *password,
			const char *code, const char *new, struct msg *m)
{
	/* Room for all at once: a buffer that grows would leave copies of the password behind. */
	buf_add(&m->data, (const char[2048]){ 0 }, 2048);
	m->data.len = 0;
	fill_request(c, op, m);
	msg_add(m, "password", password);
	if (code)
		msg_add(m, "code", code);
	if (new)
		msg_add(m, "new", new);
}

/* What vm2d says about a password: a PAM code. *ret_second: it is right, but a code is missing. */
static int judge_password(const struct call *c, const char *password, const char *code,
			  bool *ret_second)
{
	CLEANUP_REQUEST struct msg request = { 0 };
	CLEANUP_MSG struct msg reply = { 0 };
	struct err err = { 0 };
	const char *second;
	int r;

	fill_secret(c, "auth.password", password, code, NULL, &request);
	r = ask(c, &request, c->options.timeout_ms, &reply, &err);
	log_outcome(c, "auth.password", r, &err);
	second = r == ERR_DENIED ? msg_get(&reply, "second") : NULL;
	*ret_second = second && !strcmp(second, "code");
	switch (r) {
	case 0:
		return PAM_SUCCESS;
	case ERR_DENIED:
		return msg_get(&reply, "locked") ? PAM_MAXTRIES : PAM_AUTH_ERR;
	case ERR_NOT_FOUND:
		return PAM_AUTH_ERR;
	default:
		/* vm2d answered "busy" about this name: too many tries. Else it did not answer. */
		return r == ERR_BUSY && reply.data.len > 0 ? PAM_MAXTRIES : PAM_AUTHINFO_UNAVAIL;
	}
}

/* The second question, hidden as the first: a program that can answer one can answer the other. */
static int get_code(const struct call *c, char **ret)
{
	int r = pam_prompt(c->pamh, PAM_PROMPT_ECHO_OFF, ret, "One-time code: ");

	if (r == PAM_CONV_AGAIN)
		return PAM_INCOMPLETE;
	if (r != PAM_SUCCESS)
		return PAM_AUTH_ERR;
	return *ret && (*ret)[0] && strlen(*ret) <= CODE_MAX ? PAM_SUCCESS : PAM_AUTH_ERR;
}

static void wipe_text(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

/* The password, and the code when the tenant has one. possible: whether any password could be right. */
static int check_password(const struct call *c, const char *password, bool possible)
{
	__attribute__((cleanup(wipe_text))) char *code = NULL;
	bool second = false;
	int r = judge_password(c, password, NULL, &second);

	if (!second || !possible)
		return r == PAM_SUCCESS && !possible ? PAM_AUTH_ERR : r;
	r = get_code(c, &code);
	if (r != PAM_SUCCESS)
		return r;
	return judge_password(c, password, code, &second);
}

/* The account step of this very login is to know that the password, whose age it judges, was used. */
static void note_password(const struct call *c)
{
	pam_set_data(c->pamh, DATA_PASSWORD, (void *)(uintptr_t)DATA_PASSWORD, NULL);
}

PAM_EXTERN __attribute__((visibility("default"))) int
pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	const char *password = NULL;
	bool possible;
	struct call c;
	int r;

	r = call_start(&c, pamh, flags, argc, argv);
	if (r != PAM_SUCCESS && r != PAM_USER_UNKNOWN)
		return r;
	possible = r == PAM_SUCCESS;
	/* libpam waits after a failure, by chance up to half longer or shorter, whatever failed. */
	if (!c.options.nodelay)
		pam_fail_delay(pamh, FAIL_DELAY_US);
	r = get_password(&c, &password);
	if (r != PAM_SUCCESS)
		return r;
	if (!possible)
		c.user = NOBODY;
	if (!password[0] || strlen(password) > PASSWORD_MAX) {
		password = "-";
		possible = false;
	}
	r = check_password(&c, password, possible);
	if (r == PAM_MAXTRIES && !c.silent)
		pam_error(pamh, "Too many wrong passwords came from where you are: wait some minutes.");
	if (r == PAM_SUCCESS)
		note_password(&c);
	return r;
}

PAM_EXTERN __attribute__((visibility("default"))) int
pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	(void)pamh;
	(void)flags;
	(void)argc;
	(void)argv;
	return PAM_SUCCESS;
}

PAM_EXTERN __attribute__((visibility("default"))) int
pam_sm_acct_mgmt(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	CLEANUP_MSG struct msg request = { 0 }, reply = { 0 };
	const void *by_password = NULL;
	const char *why;
	struct err err = { 0 };
	struct call c;
	int r;

	r = call_start(&c, pamh, flags, argc, argv);
	if (r != PAM_SUCCESS)
		return r;
	fill_request(&c, "auth.account", &request);
	if (pam_get_data(pamh, DATA_PASSWORD, &by_password) == PAM_SUCCESS)
		msg_add(&request, "by", "password");
	r = ask(&c, &request, c.options.timeout_ms, &reply, &err);
	log_outcome(&c, "auth.account", r, &err);
	switch (r) {
	case 0:
		return PAM_SUCCESS;
	case ERR_NOT_FOUND:
		return PAM_USER_UNKNOWN;
	case ERR_DENIED:
		if (!c.silent)
			pam_error(pamh, "%s", err.text);
		why = msg_get(&reply, "why");
		if (why && !strcmp(why, "password"))
			return PAM_NEW_AUTHTOK_REQD;
		return str_starts(err.text, "suspended") || (why && !strcmp(why, "expired")) ?
			       PAM_ACCT_EXPIRED :
			       PAM_PERM_DENIED;
	default:
		return PAM_AUTHINFO_UNAVAIL;
	}
}

/* VM2_TENANT and VM2_GUEST for the program's session. A PAM code. */
static int put_environment(const struct call *c, const char *guest)
{
	char entry[sizeof("VM2_TENANT=") + NAME_LEN_MAX];
	int r;

	snprintf(entry, sizeof(entry), "VM2_TENANT=%s", c->user);
	r = pam_putenv(c->pamh, entry);
	if (r != PAM_SUCCESS || !guest || !name_valid(guest))
		return r;
	snprintf(entry, sizeof(entry), "VM2_GUEST=%s", guest);
	return pam_putenv(c->pamh, entry);
}

PAM_EXTERN __attribute__((visibility("default"))) int
pam_sm_open_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	CLEANUP_MSG struct msg request = { 0 }, reply = { 0 };
	const void *service = NULL;
	struct err err = { 0 };
	struct call c;
	int r;

	r = call_start(&c, pamh, flags, argc, argv);
	if (r != PAM_SUCCESS)
		return r == PAM_USER_UNKNOWN ? PAM_SESSION_ERR : r;
	fill_request(&c, "auth.open", &request);
	if (pam_get_item(pamh, PAM_SERVICE, &service) == PAM_SUCCESS)
		msg_add(&request, "service", service);
	r = ask(&c, &request, OPEN_TIMEOUT_MS, &reply, &err);
	log_outcome(&c, "auth.open", r, &err);
	if (r == 0)
		return put_environment(&c, msg_get(&reply, "guest"));
	if (!c.silent)
		pam_error(pamh, "%s", err.text);
	return PAM_SESSION_ERR;
}

PAM_EXTERN __attribute__((visibility("default"))) int
pam_sm_close_session(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	(void)pamh;
	(void)flags;
	(void)argc;
	(void)argv;
	return PAM_SUCCESS;
}

/* The password that is to be replaced; root needs none but for its owner's forced change. */
static int get_old(const struct call *c, const char **ret)
{
	int r = pam_get_authtok(c->pamh, PAM_OLDAUTHTOK, ret, NULL);

	if (r == PAM_CONV_AGAIN)
		return PAM_INCOMPLETE;
	return r == PAM_SUCCESS && *ret && (*ret)[0] && strlen(*ret) <= PASSWORD_MAX ?
		       PAM_SUCCESS :
		       PAM_AUTHTOK_RECOVERY_ERR;
}

/* First round: is the old one right, before anybody invents a new one? */
static int check_old(const struct call *c, bool as_root)
{
	const char *old = NULL;
	bool second = false;
	int r;

	if (as_root)
		return PAM_SUCCESS;
	r = get_old(c, &old);
	if (r != PAM_SUCCESS)
		return r;
	r = judge_password(c, old, NULL, &second);
	if (r == PAM_SUCCESS || second)
		return PAM_SUCCESS;
	return r == PAM_AUTHINFO_UNAVAIL ? PAM_TRY_AGAIN : PAM_AUTHTOK_RECOVERY_ERR;
}

/* Ask vm2d to change it. ERR_*; *ret_second as above. */
static int change(const struct call *c, const char *old, const char *new, const char *code,
		  bool *ret_second, struct err *err)
{
	CLEANUP_REQUEST struct msg request = { 0 };
	CLEANUP_MSG struct msg reply = { 0 };
	const char *second;
	int r;

	if (old) {
		fill_secret(c, "auth.change", old, code, new, &request);
	} else {
		fill_secret(c, "tenant.passwd", new, NULL, NULL, &request);
		msg_add(&request, "name", c->user);
	}
	r = ask(c, &request, c->options.timeout_ms, &reply, err);
	log_outcome(c, old ? "auth.change" : "tenant.passwd", r, err);
	second = r == ERR_DENIED ? msg_get(&reply, "second") : NULL;
	*ret_second = second && !strcmp(second, "code");
	return r;
}

static int set_new(const struct call *c, bool as_root)
{
	__attribute__((cleanup(wipe_text))) char *code = NULL;
	const char *old = NULL, *new = NULL;
	struct err err = { 0 };
	bool second = false;
	int r = as_root ? PAM_SUCCESS : get_old(c, &old);

	/* Modules before this one (pam_pwquality) have asked for it and judged it: use_authtok. */
	if (r == PAM_SUCCESS)
		r = pam_get_authtok(c->pamh, PAM_AUTHTOK, &new, NULL);
	if (r != PAM_SUCCESS || !new)
		return r == PAM_CONV_AGAIN ? PAM_INCOMPLETE : PAM_AUTHTOK_ERR;
	r = change(c, old, new, NULL, &second, &err);
	if (second && get_code(c, &code) == PAM_SUCCESS)
		r = change(c, old, new, code, &second, &err);
	if (r != 0 && !c->silent)
		pam_error(c->pamh, "%s", err.text);
	return r == 0 ? PAM_SUCCESS : PAM_AUTHTOK_ERR;
}

PAM_EXTERN __attribute__((visibility("default"))) int
pam_sm_chauthtok(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	/* The real uid: passwd(1) runs with the effective one of root for everybody. */
	bool as_root = getuid() == 0 && !(flags & PAM_CHANGE_EXPIRED_AUTHTOK);
	struct call c;
	int r;

	r = call_start(&c, pamh, flags, argc, argv);
	if (r != PAM_SUCCESS)
		return r;
	return flags & PAM_PRELIM_CHECK ? check_old(&c, as_root) : set_new(&c, as_root);
}
