/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The front door as other clients than OpenSSH's see it, each doing what it is for, and OpenSSH's own
 * tests. Their packages are installed on one release only (provision/packages, clients). docs/CLIENTS
 * has the table.
 */
#include <string.h>

#include "provision/base/str.h"
#include "tests/integration/lib.h"

TestSuite(clients, .timeout = 120);

/* One tenant serves all tests here, with a file to carry and its digest. */
static void ready(void)
{
	tenant_shared("cli");
	assert_status(ssh("cli", "", "true"), 0);
	ok("cd /run/vm2-test; flock . sh -c 'test -e up || { head -c 3000000 /dev/urandom >up.new && mv up.new up; }'");
}

/* Whether the guest has what was carried there, by its digest. */
static void arrived(const char *path)
{
	cr_assert_str_eq(ok("vm2 guest exec cli -- sha256sum %s | cut -c-64", path),
			 ok("sha256sum </run/vm2-test/up | cut -c-64"), "%s", path);
}

/* Programs of this host in the guest, which is of the same release, with their libraries. */
static void bring(const char *programs)
{
	ok("p=$(which %s) && { echo \"$p\"; ldd $p | grep -o '/[^ ]*\\.so[^ ]*'; } | sort -u | "
	   "tar -chPf - --hard-dereference -T - | ssh %s cli@127.0.0.1 'tar -xPf - --skip-old-files -C /'",
	   programs, ssh_options);
}

Test(clients, putty)
{
	const char *to = "-batch -P 2222 -i /run/vm2-test/key.ppk -hostkey $(cat /run/vm2-test/print)";

	ready();
	ok("cd /run/vm2-test; puttygen key -O private -o key.ppk; "
	   "ssh-keyscan -p 2222 -t ed25519 127.0.0.1 2>/dev/null | ssh-keygen -lf - | cut -d' ' -f2 >print");
	assert_status(sh("plink %s cli@127.0.0.1 'echo $HOME; exit 9'", to), 9);
	cr_assert_str_eq(ok("printf abc | plink %s cli@127.0.0.1 'cat; echo -done'", to), "abc-done");
	assert_has(ok("echo 'tty; exit' | plink -t %s cli@127.0.0.1", to), "/dev/pts/");
	ok("pscp %s /run/vm2-test/up cli@127.0.0.1:putty1", to);
	arrived("/root/putty1");
	ok("pscp -scp %s cli@127.0.0.1:putty1 /run/vm2-test/putty1 && cmp /run/vm2-test/up /run/vm2-test/putty1", to);
	ok("printf 'put /run/vm2-test/up putty2\\nmv putty2 putty3\\nget putty3 /run/vm2-test/putty3\\nquit\\n' | "
	   "psftp %s cli@127.0.0.1 && cmp /run/vm2-test/up /run/vm2-test/putty3", to);
	ok("ssh %s cli@127.0.0.1 'echo over there | nc -lN 127.0.0.1 7301 >/dev/null 2>&1 &'", ssh_options);
	wait_for(20, "vm2 guest exec cli -- grep -q ' 0100007F:1C85 ' /proc/net/tcp");
	cr_assert_str_eq(ok("plink -nc 127.0.0.1:7301 %s cli@127.0.0.1", to), "over there");
}

Test(clients, dropbear)
{
	const char *to = "-y -y -i /run/vm2-test/dropbear.key -p 2222";

	ready();
	ok("dropbearconvert openssh dropbear /run/vm2-test/key /run/vm2-test/dropbear.key");
	assert_status(sh("dbclient %s cli@127.0.0.1 'exit 9'", to), 9);
	ok("dbclient %s cli@127.0.0.1 'cat >/root/dropbear' </run/vm2-test/up", to);
	arrived("/root/dropbear");
	ok("dbclient %s cli@127.0.0.1 cat /root/dropbear | cmp - /run/vm2-test/up", to);
	assert_has(ok("script -qec 'dbclient -t %s cli@127.0.0.1 tty' /dev/null", to), "/dev/pts/");
	ok("ssh %s cli@127.0.0.1 'echo over there | nc -lN 127.0.0.1 7302 >/dev/null 2>&1 &'", ssh_options);
	wait_for(20, "vm2 guest exec cli -- grep -q ' 0100007F:1C86 ' /proc/net/tcp");
	cr_assert_str_eq(ok("dbclient %s -B 127.0.0.1:7302 cli@127.0.0.1 </dev/null", to), "over there");
}

