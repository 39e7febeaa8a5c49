/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The module as it is installed, in the real libpam, against a stand-in for vm2d. */
#include <sched.h>
#include <security/pam_appl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>

#include "provision/base/fd.h"
#include "tests/unit/stub.h"

#define MODULE BUILD_ROOT "/pam_vm2/pam_vm2.so"

static char dir[64], sock[80];
static pid_t stub;

/* What the person at the other end sees and says. */
struct person {
	const char *password;
	const char *code, *old; /* what they answer to questions with such a word in them */
	int asked;
	char info[256], error[256];
};

static int converse(int n, const struct pam_message **messages, struct pam_response **ret,
		    void *data)
{
	struct pam_response *answers = calloc((size_t)n, sizeof(*answers));
	struct person *p = data;

	for (int i = 0; i < n; i++) {
		const struct pam_message *m = messages[i];

		if (m->msg_style == PAM_PROMPT_ECHO_OFF) {
			const char *say = strstr(m->msg, "code")    ? p->code :
					  strstr(m->msg, "urrent") ? p->old :
								     p->password;

			answers[i].resp = say ? strdup(say) : NULL;
			p->asked++;
		} else if (m->msg_style == PAM_TEXT_INFO) {
			snprintf(p->info, sizeof(p->info), "%s", m->msg);
		} else if (m->msg_style == PAM_ERROR_MSG) {
			snprintf(p->error, sizeof(p->error), "%s", m->msg);
		}
	}
	*ret = answers;
	return PAM_SUCCESS;
}

/* The end of an answer with a field beside the refusal. */
static void denied_with(int fd, const char *key, const char *value)
{
	struct msg m = { 0 };

	msg_add(&m, "event", "end");
	msg_add_i64(&m, "status", ERR_DENIED);
	msg_add(&m, "error", "refused");
	msg_add(&m, key, value);
	msg_send(fd, &m, NULL);
	msg_free(&m);
}

/* "second" has the password "right" and the code 123456. */
static void answer_second(int fd, const struct msg *m)
{
	const char *code = msg_get(m, "code");

	if (strcmp(msg_get(m, "password"), "right"))
		stub_end(fd, ERR_DENIED, "wrong password");
	else if (!code)
		denied_with(fd, "second", "code");
	else
		stub_end(fd, strcmp(code, "123456") ? ERR_DENIED : 0, "wrong code");
}

static void answer_password(int fd, const char *tenant, const struct msg *m)
{
	const char *password = msg_get(m, "password"), *source = msg_get(m, "source");

	if (!strcmp(tenant, "late"))
		sleep(60);
	else if (!strcmp(tenant, "crash"))
		raise(SIGKILL);
	else if (!strcmp(tenant, "chatty"))
		for (int i = 0; i < 600; i++, usleep(100000))
			stub_event(fd, "progress", "text", "still thinking");
	else if (!strcmp(tenant, "cut"))
		stub_event(fd, "row", "a", "b");
	else if (!strcmp(tenant, "often"))
		stub_end(fd, ERR_BUSY, "too many tries");
	else if (!strcmp(tenant, "guesser"))
		denied_with(fd, "locked", "1");
	else if (!strcmp(tenant, "second"))
		answer_second(fd, m);
	else if (!strcmp(tenant, "acme") && !strcmp(password, "right") && source &&
		 !strcmp(source, "192.0.2.7"))
		stub_end(fd, 0, NULL);
	else
		stub_end(fd, ERR_DENIED, "wrong password");
}

static void answer(int fd, struct msg *m)
{
	const char *op = msg_get(m, "op"), *tenant = msg_get(m, "tenant");

	if (!strcmp(op, "auth.password")) {
		answer_password(fd, tenant, m);
	} else if (!strcmp(op, "auth.change")) {
		if (!strcmp(msg_get(m, "new"), "better") && !strcmp(msg_get(m, "password"), "right"))
			answer_password(fd, tenant, m);
		else
			stub_end(fd, ERR_USAGE, "the password is no good");
	} else if (!strcmp(tenant, "aged")) {
		if (msg_get(m, "by"))
			denied_with(fd, "why", "password");
		else
			stub_end(fd, 0, NULL);
	} else if (!strcmp(tenant, "bygone")) {
		denied_with(fd, "why", "expired");
	} else if (!strcmp(tenant, "gone")) {
		stub_end(fd, ERR_NOT_FOUND, "no tenant gone");
	} else if (!strcmp(tenant, "late-payer")) {
		stub_end(fd, ERR_DENIED, "suspended: unpaid");
	} else if (!strcmp(tenant, "elsewhere")) {
		stub_end(fd, ERR_DENIED, "not from this address");
	} else if (!strcmp(tenant, "crash")) {
		raise(SIGKILL);
	} else if (!strcmp(op, "auth.open")) {
		stub_event(fd, "progress", "text", "making your system");
		stub_end(fd, 0, NULL);
	} else {
		stub_end(fd, 0, NULL);
	}
}

