/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What root in a guest is kept from: tried from inside by programs that are written for it. */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/lib.h"

TestSuite(contain, .timeout = 240);

/* A tenant of this name whose guest has the attacker as /root/break-out. */
static void ready(const char *name)
{
	char self[PATH_MAX] = "";

	tenant_ready(name);
	cr_assert_gt(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
	ok("ssh %s %s@127.0.0.1 'cat >/root/break-out; chmod 755 /root/break-out' <%s/break-out",
	   ssh_options, name, dirname(self));
}

Test(contain, every_attempt_of_a_hostile_root_is_stopped)
{
	struct result r;

	ready("evil");
	r = ssh("evil", "", "/root/break-out");
	assert_status(r, 0);
	assert_has(r.out, ", 0 not stopped");
	/* In namespaces of its own it has all capabilities anew. */
	r = ssh("evil", "", "unshare -Urm --propagation private /root/break-out");
	assert_status(r, 0);
	assert_status(ssh("evil", "", "true"), 0);
}

Test(contain, only_numbers_of_its_own_namespaces_can_be_written)
{
	ready("evil");
	/* As a mount, which its root may mount anew, and as a file system, which it may not. */
	cr_assert_str_eq(ok("vm2 guest exec evil -- awk '$5 == \"/sys\" { print $6 \" \" $NF }' /proc/self/mountinfo"),
			 "ro,nosuid,nodev,noexec,relatime ro");
	/* Of its ipc, pid and user namespaces; and where programs ask to be told of pressure. */
	cr_assert_str_eq(ok("vm2 guest exec evil -- /root/break-out walk | grep -vxE '"
			    "/proc/pressure/(cpu|io|irq|memory)|"
			    "/proc/sys/fs/mqueue/(msg_default|msg_max|msgsize_default|msgsize_max|queues_max)|"
			    "/proc/sys/kernel/(auto_msgmni|msg_next_id|msgmax|msgmnb|msgmni|ns_last_pid|pid_max|"
			    "sem|sem_next_id|shm_next_id|shm_rmid_forced|shmall|shmmax|shmmni)|"
			    "/proc/sys/user/max_[a-z_]*' || true"),
			 "");
}

Test(contain, nothing_of_the_host_is_to_be_seen_while_sessions_enter)
{
	ready("evil");
	tenant_ready("other");
	ssh("evil", "", "/root/break-out spy /root/end >/root/spied 2>&1 </dev/null & "
	    "/root/break-out spy /root/end >/root/spied2 2>&1 </dev/null &");
	for (int i = 0; i < 4; i++) {
		assert_status(ssh("evil", "", "true"), 0);
		assert_status(ssh("evil", "-tt", "true"), 0);
		assert_status(sh("cd /var/lib/vm2 && SECRET=VM2_BUILD vm2 guest exec evil -- pwd"), 0);
	}
	assert_status(ssh("other", "", "true"), 0);
	ssh("evil", "", "touch /root/end");
	wait_for(20, "vm2 guest exec evil -- grep -h rounds /root/spied /root/spied2 | grep -c . | grep -qx 2");
	cr_assert_str_eq(ok("vm2 guest exec evil -- grep -hv 'rounds, 0 findings' /root/spied /root/spied2 || "
			    "true"),
			 "");
}

/* A script names as its interpreter what runs it: at that instant a program of the host. */
Test(contain, programs_of_the_host_cannot_be_run_from_inside)
{
	struct result r;

	ready("evil");
	ssh("evil", "", "printf \"#!/proc/self/exe\\n\" >/root/x; chmod 755 /root/x; ln -s /root/x /bin/me; "
	    "sed -i \"1s,:[^:]*$,:/root/x,\" /etc/passwd");
	r = sh("vm2 guest exec evil -- /root/x");
	cr_expect_eq(r.status, 126, "%d %s", r.status, r.err);
	assert_has(r.err, "Permission denied");
	r = ssh("evil", "", "true");
	cr_expect_eq(r.status, 126, "%d %s", r.status, r.err);
	ok("! find /usr/libexec/vm2 -name 'vm2-guest' -perm /077 -o -name vm2-session -perm /077 | grep .");
	/* The same for what is to become its init: then the one that is kept for such cases runs. */
	ok("vm2 guest exec evil -- sh -c 'printf \"#!/proc/self/exe\\n\" >/sbin/init; chmod 755 /sbin/init'");
	ok("vm2 guest stop evil && vm2 guest start evil");
	cr_expect_str_eq(ok("vm2 guest exec evil -- cat /proc/1/comm"), "init");
	ok("vm2 guest exec evil -- sh -c '! readlink /proc/1/exe | grep vm2-guest'");
}

/* Its init goes to a network that is its own, and the host's ends with its link: that one comes to no other. */
Test(contain, an_init_is_held_too_and_takes_no_link_along)
{
	ready("evil");
	ok("vm2 guest exec evil -- sh -c 'rm -f /sbin/init; cp /root/break-out /sbin/init' && "
	   "vm2 guest restart evil");
	/* An init is kept from the same as a session. */
	wait_for(20, "vm2 guest exec evil -- cat /root/as-init | grep ', 0 not stopped'");
	wait_for(10, "vm2 firewall verify | grep 'of evil: it is not there'");
	/* Whoever looks at links tries to restore it. */
	ok("vm2 firewall restore");
	cr_expect_str_eq(
		ok("vm2 guest exec evil -- grep -c eth0 /proc/net/dev || true"),
		"0");
	assert_has(ok("tail -n 20 /var/log/vm2/vm2d.log"),
		   "its init has left the network that the host made");
	assert_has(ok("vm2 host repair --json | jq -r '.[].outcome'"), "not mended");
	/* As it is, it has no network; with its own init again it has. */
	ok("vm2 guest exec evil -- rm /sbin/init && vm2 guest restart evil && vm2 firewall verify && "
	   "vm2 guest exec evil -- ping -c1 -W2 192.0.2.2");
}

Test(contain, two_guests_share_no_id_no_file_and_no_namespace)
{
	static const char *const facts[] = {
		"cut -c12-22 /proc/self/uid_map /proc/self/gid_map",
		"stat -c %d:%i /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/pts "
		"/dev/shm /dev/mqueue /run /proc /sys /etc/passwd",
		"readlink /proc/self/ns/cgroup /proc/self/ns/ipc /proc/self/ns/mnt /proc/self/ns/net "
		"/proc/self/ns/pid /proc/self/ns/time /proc/self/ns/user /proc/self/ns/uts",
	};

	ready("evil");
	tenant_ready("other");
	ok("vm2 guest start other");
	for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
		ok("vm2 guest exec evil -- %s >/run/vm2-test/evil.facts", facts[i]);
		ok("vm2 guest exec other -- %s >/run/vm2-test/other.facts", facts[i]);
		ok("%s >/run/vm2-test/host.facts; test -s /run/vm2-test/host.facts", facts[i]);
		ok("cd /run/vm2-test && ! grep -xFf evil.facts other.facts && "
		   "! grep -xFf host.facts evil.facts");
	}
}