Test(clients, lftp)
{
	ready();
	ok("mkdir -p /run/vm2-test/tree/deep; cp /run/vm2-test/up /run/vm2-test/tree/deep/; "
	   "echo small >/run/vm2-test/tree/small");
	ok("HOME=/run/vm2-test lftp -e 'set cmd:fail-exit yes; set net:max-retries 1; "
	   "set sftp:connect-program \"ssh -a -x %s\"; open sftp://cli:@127.0.0.1; "
	   "mirror -R /run/vm2-test/tree lftp; mirror lftp /run/vm2-test/lftp; "
	   "chmod 600 lftp/small; cat lftp/small; quit'", ssh_options);
	arrived("/root/lftp/deep/up");
	ok("diff -r /run/vm2-test/tree /run/vm2-test/lftp");
}

Test(clients, rsync)
{
	ready();
	bring("rsync");
	ok("cd /run/vm2-test; mkdir -p many; for i in $(seq 200); do echo $i >many/$i; done; cp up many/; "
	   "rsync -a -e 'ssh %s' many/ cli@127.0.0.1:many/ && rsync -a -e 'ssh %s' cli@127.0.0.1:many/ back/ && "
	   "diff -r many back && echo more >>many/up && rsync -a -e 'ssh %s' many/ cli@127.0.0.1:many/",
	   ssh_options, ssh_options, ssh_options);
	cr_assert_str_eq(ok("vm2 guest exec cli -- sha256sum /root/many/up | cut -c-64"),
			 ok("sha256sum </run/vm2-test/many/up | cut -c-64"));
}

Test(clients, git)
{
	ready();
	ok("cd /run/vm2-test; export HOME=$PWD; git config --global user.email a@b; "
	   "git config --global user.name a; git config --global init.defaultBranch main; "
	   "git init -q work; cp up work/; cd work; git add .; git commit -qm one");
	/* Where the guest has no git its words are the guest's own. */
	assert_has(sh("GIT_SSH_COMMAND='ssh %s' git clone cli@127.0.0.1:none /run/vm2-test/none", ssh_options).err,
		   "git-upload-pack");
	bring("git git-upload-pack git-receive-pack");
	ok("ssh %s cli@127.0.0.1 'git init -q --bare -b main repo'", ssh_options);
	ok("cd /run/vm2-test/work; export HOME=/run/vm2-test GIT_SSH_COMMAND='ssh %s'; "
	   "git push -q cli@127.0.0.1:repo main && git clone -q cli@127.0.0.1:repo ../clone && cmp up ../clone/up",
	   ssh_options);
}

Test(clients, sshfs)
{
	const char *options = ssh_options;

	ready();
	if (sh("head -c 0 /dev/fuse && mkdir -p /run/vm2-test/mnt").status != 0)
		cr_skip_test("no FUSE here");
	ok("sshfs $(echo '%s' | sed 's/-i \\([^ ]*\\)/-o IdentityFile=\\1/') cli@127.0.0.1:/root /run/vm2-test/mnt",
	   options);
	ok("cd /run/vm2-test/mnt && cp ../up sshfs && cmp sshfs ../up && mkdir -p d && mv sshfs d/f && "
	   "ln -s f d/l && cmp d/l ../up && ls -l d && truncate -s 1000 d/f && test $(stat -c %%s d/f) = 1000");
	ok("fusermount3 -u /run/vm2-test/mnt");
	cr_assert_str_eq(ok("vm2 guest exec cli -- stat -c %%s /root/d/f"), "1000");
}

