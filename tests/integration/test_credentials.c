/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Passwords, codes and locks at the real front door; names and ids to the host's own programs. */
#include <stdio.h>
#include <string.h>

#include "tests/integration/lib.h"

TestSuite(credentials, .timeout = 240);

/* A person at the terminal who answers each question with the word that follows it. */
static struct result person(const char *tenant, const char *answers)
{
	return sh("expect -c 'set timeout 90; spawn ssh -p 2222 -o PubkeyAuthentication=no "
		  "-o PreferredAuthentications=keyboard-interactive -o StrictHostKeyChecking=no "
		  "-o NumberOfPasswordPrompts=1 -o UserKnownHostsFile=/dev/null %s@127.0.0.1 hostname; "
		  "foreach {q a} {%s} { expect -nocase $q { send \"$a\\r\" } eof { exit 9 } }; expect eof; "
		  "catch wait result; exit [lindex $result 3]'",
		  tenant, answers);
}

static int by_password(const char *tenant, const char *password)
{
	return sh("sshpass -p '%s' ssh -F none -p 2222 -o NumberOfPasswordPrompts=1 "
		  "-o PubkeyAuthentication=no -o StrictHostKeyChecking=no -o LogLevel=ERROR "
		  "-o UserKnownHostsFile=/dev/null %s@127.0.0.1 true",
		  password, tenant)
		.status;
}

Test(credentials, a_code_is_asked_for_and_taken_once)
{
	const char *code;

	tenant_ready("coded");
	ok("echo 'right horse' | vm2 tenant passwd coded");
	code = ok("vm2 tenant totp coded --json | jq -r '.recovery[0]'");
	assert_status(person("coded", "password {right horse} code 000000"), 255);
	assert_status(sh("vm2 tenant unlock coded --source 127.0.0.1"), 0);
	{
		char answers[128];

		snprintf(answers, sizeof(answers), "password {right horse} code %s", code);
		assert_status(person("coded", answers), 0);
		cr_assert_neq(person("coded", answers).status, 0);
	}
	/* A key is not asked. */
	assert_status(ssh("coded", "", "true"), 0);
	ok("vm2 tenant totp coded --remove");
	cr_assert_eq(by_password("coded", "right horse"), 0);
	assert_has(ok("script -qec 'vm2 tenant totp coded' /dev/null"), "otpauth://totp/");
	assert_has(ok("script -qec 'vm2 tenant totp coded' /dev/null"), "\u2588\u2588\u2588");
	assert_status(sh("vm2 tenant totp nobody-here"), 3);
}

/* A key of its own, added with these options. */
static void add_key(const char *tenant, const char *name, const char *options)
{
	ok("rm -f /run/vm2-test/%s; ssh-keygen -q -t ed25519 -N '' -f /run/vm2-test/%s && "
	   "vm2 key add %s /run/vm2-test/%s.pub %s",
	   name, name, tenant, name, options);
}

/* What ssh says and does with that key. */
static struct result with_key(const char *tenant, const char *name, const char *rest)
{
	return sh("ssh -F none -i /run/vm2-test/%s $(echo '%s' | sed 's,-i [^ ]*,,') %s@127.0.0.1 %s </dev/null",
		  name, ssh_options, tenant, rest);
}

/* Of each type that a stock client makes; an RSA key by both of its algorithms, and not by SHA-1. */
Test(credentials, keys_of_each_type_let_in)
{
	static const char *const types[] = { "ecdsa -b 256", "ecdsa -b 384", "ecdsa -b 521", "rsa", "ed25519" };

	tenant_ready("types");
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		ok("cd /run/vm2-test && rm -f type*; ssh-keygen -q -t %s -N '' -f type && vm2 key add types type.pub",
		   types[i]);
		assert_status(with_key("types", "type", "true"), 0);
		if (strcmp(types[i], "rsa"))
			continue;
		assert_status(with_key("types", "type", "-o PubkeyAcceptedAlgorithms=rsa-sha2-256 true"), 0);
		assert_status(with_key("types", "type", "-o PubkeyAcceptedAlgorithms=rsa-sha2-512 true"), 0);
		assert_status(with_key("types", "type", "-o PubkeyAcceptedAlgorithms=ssh-rsa true"), 255);
	}
}

