/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The real vm2d with a configuration and folders of the test's own, asked through its socket. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "provision/api/client.h"
#include "provision/base/cleanup.h"
#include "provision/base/config.h"
#include "provision/base/fd.h"
#include "provision/daemon/locks.h"
#include "provision/daemon/server.h"
#include "provision/store/store.h"

#define KEY	"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJm5pLKJ9BzpB/tPHc8+X2lvxOk9TRyYC3fXcBE2kC9N"
#define WAIT_MS 20000

static struct {
	char folder[64], config_path[96], socket[96], log[96];
	pid_t vm2d;
} t;

static pid_t start_vm2d(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		int log = open(t.log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		dup2(log, 2);
		execl(BUILD_ROOT "/provision/daemon/vm2d", "vm2d", "--config", t.config_path,
			(char *)NULL);
		_exit(127);
	}
	return pid;
}

/* An answer, not just a connection: a worker that was being forked when vm2d was killed holds its socket. */
static void wait_for_socket(void)
{
	CLEANUP_MSG struct msg m = { 0 };

	msg_add(&m, "op", "host.status");
	for (int i = 0; i < 500; i++) {
		if (client_call(t.socket, &m, 10000, NULL, NULL, NULL) == 0)
			return;
		usleep(10000);
	}
	cr_assert_fail("vm2d does not answer; see %s", t.log);
}

static void setup(void)
{
	FILE *f;

	if (geteuid() != 0)
		cr_skip_test("this takes root");
	/* vm2d puts its rules into the network namespace that it runs in: not the machine's. */
	cr_assert_eq(unshare(CLONE_NEWNET), 0);
	snprintf(t.folder, sizeof(t.folder), "/tmp/vm2-test-d.XXXXXX");
	cr_assert(mkdtemp(t.folder));
	cr_assert_eq(chmod(t.folder, 0755), 0);
	snprintf(t.config_path, sizeof(t.config_path), "%s/vm2.conf", t.folder);
	snprintf(t.socket, sizeof(t.socket), "%s/run/vm2d.sock", t.folder);
	snprintf(t.log, sizeof(t.log), "%s/log", t.folder);
	f = fopen(t.config_path, "we");
	fprintf(f,
		"[instance]\nname = vm2test\n[paths]\nstate = %s/state\nrun = %s/run\n"
		"[access]\ngateway-user = games\nstaff-group = games\naudit-group = news\n"
		"[daemon]\nworkers = 8\n",
		t.folder, t.folder);
	fclose(f);
	t.vm2d = start_vm2d();
	wait_for_socket();
}

static void teardown(void)
{
	if (t.vm2d <= 0)
		return;
	kill(t.vm2d, SIGTERM);
	waitpid(t.vm2d, NULL, 0);
	usleep(20000);
	fd_remove_tree(AT_FDCWD, t.folder);
}
TestSuite(vm2d, .init = setup, .fini = teardown, .timeout = 60);

struct rows {
	int n;
	struct buf text; /* "key=value\n" of the last row */
};

static void note_row(void *data, const struct msg *row)
{
	struct rows *rows = data;
	const char *key, *value;
	size_t pos = 0, len;

	rows->n++;
	buf_free(&rows->text);
	while (msg_next(row, &pos, &key, &len, &value))
		buf_printf(&rows->text, "%.*s=%s\n", (int)len, key, value);
}

/* Ask "key=value" words; the text of the last row or error is in *ret_text. */
static int ask(const char *const words[], int *ret_rows, char *ret_text, size_t size)
{
	struct rows rows = { 0 };
	const struct client_sink sink = { .row = note_row, .data = &rows };
	CLEANUP_MSG struct msg m = { 0 };
	struct err err = { 0 };
	int r;

	for (size_t i = 0; words[i]; i++)
		buf_add(&m.data, words[i], strlen(words[i]) + 1);
	r = client_call(t.socket, &m, WAIT_MS, &sink, NULL, &err);
	if (ret_text)
		snprintf(ret_text, size, "%s", r ? err.text : rows.text.data ? rows.text.data : "");
	if (ret_rows)
		*ret_rows = rows.n;
	buf_free(&rows.text);
	return r;
}