static void configure(const char *options)
{
	static const char *const kinds[] = { "auth", "account", "password", "session" };
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/vm2-test", dir);
	f = fopen(path, "w");
	for (int i = 0; i < 4; i++)
		fprintf(f, "%s required %s socket=%s timeout=1 nodelay %s\n", kinds[i], MODULE, sock, options);
	fclose(f);
}

static void setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/vm2-pam-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(sock, sizeof(sock), "%s/sock", dir);
	configure("");
	stub = stub_start(sock, answer);
}

static void teardown(void)
{
	stub_stop(stub);
	fd_remove_tree(-100 /* AT_FDCWD */, dir);
}

TestSuite(pam, .init = setup, .fini = teardown, .timeout = 60);

static pam_handle_t *begin(const char *user, struct person *p)
{
	struct pam_conv conv = { converse, p };
	pam_handle_t *h = NULL;

	cr_assert_eq(pam_start_confdir("vm2-test", user, &conv, dir, &h), PAM_SUCCESS);
	cr_assert_eq(pam_set_item(h, PAM_RHOST, "192.0.2.7"), PAM_SUCCESS);
	pam_fail_delay(h, 0);
	return h;
}

static int authenticate(const char *user, const char *password)
{
	struct person p = { .password = password };
	pam_handle_t *h = begin(user, &p);
	int r = pam_authenticate(h, 0);

	cr_expect_eq(p.asked, 1, "%s", user);
	pam_end(h, r);
	return r;
}

Test(pam, checks_the_password)
{
	cr_expect_eq(authenticate("acme", "right"), PAM_SUCCESS);
	cr_expect_eq(authenticate("acme", "wrong"), PAM_AUTH_ERR);
	cr_expect_eq(authenticate("acme", ""), PAM_AUTH_ERR);
	cr_expect_eq(authenticate("acme", NULL), PAM_AUTH_ERR);
	cr_expect_eq(authenticate("unknown", "right"), PAM_AUTH_ERR);
	cr_expect_eq(authenticate("no/name", "right"), PAM_AUTH_ERR);
	cr_expect_eq(authenticate("often", "right"), PAM_MAXTRIES);
}

Test(pam, waits_no_longer_than_told)
{
	int64_t start = clock_ms();

	cr_expect_eq(authenticate("late", "right"), PAM_AUTHINFO_UNAVAIL);
	cr_expect(clock_ms() - start < 20000);
	stub_stop(stub);
	stub = stub_start(sock, answer);
	start = clock_ms();
	cr_expect_eq(authenticate("chatty", "right"), PAM_AUTHINFO_UNAVAIL);
	cr_expect(clock_ms() - start < 20000);
	stub_stop(stub);
	stub = stub_start(sock, answer);
	cr_expect_eq(authenticate("cut", "right"), PAM_AUTHINFO_UNAVAIL);
	cr_expect_eq(authenticate("crash", "right"), PAM_AUTHINFO_UNAVAIL);
	cr_expect_eq(authenticate("acme", "right"), PAM_AUTHINFO_UNAVAIL);
}

Test(pam, takes_a_password_given_before)
{
	struct person p = { .password = "right" };
	pam_handle_t *h;

	configure("use_first_pass");
	h = begin("acme", &p);
	cr_expect_eq(pam_authenticate(h, 0), PAM_AUTH_ERR);
	cr_expect_eq(p.asked, 0);
	pam_end(h, 0);
	configure("try_first_pass debug nonsense");
	cr_expect_eq(authenticate("acme", "right"), PAM_SUCCESS);
}

static int account(const char *user, int flags, struct person *p)
{
	pam_handle_t *h = begin(user, p);
	int r = pam_acct_mgmt(h, flags);

	pam_end(h, r);
	return r;
}

