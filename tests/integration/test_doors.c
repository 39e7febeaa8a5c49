/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other doors, opened as docs/DOORS says: a stock sshd, su, login, sudo and cron. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "tests/integration/lib.h"

TestSuite(doors, .timeout = 240);

static const char to_sshd[] = "-F none -p 2201 -i /run/vm2-test/key -o IdentitiesOnly=yes "
			      "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "
			      "-o LogLevel=ERROR";

/* Their syslog is ours to read; sshd has its stock settings until the doors are opened. */
static void open_doors(void)
{
	ok("setsid python3 $VM2_SOURCE/tests/integration/syslog.py /run/vm2-test/syslog "
	   "</dev/null >/dev/null 2>&1 & ssh-keygen -A; mkdir -p /run/sshd");
	wait_for(10, "test -S /dev/log");
	ok("/usr/sbin/sshd -p 2201");
	/* Set up, the host has its own programs told of tenants, and sshd not. */
	ok("/usr/libexec/vm2/doors open --local");
	ok("for i in su login cron atd; do grep -qx '@include vm2-doors' /etc/pam.d/$i || exit 1; done; "
	   "! grep vm2 /etc/pam.d/sshd && vm2 host check | grep -E '^doors +ok'");
	ok("sed -i /vm2-doors/d /etc/pam.d/atd");
	assert_has(sh("vm2 host check").out, "/etc/pam.d/atd has no line '@include vm2-doors'");
	ok("/usr/libexec/vm2/doors close");
	ok("cp -a /etc/pam.d /run/vm2-test");
	/* Closed again, the host is as it was. */
	ok("/usr/libexec/vm2/doors open && /usr/libexec/vm2/doors close && /usr/libexec/vm2/doors close");
	ok("diff -r /etc/pam.d /run/vm2-test/pam.d && test ! -e /etc/ssh/sshd_config.d/vm2.conf");
	ok("id plain || useradd -m -s /bin/bash plain");
	ok("/usr/libexec/vm2/doors open && /usr/libexec/vm2/doors open");
	ok("vm2 tenant add doored --key /run/vm2-test/key.pub && "
	   "echo 'a long pass phrase' | vm2 tenant passwd doored");
	wait_for(20, "ssh -o BatchMode=yes %s doored@127.0.0.1 true", to_sshd);
	ok("touch /run/vm2-test/doored");
}