static char text[4096];
static int n_rows;
#define ASK(...) ask((const char *const[]){ __VA_ARGS__, NULL }, &n_rows, text, sizeof(text))
#define EXPECT(status, ...)                                                         \
	do {                                                                        \
		int got_ = ASK(__VA_ARGS__);                                        \
		cr_expect_eq(got_, status, "%s: %d: %s", #__VA_ARGS__, got_, text); \
	} while (0)
#define EXPECT_WORDS(words) cr_expect(strstr(text, words), "'%s' is not in: %s", words, text)

/* The same as somebody else. */
static int ask_as(uid_t uid, gid_t gid, const char *const words[])
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		int64_t deadline = clock_ms() + WAIT_MS;
		int r;

		/* The socket's owner is root: whom client_connect() accepts for any caller. */
		if (setgroups(0, NULL) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
			_exit(99);
		/* A user has few workers, and one that has answered may not have told vm2d yet. */
		do
			r = ask(words, NULL, NULL, 0);
		while (r == ERR_BUSY && clock_ms() < deadline);
		_exit(r);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}
#define ASK_AS(uid, gid, ...) ask_as(uid, gid, (const char *const[]){ __VA_ARGS__, NULL })

Test(vm2d, onboards_and_forgets_a_tenant)
{
	char path[128];
	struct stat st;

	EXPECT(0, "op=tenant.add", "name=acme", "key=" KEY " me@here");
	EXPECT_WORDS("guest=none\n");
	EXPECT_WORDS("keys=1\n");
	EXPECT_WORDS("plan=small\n");
	EXPECT_WORDS("uid=1879048192\n");
	snprintf(path, sizeof(path), "%s/run/accounts.snap", t.folder);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0644);
	EXPECT(ERR_EXISTS, "op=tenant.add", "name=acme");
	EXPECT(ERR_EXISTS, "op=tenant.add", "name=daemon");
	EXPECT_WORDS("/etc/passwd");
	EXPECT(ERR_USAGE, "op=tenant.add", "name=Acme");
	EXPECT(ERR_USAGE, "op=tenant.add", "name=../x");
	EXPECT(ERR_USAGE, "op=tenant.add", "name=b", "key=" KEY, "key=nonsense");
	EXPECT_WORDS("key 2: ");
	EXPECT(ERR_NOT_FOUND, "op=tenant.show", "name=b");
	EXPECT(ERR_NOT_FOUND, "op=tenant.add", "name=b", "plan=huge");
	EXPECT(0, "op=tenant.list");
	cr_assert_eq(n_rows, 1);
	EXPECT(0, "op=host.status");
	EXPECT_WORDS("tenants=1\n");
	EXPECT_WORDS("pool4_size=65533\n");
	EXPECT(ERR_NOT_FOUND, "op=guest.start", "name=acme");
	EXPECT_WORDS("vm2 template build debian");
	EXPECT(ERR_NOT_FOUND, "op=guest.show", "name=acme");
	EXPECT(0, "op=tenant.remove", "name=acme");
	EXPECT(ERR_NOT_FOUND, "op=tenant.remove", "name=acme");
}

Test(vm2d, keeps_keys)
{
	EXPECT(0, "op=tenant.add", "name=acme");
	EXPECT(ERR_DENIED, "op=auth.key", "tenant=acme", "key=" KEY);
	EXPECT(0, "op=key.add", "tenant=acme", "key=" KEY " me");
	EXPECT_WORDS("comment=me\n");
	EXPECT(ERR_EXISTS, "op=key.add", "tenant=acme", "key=" KEY);
	EXPECT(0, "op=auth.key", "tenant=acme", "key=" KEY, "source=192.0.2.1");
	EXPECT(ERR_DENIED, "op=auth.key", "tenant=other", "key=" KEY);
	EXPECT(ERR_DENIED, "op=auth.key", "tenant=O'Other", "key=" KEY);
	EXPECT(ERR_DENIED, "op=auth.key", "tenant=acme", "key=ssh-dss AAAA");
	EXPECT(ERR_NOT_FOUND, "op=key.remove", "tenant=acme", "fingerprint=SHA256:x");
	EXPECT(0, "op=key.remove", "tenant=acme", "fingerprint=1");
	EXPECT(ERR_DENIED, "op=auth.key", "tenant=acme", "key=" KEY);
}

