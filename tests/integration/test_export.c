/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest as one file: out of it and back, on another host, whole or not at all. */
#include <stdio.h>
#include <string.h>

#include "tests/integration/lib.h"

TestSuite(export, .timeout = 600);

/* Another instance on this host, its guests on btrfs: what another host would be. */
#define OTHER "/var/tmp/other"
#define VM2_2 "vm2 --config " OTHER "/conf"

/* What is in a guest's own folders, as the guest sees it. */
#define LIST                                                                                      \
	"cd / && find root srv etc/motd -type d -printf \"%%p %%m %%U %%G %%T@\\n\" -o -printf "   \
	"\"%%p %%y %%m %%U %%G %%n %%s %%T@ %%l\\n\" | sort && "                                   \
	"find root srv -type f -print0 | sort -z | xargs -0 sha256sum; " READ_CAPABILITY

/* getxattr(2) and setxattr(2): there are no programs for it in there. CAP_NET_RAW, for whoever runs it. */
#define CAPABILITY "\\$f = q(/srv/cap); \\$n = q(security.capability); "
#define READ_CAPABILITY                                                                   \
	"perl -e \"" CAPABILITY "\\$v = chr(0) x 24; print syscall(191, \\$f, \\$n, \\$v, 24), " \
	"unpack(q(H*), \\$v)\""
#define WRITE_CAPABILITY                                                                  \
	"cp /bin/true cap; perl -e \"" CAPABILITY "\\$v = pack(q(V5), 0x02000001, 0x2000, 0, 0, 0); " \
	"syscall(188, \\$f, \\$n, \\$v, 20, 0) == 0 or die\""

static void furnished(const char *name)
{
	tenant_ready(name);
	ok("vm2 guest start %s", name);
	ok("vm2 guest exec %s -- bash -ec 'cd /srv; echo hello >/root/f; mkdir -p d/e; echo a >d/a; "
	   "ln d/a d/b; ln -s ../no d/l; mkfifo d/p; chown 65535:33 d/a; chmod 6755 d/a; rm -rf "
	   "/usr/share/doc; truncate -s 90M hole; echo x >>hole; head -c 3000000 /dev/urandom >random; "
	   "touch -d 2001-02-03 d/e; touch \"d/odd \"$(printf \"\\\\377\"); echo welcome >/etc/motd; "
	   "touch -d \"1955-03-04 05:06:07.089\" d/old; touch \"d/$(printf \"two\\\\nlines\")\" d/$(printf %%0255d 1); "
	   "ln d/l d/l2; ln d/p d/p2; " WRITE_CAPABILITY "; (i=0; cd d; while [ $i -lt 300 ]; do mkdir $i; cd $i; "
	   "i=$((i + 1)); done; echo deep >bottom); "
	   "perl -MSocket -e \"socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un(q(/opt/s)))\"'",
	   name);
}

static void nothing_left(const char *name)
{
	ok("vm2 tenant show %s --json | jq -e '.guest == \"none\"'", name);
	ok("! ls -A /var/lib/vm2/guests | grep -F %s", name);
}

Test(export, goes_out_while_it_runs_and_comes_back)
{
	const char *before, *after;

	furnished("source");
	before = ok("vm2 guest exec source -- bash -ec '" LIST "'");
	ok("rm -f /var/tmp/e1 && vm2 guest export source /var/tmp/e1");
	ok("vm2 guest show source --json | jq -e '.state == \"running\"'");
	ok("! ls -A /var/lib/vm2/guests/.snapshots/source | grep . && ! test -e /var/tmp/e1.part");
	cr_assert_str_eq(ok("stat -c %%a /var/tmp/e1"), "600");
	ok("test $(stat -c %%s /var/tmp/e1) -lt 1000000000");
	/* Stock tools read it. */
	ok("zstd -dc /var/tmp/e1 | tar -xO vm2-guest.json | jq -e '.format == 1 and .name == \"source\"'");
	assert_status(sh("vm2 guest export source /var/tmp/e1"), 6);
	tenant_ready("target");
	ok("vm2 guest import target /var/tmp/e1");
	assert_status(sh("vm2 guest import target /var/tmp/e1"), 6);
	ok("vm2 guest show target --json | jq -e '.state == \"stopped\"'");
	ok("vm2 guest start target");
	after = ok("vm2 guest exec target -- bash -ec '" LIST "'");
	cr_assert_str_eq(before, after);
	ok("vm2 guest exec target -- sh -ec '! test -e /usr/share/doc; test -x /usr/bin/dpkg; "
	   "test $(hostname) = target; test $(du -k /srv/hole | cut -f1) -lt 100; test /srv/d/a -ef /srv/d/b'");
	/* It is a guest like any other: it can be snapshot, restored, exported and destroyed. */
	ok("vm2 guest snapshot target s && vm2 guest exec target -- rm -r /srv && "
	   "vm2 guest restore target s --yes && vm2 guest exec target -- test -e /srv/d/a");
	ok("vm2 guest export target - | zstd -dc | tar -t | grep -q '^rootfs/srv/d/a$'");
	ok("vm2 guest destroy target --yes");
}