/* vm2d may be run with more or less than a guest is to have: neither is passed on. */
Test(contain, limits_and_rank_before_the_memory_killer_are_not_those_of_vm2d)
{
	ready("evil");
	ok("vm2 guest stop evil");
	/* Down only: a machine that is a container itself may not go up. */
	ok("for p in $(pgrep -x vm2d); do echo 300 >/proc/$p/oom_score_adj && prlimit --pid $p --nofile=5000: "
	   "--memlock=4096:; done");
	ok("vm2 guest start evil");
	cr_expect_str_eq(ok("vm2 guest exec evil -- cat /proc/1/oom_score_adj /proc/self/oom_score_adj"), "0\n0");
	ok("vm2 guest exec evil -- sh -c '! echo -1 >/proc/self/oom_score_adj'");
	cr_expect_str_eq(ok("vm2 guest exec evil -- cat /proc/1/limits /proc/self/limits | awk '/open files/ { print "
			    "$4 } /locked memory/ { print ($4 > 4096) } /nice|realtime priority/ { print $4 $5 }' | "
			    "tr '\n' ' '"),
			 "1024 1 00 00 1024 1 00 00 ");
	ok("for p in $(pgrep -x vm2d); do echo 0 >/proc/$p/oom_score_adj; done");
}

Test(contain, a_crash_in_a_guest_runs_no_program_of_the_host)
{
	ready("evil");
	/* Whatever vm2d's own is. */
	ok("vm2 guest stop evil; for p in $(pgrep -x vm2d); do prlimit --pid $p --core=4096:; done; "
	   "vm2 guest start evil");
	/* The number is the whole machine's: see what follows from it, as it is. */
	cr_expect_str_eq(ok("vm2 guest exec evil -- awk '/core/ { print $5, $6 }' /proc/1/limits /proc/self/limits"),
			 ok("case $(cat /proc/sys/kernel/core_pattern) in [\\|@]*) l='1 1';; *) l='0 unlimited';; "
			    "esac; echo \"$l\"; echo \"$l\""));
}