Test(vm2d, checks_passwords_in_the_same_words)
{
	char unknown[4096];

	EXPECT(0, "op=tenant.add", "name=acme");
	EXPECT(ERR_DENIED, "op=auth.password", "tenant=acme", "password=x");
	EXPECT(ERR_USAGE, "op=tenant.passwd", "name=acme", "password=");
	EXPECT(0, "op=tenant.passwd", "name=acme", "password=right");
	EXPECT(0, "op=auth.password", "tenant=acme", "password=right");
	EXPECT(ERR_DENIED, "op=auth.password", "tenant=nobody-here", "password=right");
	memcpy(unknown, text, sizeof(unknown));
	EXPECT(ERR_DENIED, "op=auth.password", "tenant=acme", "password=wrong");
	cr_assert_str_eq(text, unknown);
	EXPECT(0, "op=tenant.passwd", "name=acme");
	EXPECT(ERR_DENIED, "op=auth.password", "tenant=acme", "password=right");
}

/* Locked or wrong: the same words, but who is at fault is told so beside them. */
Test(vm2d, locks_a_guesser_out)
{
	char wrong[4096];

	EXPECT(0, "op=tenant.add", "name=acme");
	EXPECT(0, "op=tenant.passwd", "name=acme", "password=right");
	for (int i = 0; i < 3; i++)
		EXPECT(ERR_DENIED, "op=auth.password", "tenant=acme", "password=x", "source=192.0.2.1");
	memcpy(wrong, text, sizeof(wrong));
	EXPECT(ERR_DENIED, "op=auth.password", "tenant=acme", "password=right", "source=192.0.2.1");
	cr_expect_str_eq(text, wrong);
	EXPECT(ERR_DENIED, "op=auth.password", "tenant=acme", "password=right", "source=192.0.2.2");
	cr_expect_str_eq(text, wrong);
	EXPECT(0, "op=auth.password", "tenant=acme", "password=right");
	EXPECT(0, "op=auth.password", "tenant=acme", "password=right", "source=192.0.2.2");
	EXPECT(0, "op=tenant.unlock", "name=acme", "source=192.0.2.1");
	EXPECT(0, "op=auth.password", "tenant=acme", "password=right", "source=192.0.2.1");
	EXPECT(0, "op=tenant.show", "name=acme");
	EXPECT_WORDS("failures=0\n");
	EXPECT_WORDS("locked_until=0\n");
	EXPECT(ERR_NOT_FOUND, "op=tenant.unlock", "name=other");
}

Test(vm2d, asks_for_a_code_too)
{
	char word[64] = "code=", *code;

	EXPECT(0, "op=tenant.add", "name=acme");
	EXPECT(0, "op=tenant.passwd", "name=acme", "password=right");
	EXPECT(0, "op=tenant.totp", "name=acme");
	EXPECT_WORDS("uri=otpauth://totp/");
	EXPECT_WORDS(":acme?secret=");
	code = strstr(text, "recovery=");
	cr_assert(code);
	snprintf(word + 5, sizeof(word) - 5, "%.19s", code + 9);
	EXPECT(ERR_DENIED, "op=auth.password", "tenant=acme", "password=right");
	EXPECT_WORDS("code is needed");
	EXPECT(ERR_DENIED, "op=auth.password", "tenant=acme", "password=wrong", word);
	EXPECT(0, "op=auth.password", "tenant=acme", "password=right", word);
	EXPECT(ERR_DENIED, "op=auth.password", "tenant=acme", "password=right", word);
	EXPECT(0, "op=tenant.show", "name=acme");
	EXPECT_WORDS("totp=1\n");
	EXPECT(0, "op=tenant.totp", "name=acme", "remove=1");
	EXPECT(ERR_NOT_FOUND, "op=tenant.totp", "name=acme", "remove=1");
	EXPECT(0, "op=auth.password", "tenant=acme", "password=right");
}