Test(credentials, a_key_may_do_what_its_options_say)
{
	struct result r;

	tenant_ready("keyed");
	add_key("keyed", "elsewhere", "--from 192.0.2.0/24,2001:db8::/32");
	assert_status(with_key("keyed", "elsewhere", "true"), 255);
	add_key("keyed", "here", "--from 127.0.0.0/8");
	assert_status(with_key("keyed", "here", "true"), 0);
	add_key("keyed", "past", "--expires 20200131");
	assert_status(with_key("keyed", "past", "true"), 255);
	add_key("keyed", "forced", "--expires 20990131Z --command 'echo \"$SSH_ORIGINAL_COMMAND\" was asked'");
	cr_assert_str_eq(with_key("keyed", "forced", "a \\; b").out, "a ; b was asked\n");
	cr_assert_str_eq(with_key("keyed", "forced", "").out, " was asked\n");
	add_key("keyed", "files", "--command internal-sftp");
	cr_assert_str_eq(with_key("keyed", "files", "id").out, "");
	assert_has(ok("echo ls -la | sftp -i /run/vm2-test/files -b - $(echo '%s' | "
		      "sed 's,-i [^ ]*,,;s/-p /-P /') keyed@127.0.0.1",
		      ssh_options),
		   ".bashrc");
	add_key("keyed", "plain", "--restrict --comment 'no more'");
	assert_has(with_key("keyed", "plain", "-o LogLevel=INFO -tt tty").err, "PTY allocation request failed");
	assert_status(with_key("keyed", "plain", "true"), 0);
	assert_has(ok("vm2 key list keyed --json"), "\"options\": \"restrict\"");
	assert_has(ok("vm2 key list keyed"), "no more");
	/* And so a stock sshd hears it. */
	assert_has(ok("setpriv --reuid vm2-gateway --regid vm2-gateway --clear-groups "
		      "/usr/libexec/vm2/authorized-keys keyed $(cut -d' ' -f1,2 /run/vm2-test/plain.pub)"),
		   "restrict,no-port-forwarding");
	r = sh("vm2 key add keyed /run/vm2-test/plain.pub --from everywhere");
	assert_status(r, 2);
	assert_has(r.err, "'everywhere' is neither an address nor a prefix");
}

/* Log in with a certificate for the key `mine`, that `ca` signs with these options. */
static struct result certified(const char *ca, const char *options, const char *tenant, const char *rest)
{
	ok("cd /run/vm2-test && ssh-keygen -q -s %s -I person %s mine.pub", ca, options);
	return with_key(tenant, "mine", rest);
}

