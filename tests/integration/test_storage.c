/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests' files: snapshots, exports, imports, limits; on overlay and on btrfs. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/integration/lib.h"

#ifdef ON_BTRFS
#define DRIVER "btrfs"
#define POOL   "--pool 6G"
#define STANDS 0
#else
#define DRIVER "overlay"
#define POOL   ""
#define STANDS 1
#endif

static void begin(void)
{
	setenv("VM2_TEST_SETUP", POOL, 1);
}

TestSuite(storage, .timeout = 600, .init = begin);

Test(storage, the_driver_is_as_set_up)
{
	host_ready();
	cr_assert_str_eq(ok("vm2 host status --json | jq -r .storage"), DRIVER);
	assert_has(ok("vm2 host check --json | jq -r '.[] | select(.name == \"storage\") | .found'"),
		   DRIVER);
}

static void check_limits(bool kept)
{
	struct result r = sh("vm2 plan add disky --disk 200M");

	if (kept) {
		assert_status(r, 0);
		assert_has(sh("vm2 plan set disky --inodes 1000").err, "--inodes unlimited");
		return;
	}
	assert_status(r, 1);
	assert_has(r.err, "--disk unlimited");
	ok("! vm2 plan list --json | jq -e 'any(.name == \"disky\")'");
	assert_has(sh("vm2 plan add disky --inodes 1000").err, "--inodes unlimited");
	ok("vm2 plan add disky --disk unlimited");
	cr_assert_str_eq(ok("vm2 plan list --json | jq '.[] | select(.name == \"disky\").disk'"), "0");
}

/* What the driver cannot keep is not promised; what it promises it keeps. */
Test(storage, a_plans_disk)
{
	bool kept = !strcmp(DRIVER, "btrfs");

	host_ready();
	check_limits(kept);
	if (!kept) {
		tenant_shared("diska");
		ok("vm2 guest start diska && vm2 guest list --json | jq -e '.[] | select(.name == \"diska\") | "
		   ".disk == null'");
		ok("vm2 host status --json | jq -e '.disk_used == null and (.disk_unlimited | length > 0)'");
		return;
	}
	ok("vm2 tenant add diska --key /run/vm2-test/key.pub --plan disky && vm2 guest start diska");
	ok("vm2 guest exec diska -- sh -c 'dd if=/dev/urandom of=/root/f bs=1M count=150 && sync'");
	ok("vm2 guest list --json | jq -e '.[] | select(.name == \"diska\") | .disk > 120 * 1048576 and "
	   ".disk < 160 * 1048576 and .disk_limit == 200 * 1048576'");
	ok("vm2 host status --json | jq -e '.disk_used > 120 * 1048576 and .disk_limits >= 200 * 1048576'");
	assert_status(sh("vm2 guest exec diska -- sh -c 'dd if=/dev/urandom of=/root/g bs=1M count=150 "
			 "conv=fsync'"),
		      1);
	/* It is let in, and can make room. */
	assert_status(ssh("diska", "", "rm /root/f /root/g && sync && echo back >/root/h"), 0);
}