/* What it does to the ways in: a session works or fails with a word, in time, and stop works. */
Test(contain, sessions_get_along_with_what_is_in_their_way)
{
	static const char *const acts[] = {
		"rm -rf /root; ln -s /proc/1/root/../../.. /root",
		"mkfifo -m 755 /tmp/f; echo root:x:0:0::/etc/passwd:/tmp/f >/etc/passwd",
		"mount --bind /dev/random /etc/passwd",
		"rm /etc/passwd; mkfifo /etc/passwd",
		"mount -t tmpfs x /dev/pts; mkfifo /dev/pts/ptmx",
		"mount --bind /dev/pts/ptmx /etc/passwd; mount --bind /proc/self/mem /etc/group",
		"mount --bind /dev/zero /bin/sh",
		"rm -f /usr/bin/true; mkfifo -m 755 /usr/bin/true",
		"mkdir /sys/fs/cgroup/q; echo threaded >/sys/fs/cgroup/q/cgroup.type",
		/* The group that sessions come into, taken away and made anew by the guest, held still. */
		("mkdir /sys/fs/cgroup/q; echo 0 >/sys/fs/cgroup/q/cgroup.procs; for g in /sys/fs/cgroup/vm2; do "
		 "rmdir $g && mkdir $g && echo 1 >$g/cgroup.freeze; done"),
		"mkdir /m; mount -t tmpfs x /m; for i in $(seq 16); do mkdir /m/$i; mount --rbind /m /m/$i; done",
		"mount --bind / /mnt; cd /mnt; mkdir -p old; pivot_root . old",
		"mount -t tmpfs x /",
	};
	struct result r;

	ready("evil");
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		ok("vm2 guest destroy --yes evil && vm2 guest start evil");
		sh("timeout 60 vm2 guest exec evil -- sh -c '%s' </dev/null", acts[i]);
		r = sh("timeout -s KILL 10 vm2 guest exec evil -- true </dev/null");
		cr_expect(r.status == 0 || (r.status != 137 && strstr(r.err, "vm2: ")), "%s: %d %s", acts[i],
			  r.status, r.err);
		r = ssh("evil", "-tt", "true");
		cr_expect(r.status == 0 || strstr(r.err, "vm2: ") || strstr(r.out, "vm2: "), "%s: on a terminal: %d %s",
			  acts[i], r.status, r.err);
		r = sh("timeout 60 vm2 guest stop evil");
		cr_expect_eq(r.status, 0, "%s: stop: %d %s", acts[i], r.status, r.err);
	}
}

/*
 * Its root stops who comes in: on the way, at the first instant of the command, or what forwards. Who
 * waits is told within 10 seconds, whatever they were about. At once, since each takes most of them.
 */