Test(credentials, an_authoritys_certificates_let_in)
{
	struct result r;

	tenant_ready("fired");
	tenant_ready("certed");
	ok("cd /run/vm2-test && rm -f mine* ca ca.pub other-ca*; for k in mine ca other-ca; do "
	   "ssh-keygen -q -t ed25519 -N '' -f $k; done");
	assert_status(certified("ca", "-n certed", "certed", "true"), 255);
	ok("vm2 ca add --tenant certed /run/vm2-test/ca.pub");
	assert_status(sh("vm2 ca add --tenant certed /run/vm2-test/ca.pub"), 6);
	cr_assert_str_eq(certified("ca", "-n x,certed -z 7 -V -1m:+5m", "certed", "hostname").out, "certed\n");
	wait_for(20, "vm2 session list --tenant certed --json | grep -q 'certificate person serial 7 of SHA256:'");
	/* Another's name, no name, another authority, too late, elsewhere: nobody. */
	assert_status(certified("ca", "-n certed", "fired", "true"), 255);
	assert_status(certified("ca", "-n fired", "certed", "true"), 255);
	assert_status(certified("ca", "", "certed", "true"), 255);
	assert_status(certified("other-ca", "-n certed", "certed", "true"), 255);
	assert_status(certified("ca", "-n certed -V -2h:-1h", "certed", "true"), 255);
	assert_status(certified("ca", "-n certed -O source-address=192.0.2.1", "certed", "true"), 255);
	assert_status(certified("ca", "-n certed -V +1h:+2h", "certed", "true"), 255);
	assert_status(certified("ca", "-n certed -O critical:new@example.org=x", "certed", "true"), 255);
	assert_status(certified("ca", "-n certed -O source-address=192.0.2.1,127.0.0.0/8", "certed", "true"), 0);
	/* What it restricts, the monitor keeps. */
	cr_assert_str_eq(certified("ca", "-n certed -O force-command='echo forced'", "certed", "id").out,
			 "forced\n");
	r = certified("ca", "-n certed -O clear", "certed", "-o LogLevel=INFO -tt tty");
	assert_has(r.err, "PTY allocation request failed");
	assert_status(certified("ca", "-n certed -O no-port-forwarding", "certed",
				"-o ExitOnForwardFailure=yes -R 7779:localhost:22 true"), 255);
	/* The authority of another tenant under another name, and one of all. */
	ok("vm2 ca add --tenant fired --principal alice /run/vm2-test/ca.pub");
	assert_status(certified("ca", "-n fired", "fired", "true"), 255);
	assert_status(certified("ca", "-n alice", "fired", "true"), 0);
	ok("vm2 ca add /run/vm2-test/other-ca.pub");
	assert_status(certified("other-ca", "-n fired", "fired", "true"), 0);
	assert_status(certified("other-ca", "-n fired", "certed", "true"), 255);
	assert_has(ok("vm2 ca list"), "alice");
	ok("vm2 ca remove $(ssh-keygen -lf /run/vm2-test/ca.pub | cut -d' ' -f2)");
	assert_status(certified("ca", "-n certed", "certed", "true"), 255);
	assert_status(sh("vm2 ca remove 9999"), 3);
	ok("vm2 ca remove $(vm2 ca list --json | jq '.[0].id')");
	cr_assert_str_eq(ok("vm2 ca list --json | tr -d ' \n'"), "[]");
}

Test(credentials, certificates_of_each_type_let_in)
{
	tenant_ready("typed");
	ok("cd /run/vm2-test && rm -f mine* ca ca.pub && ssh-keygen -q -t ecdsa -N '' -f ca && "
	   "vm2 ca add --tenant typed ca.pub");
	for (int i = 0; i < 3; i++) {
		ok("cd /run/vm2-test && rm -f mine* && ssh-keygen -q -t %s -N '' -f mine",
		   i == 0 ? "rsa" : i == 1 ? "ecdsa" : "ed25519");
		assert_status(certified("ca", "-n typed", "typed", "true"), 0);
	}
	ok("vm2 ca remove $(vm2 ca list --json | jq '.[0].id')");
}

/* The same tenant, with a key and a password: what it takes, and what each part alone is worth. */
Test(credentials, a_plan_may_ask_for_two_methods)
{
	static const char with[] = "sshpass -p '%s' ssh -o LogLevel=INFO -o NumberOfPasswordPrompts=1 "
				   "-o PreferredAuthentications=%s $(echo '%s' | sed 's,-o BatchMode=[a-z]*,,') "
				   "twice@127.0.0.1 hostname";
	struct result r;

	tenant_ready("twice");
	ok("echo 'correct horse 7' | vm2 tenant passwd twice");
	ok("vm2 plan add two-steps --methods publickey,keyboard-interactive");
	ok("vm2 tenant set twice --plan two-steps");
	r = sh(with, "correct horse 7", "publickey,keyboard-interactive", ssh_options);
	assert_status(r, 0);
	cr_assert_str_eq(r.out, "twice\n");
	wait_for(20, "vm2 session list --tenant twice --json | grep -q 'key SHA256:.* and keyboard-interactive'");
	/* One alone, a wrong second one, another second one, the second one first: not enough. */
	r = sh(with, "correct horse 7", "publickey", ssh_options);
	assert_status(r, 255);
	assert_has(r.err, "Permission denied (keyboard-interactive)");
	cr_assert_neq(sh(with, "wrong", "publickey,keyboard-interactive", ssh_options).status, 0);
	cr_assert_neq(sh(with, "correct horse 7", "keyboard-interactive,publickey",
			 "-F none -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null")
			      .status, 0);
	ok("vm2 tenant unlock twice; vm2 tenant set twice --methods publickey,password");
	cr_assert_str_eq(sh(with, "correct horse 7", "publickey,password", ssh_options).out, "twice\n");
	cr_assert_neq(sh(with, "correct horse 7", "publickey,keyboard-interactive", ssh_options).status, 0);
	ok("vm2 tenant unlock twice; vm2 tenant set twice --methods publickey");
	assert_status(ssh("twice", "", "true"), 0);
	cr_assert_neq(sh(with, "correct horse 7", "password",
			 "-F none -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null")
			      .status, 0);
	assert_status(sh("vm2 tenant set twice --methods password,publickey"), 2);
	ok("vm2 tenant remove --yes twice && vm2 plan remove two-steps");
}