Test(vm2d, changes_a_password_for_who_knows_it)
{
	const uid_t acme = 1879048192;

	EXPECT(0, "op=tenant.add", "name=acme");
	EXPECT(0, "op=tenant.passwd", "name=acme", "password=first");
	EXPECT(ERR_DENIED, "op=auth.change", "tenant=acme", "password=wrong", "new=second");
	EXPECT(ERR_USAGE, "op=auth.change", "tenant=acme", "password=first", "new=");
	cr_expect_eq(ASK_AS(acme, acme, "op=auth.change", "tenant=acme", "password=first",
			    "new=second"),
		     0);
	EXPECT(0, "op=auth.password", "tenant=acme", "password=second");
	/* A tenant's own word about where it comes from counts for nothing: all is one source. */
	for (int i = 0; i < 3; i++) {
		char source[32];

		snprintf(source, sizeof(source), "source=192.0.2.%d", i);
		cr_expect_eq(ASK_AS(acme, acme, "op=auth.change", "tenant=acme", "password=wrong",
				    "new=x", source),
			     ERR_DENIED);
	}
	cr_expect_eq(ASK_AS(acme, acme, "op=auth.change", "tenant=acme", "password=second", "new=x",
			    "source=192.0.2.9"),
		     ERR_DENIED);
	cr_expect_eq(ASK_AS(acme + 1, acme, "op=auth.change", "tenant=acme", "password=second",
			    "new=x"),
		     ERR_DENIED);
}

Test(vm2d, keeps_rules_for_logins)
{
	EXPECT(0, "op=tenant.add", "name=acme");
	EXPECT(0, "op=tenant.passwd", "name=acme", "password=first");
	EXPECT(0, "op=tenant.set", "name=acme", "sources=192.0.2.0/24", "change_password=1");
	EXPECT_WORDS("sources=192.0.2.0/24\n");
	EXPECT_WORDS("change_password=1\n");
	EXPECT(ERR_DENIED, "op=auth.account", "tenant=acme", "source=198.51.100.1");
	EXPECT_WORDS("where you are");
	EXPECT(0, "op=auth.account", "tenant=acme", "source=192.0.2.1");
	EXPECT(ERR_DENIED, "op=auth.account", "tenant=acme", "source=192.0.2.1", "by=password");
	EXPECT_WORDS("must be changed");
	EXPECT(ERR_USAGE, "op=auth.change", "tenant=acme", "password=first", "new=first");
	EXPECT(0, "op=auth.change", "tenant=acme", "password=first", "new=second");
	EXPECT(0, "op=auth.account", "tenant=acme", "source=192.0.2.1", "by=password");
	EXPECT(0, "op=tenant.set", "name=acme", "expires=2020-02-29", "sources=any");
	EXPECT(ERR_DENIED, "op=auth.account", "tenant=acme");
	EXPECT_WORDS("expired");
	EXPECT(ERR_USAGE, "op=tenant.set", "name=acme", "expires=soon");
	EXPECT(ERR_USAGE, "op=tenant.set", "name=acme", "hours=25");
	EXPECT(ERR_USAGE, "op=tenant.set", "name=acme", "sources=everywhere");
	EXPECT(0, "op=tenant.set", "name=acme", "expires=never");
	EXPECT(0, "op=auth.account", "tenant=acme");
}

Test(vm2d, suspends_and_resumes)
{
	EXPECT(0, "op=tenant.add", "name=acme");
	EXPECT(0, "op=auth.account", "tenant=acme");
	EXPECT(ERR_NOT_FOUND, "op=auth.account", "tenant=other");
	EXPECT(0, "op=tenant.suspend", "name=acme", "reason=unpaid bill");
	EXPECT(ERR_DENIED, "op=auth.account", "tenant=acme");
	cr_expect_str_eq(text, "suspended: unpaid bill");
	EXPECT(ERR_DENIED, "op=auth.open", "tenant=acme");
	EXPECT(0, "op=tenant.resume", "name=acme");
	EXPECT(0, "op=auth.account", "tenant=acme");
	EXPECT(ERR_USAGE, "op=tenant.suspend", "name=acme", "reason=\n");
}

