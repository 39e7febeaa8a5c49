/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bad input: one clear line, its exit status, and nothing half made. */
#include <string.h>

#include "tests/integration/lib.h"

TestSuite(refusal, .timeout = 240);

static void one_line(struct result r, int status, const char *says)
{
	assert_status(r, status);
	assert_has(r.err, says);
	cr_assert_eq(strchr(r.err, '\n'), strrchr(r.err, '\n'), "more than one line: %s", r.err);
}

Test(refusal, names)
{
	static const char *const names[] = { "a/b", "..", "a\nb", "a23456789012345678901234567890abc",
					     "Acme", "", "-x", "root", "daemon" };

	host_ready();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct result r = sh("vm2 tenant add -- $'%s' </dev/null", strcmp(names[i], "a\nb") ? names[i] : "a\\nb");

		cr_expect(r.status == 2 || r.status == 6, "%s: status %d", names[i], r.status);
		cr_expect_eq(strchr(r.err, '\n'), strrchr(r.err, '\n'), "%s: %s", names[i], r.err);
		cr_expect_gt(strlen(r.err), 10, "%s", names[i]);
	}
}

Test(refusal, a_second_tenant_of_the_name)
{
	tenant_ready("twice");
	one_line(sh("vm2 tenant add twice --key /run/vm2-test/key.pub"), 6, "twice");
}

Test(refusal, unknown_things)
{
	host_ready();
	one_line(sh("vm2 tenant show nobody"), 3, "nobody");
	one_line(sh("vm2 tenant add pl --plan nosuch"), 3, "nosuch");
	assert_status(sh("vm2 tenant show pl"), 3);
	one_line(sh("vm2 key remove nobody SHA256:x"), 3, "nobody");
	one_line(sh("vm2 session replay nosuch"), 3, "nosuch");
	assert_status(sh("vm2 nonsense"), 2);
	assert_status(sh("vm2 tenant frobnicate"), 2);
	assert_status(sh("vm2 tenant add x --frob"), 2);
}

Test(refusal, keys_that_are_none)
{
	host_ready();
	sh("vm2 tenant remove --yes keyless");
	one_line(sh("vm2 tenant add keyless --key /run/vm2-test/key"), 2, "private");
	one_line(sh("vm2 tenant add keyless --key /nonexistent"), 3, "/nonexistent");
	one_line(sh("echo 'ssh-ed25519 AAAA' >/tmp/k; vm2 tenant add keyless --key /tmp/k"), 2, "key");
	assert_status(sh("vm2 tenant show keyless"), 3);
}

Test(refusal, strangers_over_ssh_get_the_standard_words)
{
	const char *strangers;
	struct result r;

	tenant_ready("known");
	r = ssh("unknown-tenant", "", "true");
	assert_status(r, 255);
	assert_has(r.err, "Permission denied (");
	strangers = strchr(r.err, '@');
	r = sh("ssh -F none -p 2222 -i /run/vm2-test/other-key -o IdentitiesOnly=yes -o BatchMode=yes "
	       "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR known@127.0.0.1 true");
	assert_status(r, 255);
	cr_assert_str_eq(strchr(r.err, '@'), strangers);
	ok("echo 'right pass word' | vm2 tenant passwd known");
	r = sh("sshpass -p wrong ssh -F none -p 2222 -o PubkeyAuthentication=no -o StrictHostKeyChecking=no "
	       "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR known@127.0.0.1 true");
	cr_assert(r.status == 5 || r.status == 255, "%d %s", r.status, r.err);
	assert_status(sh("vm2 guest show known"), 3);
}

Test(refusal, too_many_tries_end_the_connection)
{
	struct result r;

	tenant_ready("tries");
	ok("for i in 1 2 3 4 5 6 7; do ssh-keygen -q -t ed25519 -N '' -f /run/vm2-test/bad$i <<<y; done");
	r = sh("ssh -F none -p 2222 -o BatchMode=yes -o StrictHostKeyChecking=no -o IdentitiesOnly=yes "
	       "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "
	       "$(printf -- '-i /run/vm2-test/bad%%d ' 1 2 3 4 5 6 7) tries@127.0.0.1 true");
	assert_status(r, 255);
	assert_has(r.err, "too many failed attempts");
}

