/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What root in a guest is kept from: tried from inside by programs that are written for it. */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
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
	/* The number is the whole machine's: see what follows from it, as it is. */
	cr_expect_str_eq(ok("vm2 guest exec evil -- awk '/core/ { print $5, $6 }' /proc/1/limits /proc/self/limits"),
			 ok("case $(cat /proc/sys/kernel/core_pattern) in [\\|@]*) l='1 1';; *) l='0 unlimited';; "
			    "esac; echo \"$l\"; echo \"$l\""));
}