/* What staff write for people to read, in whichever request: it comes to terminals and JSON. */
Test(vm2d, text_for_people_is_text)
{
	static const struct {
		const char *text, *words;
	} bad[] = {
		{ "a\nb", "control characters" }, { "a\x1b[2J", "control characters" },
		{ "\x7f", "control characters" }, { "a\xc2\x9b", "control characters" }, /* U+009B: CSI */
		{ "ab\xff", "is not UTF-8, from byte 3 on" }, { "caf\xe9", "is not UTF-8, from byte 4 on" },
		{ "\xc0\xaf", "is not UTF-8" }, { "\xed\xa0\x80", "is not UTF-8" }, { "a\xe2\x82", "is not UTF-8" },
	};

	EXPECT(0, "op=tenant.add", "name=acme");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CLEANUP_FREE char *reason = xasprintf("reason=%s", bad[i].text);
		CLEANUP_FREE char *comment = xasprintf("comment=%s", bad[i].text);

		EXPECT(ERR_USAGE, "op=tenant.suspend", "name=acme", reason);
		cr_expect(strstr(text, bad[i].words), "%zu: %s", i, text);
		EXPECT(ERR_USAGE, "op=rule.add", "tenant=acme", "direction=in", "verdict=allow",
			"protocol=any", comment);
		cr_expect(strstr(text, bad[i].words), "%zu: %s", i, text);
		EXPECT(ERR_USAGE, "op=key.add", "tenant=acme", "key=" KEY, comment);
		cr_expect(strstr(text, bad[i].words), "%zu: %s", i, text);
		EXPECT(ERR_USAGE, "op=ca.add", "key=" KEY, comment);
		cr_expect(strstr(text, bad[i].words), "%zu: %s", i, text);
	}
	EXPECT(0, "op=key.add", "tenant=acme", "key=" KEY, "comment=Z\xc3\xbcrich \xe2\x82\xac \xf0\x9f\x94\x91 \xc2\xa0");
	EXPECT(0, "op=tenant.suspend", "name=acme", "reason=Mahnung f\xc3\xbcr M\xc3\xa4rz");
}

Test(vm2d, keeps_plans)
{
	EXPECT(0, "op=plan.add", "name=big", "cpu=400", "memory=1073741824", "recording=required");
	EXPECT(ERR_EXISTS, "op=plan.add", "name=big");
	EXPECT(ERR_USAGE, "op=plan.add", "name=tiny", "memory=1024");
	EXPECT(ERR_USAGE, "op=plan.add", "name=odd", "cpu=-1");
	EXPECT(ERR_USAGE, "op=plan.add", "name=odd", "recording=maybe");
	EXPECT(0, "op=plan.list");
	cr_expect_eq(n_rows, 2);
}

/* What is imported comes as a descriptor, which only the real client brings: tests/integration. */
Test(vm2d, takes_no_template_by_its_path)
{
	char word[192];

	snprintf(word, sizeof(word), "path=%s", t.folder);
	EXPECT(ERR_USAGE, "op=template.import", "name=tiny", word);
	EXPECT(ERR_USAGE, "op=template.import", "name=tiny");
	EXPECT(ERR_USAGE, "op=template.import", "name=../tiny");
	EXPECT(ERR_USAGE, "op=template.build", "name=other", "suite=-x");
	EXPECT(ERR_USAGE, "op=template.build", "name=other", "mirror=file:/etc");
	EXPECT(ERR_NOT_FOUND, "op=tenant.add", "name=acme", "template=tiny");
	EXPECT(ERR_NOT_FOUND, "op=template.remove", "name=tiny");
}

