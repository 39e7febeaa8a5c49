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
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <syslog.h>

#include "pam_vm2/options.h"
#include "provision/api/client.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

/* The longest password that is passed on; crypt(3) takes 512 bytes (CRYPT_MAX_PASSPHRASE_SIZE). */
#define PASSWORD_MAX 511

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

static int check_password(struct call *c, const char *password)
{
	__attribute__((cleanup(wipe_request))) struct msg request = { 0 };
	CLEANUP_MSG struct msg reply = { 0 };
	struct err err = { 0 };
	int r;

	/* Room for all at once: a buffer that grows would leave copies of the password behind. */
	buf_add(&request.data, (const char[2048]){ 0 }, 2048);
	request.data.len = 0;
	fill_request(c, "auth.password", &request);
	msg_add(&request, "password", password);
	r = ask(c, &request, c->options.timeout_ms, &reply, &err);
	log_outcome(c, "auth.password", r, &err);
	switch (r) {
	case 0:
		return PAM_SUCCESS;
	case ERR_DENIED:
	case ERR_NOT_FOUND:
		return PAM_AUTH_ERR;
	default:
		/* vm2d answered "busy" about this name: too many tries. Else it did not answer. */
		return r == ERR_BUSY && reply.data.len > 0 ? PAM_MAXTRIES : PAM_AUTHINFO_UNAVAIL;
	}
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
	r = get_password(&c, &password);
	if (r != PAM_SUCCESS)
		return r;
	if (!possible)
		c.user = NOBODY;
	if (!password[0] || strlen(password) > PASSWORD_MAX) {
		password = "-";
		possible = false;
	}
	r = check_password(&c, password);
	return r == PAM_SUCCESS && !possible ? PAM_AUTH_ERR : r;
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
	struct err err = { 0 };
	struct call c;
	int r;

	r = call_start(&c, pamh, flags, argc, argv);
	if (r != PAM_SUCCESS)
		return r;
	fill_request(&c, "auth.account", &request);
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
		return str_starts(err.text, "suspended") ? PAM_ACCT_EXPIRED : PAM_PERM_DENIED;
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

PAM_EXTERN __attribute__((visibility("default"))) int
pam_sm_chauthtok(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	struct call c;
	int r;

	r = call_start(&c, pamh, flags, argc, argv);
	if (r != PAM_SUCCESS)
		return r;
	if ((flags & PAM_PRELIM_CHECK) && !c.silent)
		pam_error(pamh, "The password of %s is set by the hosting staff: vm2 tenant passwd %s",
			  c.user, c.user);
	return PAM_AUTHTOK_ERR;
}