/* An authenticator in software, from OpenSSH's own tests (package openssh-tests). */
#define SOFT_KEY "/usr/lib/openssh/regress/misc/sk-dummy/sk-dummy.so"

static void make_soft_key(const char *name, const char *options)
{
	ok("cd /run/vm2-test && rm -f %s*; ssh-keygen -q -N '' -w " SOFT_KEY " %s -f %s", name, options, name);
}

static int with_soft_key(const char *name)
{
	return with_key("touched", name, "-o SecurityKeyProvider=" SOFT_KEY " true").status;
}

/* The same by certificates: what stands in one, and not what the key was made with, says what it takes. */
static void certified_authenticators(void)
{
	static const struct {
		const char *key, *options;
		int status;
	} ways[] = {
		{ "felt", "", 0 },
		{ "felt", "-O verify-required", 255 },
		{ "unfelt", "", 255 },
		{ "unfelt", "-O no-touch-required", 0 },
	};

	ok("cd /run/vm2-test && rm -f touching*; ssh-keygen -q -t ed25519 -N '' -f touching && "
	   "vm2 ca add --tenant touched touching.pub; vm2 key list touched --json | jq -r '.[].fingerprint' | "
	   "while read f; do vm2 key remove touched $f; done");
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		ok("cd /run/vm2-test && ssh-keygen -q -s touching -I person -n touched %s %s.pub", ways[i].options,
		   ways[i].key);
		cr_assert_eq(with_soft_key(ways[i].key), ways[i].status, "%s %s", ways[i].key, ways[i].options);
	}
	ok("vm2 ca remove $(ssh-keygen -lf /run/vm2-test/touching.pub | cut -d' ' -f2)");
}

Test(credentials, an_authenticator_is_to_be_touched)
{
	/* It is installed on this release only (provision/packages, clients): elsewhere there is no finger. */
	if (sh("test -e " SOFT_KEY).status != 0)
		return;
	tenant_ready("touched");
	for (int i = 0; i < 2; i++) {
		const char *type = i ? "-t ecdsa-sk" : "-t ed25519-sk";

		make_soft_key("felt", type);
		ok("vm2 key add touched /run/vm2-test/felt.pub");
		cr_assert_eq(with_soft_key("felt"), 0, "%s", type);
		ok("sed 's/^/verify-required /' /run/vm2-test/felt.pub >/run/vm2-test/line; "
		   "vm2 key remove touched $(ssh-keygen -lf /run/vm2-test/felt.pub | cut -d' ' -f2); "
		   "vm2 key add touched /run/vm2-test/line");
		cr_assert_eq(with_soft_key("felt"), 255, "%s", type);
		make_soft_key("unfelt", i ? "-O no-touch-required -t ecdsa-sk" : "-O no-touch-required -t ed25519-sk");
		ok("vm2 key add touched /run/vm2-test/unfelt.pub");
		cr_assert_eq(with_soft_key("unfelt"), 255, "%s", type);
		ok("vm2 key remove touched $(ssh-keygen -lf /run/vm2-test/unfelt.pub | cut -d' ' -f2); "
		   "vm2 key add touched /run/vm2-test/unfelt.pub --no-touch-required");
		cr_assert_eq(with_soft_key("unfelt"), 0, "%s", type);
	}
	certified_authenticators();
}

