/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an auditor finds afterwards. */
#include <string.h>

#include "tests/integration/lib.h"

TestSuite(evidence, .timeout = 240);

/* A terminal session that shows a line, and its id. */
static const char *recorded(const char *text)
{
	tenant_shared("audited");
	struct result r = ssh("audited", "-tt", "stty -echo; printf '%s\\n'", text);

	assert_status(r, 0);
	wait_for(10, "vm2 session list --tenant audited --json | jq -e '.[0].state == \"closed\"'");
	return ok("vm2 session list --tenant audited --json | jq -r '.[0].id'");
}

Test(evidence, a_terminal_is_recorded_and_replayed)
{
	const char *id = recorded("seen-by-the-auditor \xc3\xa9\xe2\x82\xac");
	const char *file;

	assert_has(ok("vm2 session replay %s", id), "seen-by-the-auditor \xc3\xa9\xe2\x82\xac");
	file = ok("ls /var/lib/vm2/sessions/audited/%s/000000.cast", id);
	assert_has(ok("script -qec 'asciinema cat %s' /dev/null", file), "seen-by-the-auditor \xc3\xa9\xe2\x82\xac");
	ok("script -qec 'timeout 20 asciinema play -i 0.1 %s' /dev/null | grep -q seen-by", file);
	cr_assert_str_eq(ok("head -1 %s | jq .version", file), "2");
	cr_assert_str_eq(ok("vm2 session show %s --json | jq -r '.tenant, .kind, .recorded'", id),
			 "audited\nexec\ntrue");
}

Test(evidence, the_ledger_has_the_start_and_the_end)
{
	const char *id = recorded("x");

	ok("cat /var/lib/vm2/ledger/entries* 2>/dev/null >/run/vm2-test/ledger || "
	   "find /var/lib/vm2/ledger -type f -exec cat {} + >/run/vm2-test/ledger");
	cr_assert_str_eq(ok("grep -ao '\"session\":\"%s\"' /run/vm2-test/ledger | wc -l", id), "2");
}

Test(evidence, the_credential_is_known)
{
	const char *id = recorded("x");

	assert_has(ok("vm2 session show %s --json", id),
		   ok("ssh-keygen -lf /run/vm2-test/key.pub | cut -d' ' -f2"));
}

Test(evidence, commands_without_a_terminal_leave_counts)
{
	tenant_shared("audited");
	assert_status(ssh("audited", "", "head -c 12345 /dev/zero; exit 3"), 3);
	wait_for(10, "vm2 session list --tenant audited --json | jq -e '.[0].state == \"closed\"'");
	cr_assert_str_eq(ok("vm2 session list --tenant audited --json | "
			    "jq -r '.[0] | .command, .bytes_out, .status, .recorded'"),
			 "head -c 12345 /dev/zero; exit 3\n12345\n3\nfalse");
}

Test(evidence, staff_do_not_read_recordings_and_auditors_change_nothing)
{
	const char *id = recorded("secret");

	sh("useradd -M -G vm2-staff stan; useradd -M -G vm2-audit anna; useradd -M nora");
	assert_status(sh("setpriv --reuid stan --regid stan --init-groups vm2 session replay %s", id), 4);
	assert_has(ok("setpriv --reuid anna --regid anna --init-groups vm2 session replay %s", id), "secret");
	assert_status(sh("setpriv --reuid anna --regid anna --init-groups vm2 tenant suspend audited"), 4);
	assert_status(sh("setpriv --reuid nora --regid nora --init-groups vm2 tenant list"), 4);
	ok("setpriv --reuid stan --regid stan --init-groups vm2 tenant list");
}

Test(evidence, a_session_row_says_lost_when_its_keeper_was_killed)
{
	tenant_shared("audited");
	ok("ssh -tt %s audited@127.0.0.1 'exec sleep 3210' >/dev/null 2>&1 </dev/zero & ", ssh_options);
	wait_for(20, "pgrep -f '^sleep 3210'");
	ok("kill -9 $(pgrep -f '[v]m2-session .*audited')");
	wait_for(20, "! pgrep -f '^sleep 3210'");
	ok("/usr/libexec/vm2/supervise stop vm2d && /usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(20, "vm2 session list --tenant audited --json | jq -e '.[0].state == \"lost\"'");
}