Test(pam, checks_the_account)
{
	struct person p = { 0 };

	cr_expect_eq(account("acme", 0, &p), PAM_SUCCESS);
	cr_expect_eq(account("gone", 0, &p), PAM_USER_UNKNOWN);
	cr_expect_eq(account("no/name", 0, &p), PAM_USER_UNKNOWN);
	cr_expect_eq(account("late-payer", PAM_SILENT, &p), PAM_ACCT_EXPIRED);
	cr_expect_str_empty(p.error);
	cr_expect_eq(account("late-payer", 0, &p), PAM_ACCT_EXPIRED);
	cr_expect_str_eq(p.error, "suspended: unpaid");
	cr_expect_eq(account("elsewhere", 0, &p), PAM_PERM_DENIED);
	cr_expect_eq(account("crash", 0, &p), PAM_AUTHINFO_UNAVAIL);
}

Test(pam, opens_a_session)
{
	struct person p = { 0 };
	pam_handle_t *h = begin("acme", &p);

	cr_expect_eq(pam_setcred(h, PAM_ESTABLISH_CRED), PAM_SUCCESS);
	cr_expect_eq(pam_open_session(h, 0), PAM_SUCCESS);
	cr_expect_str_eq(p.info, "making your system");
	cr_expect_str_eq(pam_getenv(h, "VM2_TENANT"), "acme");
	cr_expect_str_eq(pam_getenv(h, "VM2_GUEST"), "acme");
	cr_expect_eq(pam_close_session(h, 0), PAM_SUCCESS);
	p.info[0] = 0;
	cr_expect_eq(pam_open_session(h, PAM_SILENT), PAM_SUCCESS);
	cr_expect_str_empty(p.info);
	pam_end(h, 0);
	h = begin("elsewhere", &p);
	cr_expect_eq(pam_open_session(h, 0), PAM_SESSION_ERR);
	cr_expect_str_eq(p.error, "not from this address");
	pam_end(h, 0);
}

Test(pam, asks_for_a_code)
{
	struct person p = { .password = "right", .code = "123456" };
	pam_handle_t *h = begin("second", &p);

	cr_expect_eq(pam_authenticate(h, 0), PAM_SUCCESS);
	cr_expect_eq(p.asked, 2);
	p.code = "000000";
	cr_expect_eq(pam_authenticate(h, 0), PAM_AUTH_ERR);
	/* A program that answers one question only. */
	p.code = NULL;
	cr_expect_eq(pam_authenticate(h, 0), PAM_AUTH_ERR);
	pam_end(h, 0);
	/* Who does not know the password is not asked for a code. */
	cr_expect_eq(authenticate("second", "wrong"), PAM_AUTH_ERR);
}

Test(pam, tells_a_guesser_to_wait)
{
	struct person p = { .password = "right" };
	pam_handle_t *h = begin("guesser", &p);

	cr_expect_eq(pam_authenticate(h, PAM_SILENT), PAM_MAXTRIES);
	cr_expect_str_empty(p.error);
	cr_expect_eq(pam_authenticate(h, 0), PAM_MAXTRIES);
	cr_expect(strstr(p.error, "wait"), "%s", p.error);
	pam_end(h, 0);
}

/* How long libpam was asked to wait: known and unknown names alike. */
static unsigned int delays[2];

static void note_delay(int retval, unsigned int us, void *data)
{
	delays[retval == PAM_SUCCESS] = us;
}

Test(pam, has_failures_wait)
{
	static const char *const names[] = { "acme", "unknown", "no/name" };
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/vm2-test", dir);
	f = fopen(path, "w");
	fprintf(f, "auth required %s socket=%s timeout=5\n", MODULE, sock);
	fclose(f);
	for (int i = 0; i < 3; i++) {
		struct person p = { .password = "wrong" };
		pam_handle_t *h = begin(names[i], &p);

		delays[0] = 0;
		pam_set_item(h, PAM_FAIL_DELAY, (const void *)note_delay);
		cr_expect_eq(pam_authenticate(h, 0), PAM_AUTH_ERR);
		cr_expect(delays[0] >= 1000000 && delays[0] <= 3000000, "%u", delays[0]);
		pam_end(h, 0);
	}
}

Test(pam, judges_a_password_s_age_only_where_it_was_used)
{
	struct person p = { .password = "right" };
	pam_handle_t *h;

	cr_expect_eq(account("bygone", 0, &p), PAM_ACCT_EXPIRED);
	cr_expect_eq(account("aged", 0, &p), PAM_SUCCESS);
	h = begin("acme", &p);
	cr_expect_eq(pam_authenticate(h, 0), PAM_SUCCESS);
	cr_expect_eq(pam_set_item(h, PAM_USER, "aged"), PAM_SUCCESS);
	cr_expect_eq(pam_acct_mgmt(h, 0), PAM_NEW_AUTHTOK_REQD);
	pam_end(h, 0);
}