Test(vm2d, tells_roles_apart)
{
	const uid_t nobody = 65534, games = 5, acme = 1879048192;
	const gid_t none = 65534, staff = 60, audit = 9;

	EXPECT(0, "op=tenant.add", "name=acme");
	EXPECT(0, "op=tenant.add", "name=other");
	for (const struct request_kind *k = request_kinds; k->op; k++) {
		char op[64], fields[512], *rest = fields, *word;
		const char *words[8] = { op };
		size_t n = 1;

		snprintf(op, sizeof(op), "op=%s", k->op);
		snprintf(fields, sizeof(fields), "%s", k->fields);
		while ((word = strsep(&rest, " ")) && *word && *word != '[' && n < 7) {
			static char values[8][32];

			snprintf(values[n], sizeof(values[n]), "%s=x", word);
			words[n] = values[n];
			n++;
		}
		cr_expect_eq(ask_as(nobody, none, words), ERR_DENIED, "%s as nobody", k->op);
		if (!(k->roles & ROLE_STAFF))
			cr_expect_eq(
				ask_as(nobody, staff, words), ERR_DENIED, "%s as staff", k->op);
		if (!(k->roles & ROLE_AUDIT))
			cr_expect_eq(
				ask_as(nobody, audit, words), ERR_DENIED, "%s as auditor", k->op);
		if (!(k->roles & ROLE_GATEWAY))
			cr_expect_eq(
				ask_as(games, none, words), ERR_DENIED, "%s as gateway", k->op);
	}
	cr_expect_eq(ASK_AS(nobody, staff, "op=tenant.list"), 0);
	cr_expect_eq(ASK_AS(nobody, audit, "op=tenant.list"), 0);
	cr_expect_eq(ASK_AS(games, none, "op=auth.account", "tenant=acme"), 0);
	cr_expect_eq(ASK_AS(acme, acme, "op=auth.account", "tenant=acme"), 0);
	cr_expect_eq(ASK_AS(acme, acme, "op=tenant.show", "name=acme"), 0);
	cr_expect_eq(ASK_AS(acme, acme, "op=tenant.show", "name=other"), ERR_DENIED);
	cr_expect_eq(ASK_AS(acme, acme, "op=tenant.show", "name=other", "tenant=acme"), ERR_DENIED);
	cr_expect_eq(
		ASK_AS(acme, acme, "op=session.open", "tenant=other", "kind=shell", "via=shell"),
		ERR_DENIED);
	cr_expect_eq(
		ASK_AS(acme, acme, "op=session.open", "tenant=acme", "kind=shell", "via=gateway"),
		ERR_DENIED);
	cr_expect_eq(ASK_AS(acme + 1, acme, "op=tenant.show", "name=acme"), ERR_DENIED);
}

Test(vm2d, refuses_bad_requests_and_goes_on)
{
	static const char *const garbage[] = { "", "x", "op", "=", "op=\x01", "\xff\xfe\xfd" };

	EXPECT(ERR_USAGE, "op=nonsense");
	EXPECT_WORDS("'nonsense'");
	EXPECT(ERR_USAGE, "name=acme");
	EXPECT_WORDS("'op'");
	EXPECT(ERR_USAGE, "op=tenant.show");
	EXPECT_WORDS("'name'");
	EXPECT(ERR_USAGE, "op=session.list", "limit=many");
	EXPECT(ERR_NOT_FOUND, "op=session.show", "id=x");
	EXPECT(ERR_NOT_FOUND, "op=session.read", "id=../../x");
	EXPECT(ERR_NOT_FOUND, "op=session.close", "id=x");
	for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
		CLEANUP_CLOSE int fd = -1;
		struct err err;

		cr_assert_eq(client_connect(t.socket, &fd, &err), 0, "%s", err.text);
		send(fd, garbage[i], strlen(garbage[i]), MSG_NOSIGNAL);
		cr_expect_neq(client_finish(fd, WAIT_MS, NULL, NULL, &err), 0);
	}
	EXPECT(0, "op=host.status");
}

Test(vm2d, refuses_a_datagram_that_is_too_long)
{
	CLEANUP_FREE char *big = xcalloc(1, MSG_MAX + 1000);
	CLEANUP_CLOSE int fd = -1;
	struct err err;

	memset(big, 'x', MSG_MAX + 999);
	memcpy(big, "op=", 3);
	cr_assert_eq(client_connect(t.socket, &fd, &err), 0);
	send(fd, big, MSG_MAX + 1000, MSG_NOSIGNAL);
	cr_expect_eq(client_finish(fd, WAIT_MS, NULL, NULL, &err), ERR_USAGE, "%s", err.text);
	EXPECT(0, "op=host.status");
}

Test(vm2d, serves_while_a_hundred_say_nothing)
{
	int fds[100];
	int64_t start;

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		cr_assert_eq(client_connect(t.socket, &fds[i], NULL), 0);
	start = clock_ms();
	EXPECT(0, "op=host.status");
	cr_expect_lt(clock_ms() - start, 4500);
	/* And they are told so in the end. */
	cr_expect_eq(client_finish(fds[0], WAIT_MS, NULL, NULL, NULL), ERR_USAGE);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
}

Test(vm2d, keeps_all_over_a_kill)
{
	int status = 0;

	EXPECT(0, "op=tenant.add", "name=acme", "key=" KEY);
	kill(t.vm2d, SIGKILL);
	waitpid(t.vm2d, &status, 0);
	t.vm2d = start_vm2d();
	wait_for_socket();
	EXPECT(0, "op=tenant.show", "name=acme");
	EXPECT_WORDS("keys=1\n");
}