static void other_instance(void)
{
	ok("mkdir -p " OTHER "/s && printf '[instance]\\nname = o\\n[paths]\\nstate = " OTHER "/s\\nrun = "
	   "/run/other\\n[network]\\npool4 = 10.83.0.0/24\\npool6 = fd83::/64\\n[gateway]\\nlisten = "
	   "127.0.0.1:2322\\n[uids]\\nguest-base = 1073741824\\nguest-count = 100\\n' >" OTHER "/conf");
	ok(VM2_2 " host setup --pool 4G && { /usr/libexec/vm2/supervise start vm2d-2 -- vm2d --config "
		 OTHER "/conf; }");
	wait_for(20, VM2_2 " host status");
	ok(VM2_2 " tenant add moved");
}

Test(export, comes_back_on_another_host_and_driver)
{
	const char *before, *after;

	furnished("mover");
	other_instance();
	cr_assert_str_eq(ok(VM2_2 " host status --json | jq -r .storage"), "btrfs");
	before = ok("vm2 guest exec mover -- bash -ec '" LIST "'");
	ok("vm2 guest export mover - | " VM2_2 " guest import moved -");
	ok(VM2_2 " guest start moved");
	after = ok(VM2_2 " guest exec moved -- bash -ec '" LIST "'");
	cr_assert_str_eq(before, after);
	/* And home again. */
	ok(VM2_2 " guest exec moved -- sh -c 'echo there >/root/was'");
	ok("vm2 guest destroy mover --yes && " VM2_2 " guest export moved - | vm2 guest import mover -");
	ok("vm2 guest start mover");
	cr_assert_str_eq(ok("vm2 guest exec mover -- cat /root/was"), "there");
	ok(VM2_2 " tenant remove moved --yes && /usr/libexec/vm2/supervise stop vm2d-2 && umount " OTHER
		 "/s/guests");
}

/* Cut anywhere, or with a byte changed anywhere: refused, and nothing is there that was not before. */
Test(export, what_is_not_whole_is_refused)
{
	furnished("broken");
	tenant_ready("victim");
	ok("rm -f /var/tmp/e2 && vm2 guest export broken /var/tmp/e2");
	for (int i = 1; i < 4; i++) {
		struct result r;

		r = sh("head -c $(( $(stat -c %%s /var/tmp/e2) * %d / 4 )) /var/tmp/e2 | "
		       "vm2 guest import victim -", i);
		assert_status(r, 1);
		nothing_left("victim");
		r = sh("cp /var/tmp/e2 /var/tmp/e3; printf X | dd of=/var/tmp/e3 bs=1 conv=notrunc "
		       "seek=$(( $(stat -c %%s /var/tmp/e2) * %d / 4 )) 2>/dev/null; "
		       "cmp -s /var/tmp/e2 /var/tmp/e3 || vm2 guest import victim /var/tmp/e3", i);
		assert_status(r, 1);
		nothing_left("victim");
	}
	ok("head -c -1 /var/tmp/e2 >/var/tmp/e3; ! vm2 guest import victim /var/tmp/e3");
	assert_status(sh("vm2 guest import victim /etc/passwd"), 1);
	assert_status(sh("vm2 guest import victim /dev/null"), 1);
	assert_status(sh("vm2 guest import victim /"), 1);
	assert_status(sh("vm2 guest import victim /no/such"), 3);
	assert_status(sh("vm2 guest import nobody /var/tmp/e2"), 3);
	nothing_left("victim");
}

/* An export that somebody has made up, with right sums or none. */
Test(export, what_is_hostile_gets_nowhere)
{
	tenant_ready("mark");
	ok("mkdir -p /var/tmp/h && cd /var/tmp/h && echo '{\"format\": 1, \"entries\": 1, \"bytes\": 1}' "
	   ">vm2-guest.json && mkdir -p rootfs && echo evil >rootfs/f && ln -sf /var/tmp rootfs/out");
	ok("cd /var/tmp/h && tar --zstd -cPf ../h1 --transform 's,rootfs/f,rootfs/../../../../hit,' "
	   "vm2-guest.json rootfs/f");
	ok("cd /var/tmp/h && tar --zstd -cPf ../h2 --transform 's,rootfs/f,rootfs/out/hit,' vm2-guest.json "
	   "rootfs rootfs/out rootfs/f");
	ok("cd /var/tmp/h && tar --zstd -cPf ../h3 --transform 's,rootfs/f,/var/tmp/hit,' vm2-guest.json "
	   "rootfs/f");
	ok("cd /var/tmp/h && sed -i s/1/99/ vm2-guest.json && tar --zstd -cPf ../h4 vm2-guest.json rootfs");
	for (int i = 1; i <= 4; i++) {
		assert_status(sh("vm2 guest import mark /var/tmp/h%d", i), 1);
		nothing_left("mark");
	}
	ok("! find / -xdev -name hit 2>/dev/null | grep .");
}