Test(credentials, a_key_forwards_where_it_may)
{
	tenant_ready("led");
	add_key("led", "one", "--permit-open localhost:7777");
	ok("rm -f /run/vm2-test/none; ssh-keygen -q -t ed25519 -N '' -f /run/vm2-test/none; "
	   "sed 's/^/no-port-forwarding,no-pty /' /run/vm2-test/none.pub >/run/vm2-test/line; "
	   "vm2 key add led /run/vm2-test/line");
	assert_status(ssh("led", "", "for p in 7777 7778; do setsid sh -c \"while :; do echo hello | "
				     "nc -N -l 127.0.0.1 $p; done\" >/dev/null 2>&1 </dev/null & done"), 0);
	for (int port = 7777; port <= 7778; port++)
		wait_for(20, "ssh %s -W localhost:%d led@127.0.0.1 </dev/null | grep -q hello", ssh_options,
			 port);
	cr_assert_str_eq(with_key("led", "one", "-W localhost:7777").out, "hello\n");
	cr_assert_str_eq(with_key("led", "one", "-W localhost:7778").out, "");
	cr_assert_str_eq(with_key("led", "none", "-W localhost:7777").out, "");
	assert_status(with_key("led", "none", "-o ExitOnForwardFailure=yes -R 7779:localhost:22 true"), 255);
	assert_status(with_key("led", "none", "true"), 0);
	ok("vm2 tenant set led --forwarding no");
	cr_assert_str_eq(sh("ssh %s -W localhost:7778 led@127.0.0.1 </dev/null", ssh_options).out, "");
	assert_status(ssh("led", "", "true"), 0);
}

Test(credentials, an_old_password_is_changed_at_the_door)
{
	struct result r;

	tenant_ready("aged");
	ok("echo 'right horse' | vm2 tenant passwd aged");
	ok("vm2 tenant set aged --change-password 1");
	assert_status(person("aged", "password {right horse} current {right horse} new {other horse} "
				     "retype {other horse}"),
		      0);
	cr_assert_eq(by_password("aged", "other horse"), 0);
	ok("vm2 tenant set aged --expires 2020-01-01");
	cr_assert_neq(by_password("aged", "other horse"), 0);
	/* Who has shown who they are is told why they are not let in, and nobody else. */
	r = ssh("aged", "-o LogLevel=INFO", "true");
	assert_status(r, 255);
	assert_has(r.err, "this account has expired");
	assert_lacks(with_key("aged", "other-key", "-o LogLevel=DEBUG1 true").err, "expired");
	ok("vm2 tenant set aged --expires never --sources 192.0.2.0/24");
	r = ssh("aged", "-o LogLevel=INFO", "true");
	assert_status(r, 255);
	assert_has(r.err, "this account may not log in from where you are");
}

Test(credentials, three_wrong_ones_lock_until_staff_or_time_unlocks)
{
	tenant_ready("guessed");
	ok("echo 'right horse' | vm2 tenant passwd guessed");
	for (int i = 0; i < 3; i++)
		cr_assert_neq(by_password("guessed", "wrong"), 0);
	cr_assert_neq(by_password("guessed", "right horse"), 0);
	assert_has(ok("vm2 tenant show guessed --json"), "\"failures\": 3");
	/* So it is at every other door that asks PAM. */
	assert_status(sh("echo 'right horse' | pamtester -I rhost=127.0.0.1 vm2-gateway guessed authenticate"), 1);
	/* Keys are never locked. */
	assert_status(ssh("guessed", "", "true"), 0);
	ok("vm2 tenant unlock guessed --source 127.0.0.1");
	ok("echo 'right horse' | pamtester -I rhost=127.0.0.1 vm2-gateway guessed authenticate");
	cr_assert_eq(by_password("guessed", "right horse"), 0);
}