Test(vm2d, runs_once_on_a_state)
{
	int status = 0;
	pid_t second = start_vm2d();
	char log[8192];

	waitpid(second, &status, 0);
	cr_assert(WIFEXITED(status));
	cr_expect_eq(WEXITSTATUS(status), ERR_BUSY);
	cr_assert_gt(fd_read_path(AT_FDCWD, t.log, log, sizeof(log)), 0);
	cr_expect(strstr(log, "another vm2d runs on"), "%s", log);
	EXPECT(0, "op=host.status");
}

/* Rows as a crash leaves them: written by hand, then vm2d starts. */
Test(vm2d, finds_lost_sessions_at_its_start)
{
	CLEANUP_CONFIG const struct config *config = NULL;
	CLEANUP_STORE struct store *store = NULL;
	struct store_session s = { .id = "0123456789abcdef",
		.tenant = "acme",
		.kind = "shell",
		.via = "gateway",
		.started = 1,
		.pid = 1,
		.pid_start = 12345,
		.status = -1 };
	struct err err = { 0 };

	EXPECT(0, "op=tenant.add", "name=acme");
	kill(t.vm2d, SIGKILL);
	waitpid(t.vm2d, NULL, 0);
	cr_assert_eq(config_load(t.config_path, &config, &err), 0, "%s", err.text);
	cr_assert_eq(store_open(config->database, &store, &err), 0, "%s", err.text);
	cr_assert_eq(store_session_open(store, &s, &err), 0, "%s", err.text);
	store = store_close(store);
	t.vm2d = start_vm2d();
	wait_for_socket();
	for (int i = 0; i < 200 && (ASK("op=session.list") || !strstr(text, "state=lost")); i++)
		usleep(20000);
	EXPECT_WORDS("state=lost\n");
}

/* Sends "key=value" words and receives until the end; how many messages with rows came. */
static int count_messages(const char *const words[])
{
	CLEANUP_CLOSE int fd = -1;
	CLEANUP_MSG struct msg request = { 0 };
	int n = 0;

	for (size_t i = 0; words[i]; i++)
		buf_add(&request.data, words[i], strlen(words[i]) + 1);
	cr_assert_eq(client_connect(t.socket, &fd, NULL), 0);
	cr_assert_eq(msg_send(fd, &request, NULL), 0);
	for (bool end = false; !end; n += !end) {
		CLEANUP_MSG struct msg m = { 0 };

		cr_assert_eq(msg_recv(fd, &m, clock_ms() + WAIT_MS, NULL), 0);
		end = !strcmp(msg_get(&m, "event"), "end");
	}
	return n;
}

/* Two of these rows have room in one message, a third has not. */
Test(vm2d, sends_rows_together_to_who_takes_them)
{
	CLEANUP_CONFIG const struct config *config = NULL;
	CLEANUP_STORE struct store *store = NULL;
	char command[12000] = "";
	struct err err = { 0 };

	memset(command, 'x', sizeof(command) - 1);
	EXPECT(0, "op=tenant.add", "name=acme");
	cr_assert_eq(config_load(t.config_path, &config, &err), 0, "%s", err.text);
	cr_assert_eq(store_open(config->database, &store, &err), 0, "%s", err.text);
	for (int i = 0; i < 3; i++) {
		char id[] = "0123456789abcdef";
		const struct store_session s = { .id = id, .tenant = "acme", .kind = "exec",
			.command = command, .via = "gateway", .started = 1, .pid = 1, .status = -1 };

		id[0] = (char)('0' + i);
		cr_assert_eq(store_session_open(store, &s, &err), 0, "%s", err.text);
	}
	cr_expect_eq(count_messages((const char *const[]){ "op=session.list", NULL }), 3);
	cr_expect_eq(count_messages((const char *const[]){ "op=session.list", "many=1", NULL }), 2);
	EXPECT(0, "op=session.list", "many=1");
	cr_expect_eq(n_rows, 3);
	EXPECT_WORDS("event=row\nid=0123456789abcdef\n");
}

