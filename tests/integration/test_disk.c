/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What df(1) shows in a guest on btrfs, whoever asks, and however. */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/lib.h"

static void begin(void)
{
	setenv("VM2_TEST_SETUP", "--pool 6G", 1);
}

TestSuite(disk, .timeout = 240, .init = begin);

/* A tenant whose plan has 200 MiB, its guest running, with the asker as /root/asker. */
static void ready(const char *name)
{
	char self[PATH_MAX] = "";

	host_ready();
	ok("vm2 tenant remove --yes %s; vm2 plan remove %s-plan; vm2 plan add %s-plan --disk 200M && "
	   "vm2 tenant add %s --key /run/vm2-test/key.pub --plan %s-plan && vm2 guest start %s",
	   name, name, name, name, name, name);
	cr_assert_gt(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
	ok("vm2 guest exec %s -- sh -c 'cat >/root/asker; chmod 755 /root/asker' <%s/disk-asker",
	   name, dirname(self));
}

#define KEEPER(name) ". /run/vm2/guests/" name "/state && "
#define FDS(name)    KEEPER(name) "ls /proc/$supervisor_pid/fd | wc -l"

Test(disk, a_session_sees_the_plans)
{
	ready("dfa");
	cr_assert_str_eq(ok("vm2 guest exec dfa -- df -m --output=size / | tail -1 | tr -d ' '"),
			 "200");
	ok("vm2 guest exec dfa -- sh -c 'dd if=/dev/urandom of=/root/f bs=1M count=80 && sync'");
	/* The same number as in the list. */
	ok("used=$(vm2 guest exec dfa -- df -B1 --output=used / | tail -1) && "
	   "listed=$(vm2 guest list --json | jq '.[] | select(.name == \"dfa\").disk') && "
	   "test $used -gt 70000000 && test $((listed - used)) -lt 4096 && test $((used - listed)) -lt 4096");
	assert_has(ssh("dfa", "", "stat -f -c %%b /root/f").out, "51200");
	/* A plan that changes is seen at once, and one without a disk shows what the file system has. */
	ok("vm2 plan set dfa-plan --disk 300M");
	wait_for(5, "vm2 guest exec dfa -- df -m --output=size / | grep -w 300");
	ok("vm2 plan set dfa-plan --disk unlimited");
	wait_for(5, "vm2 guest exec dfa -- df -m --output=size / | grep -w 6144");
}

Test(disk, what_is_not_the_guests_files_is_as_it_is)
{
	ready("dfb");
	ok("vm2 guest exec dfb -- sh -c 'stat -f -c %%T /dev/shm | grep tmpfs && stat -f -c %%T /proc | grep proc && "
	   "stat -f -c %%T / | grep btrfs && mkdir /root/m && mount -t tmpfs -o size=7m none /root/m'");
	cr_assert_str_eq(
		ok("vm2 guest exec dfb -- unshare -m sh -c 'mount -t tmpfs -o size=7m none /mnt && "
		   "/root/asker /mnt /mnt/.. && mount --bind /usr /mnt && /root/asker /mnt'"),
		"/mnt: 7\n/mnt/..: 200\n/mnt: 200");
}

/* By descriptor, from a working directory, through links; and of what nobody has looked at so far. */
Test(disk, however_it_is_asked)
{
	ready("dfc");
	cr_assert_str_eq(
		ok("vm2 guest exec dfc -- /root/asker odd"),
		"fifo: 200\nloop: Too many levels of symbolic links\nlink: 200\nmagic: 6144\n"
		"device: 1\npipe: 0\ndeleted: 200\nheld: 200\nbeside: 200\nbeyond: 200\n"
		"chroot: 200\nchroot up: 200\nchroot out: No such file or directory");
	ok("vm2 guest exec dfc -- sh -c 'mkdir -p /srv/a/b/c /srv/d/e /srv/f/g; sync' && sync && "
	   "echo 2 >/proc/sys/vm/drop_caches && vm2 guest exec dfc -- /root/asker /srv/a/b/c /srv/d/e /srv/f/g | grep -c ': 200' | grep 3");
}

Test(disk, an_init_and_what_outlives_a_session_are_answered)
{
	ready("dfd");
	/* What is left of a session asks when that has ended. */
	assert_status(
		ssh("dfd", "",
		    "setsid sh -c \"until test -e /root/go; do sleep .05; done; "
		    "/root/asker / >/root/said; touch /root/done\" >/dev/null 2>&1 </dev/null &"),
		0);
	ok("vm2 guest exec dfd -- touch /root/go");
	wait_for(20, "vm2 guest exec dfd -- test -e /root/done");
	cr_assert_str_eq(ok("vm2 guest exec dfd -- cat /root/said"), "/: 200");
	/* An init of the guest's own, which asks; and again after it began anew. */
	ok("vm2 guest exec dfd -- sh -c 'rm -f /sbin/init; printf \"#!/bin/sh\\n/root/asker / >>/root/init-said\\n"
	   "exec sleep inf\\n\" >/sbin/init; chmod 755 /sbin/init' && vm2 guest restart dfd");
	wait_for(20, "vm2 guest exec dfd -- grep ': 200' /root/init-said");
	ok("before=$(vm2 guest show dfd --json | jq .pid); vm2 guest exec dfd -- sh -c ': >/root/init-said'; kill -HUP $before; "
	   "kill -9 $before");
	wait_for(30, "vm2 guest start dfd && vm2 guest exec dfd -- grep ': 200' /root/init-said");
}

Test(disk, a_user_learns_nothing_from_it)
{
	ready("dfe");
	ok("vm2 guest exec dfe -- sh -c 'cp /root/asker /usr/bin/asker && mkdir -p /srv/p/q /srv/g && "
	   "chmod 700 /srv/p && chown 0:4 /srv/g && chmod 710 /srv/g && mkdir /srv/g/h'");
#define AS(ids, paths) "vm2 guest exec dfe -- setpriv " ids " asker " paths
	cr_assert_str_eq(
		ok(AS("--reuid 1000 --regid 1000 --clear-groups",
		      "/srv/p /srv/p/q /srv/p/none /srv/g/h")),
		"/srv/p: 200\n/srv/p/q: Permission denied\n/srv/p/none: Permission denied\n"
		"/srv/g/h: Permission denied");
	/* By its group, and by a further one. */
	ok(AS("--reuid 1000 --regid 4 --clear-groups", "/srv/g/h") " | grep ': 200'");
	ok(AS("--reuid 1000 --regid 1000 --groups 7,4", "/srv/g/h") " | grep ': 200'");
	/* Root of the guest gets everywhere; of a user's own namespace it does not. */
	ok("vm2 guest exec dfe -- sh -c 'chown 1000 /srv/p && asker /srv/p/q | grep \": 200\"'");
	ok("vm2 guest exec dfe -- sh -c 'chown 0 /srv/p'; " AS(
		"--reuid 1000 --regid 1000 --clear-groups unshare -Ur",
		"/srv/p/q /usr") " | tr '\\n' , | grep '^/srv/p/q: Permission denied,/usr: 200,'");
}

Test(disk, hostile_callers_harm_nobody)
{
	ready("dff");
	cr_assert_str_eq(
		ok("vm2 guest exec dff -- /root/asker bad"),
		"no path: Bad address\nno end: Bad address\nat the edge: 200\nnowhere to: Bad address\n"
		"half of it: Bad address\nread-only: Bad address\nkernel's: Bad address\n"
		"empty: No such file or directory\nno file: Bad file descriptor");
	cr_assert_str_eq(ok("vm2 guest exec dff -- /root/asker die"), "after: 200");
	cr_assert_str_eq(ok("vm2 guest exec dff -- /root/asker held"), "");
	/* Whoever asks without end has 5 % of a processor, and what was saved up (0.2 s): of 100 ticks a second. */
	ok(KEEPER(
		"dff") "ticks() { awk '{ print $14 + $15 }' /proc/$supervisor_pid/stat; }; before=$(ticks) && "
		       "vm2 guest exec dff -- /root/asker spin && after=$(ticks) && test $((after - before)) -lt 60");
}

#ifdef __x86_64__
/* By a 64-bit program, as there is no tree of 32 bits here: the kernel does not tell them apart. */
Test(disk, programs_of_32_bits_see_the_same)
{
	ready("dfn");
	if (sh("vm2 guest exec dfn -- /root/asker 32").status != 0)
		cr_skip_test("this kernel runs no programs of 32 bits");
	cr_assert_str_eq(
		ok("vm2 guest exec dfn -- sh -c 'mount -t tmpfs -o size=7m none /dev/shm; /root/asker 32'"),
		"statfs64: 200\nfstatfs64: 200\nstatfs: 200\nfstatfs: 200\nother size: Invalid argument\n"
		"nowhere: Bad address\nat the edge: Bad address\ntmpfs: 7\nno file: No such file or directory");
}
#endif

/*
 * A program's own filters (seccomp(2)) are as anywhere else, but that one listener is all the kernel allows, and
 * that what is handed to it is not shown to a tracer. Whoever did not get a listener goes on, and so do others.
 */
Test(disk, a_program_may_have_filters_and_no_listener)
{
	ready("dfk");
	cr_assert_str_eq(
		ok("vm2 guest exec dfk -- /root/asker filters"),
		"listener: Device or resource busy\nparent is there: 0\ntraced: 200\nseen: 0\nnobody's: 0\n"
		"parent: Function not implemented\nstill: 200\nrefused: 0\nown: Operation not permitted");
	/* So it is for a user, and in a namespace of his own. */
	ok("vm2 guest exec dfk -- sh -c 'cp /root/asker /usr/bin/asker' && vm2 guest exec dfk -- setpriv --reuid 1000 "
	   "--regid 1000 --clear-groups unshare -Ur asker filters | grep '^listener: Device or resource busy'");
	cr_assert_str_eq(ok("vm2 guest exec dfk -- /root/asker /"), "/: 200");
}

Test(disk, a_keeper_holds_no_more_than_who_is_there)
{
	ready("dfg");
	ok(FDS("dfg") " >/run/vm2-test/fds");
	ok("/usr/libexec/vm2/supervise stop vm2d && /usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(20, "vm2 host status");
	ok("for i in $(seq 100); do vm2 guest exec dfg -- true || exit; done");
	wait_for(10, "test $(" FDS("dfg") ") -le $(cat /run/vm2-test/fds)");
	cr_assert_str_eq(ok("vm2 guest exec dfg -- /root/asker /"), "/: 200");
}

/* Of an older version, or as many listeners as there may be: who enters sees what the kernel shows. */
Test(disk, a_keeper_that_takes_none_keeps_nobody_out)
{
	ready("dfh");
	ok("mv /run/vm2/guests/dfh/statfs.2 /run/vm2/guests/dfh/away");
	cr_assert_str_eq(ok("vm2 guest exec dfh -- /root/asker /"), "/: 6144");
	ok("mv /run/vm2/guests/dfh/away /run/vm2/guests/dfh/statfs.2");
	cr_assert_str_eq(ok("vm2 guest exec dfh -- /root/asker /"), "/: 200");
}

/* Takes its place and is never heard from: nobody gets in with a statfs(2) that nobody answers. */
Test(disk, who_is_not_taken_does_not_enter)
{
	struct result r;

	ready("dfl");
	ok("cd /run/vm2/guests/dfl && mv statfs.2 away && { python3 -c '\n"
	   "import socket, time\n"
	   "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
	   "s.bind(\"statfs.2\")\n"
	   "c = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
	   "c.connect(\"statfs.2\")\n"
	   "c.setblocking(False)\n"
	   "try:\n"
	   " while True: c.send(b\"x\")\n"
	   "except BlockingIOError: open(\"/run/vm2-test/full\", \"w\")\n"
	   "time.sleep(60)' >/dev/null 2>&1 & echo $! >/run/vm2-test/nobody; }");
	wait_for(10, "test -e /run/vm2-test/full");
	r = sh("vm2 guest exec dfl -- true");
	ok("kill $(cat /run/vm2-test/nobody) && cd /run/vm2/guests/dfl && mv away statfs.2");
	assert_status(r, 5);
	assert_has(r.err, "statfs(2)");
	cr_assert_str_eq(ok("vm2 guest exec dfl -- /root/asker /"), "/: 200");
}

/* Who enters waits for no answer, not even for that of a terminal. */
Test(disk, a_keeper_that_is_busy_keeps_nobody_out)
{
	struct result r;

	ready("dfm");
	ok(KEEPER("dfm") "kill -STOP $supervisor_pid");
	r = ssh("dfm", "-tt", "echo here");
	ok(KEEPER("dfm") "kill -CONT $supervisor_pid");
	assert_status(r, 0);
	assert_has(r.out, "here");
	assert_has(ssh("dfm", "-tt", "/root/asker /").out, "/: 200");
}

Test(disk, listeners_are_bounded)
{
	ready("dfj");
	ok("for i in $(seq 400); do vm2 guest exec dfj -- sh -c 'sleep 99 >/dev/null 2>&1 </dev/null &' || exit; done");
	wait_for(10, "test -e /run/vm2/guests/dfj/statfs.2.full");
	ok("test $(" FDS("dfj") ") -lt 430");
	cr_assert_str_eq(ok("vm2 guest exec dfj -- /root/asker /"), "/: 6144");
	ok("vm2 guest exec dfj -- sh -c 'kill $(pidof sleep)'");
	wait_for(10, "test -e /run/vm2/guests/dfj/statfs.2 && test $(" FDS("dfj") ") -lt 30");
	cr_assert_str_eq(ok("vm2 guest exec dfj -- /root/asker /"), "/: 200");
}

Test(disk, a_snapshot_comes_back)
{
	ready("dfi");
	ok("vm2 guest exec dfi -- sh -c 'dd if=/dev/urandom of=/root/f bs=1M count=50 && sync'");
	ok("vm2 guest snapshot dfi one && vm2 guest exec dfi -- rm /root/f && vm2 guest stop dfi && "
	   "vm2 guest restore dfi one --yes && vm2 guest start dfi");
	ok("sync; vm2 guest exec dfi -- df -m --output=size,used / | tail -1 | awk '{ exit !($1 == 200 && $2 > 40 && $2 < 60) }'");
}