/* Python is what its modules want at the other end; without it there is `raw`. */
Test(clients, ansible)
{
	ready();
	ok("cat >/run/vm2-test/play.yml <<'END'\n"
	   "- hosts: all\n  gather_facts: no\n  tasks:\n"
	   "  - raw: echo from raw\n    register: it\n"
	   "  - assert: {that: \"'from raw' in it.stdout\"}\n"
	   "  - ping:\n"
	   "  - copy: {src: /run/vm2-test/up, dest: /root/ansible}\n"
	   "  - command: sha256sum /root/ansible\n    register: sum\n"
	   "  - fetch: {src: /root/ansible, dest: /run/vm2-test/fetched, flat: yes}\n"
	   "END\n");
	ok("tar -chPf - $(ldd /usr/bin/python3 | grep -o '/[^ ]*\\.so[^ ]*') /usr/bin/python3 "
	   "--exclude __pycache__ --exclude test --exclude dist-packages /usr/lib/python3.* | "
	   "ssh %s cli@127.0.0.1 'tar -xPf - --skip-old-files -C /'", ssh_options);
	ok("cd /run/vm2-test; export ANSIBLE_HOST_KEY_CHECKING=False ANSIBLE_LOCAL_TEMP=/run/vm2-test/ansible "
	   "HOME=/run/vm2-test; ansible-playbook -i 127.0.0.1, -u cli --private-key key "
	   "-e 'ansible_port=2222 ansible_python_interpreter=/usr/bin/python3' play.yml && cmp up fetched");
	arrived("/root/ansible");
}

Test(clients, paramiko)
{
	ready();
	ok("python3 $VM2_SOURCE/tests/integration/clients.py paramiko cli");
}

Test(clients, asyncssh)
{
	ready();
	ok("python3 $VM2_SOURCE/tests/integration/clients.py asyncssh cli");
}

/* As Visual Studio Code does: a script by standard input, which starts a server, and SOCKS to reach it. */
Test(clients, an_editors_way)
{
	ready();
	ok("cd /run/vm2-test; mkfifo script; ssh -T -D 7303 %s cli@127.0.0.1 bash <script >said 2>&1 & "
	   "exec 5>/run/vm2-test/script; echo 'echo hello from the server | nc -lN 127.0.0.1 7304 & "
	   "echo listening' >&5; "
	   "for i in $(seq 100); do grep -q listening /run/vm2-test/said && break; sleep 0.1; done; "
	   "for i in $(seq 100); do nc -X 5 -x 127.0.0.1:7303 127.0.0.1 7304 </dev/null >/run/vm2-test/heard; "
	   "test -s /run/vm2-test/heard && break; sleep 0.1; done; echo exit >&5; exec 5>&-; wait", ssh_options);
	cr_assert_str_eq(ok("cat /run/vm2-test/heard"), "hello from the server");
}

/* In the guest: a program that opens a window, as far as the server's first word. */
static const char window[] =
	"use IO::Socket::INET; my ($n) = $ENV{DISPLAY} =~ /^localhost:(\\d+)[.]0$/ or die \"no display\\n\"; "
	"my ($c) = `xauth list $ENV{DISPLAY}` =~ /([0-9a-f]{32})/ or die \"no cookie\\n\"; print \"$n $c \"; "
	"my $s = IO::Socket::INET->new(\"localhost:\" . (6000 + $n)) or die; "
	"syswrite $s, pack(\"a1xvvvvx2a18x2H32\", \"l\", 11, 0, 18, 16, \"MIT-MAGIC-COOKIE-1\", $c); "
	"while (sysread($s, my $b, 100)) { print $b }";