Test(vm2d, answers_fast)
{
	int64_t start;

	EXPECT(0, "op=tenant.add", "name=acme", "key=" KEY);
	usleep(300000);
	start = clock_ms();
	for (int i = 0; i < 200; i++)
		ASK("op=auth.key", "tenant=acme", "key=" KEY);
	fprintf(stderr, "auth.key: %.2f ms a request\n", (double)(clock_ms() - start) / 200);
	start = clock_ms();
	for (int i = 0; i < 200; i++)
		ASK("op=auth.account", "tenant=acme");
	fprintf(stderr, "auth.account: %.2f ms a request\n", (double)(clock_ms() - start) / 200);
}

static const struct config *own_config(void)
{
	const struct config *config = NULL;
	struct err err = { 0 };

	cr_assert_eq(config_load(t.config_path, &config, &err), 0, "%s", err.text);
	return config;
}

/* Ask in a process of its own, and do not wait for it. */
static pid_t ask_aside(const char *const words[])
{
	pid_t pid = fork();

	if (pid == 0) {
		fd_close_from(3); /* the lock is the parent's alone */
		_exit(ask(words, NULL, NULL, 0));
	}
	return pid;
}

/* A tenant whose guest takes its time to start may log in as often as they like: others are served. */
Test(vm2d, no_tenant_takes_all_workers)
{
	CLEANUP_CONFIG const struct config *config = own_config();
	pid_t waiting[2];
	int lock = -1, status = 0;
	int64_t start;

	EXPECT(0, "op=tenant.add", "name=acme");
	EXPECT(0, "op=tenant.add", "name=other", "key=" KEY);
	cr_assert_eq(lock_take(config, "acme", false, 0, &lock, NULL), 0);
	for (int i = 0; i < 2; i++)
		waiting[i] = ask_aside((const char *const[]){ "op=auth.open", "tenant=acme", NULL });
	usleep(500000);
	start = clock_ms();
	for (int i = 0; i < 10; i++)
		EXPECT(ERR_BUSY, "op=auth.open", "tenant=acme");
	EXPECT_WORDS("too many requests about 'acme'");
	EXPECT(0, "op=auth.key", "tenant=other", "key=" KEY);
	cr_expect_lt(clock_ms() - start, 5000);
	close(lock);
	for (int i = 0; i < 2; i++) {
		waitpid(waiting[i], &status, 0);
		/* There is no template. */
		cr_expect_eq(WEXITSTATUS(status), ERR_NOT_FOUND);
	}
}

Test(vm2d, nor_does_a_flood_of_passwords)
{
	CLEANUP_CONFIG const struct config *config = own_config();
	int seats[2] = { -1, -1 }, more = -1;

	EXPECT(0, "op=tenant.add", "name=acme", "key=" KEY);
	for (int i = 0; i < 2; i++)
		cr_assert_eq(lock_seat(config, LOCK_PASSWORD, &seats[i], NULL), 0);
	cr_expect_eq(lock_seat(config, LOCK_PASSWORD, &more, NULL), ERR_BUSY);
	EXPECT(ERR_BUSY, "op=auth.password", "tenant=acme", "password=x");
	EXPECT(0, "op=auth.key", "tenant=acme", "key=" KEY);
	close(seats[0]);
	EXPECT(ERR_DENIED, "op=auth.password", "tenant=acme", "password=x");
	close(seats[1]);
}

/* Whoever may not read a pipe does not get it read by a session either. */
Test(vm2d, takes_no_descriptor_that_is_only_a_name)
{
	CLEANUP_MSG struct msg m = { 0 };
	CLEANUP_CLOSE int name = open("/dev/null", O_PATH | O_CLOEXEC), all = open("/dev/null", O_RDWR);
	struct err err = { 0 };

	EXPECT(0, "op=tenant.add", "name=acme");
	msg_add(&m, "op", "session.open");
	msg_add(&m, "tenant", "acme");
	msg_add(&m, "kind", "shell");
	msg_add(&m, "via", "exec");
	msg_add(&m, "pty", "1");
	cr_assert_eq(msg_add_fd(&m, name), 0);
	cr_assert_eq(msg_add_fd(&m, all), 0);
	cr_expect_eq(client_call(t.socket, &m, WAIT_MS, NULL, NULL, &err), ERR_USAGE);
	cr_expect(strstr(err.text, "descriptor 0"), "%s", err.text);
	close(all);
}