Test(refusal, a_crowd_at_the_door_is_told)
{
	struct result r;

	host_ready();
	/* As many silent connections as may be unauthenticated at once; then one more. */
	ok("printf '[gateway]\nmax-starting = 5\nlisten = 127.0.0.1:2299\n' >/etc/vm2/crowd.conf");
	ok("/usr/libexec/vm2/supervise start crowd -- vm2-gateway --config /etc/vm2/crowd.conf");
	wait_for(20, "ss -Hltn 'sport = 2299' | grep -q 2299");
	ok("for i in 1 2 3 4 5; do sleep 20 | nc 127.0.0.1 2299 >/dev/null & done");
	wait_for(20, "test $(ss -Htn state established 'sport = 2299' | wc -l) = 5");
	r = sh("timeout 5 nc 127.0.0.1 2299 </dev/null");
	ok("pkill -x nc; /usr/libexec/vm2/supervise stop crowd");
	assert_has(r.out, "vm2: ");
	assert_lacks(r.out, "SSH-2.0");
}

Test(refusal, a_banner_comes_first_and_who_waits_has_to_go)
{
	struct result r;

	tenant_ready("greeted");
	ok("printf 'Authorised use alone.\\n' >/etc/vm2/issue; printf '[gateway]\\nlisten = 127.0.0.1:2296\\n"
	   "login-grace = 2\\nbanner = /etc/vm2/issue\\nmax-per-source = 2\\npenalty-exempt = 192.0.2.1\\n' "
	   ">/etc/vm2/greeting.conf; "
	   "/usr/libexec/vm2/supervise start greeting -- vm2-gateway --config /etc/vm2/greeting.conf");
	wait_for(20, "ss -Hltn 'sport = 2296' | grep -q 2296");
	r = ssh("greeted", "-p 2296 -o LogLevel=INFO", "true");
	assert_status(r, 0);
	assert_has(r.err, "Authorised use alone.");
	assert_has(ssh("nobody-here", "-p 2296 -o LogLevel=INFO", "true").err, "Authorised use alone.");
	/* Two say nothing; a third from there is told so; then their time is over. */
	ok("for i in 1 2; do sleep 60 | nc 127.0.0.1 2296 >/dev/null & echo $! >>/run/vm2-test/silent; done");
	wait_for(20, "test $(ss -Htn state established 'sport = 2296' | wc -l) = 2");
	r = sh("timeout 5 nc 127.0.0.1 2296 </dev/null");
	wait_for(20, "! ss -Htn state established 'sport = 2296' | grep -q .");
	sh("xargs kill </run/vm2-test/silent; rm /run/vm2-test/silent");
	ok("/usr/libexec/vm2/supervise stop greeting");
	assert_has(r.out, "vm2: too many connections from where you are");
}

Test(refusal, a_tenant_has_as_many_sessions_as_its_plan_allows)
{
	struct result r;

	tenant_ready("counted");
	ok("vm2 tenant set counted --sessions 1");
	ok("ssh %s counted@127.0.0.1 'echo in; sleep 60' >/run/vm2-test/counted 2>&1 </dev/null &", ssh_options);
	wait_for(20, "grep -q in /run/vm2-test/counted");
	r = ssh("counted", "", "true");
	assert_has(r.err, "as many as its plan allows");
	cr_assert_neq(r.status, 0);
	ok("vm2 tenant set counted --sessions 2");
	assert_status(ssh("counted", "", "true"), 0);
	ok("vm2 guest stop counted");
}

/* While its guest starts, which is held for as long as it takes to find it. */
Test(refusal, a_session_that_was_killed_before_it_began_counts_no_more)
{
	tenant_ready("early");
	ok("vm2 tenant set early --sessions 1; rm -f /run/vm2-test/early");
	wait_for(20, "pgrep -x vm2-guest-next");
	ok("kill -STOP $(pgrep -x vm2-guest-next) && { vm2 guest exec early -- true >/run/vm2-test/early 2>&1 </dev/null; "
	   "echo $? >>/run/vm2-test/early; } &");
	wait_for(20, "pgrep -f '[v]m2-session .*early'");
	ok("kill -9 $(pgrep -f '[v]m2-session .*early') && kill -CONT $(pgrep vm2-guest -r T)");
	wait_for(
		20,
		"grep -q '^1$' /run/vm2-test/early && grep -q 'killed before it began' /run/vm2-test/early");
	cr_assert_str_eq(ok("vm2 session list --tenant early --json | jq -r '.[].state'"), "lost");
	assert_status(ssh("early", "", "true"), 0);
}

Test(refusal, a_suspended_tenant_is_told_why)
{
	struct result r;

	tenant_ready("debtor");
	assert_status(ssh("debtor", "", "true"), 0);
	ok("vm2 tenant suspend debtor --reason 'unpaid invoice 17'");
	/* As a banner, which stock ssh shows at its normal log level. */
	r = ssh("debtor", "-o LogLevel=INFO", "true");
	cr_assert_neq(r.status, 0);
	assert_has(r.err, "suspended: unpaid invoice 17");
	cr_assert_str_eq(ok("vm2 guest show debtor --json | jq -r .state"), "stopped");
	ok("vm2 tenant resume debtor");
	assert_status(ssh("debtor", "", "true"), 0);
}