/* Stock ssh gives the guest another cookie than its own, and looks that what comes has it. */
Test(clients, windows)
{
	static const char cookie[] = "00112233445566778899aabbccddeeff";
	const char *to, *seen;

	ready();
	bring("xauth");
	ok("cd /run/vm2-test; XAUTHORITY=$PWD/xa xauth -q add 127.0.0.1:77 . %s 2>/dev/null; echo shown >window; "
	   "printf '%%s' '%s' | ssh %s cli@127.0.0.1 'cat >/root/window'", cookie, window, ssh_options);
	to = xasprintf("XAUTHORITY=/run/vm2-test/xa DISPLAY=127.0.0.1:77 ssh -Y %s", ssh_options);
	/* Not unless the plan says so. */
	assert_has(sh("%s -o LogLevel=INFO cli@127.0.0.1 'echo [$DISPLAY]'", to).err, "X11 forwarding request failed");
	ok("vm2 tenant set cli --x11 yes");
	ok("nc -lN 127.0.0.1 6077 </run/vm2-test/window >/run/vm2-test/asked & sleep 0.2; "
	   "%s cli@127.0.0.1 'perl /root/window' >/run/vm2-test/seen; wait", to);
	seen = ok("cat /run/vm2-test/seen");
	assert_has(seen, "10 ");
	assert_has(seen, " shown");
	assert_lacks(seen, cookie);
	cr_assert_str_eq(ok("tail -c 16 /run/vm2-test/asked | od -An -tx1 | tr -d ' \n'"), cookie);
	/* Nor when it was not asked for, nor to a key that may not. */
	cr_assert_str_eq(ok("ssh %s cli@127.0.0.1 'echo [$DISPLAY]'", ssh_options), "[]");
	ok("rm -f /run/vm2-test/dull; ssh-keygen -q -t ed25519 -N '' -f /run/vm2-test/dull && "
	   "vm2 key add cli /run/vm2-test/dull.pub --restrict");
	cr_assert_str_eq(ok("%s -i /run/vm2-test/dull cli@127.0.0.1 'echo [$DISPLAY]'",
			    ok("echo '%s' | sed 's,-i [^ ]*,,'", to)), "[]");
	ok("vm2 tenant set cli --x11 plan");
}

/*
 * ssh -X: for untrusted programs the client has its X server make another cookie, by xauth, which is played
 * here, as is the server; the guest is given a third.
 */
Test(clients, untrusted_windows)
{
	static const char cookie[] = "ffeeddccbbaa99887766554433221100";
	const char *seen;

	ready();
	bring("xauth");
	ok("vm2 tenant set cli --x11 yes; cd /run/vm2-test; echo shown >window; "
	   "printf '%%s' '%s' | ssh %s cli@127.0.0.1 'cat >/root/window'", window, ssh_options);
	ok("printf '%%s\n' '#!/bin/sh' 'echo \"$*\" >>/run/vm2-test/xauth.said' "
	   "'case \"$*\" in *list*) echo 127.0.0.1:78 MIT-MAGIC-COOKIE-1 %s ;; esac' >/run/vm2-test/xauth; "
	   "chmod 755 /run/vm2-test/xauth", cookie);
	ok("nc -lN 127.0.0.1 6078 </run/vm2-test/window >/run/vm2-test/asked & sleep 0.2; "
	   "DISPLAY=127.0.0.1:78 ssh -X -o ForwardX11Trusted=no -o XAuthLocation=/run/vm2-test/xauth %s cli@127.0.0.1 "
	   "'perl /root/window' >/run/vm2-test/seen; wait", ssh_options);
	seen = ok("cat /run/vm2-test/seen");
	assert_has(seen, " shown");
	assert_lacks(seen, cookie);
	assert_has(ok("cat /run/vm2-test/xauth.said"), "untrusted");
	cr_assert_str_eq(ok("tail -c 16 /run/vm2-test/asked | od -An -tx1 | tr -d ' \n'"), cookie);
	ok("vm2 tenant set cli --x11 plan");
}