#ifdef ON_BTRFS
/* A stop of vm2d does not take the pool away, and a start brings it back. */
Test(storage, the_pool_is_mounted_again)
{
	host_ready();
	tenant_ready("pooled");
	ok("vm2 guest start pooled && vm2 guest exec pooled -- touch /root/kept && vm2 guest stop pooled");
	assert_status(sh("vm2 host setup --pool 6G"), 5);
	ok("/usr/libexec/vm2/supervise stop vm2d && umount /var/lib/vm2/guests");
	ok("! test -e /var/lib/vm2/guests/pooled");
	ok("/usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(20, "vm2 host status");
	ok("vm2 guest start pooled && vm2 guest exec pooled -- test -e /root/kept");
	assert_has(ok("losetup -n -O BACK-FILE,AUTOCLEAR"), "pool.btrfs");
}

/* What is wrong with a size, with where it is to be, and with when is told, and nothing is made. */
Test(storage, a_pool_that_cannot_be)
{
	host_ready();
	assert_status(sh("vm2 host setup --pool much"), 2);
	assert_status(sh("vm2 host setup --pool unlimited"), 2);
	assert_status(sh("vm2 host setup --remove --pool 6G"), 2);
	ok("mkdir -p /var/tmp/i/s && printf '[instance]\nname = i\n[paths]\nstate = /var/tmp/i/s\n"
	   "run = /var/tmp/i/run\n[access]\ngateway-user = i-gateway\nstaff-group = i-staff\n"
	   "audit-group = i-audit\n' >/var/tmp/i/conf");
	assert_status(sh("vm2 --config /var/tmp/i/conf host setup --pool 1M"), 2);
	assert_status(sh("vm2 --config /var/tmp/i/conf host setup --pool 900T"), 1);
	ok("mkdir -p /var/tmp/i/s/guests/old");
	assert_status(sh("vm2 --config /var/tmp/i/conf host setup --pool 600M"), 5);
	ok("! ls /var/tmp/i/s | grep pool && ! findmnt /var/tmp/i/s/guests");
	/* And one that can: it goes with --remove, and its file with --purge. */
	ok("rmdir /var/tmp/i/s/guests/old && vm2 --config /var/tmp/i/conf host setup --pool 600M");
	ok("findmnt -t btrfs /var/tmp/i/s/guests && vm2 --config /var/tmp/i/conf host setup --pool 600M");
	assert_status(sh("vm2 --config /var/tmp/i/conf host setup --pool 700M"), 6);
	/* What the two instances share is put back. */
	ok("cp -a /etc/nsswitch.conf /etc/pam.d/vm2-gateway /etc/sysctl.d/60-vm2.conf /var/tmp/i/; "
	   "vm2 --config /var/tmp/i/conf host setup --remove && test -f /var/tmp/i/s/pool.btrfs && "
	   "! findmnt /var/tmp/i/s/guests && vm2 --config /var/tmp/i/conf host setup && "
	   "findmnt -t btrfs /var/tmp/i/s/guests && "
	   "vm2 --config /var/tmp/i/conf host setup --remove --purge; r=$?; "
	   "cp -a /var/tmp/i/nsswitch.conf /etc/; cp -a /var/tmp/i/vm2-gateway /etc/pam.d/; "
	   "cp -a /var/tmp/i/60-vm2.conf /etc/sysctl.d/; sysctl -q net.ipv4.ip_forward=1; exit $r");
	ok("! test -e /var/tmp/i/s/pool.btrfs && ! findmnt /var/tmp/i/s/guests && "
	   "! losetup -n -O BACK-FILE | grep /var/tmp/i/");
}
#endif

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void guest_ready(const char *name)
{
	tenant_ready(name);
	ok("vm2 guest start %s", name);
}

Test(storage, snapshot_of_a_running_guest_and_back)
{
	guest_ready("snap");
	/* On btrfs, what files take is known as soon as there is a limit of it. */
	if (!STANDS)
		ok("vm2 tenant set snap --disk 4G");
	ok("vm2 guest exec snap -- sh -ec 'echo one >/root/f; echo same >/etc/motd; mkdir -p /srv/d; "
	   "echo a >/srv/d/a; ln /srv/d/a /srv/d/b; ln -s a /srv/d/l; mkfifo /srv/d/p; "
	   "chown 33:65535 /srv/d/a; chmod 4755 /srv/d/a; rm -rf /usr/share/doc; "
	   "truncate -s 1G /srv/d/hole; echo x >>/srv/d/hole; head -c 40M /dev/urandom >/root/big; sync'");
	ok("vm2 guest snapshot snap first --json | jq -e '.name == \"first\" and .bytes < 100000000'");
	ok("vm2 guest exec snap -- sh -ec 'echo two >/root/f; rm /srv/d/a; mkdir /usr/share/doc; "
	   "echo n >/usr/share/doc/new; touch /root/later'");
	ok("vm2 guest snapshots snap --json | jq -e '.[0] | .bytes > 9000000 and now - .created < 600 and now >= .created'");
	assert_status(sh("vm2 guest snapshot snap first"), 6);
	ok("vm2 guest restore snap first --yes");
	ok("vm2 guest show snap --json | jq -e '.state == \"running\"'");
	ok("vm2 guest exec snap -- sh -ec 'test $(cat /root/f) = one; ! test -e /root/later; "
	   "! test -e /usr/share/doc; test $(stat -c %%u:%%g:%%a:%%h /srv/d/a) = 33:65535:4755:2; "
	   "test /srv/d/a -ef /srv/d/b; test $(readlink /srv/d/l) = a; test -p /srv/d/p; "
	   "test $(stat -c %%s /srv/d/hole) = 1073741826; test $(du -k /srv/d/hole | cut -f1) -lt 100; "
	   "test $(hostname) = snap'");
	/* The snapshot is still there, and as an overlay the guest stands on it. */
	ok("vm2 guest snapshots snap --json | jq -e 'length == 1 and .[0].used == %s'",
	   STANDS ? "true" : "false");
	assert_status(sh("vm2 guest snapshot snap first --remove"), STANDS ? 5 : 0);
}

/* What a restored guest stands on is in the snapshots that follow, as far as it still shows. */
Test(storage, snapshots_of_a_restored_guest_are_whole)
{
	guest_ready("chain");
	ok("vm2 guest exec chain -- sh -ec 'echo 1 >/root/one; mkdir /opt/d /opt/gone; echo a >/opt/d/a; "
	   "echo b >/opt/d/b; echo x >/opt/gone/x; rm -rf /usr/share/man; rm -rf /var/mail'");
	ok("vm2 guest snapshot chain s1 && vm2 guest restore chain s1 --yes");
	ok("vm2 guest exec chain -- sh -ec 'echo 2 >/root/two; rm /opt/d/a; rm -rf /opt/gone; "
	   "mkdir /opt/gone /usr/share/man; echo y >/opt/gone/y; echo m >/usr/share/man/m'");
	ok("vm2 guest snapshot chain s2 && vm2 guest restore chain s2 --yes");
	ok("vm2 guest exec chain -- sh -ec 'cat /root/one /root/two; test $(ls /opt/d) = b; "
	   "test $(ls /opt/gone) = y; test $(ls /usr/share/man) = m; ! test -e /var/mail'");
	ok("vm2 guest snapshot chain s1 --remove");
	ok("vm2 guest exec chain -- cat /root/one");
	ok("vm2 guest restore chain s2 --yes");
	ok("vm2 guest exec chain -- sh -ec 'test $(ls /opt/gone) = y; cat /root/one'");
	assert_status(sh("vm2 guest restore chain nothing --yes"), 3);
}

/* A writer that never stops: each snapshot is one instant of what it wrote. */
Test(storage, snapshot_is_of_one_instant)
{
	guest_ready("instant");
	/* b never runs ahead of a, and a is at most one ahead of b. */
	ok("ssh %s instant@127.0.0.1 'mkdir -p /srv/w; cd /srv/w; echo 0 >a; echo 0 >b; "
	   "dd if=/dev/zero of=big bs=1M count=64 2>/dev/null; cat >/root/w.sh <<\"E\"\ni=0\n"
	   "while :; do i=$((i+1)); echo $i >a.new; mv a.new a; echo $i >b.new; mv b.new b; done\nE\n"
	   "setsid sh /root/w.sh >/dev/null 2>&1 </dev/null &'",
	   ssh_options);
	for (int i = 0; i < 5; i++)
		ok("vm2 guest snapshot instant s%d", i);
	ok("for s in 0 1 2 3 4; do d=/var/lib/vm2/guests/.snapshots/instant/s$s/upper/srv/w; "
	   "[ -d $d ] || d=/var/lib/vm2/guests/.snapshots/instant/s$s/root/srv/w; "
	   "a=$(cat $d/a) b=$(cat $d/b); [ $((a - b)) -ge 0 ] && [ $((a - b)) -le 1 ] || "
	   "{ echo $a $b; exit 1; }; done");
	/* It goes on. */
	ok("vm2 guest exec instant -- cat /srv/w/a >/run/vm2-test/instant");
	wait_for(30, "test $(vm2 guest exec instant -- cat /srv/w/a) -gt $(cat /run/vm2-test/instant)");
}

Test(storage, of_a_gibibyte_restore_and_destroy_take_a_second)
{
	double start, restored, destroyed;

	guest_ready("big");
	ok("vm2 guest exec big -- sh -ec 'for i in 1 2 3 4; do mkdir /srv/$i; dd if=/dev/urandom "
	   "of=/srv/$i/f bs=1M count=256 2>/dev/null; done; cd /srv/1; seq 20000 | xargs touch'");
	printf("# snapshot: %s\n", ok("vm2 guest snapshot big s1 --json"));
	ok("vm2 guest exec big -- rm -rf /srv/1 /srv/2 && sync");
	start = seconds();
	ok("vm2 guest restore big s1 --yes");
	restored = seconds() - start;
	ok("vm2 guest exec big -- sh -ec 'test -e /srv/1/f; test $(ls /srv/1 | wc -l) = 20001'");
	start = seconds();
	ok("vm2 guest destroy big --yes");
	destroyed = seconds() - start;
	printf("# " DRIVER ", 1 GiB, 20,000 files: restore %.3f s, destroy %.3f s\n", restored,
	       destroyed);
	/* On a machine with nothing else to do each takes less than one. */
	cr_assert_lt(restored, 10.0, "%.3f s", restored);
	cr_assert_lt(destroyed, 10.0, "%.3f s", destroyed);
	wait_for(40, "test -z \"$(ls -A /var/lib/vm2/guests/.trash 2>/dev/null)\"");
	ok("! test -e /var/lib/vm2/guests/big && ! test -e /var/lib/vm2/guests/.snapshots/big");
}

/* A worker that is killed while the guest stands still: it goes on. */
Test(storage, a_killed_worker_leaves_no_guest_standing)
{
	guest_ready("killed");
	ok("vm2 guest exec killed -- sh -c 'cd /srv; for d in 1 2 3 4 5 6 7 8; do mkdir $d; "
	   "(cd $d; seq 3000 | xargs touch); done'");
	for (int i = 0; i < 6; i++) {
		sh("vm2 guest snapshot killed s%d & sleep 0.%d; kill -9 $(pgrep -x vm2d | tail -n +2 | "
		   "xargs -r ps -o pid=,etimes= -p | awk '$2 < 2 {print $1}') 2>/dev/null; wait",
		   i, i + 1);
		ok("timeout 10 vm2 guest exec killed -- true");
	}
	ok("vm2 guest snapshot killed last");
	ok("test $(ls -A /var/lib/vm2/guests/.snapshots/killed | grep -c '^[.]') = 0");
}
