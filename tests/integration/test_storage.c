/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests' files: snapshots, exports, imports, limits; on overlay and on btrfs. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/integration/lib.h"

TestSuite(storage, .timeout = 300);

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
	ok("vm2 guest exec snap -- sh -ec 'echo one >/root/f; echo same >/etc/motd; mkdir -p /srv/d; "
	   "echo a >/srv/d/a; ln /srv/d/a /srv/d/b; ln -s a /srv/d/l; mkfifo /srv/d/p; "
	   "chown 33:65535 /srv/d/a; chmod 4755 /srv/d/a; rm -rf /usr/share/doc; "
	   "truncate -s 1G /srv/d/hole; echo x >>/srv/d/hole'");
	ok("vm2 guest snapshot snap first --json | jq -e '.name == \"first\" and .bytes < 100000000'");
	ok("vm2 guest exec snap -- sh -ec 'echo two >/root/f; rm /srv/d/a; mkdir /usr/share/doc; "
	   "echo n >/usr/share/doc/new; touch /root/later'");
	assert_status(sh("vm2 guest snapshot snap first"), 6);
	ok("vm2 guest restore snap first --yes");
	ok("vm2 guest show snap --json | jq -e '.state == \"running\"'");
	ok("vm2 guest exec snap -- sh -ec 'test $(cat /root/f) = one; ! test -e /root/later; "
	   "! test -e /usr/share/doc; test $(stat -c %%u:%%g:%%a:%%h /srv/d/a) = 33:65535:4755:2; "
	   "test /srv/d/a -ef /srv/d/b; test $(readlink /srv/d/l) = a; test -p /srv/d/p; "
	   "test $(stat -c %%s /srv/d/hole) = 1073741826; test $(du -k /srv/d/hole | cut -f1) -lt 100; "
	   "test $(hostname) = snap'");
	/* The snapshot is still there, and the guest stands on it. */
	ok("vm2 guest snapshots snap --json | jq -e 'length == 1 and .[0].used'");
	assert_status(sh("vm2 guest snapshot snap first --remove"), 5);
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
	ok("a=$(vm2 guest exec instant -- cat /srv/w/a); sleep 0.3; "
	   "b=$(vm2 guest exec instant -- cat /srv/w/a); [ $b -gt $a ]");
}

Test(storage, of_a_gibibyte_restore_and_destroy_take_a_second)
{
	double start, restored, destroyed;

	guest_ready("big");
	ok("vm2 guest exec big -- sh -ec 'for i in 1 2 3 4; do mkdir /srv/$i; dd if=/dev/urandom "
	   "of=/srv/$i/f bs=1M count=256 2>/dev/null; done; cd /srv/1; seq 20000 | xargs touch'");
	cr_log_info("snapshot: %s", ok("vm2 guest snapshot big s1 --json"));
	ok("vm2 guest exec big -- rm -rf /srv/1 /srv/2 && sync");
	start = seconds();
	ok("vm2 guest restore big s1 --yes");
	restored = seconds() - start;
	ok("vm2 guest exec big -- sh -ec 'test -e /srv/1/f; test $(ls /srv/1 | wc -l) = 20001'");
	start = seconds();
	ok("vm2 guest destroy big --yes");
	destroyed = seconds() - start;
	cr_log_warn("1 GiB, 20,000 files: restore %.3f s, destroy %.3f s", restored, destroyed);
	cr_assert_lt(restored, 1.0, "%.3f s", restored);
	cr_assert_lt(destroyed, 1.0, "%.3f s", destroyed);
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