/* Whoever is killed in it: no half guest, no half file, and the next try works. */
Test(export, an_interrupted_one_leaves_nothing)
{
	furnished("long");
	tenant_ready("later");
	ok("vm2 guest exec long -- sh -c 'head -c 150000000 /dev/urandom >/srv/big'");
	ok("rm -f /var/tmp/e5* && vm2 guest export long /var/tmp/e5");
	for (int i = 0; i < 3; i++) {
		/* Half of it comes, and then no more. */
		ok("mkfifo /var/tmp/fifo%d; { head -c 60000000 /var/tmp/e5; sleep 60; } >/var/tmp/fifo%d & "
		   "vm2 guest import later /var/tmp/fifo%d & echo $! >/var/tmp/importer", i, i, i);
		wait_for(60, "test -n \"$(find /var/lib/vm2/guests/.later.new -size +10000k 2>/dev/null)\"");
		if (i == 0)
			ok("kill -9 $(cat /var/tmp/importer)");
		else if (i == 1)
			ok("pkill -9 -x vm2-archive");
		else
			ok("kill -9 $(ps -o ppid= -C vm2-archive)");
		wait_for(20, "! pgrep -x vm2-archive");
		if (i == 2)
			ok("pkill -9 -x vm2d; sleep 0.1"); /* its next start repairs */
		wait_for(30, "vm2 tenant show later --json | jq -e '.guest == \"none\"' && "
			     "! ls -A /var/lib/vm2/guests | grep -F later");
	}
	/* An export: while it goes on, its guest stays. */
	ok("mkfifo /var/tmp/out; { vm2 guest export long - >/var/tmp/out; } & "
	   "{ head -c 1000000; sleep 60; } </var/tmp/out >/dev/null & echo $! >/var/tmp/reader");
	wait_for(60, "pgrep -x vm2-archive");
	assert_status(sh("vm2 guest destroy long --yes"), 5);
	ok("vm2 guest stop long && vm2 guest start long");
	ok("pkill -f '[v]m2 guest export long'");
	wait_for(20, "! pgrep -x vm2-archive && ! ls -A /var/lib/vm2/guests/.snapshots/long | grep .");
	ok("vm2 guest import later /var/tmp/e5 && vm2 guest start later && "
	   "vm2 guest exec later -- test -s /srv/big");
	ok("vm2 guest destroy long --yes");
}

/* A tenant that goes and whose guest stays: as an export, for a later tenant. */
Test(export, a_tenant_goes_and_the_guest_stays)
{
	tenant_ready("leaver");
	ok("vm2 guest start leaver && vm2 guest exec leaver -- sh -c 'echo left >/root/left'");
	ok("vm2 tenant remove leaver --keep-guest --yes");
	assert_status(sh("vm2 tenant show leaver"), 3);
	ok("! ls -A /var/lib/vm2/guests | grep -F leaver");
	cr_assert_str_eq(ok("stat -c %%a:%%n /var/lib/vm2/kept/leaver-*.guest | cut -d- -f1"),
			 "600:/var/lib/vm2/kept/leaver");
	ok("vm2 tenant add again && vm2 guest import again /var/lib/vm2/kept/leaver-*.guest && "
	   "vm2 guest start again");
	cr_assert_str_eq(ok("vm2 guest exec again -- cat /root/left"), "left");
	/* Who has no guest leaves none. */
	tenant_ready("empty");
	ok("vm2 tenant remove empty --keep-guest --yes && ! ls /var/lib/vm2/kept | grep empty");
}

/* What reads its files is stopped as soon as it is there, so that it is known where the kill comes. */
Test(export, what_was_being_kept_is_gone_after_a_kill)
{
	tenant_ready("cut");
	ok("vm2 guest start cut && vm2 guest exec cut -- sh -c 'head -c 64M /dev/urandom >/root/f' && vm2 guest stop cut");
	ok("for i in $(seq 2000); do ! pkill -STOP -x vm2-archive || exit; sleep .005; done >/dev/null 2>&1 </dev/null &");
	ok("vm2 tenant remove cut --keep-guest --yes >/dev/null 2>&1 </dev/null &");
	wait_for(20, "ps -C vm2-archive -o stat= | grep ^T");
	ok("ls -l /proc/[0-9]*/fd 2>/dev/null | grep -F ' /var/lib/vm2/kept/' && kill -9 $(pgrep -x 'vm2d|vm2-archive')");
	wait_for(60, "vm2 host status && test $(vm2 host repair --dry-run --json) = '[]'");
	ok("! ls -A /var/lib/vm2/kept | grep cut");
	/* Suspended as it was; what was begun may be done. */
	ok("vm2 tenant remove cut --keep-guest --yes && ls /var/lib/vm2/kept/cut-*.guest");
}