Test(credentials, the_hosts_programs_know_tenants_and_their_guests)
{
	tenant_ready("named");
	assert_status(ssh("named", "", "true"), 0);
	assert_has(ok("getent passwd named"), ":VM2 tenant:/var/lib/vm2/empty:/usr/bin/vm2-shell");
	assert_has(ok("getent group named"), "named:*:");
	cr_assert_str_eq(ok("getent shadow named"), "named:*:::::::");
	assert_has(ok("id named"), "(named)");
	assert_has(ok("getent passwd"), "\nnamed:");
	cr_assert_str_eq(ok("python3 -c 'import pwd, grp; "
			    "print(pwd.getpwnam(\"named\").pw_shell, grp.getgrnam(\"named\").gr_name)'"),
			 "/usr/bin/vm2-shell named");
	cr_assert_str_eq(ok("getent passwd $(($(vm2 tenant show named --json | jq .uid_base) + 1000)) | "
			    "cut -d: -f1"),
			 "named+1000");
	ok("touch /var/tmp/theirs && chown named:named /var/tmp/theirs");
	assert_has(ok("ls -l /var/tmp/theirs"), " named named ");
	cr_assert_str_eq(ok("find /var/tmp -maxdepth 1 -user named"), "/var/tmp/theirs");
	assert_has(ok("ps -eo user:20,comm"), "named+0");
}

/* What getent on the host has as gecos of an id inside the guest. */
static const char *gecos(const char *tenant, int id)
{
	return ok("getent passwd %s+%d | cut -d: -f5", tenant, id);
}

/* At the end of a session, at a stop and at a start; whatever the guest's root makes of the file. */
Test(credentials, accounts_inside_a_guest_have_their_names_outside)
{
	tenant_ready("within");
	assert_status(ssh("within", "", "true"), 0);
	cr_assert_str_eq(gecos("within", 0), "root");
	cr_assert_str_eq(gecos("within", 33), "www-data");
	cr_assert_str_eq(gecos("within", 1000), "VM2 guest user");
	assert_status(ssh("within", "", "useradd -u 1000 alice"), 0);
	wait_for(60, "getent passwd within+1000 | grep -q :alice:");
	ok("vm2 guest exec within -- sh -c 'useradd -u 1001 bob; echo evil:x:x >>/etc/passwd'");
	ok("vm2 guest stop within");
	cr_assert_str_eq(gecos("within", 1001), "bob");
	ok("vm2 guest start within");
	/* What is no regular file, or too long, says nothing, and nobody waits for it. */
	ok("vm2 guest exec within -- sh -c 'cp /etc/passwd /root/; ln -sf /root/passwd /etc/passwd'");
	wait_for(60, "getent passwd within+1001 | grep -q ':VM2 guest user:'");
	ok("vm2 guest exec within -- sh -c 'rm /etc/passwd; cp /root/passwd /etc/'");
	wait_for(60, "getent passwd within+1001 | grep -q :bob:");
	ok("vm2 guest exec within -- sh -c 'rm /etc/passwd; mkfifo /etc/passwd'");
	wait_for(60, "getent passwd within+1001 | grep -q ':VM2 guest user:'");
	ok("vm2 guest exec within -- sh -c 'rm /etc/passwd; cp /root/passwd /etc/'");
	wait_for(60, "getent passwd within+1001 | grep -q :bob:");
	ok("vm2 guest exec within -- sh -c 'yes | head -c 100000 >>/etc/passwd'");
	wait_for(60, "getent passwd within+1001 | grep -q ':VM2 guest user:'");
	ok("vm2 guest exec within -- rm /etc/passwd");
	ok("vm2 guest stop within");
	cr_assert_str_eq(gecos("within", 0), "VM2 guest user");
	/* The rest of the host is none the worse. */
	cr_assert_str_eq(ok("getent passwd within | cut -d: -f5"), "VM2 tenant");
}

Test(credentials, sudo_and_su_end_in_the_guest)
{
	tenant_shared("named");
	cr_assert_str_eq(ok("sudo -u named -i hostname"), "named");
	cr_assert_str_eq(ok("env LD_PRELOAD=/x IFS=x PATH=/x LC_ALL=$(printf '\\377') "
			    "/usr/sbin/runuser -u named -- /usr/bin/vm2-shell -c hostname"),
			 "named");
	assert_status(sh("runuser -u nobody -- /usr/bin/vm2-shell -c true"), 4);
}