/* Through the front door to an sshd of the guest's own, which need not be to be had from anywhere else. */
Test(clients, jump)
{
	ready();
	bring("sshd ssh-keygen");
	ok("cat /run/vm2-test/key.pub | ssh %s cli@127.0.0.1 'mkdir -p -m 700 /root/.ssh /run/sshd /etc/ssh; "
	   "cat >/root/.ssh/authorized_keys; ssh-keygen -q -A; grep -q ^sshd: /etc/passwd || "
	   "echo sshd:x:74:65534::/run/sshd:/usr/sbin/nologin >>/etc/passwd; sed -i \"s/^root:[^:]*/root:*/\" /etc/shadow; "
	   "/usr/sbin/sshd -E /root/sshd.log -f /dev/null -p 7305 -o UsePAM=no -o ListenAddress=127.0.0.1'", ssh_options);
	ok("cd /run/vm2-test; printf '%%s\n' 'Host *' 'IdentityFile /run/vm2-test/key' 'IdentitiesOnly yes' "
	   "'StrictHostKeyChecking no' 'UserKnownHostsFile /dev/null' 'LogLevel ERROR' 'BatchMode yes' "
	   "'Host gate' 'HostName 127.0.0.1' 'Port 2222' 'User cli' "
	   "'Host inside' 'HostName localhost' 'Port 7305' 'User root' 'ProxyJump gate' >jump");
	cr_assert_str_eq(ok("ssh -F /run/vm2-test/jump inside 'echo $SSH_CONNECTION | cut -d\" \" -f3,4; hostname'"),
			 "127.0.0.1 7305\ncli");
	ok("scp -O -F /run/vm2-test/jump /run/vm2-test/up inside:/root/jumped");
	arrived("/root/jumped");
	ok("vm2 guest exec cli -- pkill -o -x sshd");
}

/* Those of OpenSSH's tests that ask nothing of an sshd but to serve, and take less than half a minute. */
static const char *const openssh[] = {
	"connect",    "exit-status",	"exit-status-signal", "transfer",     "stderr-data",
	"broken-pipe", "stderr-after-eof", "yes-head",	      "try-ciphers",  "kextype",
	"forwarding", "dynamic-forward", "sftp",	      "sftp-cmds",    "sftp-batch",
	"sftp-badcmds", "sftp-glob",	"sftp-uri",	      "scp",	      "scp3",
	"scp-uri",    "keyscan",
};

/*
 * OpenSSH's own tests want client and server to see the same files: so the client runs in the guest,
 * and comes to the front door by a port that is forwarded into it.
 */
Test(clients, openssh_tests)
{
	ready();
	bring("ssh scp sftp ssh-keygen ssh-keyscan cmp diff");
	ok("ssh %s cli@127.0.0.1 'mkdir -p /regress; cat >/regress/key; chmod 600 /regress/key' </run/vm2-test/key; "
	   "ssh %s cli@127.0.0.1 'cat >/regress/run' <$VM2_SOURCE/tests/integration/openssh-regress; "
	   "tar -cPf - /usr/lib/openssh/regress/*.sh | ssh %s cli@127.0.0.1 'tar -xPf -'; "
	   "printf '%%s\\n' 'Host *' 'HostName 127.0.0.1' 'Port 2222' 'User cli' 'IdentityFile /regress/key' "
	   "'IdentitiesOnly yes' 'StrictHostKeyChecking no' 'UserKnownHostsFile /dev/null' 'LogLevel ERROR' "
	   "'BatchMode yes' | ssh %s cli@127.0.0.1 'cat >/regress/ssh_config'",
	   ssh_options, ssh_options, ssh_options, ssh_options);
	ok("ssh -f -N -M -S /run/vm2-test/regress.ctl -o ExitOnForwardFailure=yes -R 2222:127.0.0.1:2222 %s "
	   "cli@127.0.0.1 </dev/null >/run/vm2-test/regress.log 2>&1", ssh_options);
	for (size_t i = 0; i < sizeof(openssh) / sizeof(openssh[0]); i++)
		ok("vm2 guest exec cli -- sh -c 'cd /regress; (sh run %s /regress cli >%s.out 2>&1 </dev/null; "
		   "echo $? >%s.status) >/dev/null 2>&1 </dev/null &'", openssh[i], openssh[i], openssh[i]);
	for (size_t i = 0; i < sizeof(openssh) / sizeof(openssh[0]); i++) {
		wait_for(60, "vm2 guest exec cli -- test -e /regress/%s.status", openssh[i]);
		if (strcmp(ok("vm2 guest exec cli -- cat /regress/%s.status", openssh[i]), "0"))
			cr_log_error("%s: %s", openssh[i], ok("vm2 guest exec cli -- cat /regress/%s.out", openssh[i]));
	}
	ok("ssh -S /run/vm2-test/regress.ctl -O exit cli@127.0.0.1 2>/dev/null");
}
