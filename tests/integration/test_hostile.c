/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a hostile root does in its guest: to its own ways in, to its neighbours, to the host. */
#include <string.h>

#include "tests/integration/lib.h"

TestSuite(hostile, .timeout = 240);

/* The one who attacks, with a fresh guest, and the one who must not notice. */
static void ready(void)
{
	tenant_ready("evil");
	tenant_ready("neighbour");
	assert_status(ssh("evil", "", "true"), 0);
	assert_status(ssh("neighbour", "", "true"), 0);
}

/* Whatever was done, a command and a terminal work or fail with a word in time, and stop works. */
static void assert_in_hand(const char *what)
{
	struct result r;

	r = sh("timeout 12 vm2 guest exec evil -- true");
	cr_expect(r.status == 0 || (r.status != 124 && strstr(r.err, "vm2: ")), "%s: exec: %d %s", what,
		  r.status, r.err);
	r = sh("timeout 12 ssh -tt %s evil@127.0.0.1 true", ssh_options);
	cr_expect(r.status == 0 ||
			  (r.status != 124 && (strstr(r.out, "vm2: ") || strstr(r.err, "vm2: "))),
		  "%s: ssh: %d %s%s", what, r.status, r.out, r.err);
	assert_status(sh("timeout 30 vm2 guest stop evil"), 0);
	assert_status(ssh("neighbour", "", "true"), 0);
	assert_status(sh("vm2 guest start evil"), 0);
}

/* A program in C, made on the host for it and for the tenant's guest. */
static void lend(const char *tenant, const char *name, const char *source)
{
	ok("mkdir -p /run/vm2-test/src && cat >/run/vm2-test/src/%s.c <<'END'\n%s\nEND\n"
	   "cc -static -o /run/vm2-test/src/%s /run/vm2-test/src/%s.c && "
	   "ssh %s %s@127.0.0.1 'cat >/root/%s; chmod 755 /root/%s' </run/vm2-test/src/%s",
	   name, source, name, name, ssh_options, tenant, name, name, name);
}

/* Takes what the word says until there is no more, prints how much, holds it for a while. */
static const char hog[] =
	"#define _GNU_SOURCE\n"
	"#include <fcntl.h>\n#include <signal.h>\n#include <stdio.h>\n#include <stdlib.h>\n"
	"#include <sys/inotify.h>\n#include <sys/socket.h>\n#include <unistd.h>\n"
	"static int take(const char *what)\n{\n"
	"	if (*what == 'i') return inotify_init() >= 0;\n"
	"	if (*what == 'p') return open(\"/dev/pts/ptmx\", O_RDWR | O_NOCTTY) >= 0;\n"
	"	if (*what == 's') return sigqueue(getpid(), SIGRTMIN, (union sigval){ 0 }) == 0;\n"
	"	if (*what == 'v') return socket(40, SOCK_STREAM, 0) >= 0;\n"
	"	return 0;\n}\n"
	"int main(int argc, char **argv)\n{\n"
	"	long n = 0, max = atol(argv[2]);\n"
	"	sigset_t all;\n"
	"	sigfillset(&all);\n	sigprocmask(SIG_BLOCK, &all, NULL);\n"
	"	while (n < max && take(argv[1])) n++;\n"
	"	printf(\"%ld\\n\", n);\n	fflush(stdout);\n	sleep(atoi(argv[3]));\n}\n";

/* One guest at its limit leaves its neighbour and the host's root theirs. */
static void assert_own_share(const char *what, long most, long some)
{
	ok("ssh %s evil@127.0.0.1 '/root/hog %s %ld 60' >/run/vm2-test/taken 2>&1 </dev/null & "
	   "echo $! >/run/vm2-test/hog.pid",
	   ssh_options, what, most);
	wait_for(20, "grep -q . /run/vm2-test/taken");
	cr_expect_str_eq(ok("ssh %s neighbour@127.0.0.1 /root/hog %s %ld 0", ssh_options, what, some),
			 ok("echo %ld", some), "the neighbour lacks %s", what);
	cr_expect_str_eq(ok("/run/vm2-test/src/hog %s %ld 0", what, some), ok("echo %ld", some),
			 "the host lacks %s", what);
	ok("kill $(cat /run/vm2-test/hog.pid)");
	ok("vm2 guest stop evil");
	assert_status(ssh("evil", "", "true"), 0);
}

Test(hostile, a_guest_uses_up_its_own_share_only)
{
	ready();
	lend("evil", "hog", hog);
	lend("neighbour", "hog", hog);
	assert_own_share("inotify", 100000, 20);
	assert_own_share("signals", 10000000, 20);
	assert_own_share("ptys", 5000, 20);
}

Test(hostile, sockets_outside_of_network_namespaces_are_refused)
{
	ready();
	lend("evil", "hog", hog);
	cr_assert_str_eq(ssh("evil", "", "/root/hog vsock 1 0").out, "0\n");
}