static int change_password(const char *user, const char *old, const char *new, struct person *p)
{
	pam_handle_t *h;
	int r;

	p->old = old;
	p->password = new;
	h = begin(user, p);
	/* The flag, because the test's root would need no old one. */
	r = pam_chauthtok(h, PAM_CHANGE_EXPIRED_AUTHTOK);
	pam_end(h, r);
	return r;
}

Test(pam, changes_a_password)
{
	struct person p = { .code = "123456" };

	cr_expect_eq(change_password("acme", "right", "better", &p), PAM_SUCCESS);
	cr_expect_eq(change_password("acme", "wrong", "better", &p), PAM_AUTHTOK_RECOVERY_ERR);
	cr_expect_eq(change_password("acme", NULL, "better", &p), PAM_AUTHTOK_RECOVERY_ERR);
	cr_expect_eq(change_password("acme", "right", "bad", &p), PAM_AUTHTOK_ERR);
	cr_expect(strstr(p.error, "no good"), "%s", p.error);
	cr_expect_eq(change_password("second", "right", "better", &p), PAM_SUCCESS);
	cr_expect_eq(change_password("crash", "right", "better", &p), PAM_TRY_AGAIN);
}

/* Whatever a program does, in whatever order, and as often: each call answers for itself. */
Test(pam, holds_nothing_from_one_call_to_the_next)
{
	struct person p = { .password = "right" };
	pam_handle_t *h = begin("acme", &p);
	int status = 0;
	pid_t pid;

	cr_expect_eq(pam_close_session(h, 0), PAM_SUCCESS);
	cr_expect_eq(pam_setcred(h, PAM_DELETE_CRED), PAM_SUCCESS);
	for (int i = 0; i < 3; i++)
		cr_expect_eq(pam_open_session(h, 0), PAM_SUCCESS);
	cr_expect_eq(pam_setcred(h, PAM_REINITIALIZE_CRED), PAM_SUCCESS);
	/* sshd and su: the session is the child's, and the parent closes it. */
	pid = fork();
	if (pid == 0)
		_exit(pam_setcred(h, PAM_ESTABLISH_CRED) == PAM_SUCCESS &&
				      pam_end(h, PAM_SUCCESS | PAM_DATA_SILENT) == PAM_SUCCESS ?
			      0 :
			      1);
	waitpid(pid, &status, 0);
	cr_expect_eq(status, 0);
	cr_expect_eq(pam_close_session(h, PAM_SILENT), PAM_SUCCESS);
	cr_expect_eq(pam_close_session(h, PAM_SILENT), PAM_SUCCESS);
	cr_expect_eq(pam_end(h, PAM_SUCCESS), PAM_SUCCESS);
	/* Neither closed nor ended well. */
	h = begin("acme", &p);
	cr_expect_eq(pam_open_session(h, 0), PAM_SUCCESS);
	cr_expect_eq(pam_end(h, PAM_ABORT), PAM_SUCCESS);
}

static int no_words(int n, const struct pam_message **messages, struct pam_response **ret, void *data)
{
	return PAM_CONV_ERR;
}

/* cron, or a program without anybody to ask. */
Test(pam, asks_nobody_where_nobody_is)
{
	static const struct pam_conv none[] = { { no_words, NULL }, { NULL, NULL } };

	for (int i = 0; i < 2; i++) {
		pam_handle_t *h = NULL;
		int r;

		cr_assert_eq(pam_start_confdir("vm2-test", "acme", &none[i], dir, &h), PAM_SUCCESS);
		r = pam_authenticate(h, 0);
		cr_expect(r == PAM_AUTH_ERR || r == PAM_CONV_ERR, "%d", r);
		cr_expect_eq(pam_acct_mgmt(h, 0), PAM_SUCCESS);
		cr_expect_eq(pam_open_session(h, 0), PAM_SUCCESS);
		r = pam_chauthtok(h, PAM_CHANGE_EXPIRED_AUTHTOK);
		cr_expect(r != PAM_SUCCESS);
		cr_expect_eq(pam_close_session(h, 0), PAM_SUCCESS);
		pam_end(h, r);
	}
}