/* Tests run side by side: the first one opens. */
static void ready(void)
{
	CLEANUP_CLOSE int lock = -1;

	host_ready();
	lock = open("/run/vm2-test/doors.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert(lock >= 0 && flock(lock, LOCK_EX) == 0);
	if (access("/run/vm2-test/doored", F_OK) != 0)
		open_doors();
}

/*
 * Somebody at a terminal: starts a program, and goes on as the script in expect(1) says, and
 * ends with the program. Quotes in it are double ones. login of Debian 13 hangs the line up before
 * it asks (vhangup(2)), which can look like its end: then it is tried again.
 */
static struct result at_terminal(const char *program, const char *script)
{
	struct result r;
	int left = 5;

	do
		r = sh("timeout -k 1 60 expect -c 'set timeout 30; proc say {what} { send \"$what\\r\" }; "
		  "proc await {what} { expect -nocase -re $what {} timeout { exit 98 } eof { exit 97 } }; "
		  "proc ends {} { expect eof {} timeout { exit 96 }; catch wait r; exit [lindex $r 3] }; "
		  "spawn %s; %s; ends'",
		  program, script);
	while (r.status == 97 && !strstr(r.out, "assword") && --left > 0);
	return r;
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

Test(doors, sshd_takes_a_certificate)
{
	ready();
	ok("cd /run/vm2-test && rm -f mine* ca ca.pub && for k in mine ca; do ssh-keygen -q -t ed25519 -N '' -f $k; "
	   "done && vm2 ca add --tenant doored ca.pub && ssh-keygen -q -s ca -I me -n doored mine.pub");
	static const char login[] = "ssh -o BatchMode=yes -i /run/vm2-test/mine $(echo '%s' | sed 's,-i [^ ]*,,') "
				    "doored@127.0.0.1 hostname";

	cr_assert_str_eq(ok(login, to_sshd), "doored");
	ok("cd /run/vm2-test && ssh-keygen -q -s ca -I me -n somebody mine.pub");
	assert_status(sh(login, to_sshd), 255);
	ok("vm2 ca remove $(vm2 ca list --json | jq '.[0].id')");
}

Test(doors, sshd_takes_a_password)
{
	ready();
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
	/* A guest that has no sftp-server any more. */
	ok("ssh %s doored@127.0.0.1 'mv /usr/lib/openssh/sftp-server /root/kept; rm /root/f'", to_sshd);
	ok("echo 'put /var/tmp/f /root/f' | sftp -q -b - $(echo '%s' | sed 's/-p /-P /') doored@127.0.0.1",
	   to_sshd);
	cr_assert_str_eq(ok("ssh %s doored@127.0.0.1 'mv /root/kept /usr/lib/openssh/sftp-server; "
			    "sha256sum /root/f' | cut -c1-64", to_sshd),
			 ok("sha256sum /var/tmp/f | cut -c1-64"));
	cr_assert_neq(sh("echo x | timeout 10 ssh %s -W 127.0.0.1:2222 doored@127.0.0.1", to_sshd).status,
		      0);
}

Test(doors, sshd_still_serves_the_hosts_own_accounts)
{
	ready();
	ok("install -d -m 700 -o plain /home/plain/.ssh; "
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
	assert_status(sh("su doored -c 'kill -TERM $$' </dev/null"), 128 + 15);
}

Test(doors, the_settings_written_are_those_of_the_manual)
{
	ready();
	ok("sed -n '/^    Match User/,/^$/{/^    /s/^    //p}' $VM2_SOURCE/docs/DOORS | sed 's/^Match.*/M/' >/run/vm2-test/a; "
	   "grep -v '^#' /etc/ssh/sshd_config.d/vm2.conf | sed 's/^Match.*/M/' | diff - /run/vm2-test/a");
	ok("sed -n '/^    auth  /,/^$/{/^    /s/^    //p}' $VM2_SOURCE/docs/DOORS >/run/vm2-test/b; "
	   "grep -v '^#' /etc/pam.d/vm2-doors | diff - /run/vm2-test/b");
}

/* A password, then a code: sshd asks both, one after the other. */
Test(doors, sshd_asks_for_a_code)
{
	char program[512], script[256];

	ready();
	sh("vm2 tenant remove --yes codeddoor");
	ok("vm2 tenant add codeddoor --key /run/vm2-test/key.pub");
	ok("echo 'right horse' | vm2 tenant passwd codeddoor");
	snprintf(program, sizeof(program), "ssh %s -o PubkeyAuthentication=no codeddoor@127.0.0.1 hostname",
		 to_sshd);
	snprintf(script, sizeof(script), "await password:; say \"right horse\"; await code:; say %s; await codeddoor",
		 ok("vm2 tenant totp codeddoor --json | jq -r '.recovery[0]'"));
	assert_status(at_terminal(program, script), 0);
}

/* Window, job control and keys belong to the guest; the line's end ends the session. */
Test(doors, login_at_a_terminal_leads_into_the_guest)
{
	struct result r;

	ready();
	r = at_terminal("login doored",
			"await password:; say \"a long pass phrase\"; await \"~#\"; say hostname; await {[\\r\\n]doored}; "
			"exec stty rows 41 columns 101 <$spawn_out(slave,name); "
			"say \"until stty size | grep 41.101; do sleep .1; done\"; await {[\\r\\n]41 101}; "
			"say {sh -c \"echo UP; exec sleep 1000\"}; await {[\\r\\n]UP}; send \\032; await Stopped; "
			"say fg; await {[\\r\\n]sh -c}; set timeout 1; "
			"for {set i 0} {$i < 30} {incr i} { send \\003; expect -re ~# break }; set timeout 30; "
			"say \"echo is-\\$?\"; await is-130; "
			"say \"echo id=\\$VM2_SESSION=\"; await {[\\r\\n]id=1.*=}; say exit");
	cr_assert_eq(r.status, 0, "%d %s", r.status, r.out);
	r = at_terminal("login doored", "await password:; say wrong; await incorrect; exit 55");
	cr_assert_eq(r.status, 55, "%d %s", r.status, r.out);
	/* The terminal goes away without a word. */
	r = at_terminal("login doored", "await password:; say \"a long pass phrase\"; await \"~#\"; "
					"say {exec bash -c \"echo UP; exec -a doors-left sleep 1000\"}; await {[\\r\\n]UP}; close; exit 55");
	cr_assert_eq(r.status, 55, "%d %s", r.status, r.out);
	wait_for(20, "! pgrep -f ^doors-left && ! vm2 session list --tenant doored | grep -w open");
	/* Nothing that anybody typed is in a log. */
	ok("! grep -rlaE -D skip --exclude=lastlog 'a long pass phrase|right horse|other horse' /var/log /run/vm2-test/syslog "
	   "/run/vm2 /var/lib/vm2/ledger /var/lib/vm2/tenants.db*");
}

Test(doors, a_forced_change_happens_at_the_console)
{
	struct result r;

	ready();
	sh("vm2 tenant remove --yes ageddoor");
	ok("vm2 tenant add ageddoor --key /run/vm2-test/key.pub");
	ok("echo 'right horse' | vm2 tenant passwd ageddoor; vm2 tenant set ageddoor --change-password 1");
	r = at_terminal("login ageddoor",
			"await password:; say \"right horse\"; await current; say \"right horse\"; await new; "
			"say \"other horse\"; await retype; say \"other horse\"; await \"~#\"; say exit");
	cr_assert_eq(r.status, 0, "%d %s", r.status, r.out);
	r = at_terminal("login ageddoor", "await password:; say \"other horse\"; await \"~#\"; say exit");
	cr_assert_eq(r.status, 0, "%d %s", r.status, r.out);
}

Test(doors, su_and_sudo_at_a_terminal_pass_the_exit_status)
{
	struct result r;

	ready();
	r = at_terminal("su - doored", "await \"~#\"; say \"hostname; exit 7\"; await {[\\r\\n]doored}");
	cr_assert_eq(r.status, 7, "%d %s", r.status, r.out);
	r = at_terminal("sudo -u doored -i", "await \"~#\"; say \"hostname; exit 8\"; await {[\\r\\n]doored}");
	cr_assert_eq(r.status, 8, "%d %s", r.status, r.out);
	r = at_terminal("runuser -u nobody -- su - doored",
			"await password:; say \"a long pass phrase\"; await \"~#\"; say \"hostname; exit 9\"; "
			"await {[\\r\\n]doored}");
	cr_assert_eq(r.status, 9, "%d %s", r.status, r.out);
	r = at_terminal("runuser -u nobody -- su - doored", "await password:; say wrong; await failure");
	cr_assert_eq(r.status, 1, "%d %s", r.status, r.out);
}

Test(doors, su_at_a_terminal_relays_size_jobs_and_signals)
{
	struct result r;

	ready();
	r = at_terminal("su - doored",
			"await \"~#\"; exec stty rows 33 columns 77 <$spawn_out(slave,name); "
			"say {until [ \"$(stty size)\" = \"33 77\" ]; do :; done; echo SIZED-$((6*7))}; "
			"await SIZED-42; say {bash -c \"echo UP; read x; echo GOT; exec sleep 1002\"}; "
			/* What reads a line again has the terminal again: only then is ^C its own. */
			"await {[\\r\\n]UP}; send \\032; await {Stopped.*~#}; say fg; await sleep; say x; "
			"await {[\\r\\n]GOT}; send \\003; await {~#}; "
			"say {echo LEFT-$?}; await LEFT-130; say {kill -TERM $$; kill -9 $$}");
	cr_assert_eq(r.status, 137, "%d %s", r.status, r.out);
}

/* cron and at run what a job says by the host's own shell: it is refused before. */
Test(doors, cron_runs_nothing_of_a_tenant_on_the_host)
{
	ready();
	ok("rm -f /run/crond.reboot /var/tmp/cron-*");
	ok("echo '@reboot id -un >/var/tmp/cron-plain' | crontab -u plain - && "
	   "echo '@reboot touch /var/tmp/cron-doored' | crontab -u doored - && "
	   "echo '@reboot doored touch /var/tmp/cron-doored' >/etc/cron.d/doored");
	ok("cron");
	wait_for(20, "grep -q plain /var/tmp/cron-plain && "
		     "test $(grep -cE 'CRON.*(failure|denied)' /run/vm2-test/syslog) -ge 2");
	ok("rm -f /var/tmp/at-*; echo 'touch /var/tmp/at-plain' | runuser -u plain -- at -M now && "
	   "echo 'touch /var/tmp/at-doored' | setpriv --reuid doored --regid plain --clear-groups at -M now && "
	   "{ atd -f -b 1 >/var/tmp/at-log 2>&1 & }");
	/* atd looks once a minute for what it has not seen. */
	wait_for(80, "test -e /var/tmp/at-plain && grep -c . /var/tmp/at-log /run/vm2-test/syslog");
	ok("cat /var/tmp/at-log; grep at /run/vm2-test/syslog; atq; ! test -e /var/tmp/at-doored");
	ok("kill $(cat /run/crond.pid); rm -f /etc/cron.d/doored; crontab -u doored -r; crontab -u plain -r");
	ok("cat /run/vm2-test/syslog >&2; test ! -e /var/tmp/cron-doored");
}

/* The module by itself, as any program's. */
Test(doors, pamtester_finds_each_function)
{
	ready();
	ok("echo 'a long pass phrase' | pamtester vm2-gateway doored authenticate acct_mgmt "
	   "'setcred(PAM_ESTABLISH_CRED)' open_session close_session");
	assert_status(sh("echo wrong | pamtester vm2-gateway doored authenticate"), 1);
	assert_status(sh("pamtester vm2-gateway no-such-tenant acct_mgmt"), 1);
	assert_status(sh("pamtester vm2-gateway no-such-tenant open_session"), 1);
	sh("vm2 tenant remove --yes tested");
	ok("vm2 tenant add tested --key /run/vm2-test/key.pub");
	ok("printf '%%s\\n%%s\\n' 'blue horse' 'blue horse' | pamtester vm2-gateway tested chauthtok");
	ok("echo 'blue horse' | pamtester vm2-gateway tested authenticate");
	/* A service that asks for the tenant without a password, as a key does. */
	ok("pamtester vm2-gateway tested acct_mgmt open_session close_session");
	assert_has(ok("vm2 guest list"), "tested");
}

/* The manual's way to have new passwords judged, as it stands there. */
Test(doors, pwquality_judges_a_new_password)
{
	ready();
	sh("vm2 tenant remove --yes judged");
	ok("vm2 tenant add judged --key /run/vm2-test/key.pub && echo 'first horse' | vm2 tenant passwd judged");
	ok("{ sed 's/^password.*//' /etc/pam.d/vm2-gateway; "
	   "sed -n 's/^\\(password.*pam_pwquality.*\\)/\\1 enforce_for_root dictcheck=0/p; "
	   "/^password.*use_authtok/p' $VM2_SOURCE/docs/man/pam_vm2.8; } >/etc/pam.d/vm2-judged; "
	   "test $(grep -c ^password /etc/pam.d/vm2-judged) = 2");
	assert_has(sh("yes short | head -9 | pamtester vm2-judged judged chauthtok 2>&1").out, "BAD PASSWORD");
	ok("echo 'first horse' | pamtester vm2-judged judged authenticate");
	ok("yes 'a horse of seventeen hands' | head -9 | pamtester vm2-judged judged chauthtok");
	ok("echo 'a horse of seventeen hands' | pamtester vm2-judged judged authenticate");
}

/* Which door it was stands in the row, and in the ledger. */
Test(doors, each_session_names_its_door)
{
	const char *before, *list;

	ready();
	ok("ssh %s doored@127.0.0.1 'echo by-gateway'", ssh_options);
	ok("ssh %s doored@127.0.0.1 'echo by-sshd'", to_sshd);
	list = ok("vm2 session list --tenant doored --json | "
		  "jq -r '.[] | select(.command | startswith(\"echo by-\")?) | .via + \" \" + .command'");
	assert_has(list, "shell echo by-sshd");
	assert_has(list, "gateway echo by-gateway");
	before = ok("ssh -tt %s doored@127.0.0.1 'echo on-screen-$((6*7))' </dev/null", to_sshd);
	assert_has(before, "on-screen-42");
	assert_has(ok("vm2 session replay --speed 1000 $(vm2 session list --tenant doored --json | "
		      "jq -r '[.[] | select(.command == \"echo on-screen-$((6*7))\")][0].id')"),
		   "on-screen-42");
	ok("grep -rahF 'echo by-sshd' /var/lib/vm2/ledger | grep -aF '\"via\":\"shell\"'");
	ok("grep -rahF 'echo by-gateway' /var/lib/vm2/ledger | grep -aF '\"via\":\"gateway\"'");
}

/* The host's wtmp: a line for each, "7 LINE USER HOST" for a login and 8 for its end. */
static const char wtmp[] = "python3 -c 'import struct; data = open(\"/var/log/wtmp\", \"rb\").read(); "
			   "text = lambda b: b.split(b\"\\0\")[0].decode(); "
			   "[print(kind, text(line), text(user), text(host)) for kind, line, user, host in "
			   "(struct.unpack_from(\"<hxxxxxx32s4x32s256s\", data, at) "
			   "for at in range(0, len(data), 384))]'";

Test(doors, the_hosts_log_has_each_login_once)
{
	const char *id;

	ready();
	sh("touch /var/log/wtmp");
	id = ok("ssh -tt %s doored@127.0.0.1 'echo $VM2_SESSION' </dev/null | tr -d '\\r'", ssh_options);
	wait_for(20, "%s | grep -qx '7 %s doored 127.0.0.1' && %s | grep -q '^8 %s '", wtmp, id, wtmp, id);
	cr_assert_str_eq(ok("%s | grep -c ' %s '", wtmp, id), "2");
	/* sshd writes its own, with a terminal of the host's: none of ours beside it. */
	id = ok("ssh -tt %s doored@127.0.0.1 'echo $VM2_SESSION' </dev/null | tr -d '\\r'", to_sshd);
	assert_has(ok("%s | grep 'pts/.* doored 127.0.0.1'", wtmp), "7 pts/");
	assert_status(sh("%s | grep ' %s '", wtmp, id), 1);
}

/* lastlog(8) is no program of Debian 13: the record's time, line and host by its place. */
static const char last[] = "python3 -c 'import os, struct, pwd; f = os.open(\"/var/log/lastlog\", os.O_RDONLY); "
			   "d = os.pread(f, 292, pwd.getpwnam(\"lastly\").pw_uid * 292); "
			   "t, line, host = struct.unpack(\"<i32s256s\", d); "
			   "print(line.decode().strip(chr(0)), host.decode().strip(chr(0)))'";

Test(doors, the_hosts_lastlog_has_the_last_login)
{
	const char *id;

	ready();
	sh("vm2 tenant remove --yes lastly");
	ok("touch /var/log/lastlog; vm2 tenant add lastly --key /run/vm2-test/key.pub");
	ok("ssh %s lastly@127.0.0.1 true", ssh_options);
	id = ok("ssh -tt %s lastly@127.0.0.1 'echo $VM2_SESSION' </dev/null | tr -d '\r'", ssh_options);
	ok("%s | grep -qx '%s 127.0.0.1'", last, id);
	ok("cp /etc/login.defs /run/vm2-test && echo 'LASTLOG_UID_MAX 60000' >>/etc/login.defs");
	ok("ssh -tt %s lastly@127.0.0.1 true </dev/null", ssh_options);
	ok("cat /run/vm2-test/login.defs >/etc/login.defs");
	assert_has(ok("%s", last), id);
}

/* A session that ends with its processes killed has its end in the host's log, too. */
Test(doors, the_hosts_log_has_the_end_of_a_killed_session)
{
	const char *id;

	ready();
	sh("touch /var/log/wtmp");
	ok("(ssh -tt %s doored@127.0.0.1 'echo $VM2_SESSION; exec sleep 1001' >/run/vm2-test/killed 2>&1 "
	   "</dev/null &)", ssh_options);
	wait_for(20, "grep -q . /run/vm2-test/killed");
	id = ok("head -1 /run/vm2-test/killed | tr -d '\r\n'");
	ok("kill -9 $(pgrep -f '[v]m2-session .*doored')");
	ok("/usr/libexec/vm2/supervise stop vm2d && /usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(20, "%s | grep -q '^8 %s '", wtmp, id);
}