Test(hostile, control_groups_without_end_do_not_keep_a_guest_from_stopping)
{
	ready();
	assert_status(ssh("evil", "",
			  "cd /sys/fs/cgroup && i=0; while [ $i -lt 200 ] && mkdir d && cd d; do i=$((i+1)); done"),
		      0);
	assert_in_hand("deep control groups");
	assert_status(ssh("evil", "",
			  "mkdir /sys/fs/cgroup/f; echo 1 >/sys/fs/cgroup/f/cgroup.freeze; "
			  "(sleep 1000 & echo $! >/sys/fs/cgroup/f/cgroup.procs) >/dev/null 2>&1 </dev/null"),
		      0);
	assert_in_hand("frozen processes");
}

Test(hostile, a_client_that_does_not_read_does_not_keep_a_guest_from_ending)
{
	ready();
	ok("(ssh %s evil@127.0.0.1 'cat /dev/zero' | sleep 50) >/dev/null 2>&1 </dev/null &", ssh_options);
	wait_for(20, "pgrep -f '^cat /dev/zero'");
	ok("sleep 1");
	ssh("evil", "", "kill -TERM 1");
	wait_for(20, "test $(vm2 guest show evil --json | jq -r .state) = stopped");
}

/* Where the host writes in a guest that runs: it hits nothing else, and waits for nobody. */
Test(hostile, what_is_where_hosts_and_resolv_conf_were)
{
	static const char *const acts[] = {
		"cd /etc; rm hosts resolv.conf; mkfifo hosts resolv.conf",
		"cd /etc; mkdir .hosts.vm2 .resolv.conf.vm2",
		"cd /etc; cp hosts /root/mine; ln -sf /root/mine hosts; ln -s /root/mine .resolv.conf.vm2",
		"cp -a /etc /etc2; mount -t tmpfs x /etc; ln -s /etc2/resolv.conf /etc/; mkfifo /etc/hosts",
		/* Whoever comes stands still. */
		("cd /sys/fs/cgroup; mkdir q; echo 0 >q/cgroup.procs; rmdir vm2 && mkdir vm2 && "
		 "echo 1 >vm2/cgroup.freeze"),
	};
	struct result r;

	ready();
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		ok("vm2 guest destroy --yes evil && vm2 guest start evil");
		ssh("evil", "", "%s", acts[i]);
		ok("cd /var/lib/vm2/guests/evil/upper && find etc* root -printf '%%p %%y %%l %%s\n' | sort "
		   ">/run/vm2-test/before");
		r = sh("timeout 12 vm2 tenant set evil --nameservers 192.0.2.%zu", i + 1);
		cr_expect_eq(r.status, 0, "%s: %d %s", acts[i], r.status, r.err);
		r = sh("cd /var/lib/vm2/guests/evil/upper && find etc* root -printf '%%p %%y %%l %%s\n' | sort | "
		       "diff /run/vm2-test/before -");
		/* A link that waits under the other name is in nobody's way: it is replaced, not followed. */
		cr_expect(i == 2 || r.status == 0, "%s:\n%s", acts[i], r.out);
		if (i == 2)
			ok("cd /var/lib/vm2/guests/evil/upper && grep -q 192.0.2.3 etc/resolv.conf && "
			   "! grep -q nameserver root/mine && test -L etc/hosts");
	}
	ok("vm2 tenant set evil --nameservers plan");
}

Test(hostile, whatever_is_done_to_the_ways_in)
{
	static const char *const acts[] = {
		"rm /etc/passwd; mkfifo /etc/passwd",
		"rm /etc/passwd; mkdir /etc/passwd",
		"rm -rf /etc/passwd; ln -s passwd /etc/passwd",
		"rm -rf /etc/passwd; truncate -s 1T /etc/passwd",
		"rm -f /etc/passwd; echo root:x:0:0::/proc/self/fd/3:/proc/self/fd/4 >/etc/passwd; sync",
		"umount -l /dev/pts",
		"mount -t tmpfs x /dev/pts; mkfifo /dev/pts/ptmx",
		"mount -t tmpfs x /dev",
		"umount -l /proc",
		"mount -t tmpfs x /proc",
		"mount -t tmpfs x /usr",
		"kill -STOP 1",
		"rm -f /run/utmp /var/log/wtmp; mkfifo /run/utmp; ln -s /etc/passwd /var/log/wtmp",
		"mv /etc /etc2; mkfifo /etc",
		/* Two thousand control groups are all; there is none left for those who come. */
		"cd /sys/fs/cgroup; mkdir q; echo 0 >q/cgroup.procs; rmdir vm2; while mkdir c$((i += 1)); do :; done 2>&-",
		"(sh -c 'f() { sleep 500 & f; }; f' & ) >/dev/null 2>&1 </dev/null; sleep 2",
	};

	ready();
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		ok("vm2 guest destroy --yes evil");
		assert_status(ssh("evil", "", "true"), 0);
		ssh("evil", "", "%s", acts[i]);
		assert_in_hand(acts[i]);
	}
}