Test(contain, who_is_stopped_on_entering_is_not_waited_for)
{
	static const struct {
		const char *command;
		int status;
		const char *says;
	} ways[] = {
		{ "vm2 guest exec stopped -- true </dev/null", 5, "vm2: the " },
		{ "ssh -tt $o stopped@127.0.0.1", 255, "vm2: the " },
		{ "ssh -s $o stopped@127.0.0.1 sftp </dev/null", 255, "vm2: the " },
		{ "vm2 guest exec held -- sleep 3 </dev/null", 5, "stopped in the guest as it began" },
		{ "ssh -tt $o held@127.0.0.1 exec sleep 3", 255, "stopped in the guest as it began" },
		{ "ssh -S held.ctl1 -A held@127.0.0.1 \"echo in[\\$SSH_AUTH_SOCK]\"", 0, "in[]" },
		{ "ssh -S held.ctl2 -W 127.0.0.1:9 held@127.0.0.1", 0, "" },
		{ "ssh -S held.ctl3 -O forward -R 0:127.0.0.1:10 held@127.0.0.1", 255, "failed" },
	};
	size_t n = sizeof(ways) / sizeof(ways[0]);
	int status;

	ready("held");
	ready("stopped");
	/* What forwards is there when it is stopped. */
	ok("ssh-agent -a /run/vm2-test/held.agent >/dev/null; for c in 1 2 3; do SSH_AUTH_SOCK=/run/vm2-test/held.agent "
	   "ssh -f -N -M -S /run/vm2-test/held.ctl$c -A -R 0:127.0.0.1:9 %s held@127.0.0.1 || exit 1; done", ssh_options);
	ok("vm2 guest exec held -- /root/break-out hold sleep vm2-forward; "
	   "vm2 guest exec stopped -- /root/break-out hold");
	wait_for(10, "test $(ps -C vm2-forward -o stat= | grep -c ^T) = 3");
	for (size_t i = 0; i < n; i++)
		ok("cd /run/vm2-test; { o='%s' SSH_AUTH_SOCK=$PWD/held.agent timeout -s KILL 10 sh -c '%s' >held.%zu.out 2>&1; "
		   "echo $? >held.%zu; } >/dev/null 2>&1 &", ssh_options, ways[i].command, i, i);
	for (size_t i = 0; i < n; i++) {
		wait_for(12, "test -s /run/vm2-test/held.%zu", i);
		status = atoi(ok("cat /run/vm2-test/held.%zu", i));
		/* Some may be faster than who stops everybody. */
		if (status == 0 && i < 3)
			continue;
		cr_expect_eq(status, ways[i].status, "%d: %s", status, ways[i].command);
		cr_expect(strstr(ok("cat /run/vm2-test/held.%zu.out", i), ways[i].says), "%s", ways[i].command);
	}
	ok("for c in 1 2 3; do ssh -S /run/vm2-test/held.ctl$c -O exit held@127.0.0.1; done 2>/dev/null; "
	   "pkill -f '^ssh-agent -a /run/vm2-test/held.agent'; vm2 guest stop held && vm2 guest stop stopped");
}

/* The host copies a tree while its owner turns it into something else. */
Test(contain, a_tree_that_changes_under_the_copy_leads_nowhere)
{
	ready("evil");
	ssh("evil", "", "mkdir /h && cd /h && mkfifo fifo && truncate -s 8T sparse && echo x >a && ln a b && "
	    "ln -s /etc/shadow link && cp /bin/sh suid && chmod 4755 suid && mkdir -m 0 closed && "
	    "i=0; while [ $i -lt 300 ]; do mkdir d && cd d || break; i=$((i+1)); done; "
	    "(cd /h; while :; do rm -rf s; ln -s /etc s; rm -f s; mkdir s; echo q >s/passwd; mkfifo s/f; "
	    "done) >/dev/null 2>&1 </dev/null & "
	    "(cd /h; while :; do rm -f t; ln -s /var/lib/vm2/tenants.db t; rm -f t; mkfifo t; rm -f t; "
	    "echo regular >t; done) >/dev/null 2>&1 </dev/null &");
	ok("touch /run/vm2-test/before; for i in 1 2 3; do timeout 60 vm2 guest snapshot evil s$i || exit 1; done");
	cr_expect_str_eq(ok("find /etc -newer /run/vm2-test/before -type f"), "");
	ok("cd /var/lib/vm2/guests/.snapshots/evil && ! find . \\( -path '*/h/t' -o -path '*/h/s/*' \\) -size +0 "
	   "-type f -exec grep -L -e q -e regular {} + | grep .");
	ok("vm2 guest stop evil && vm2 guest restore --yes evil s2 && vm2 guest start evil");
	cr_expect_str_eq(ok("vm2 guest exec evil -- sh -c 'cd /h; stat -c \"%%h %%a\" a suid closed; cat b; "
			    "stat -c %%F fifo; stat -c %%s sparse'"),
			 "2 644\n1 4755\n2 0\nx\nfifo\n8796093022208");
}