Test(refusal, a_missing_template_is_told_and_leaves_nothing)
{
	struct result r;

	host_ready();
	sh("vm2 tenant remove --yes bare");
	ok("vm2 tenant add bare --key /run/vm2-test/key.pub --template debian");
	ok("mv /var/lib/vm2/templates/debian /var/lib/vm2/templates/debian.away");
	r = ssh("bare", "", "true");
	ok("mv /var/lib/vm2/templates/debian.away /var/lib/vm2/templates/debian");
	cr_assert_neq(r.status, 0);
	assert_has(r.err, "template");
	assert_status(sh("vm2 guest show bare"), 3);
	ok("! test -e /var/lib/vm2/guests/bare");
	assert_status(ssh("bare", "", "true"), 0);
}

Test(refusal, an_unreachable_vm2d_is_told)
{
	tenant_ready("waiting");
	ok("/usr/libexec/vm2/supervise stop vm2d");
	struct result r = sh("vm2 tenant list"), s = ssh("waiting", "", "true");

	ok("/usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(20, "vm2 host status");
	one_line(r, 5, "vm2d");
	assert_status(s, 255);
	assert_status(ssh("waiting", "", "true"), 0);
}

Test(refusal, a_malformed_configuration_is_named_with_its_line)
{
	host_ready();
	ok("printf '[network]\\nmtu = lots\\n' >/tmp/bad.conf");
	one_line(sh("vm2 --config /tmp/bad.conf tenant list"), 2, "/tmp/bad.conf:2");
	one_line(sh("vm2d --config /tmp/bad.conf"), 2, "/tmp/bad.conf:2");
	one_line(sh("vm2-gateway --config /tmp/bad.conf"), 2, "/tmp/bad.conf:2");
	ok("printf '[gateway]\\nmacs = hmac-sha2-256-etm@openssh.com hmac-sha1\\n' >/tmp/bad.conf");
	one_line(sh("vm2-gateway --check --config /tmp/bad.conf"), 2, "is to be made of these: hmac-sha2-256-etm");
	assert_status(sh("vm2 --config /nonexistent tenant list"), 3);
}

Test(refusal, a_full_pool_of_addresses_is_told)
{
	struct result r;

	host_ready();
	/* A second instance on the same host, whose pool has room for one guest. */
	ok("mkdir -p /var/lib/vm2/second && printf '[instance]\\nname = second\\n[paths]\\n"
	   "state = /var/lib/vm2/second\\nrun = /run/second\\n[network]\\npool4 = 10.99.0.0/30\\npool6 =\\n"
	   "[uids]\\naccount-base = 1890000000\\nguest-base = 1500000000\\nguest-count = 100\\n' "
	   ">/etc/vm2/second.conf && mkdir -p /run/second");
	ok("/usr/libexec/vm2/supervise start second -- vm2d --config /etc/vm2/second.conf");
	wait_for(20, "vm2 --config /etc/vm2/second.conf host status");
	ok("vm2 --config /etc/vm2/second.conf template import debian \"$VM2_TEMPLATE_TREE\"");
	ok("for t in one two; do vm2 --config /etc/vm2/second.conf tenant add $t; done");
	ok("vm2 --config /etc/vm2/second.conf guest start one");
	r = sh("vm2 --config /etc/vm2/second.conf guest start two");
	assert_status(sh("vm2 --config /etc/vm2/second.conf guest show two"), 3);
	ok("for t in one two; do vm2 --config /etc/vm2/second.conf tenant remove --yes $t; done");
	ok("/usr/libexec/vm2/supervise stop second");
	one_line(r, 5, "full");
}

Test(refusal, host_check_says_what_is_there)
{
	struct result r;

	host_ready();
	ok("vm2 host check");
	ok("vm2 host check --json | jq -e 'length > 8'");
	/* The number is the whole machine's: another is shown to this host. */
	ok("echo 1 >/run/vm2-test/one && mount --bind /run/vm2-test/one /proc/sys/fs/suid_dumpable");
	r = sh("vm2 host check");
	ok("umount /proc/sys/fs/suid_dumpable");
	assert_status(r, 1);
	assert_has(r.out, "fs.suid_dumpable is 1");
	for (const char *const *n = (const char *const[]){ "212992 ok", "4194304 missing", NULL }; *n; n++)
		ok("set -- %s; echo $1 >/run/vm2-test/one && mount --bind /run/vm2-test/one /proc/sys/net/core/rmem_max; "
		   "vm2 host check --json | jq -e --arg s $2 '.[] | select(.name == \"socket-buffers\").state == $s'; r=$?; "
		   "umount /proc/sys/net/core/rmem_max; exit $r", *n);
}
