/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From onboarding to a root prompt, and again: with stock ssh. */
#include <string.h>

#include "tests/integration/lib.h"

TestSuite(login, .timeout = 240);

Test(login, onboarding_makes_nothing_but_the_account)
{
	tenant_ready("onboard");
	cr_assert_str_eq(ok("vm2 guest list --json | tr -d ' \\n' | grep -c onboard || true"), "0");
	assert_has(ok("getent passwd onboard"), "/usr/bin/vm2-shell");
	ok("! test -e /var/lib/vm2/guests/onboard");
}

Test(login, the_first_one_ends_as_root_in_ones_own_guest)
{
	struct result r;

	tenant_ready("first");
	r = ssh("first", "", "id -u; hostname; cat /proc/self/uid_map; ip -br address show eth0");
	assert_status(r, 0);
	cr_assert_eq(strncmp(r.out, "0\nfirst\n", 8), 0, "%s", r.out);
	assert_has(r.out, "10.82.");
	assert_lacks(r.out, " 4294967295");
	cr_assert_str_eq(r.err, "", "a program sees nothing but its own output: %s", r.err);
	cr_assert_str_eq(ok("vm2 guest list --json | jq -r '.[] | select(.name==\"first\").state'"),
			 "running");
}

Test(login, the_second_one_finds_files_and_processes)
{
	tenant_ready("second");
	assert_status(ssh("second", "",
			  "echo kept > /root/file; setsid sleep 4321 >/dev/null 2>&1 </dev/null & "), 0);
	struct result r = ssh("second", "", "cat /root/file; ps ax | grep -c '[s]leep 4321'");

	assert_status(r, 0);
	cr_assert_str_eq(r.out, "kept\n1\n");
}

Test(login, ten_first_ones_at_once_make_one_guest_and_ten_shells)
{
	tenant_ready("ten");
	ok("for i in $(seq 10); do ssh %s ten@127.0.0.1 'echo shell; readlink /proc/1/ns/pid' "
	   ">/run/vm2-test/ten.$i 2>&1 & done; wait",
	   ssh_options);
	cr_assert_str_eq(ok("cat /run/vm2-test/ten.* | grep -c '^shell$'"), "10");
	cr_assert_str_eq(ok("cat /run/vm2-test/ten.* | grep '^pid:' | sort -u | wc -l"), "1");
	cr_assert_str_eq(ok("vm2 guest list --json | jq '[.[] | select(.name==\"ten\")] | length'"), "1");
}

Test(login, by_password_and_by_keyboard_interactive)
{
	host_ready();
	sh("vm2 tenant remove --yes pass");
	ok("vm2 tenant add pass");
	ok("echo 'correct horse 7' | vm2 tenant passwd pass");
	for (int i = 0; i < 2; i++) {
		const char *method = i ? "keyboard-interactive" : "password";

		cr_assert_str_eq(ok("sshpass -p 'correct horse 7' ssh -p 2222 -o PubkeyAuthentication=no "
				    "-o PreferredAuthentications=%s -o UserKnownHostsFile=/dev/null "
				    "-o StrictHostKeyChecking=no -o LogLevel=ERROR pass@127.0.0.1 id -un",
				    method),
				 "root");
	}
}

Test(login, names_resolve_on_the_host)
{
	tenant_ready("named");
	assert_status(ssh("named", "", "true"), 0);
	cr_assert_str_eq(ok("id -un $(id -u named)"), "named");
	assert_has(ok("getent group named"), "named:");
	assert_has(ok("getent shadow named"), "named:*");
	/* The guest's processes are called by whose they are. */
	assert_has(ok("ps -eo user:40 | sort -u"), "named+0");
	ok("vm2 tenant remove --yes named");
	assert_status(sh("getent passwd named"), 2);
}

Test(login, on_a_terminal_there_is_a_prompt_and_one_line_of_progress)
{
	struct result r;

	tenant_ready("prompt");
	r = sh("printf 'echo in-$((40+2))\\nexit 7\\n' | script -qec \"ssh -tt %s prompt@127.0.0.1\" /dev/null",
	       ssh_options);
	assert_status(r, 7);
	assert_has(r.out, "root@prompt");
	assert_has(r.out, "in-42");
}