/* One line of auth, with whatever stands before and behind it. */
static int with_stack(const char *before, const char *control, const char *options, const char *after,
		      const char *password)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/vm2-test", dir);
	f = fopen(path, "w");
	fprintf(f, "%sauth %s %s socket=%s timeout=1 nodelay %s\n%s", before, control, MODULE, sock, options,
		after);
	fclose(f);
	return authenticate("acme", password);
}

Test(pam, fits_into_any_stack)
{
	static const char permit[] = "auth required pam_permit.so\n", deny[] = "auth required pam_deny.so\n";

	cr_expect_eq(with_stack("", "required", "", permit, "right"), PAM_SUCCESS);
	cr_expect_eq(with_stack("", "required", "", permit, "wrong"), PAM_AUTH_ERR);
	cr_expect_eq(with_stack("", "requisite", "", deny, "wrong"), PAM_AUTH_ERR);
	cr_expect_eq(with_stack("", "sufficient", "", deny, "right"), PAM_SUCCESS);
	cr_expect_eq(with_stack("", "sufficient", "", deny, "wrong"), PAM_AUTH_ERR);
	cr_expect_eq(with_stack(permit, "optional", "", "", "wrong"), PAM_SUCCESS);
	cr_expect_eq(with_stack("", "[success=done default=die]", "", deny, "right"), PAM_SUCCESS);
	cr_expect_eq(with_stack("", "[success=done default=die]", "", permit, "wrong"), PAM_AUTH_ERR);
	cr_expect_eq(with_stack("", "[success=1 default=ignore]", "", deny, "wrong"), PAM_AUTH_ERR);
	/* A password that a module before it asked for: asked for once in all. */
	for (int i = 0; i < 2; i++) {
		char before[512];

		snprintf(before, sizeof(before), "auth optional %s socket=%s timeout=1 nodelay\n", MODULE, sock);
		cr_expect_eq(with_stack(before, "required", i ? "use_first_pass" : "try_first_pass", "", "right"),
			     PAM_SUCCESS);
		cr_expect_eq(with_stack(before, "required", i ? "use_first_pass" : "try_first_pass", "", "wrong"),
			     PAM_AUTH_ERR);
	}
}

/* syslog(3) of this process goes to a socket of its own (mount namespace; root). */
static int listen_to_syslog(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/dev", "tmpfs", 0, "mode=755") < 0) {
		cr_assert_null(getenv("VM2_MUST_WORK"), "cannot mount");
		cr_skip_test("no private /dev to be had: needs root");
	}
	cr_assert_eq(bind(s, (const struct sockaddr *)&address, sizeof(address)), 0);
	return s;
}

/* All that came so far. Read often: a sender waits where ten datagrams do (unix(7)). */
static const char *heard(int s)
{
	static char all[16384];
	size_t len = strlen(all);
	ssize_t n;

	while (len < sizeof(all) - 1 && (n = recv(s, all + len, sizeof(all) - 1 - len, 0)) > 0)
		len += (size_t)n;
	all[len] = '\0';
	return all;
}

Test(pam, logs_what_went_wrong_and_no_secret)
{
	struct person p = { .old = "right", .code = "123456" };
	int s = listen_to_syslog();
	const char *log;

	configure("debug");
	authenticate("acme", "right");
	heard(s);
	authenticate("acme", "guess-of-a-secret");
	heard(s);
	change_password("acme", "right", "better", &p);
	heard(s);
	change_password("acme", "right", "guess-of-a-secret", &p);
	heard(s);
	change_password("second", "right", "better", &p);
	log = heard(s);
	cr_expect(strstr(log, "auth.password for acme: yes"), "%s", log);
	cr_expect(strstr(log, "auth.password for acme: wrong password"), "%s", log);
	cr_expect(!strstr(log, "guess-of") && !strstr(log, "better") && !strstr(log, "123456"), "%s", log);
	configure("");
	cr_expect_eq(authenticate("late", "guess-of-a-secret"), PAM_AUTHINFO_UNAVAIL);
	log = heard(s);
	cr_expect(strstr(log, "auth.password for late: "), "%s", log);
	stub_stop(stub);
	cr_expect_eq(authenticate("acme", "guess-of-a-secret"), PAM_AUTHINFO_UNAVAIL);
	log = heard(s);
	cr_expect(strstr(log, "vm2d does not answer at "), "%s", log);
	cr_expect(!strstr(log, "guess-of"), "%s", log);
	close(s);
	stub = stub_start(sock, answer);
}
