/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other doors, set up as docs/DOORS says: a stock sshd and su lead to the same guest. */
#include <string.h>

#include "tests/integration/lib.h"

TestSuite(doors, .timeout = 240);

static const char to_sshd[] = "-F none -p 2201 -i /run/vm2-test/key -o IdentitiesOnly=yes "
			      "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "
			      "-o LogLevel=ERROR";

static void ready(void)
{
	host_ready();
	if (sh("vm2 tenant show doored").status != 0)
		tenant_ready("doored");
	if (sh("ss -Hltn 'sport = 2201' | grep -q 2201").status == 0)
		return;
	ok("mkdir -p /run/sshd; sed -n '/^A STOCK SSHD$/,/^PAM$/{/^    /s/^    //p}' "
	   "$VM2_SOURCE/docs/DOORS >/run/vm2-test/sshd_config");
	ok("sed -n '/^PAM$/,/^WHAT/{/^    /s/^    //p}' $VM2_SOURCE/docs/DOORS >/run/vm2-test/pam");
	ok("cat /run/vm2-test/pam /etc/pam.d/sshd >/run/vm2-test/pam.sshd && cp /run/vm2-test/pam.sshd /etc/pam.d/sshd");
	ok("sed -i '/pam_rootok.so/r /run/vm2-test/pam' /etc/pam.d/su");
	ok("ssh-keygen -q -t ed25519 -N '' -f /run/vm2-test/sshd_key <<<y");
	ok("/usr/sbin/sshd -p 2201 -f /run/vm2-test/sshd_config -h /run/vm2-test/sshd_key "
	   "-E /run/vm2-test/sshd.log -o PidFile=/run/vm2-test/sshd.pid");
	wait_for(10, "ss -Hltn 'sport = 2201' | grep -q 2201");
}

Test(doors, sshd_lets_a_key_in_to_the_guest)
{
	ready();
	cr_assert_str_eq(ok("ssh -o BatchMode=yes %s doored@127.0.0.1 'id -u; hostname'", to_sshd),
			 "0\ndoored");
	assert_status(sh("ssh -o BatchMode=yes %s doored@127.0.0.1 'exit 9'", to_sshd), 9);
	/* The same guest as through the gateway. */
	cr_assert_str_eq(ok("ssh %s doored@127.0.0.1 readlink /proc/self/ns/pid", to_sshd),
			 ok("ssh %s doored@127.0.0.1 readlink /proc/self/ns/pid", ssh_options));
	assert_has(ok("vm2 session list --tenant doored --json"), "\"shell\"");
}

Test(doors, sshd_refuses_a_strangers_key)
{
	ready();
	assert_status(sh("ssh -o BatchMode=yes %s -o IdentityFile=none -i /run/vm2-test/other-key "
			 "-o IdentitiesOnly=yes doored@127.0.0.1 true",
			 "-F none -p 2201 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"),
		      255);
}

Test(doors, sshd_takes_a_password)
{
	ready();
	ok("echo 'a long pass phrase' | vm2 tenant passwd doored");
	cr_assert_str_eq(ok("sshpass -p 'a long pass phrase' ssh %s -o PubkeyAuthentication=no "
			    "doored@127.0.0.1 hostname",
			    to_sshd),
			 "doored");
	cr_assert_neq(sh("sshpass -p wrong ssh %s -o PubkeyAuthentication=no doored@127.0.0.1 hostname",
			 to_sshd)
			      .status,
		      0);
}

Test(doors, sshd_moves_files_and_forwards_nothing)
{
	ready();
	ok("head -c 300000 /dev/urandom >/var/tmp/f && echo 'put /var/tmp/f /root/f' | "
	   "sftp -q -b - $(echo '%s' | sed 's/-p /-P /') doored@127.0.0.1",
	   to_sshd);
	cr_assert_str_eq(ok("ssh %s doored@127.0.0.1 sha256sum /root/f | cut -c1-64", to_sshd),
			 ok("sha256sum /var/tmp/f | cut -c1-64"));
	cr_assert_neq(sh("echo x | timeout 10 ssh %s -W 127.0.0.1:2222 doored@127.0.0.1", to_sshd).status,
		      0);
}

Test(doors, sshd_still_serves_the_hosts_own_accounts)
{
	ready();
	ok("id plain || useradd -m -s /bin/bash plain; install -d -m 700 -o plain /home/plain/.ssh; "
	   "install -m 600 -o plain /run/vm2-test/key.pub /home/plain/.ssh/authorized_keys");
	cr_assert_str_eq(ok("ssh -o BatchMode=yes %s plain@127.0.0.1 id -un", to_sshd), "plain");
}

Test(doors, a_suspended_tenant_finds_all_closed)
{
	ready();
	sh("vm2 tenant remove --yes shut");
	ok("vm2 tenant add shut --key /run/vm2-test/key.pub");
	ok("vm2 tenant suspend shut --reason 'gone away'");
	cr_assert_neq(sh("ssh -o BatchMode=yes %s shut@127.0.0.1 true", to_sshd).status, 0);
	cr_assert_neq(sh("su - shut -c true </dev/null").status, 0);
	assert_status(sh("vm2 guest show shut"), 3);
}

Test(doors, su_leads_into_the_guest)
{
	ready();
	cr_assert_str_eq(ok("su - doored -c 'hostname; id -u' </dev/null"), "doored\n0");
	assert_status(sh("su - doored -c 'exit 6' </dev/null"), 6);
}
