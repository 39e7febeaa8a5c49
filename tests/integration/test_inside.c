/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a root customer does in a guest and must find working. */
#include <stdlib.h>
#include <string.h>

#include "tests/integration/lib.h"

TestSuite(inside, .timeout = 240);

static void ready(void)
{
	tenant_shared("customer");
	assert_status(ssh("customer", "", "true"), 0);
}

/* Run a line in the guest of `customer`, and fail the test unless it exits 0. */
static const char *in_guest(const char *line)
{
	struct result r = ssh("customer", "", "%s", line);

	cr_assert_eq(r.status, 0, "%s\nstatus: %d\nout: %s\nerr: %s", line, r.status, r.out, r.err);
	return r.out;
}

Test(inside, dev_is_that_of_a_machine)
{
	ready();
	cr_assert_str_eq(in_guest("cd /dev; stat -c \"%n %U:%G %a %t:%T\" null zero full random urandom tty"),
			 "null root:root 666 1:3\nzero root:root 666 1:5\nfull root:root 666 1:7\n"
			 "random root:root 666 1:8\nurandom root:root 666 1:9\ntty root:root 666 5:0\n");
	in_guest("echo x >/dev/null; test $(head -c 3 /dev/zero | wc -c) = 3; ! echo x >/dev/full");
	/* On what the guest was put together: folders, and nothing is to be left there. */
	in_guest("test -d /dev/.vm2/stage/furniture; test -z \"$(find /dev/.vm2/stage ! -type d)\"");
	assert_has(in_guest("grep \" /dev/.vm2/stage \" /proc/self/mountinfo"), " ro,nosuid,nodev,noexec,");
	in_guest("test -c /dev/console; echo hello >/dev/console; echo x >/dev/shm/f; ls /dev/mqueue");
	/* Who looks for the processes of a terminal finds no init among them: pkill -t pts/0. */
	cr_assert_str_eq(in_guest("cut -d\" \" -f 7 /proc/1/stat"), "0\n");
	/* df shows what has a size: the root, and no list of hidden files. */
	assert_lacks(in_guest("df -h"), "/proc");
	cr_assert_neq(ssh("customer", "", "mknod /root/null c 1 3").status, 0);
	cr_assert_str_eq(in_guest("cat /run/host/container-manager"), "vm2\n");
}

Test(inside, namespaces_within_the_guest)
{
	ready();
	cr_assert_str_eq(in_guest("unshare -Ur id -u; unshare -Urpf --mount-proc sh -c \"echo /proc/[0-9]*\""),
			 "0\n/proc/1\n");
	in_guest("unshare -Urnm mount -t sysfs -o ro sysfs /sys");
	/* So may those who are not root there; what lets them is out of their reach. */
	in_guest("id visitor 2>/dev/null || useradd -m visitor; "
		 "su visitor -c \"unshare -Urpf --mount-proc true\"; ! su visitor -c \"ls /dev/.vm2\" 2>/dev/null");
	/* No keyrings, as in a kernel without them: on EPERM crun(1) gives up. 250: keyctl on x86-64. */
	in_guest("test $(uname -m) != x86_64 || perl -e \"\\$! = 0; syscall(250, 1, 0); exit(\\$! != 38)\"");
	in_guest("mkdir -p /mnt/b && mount --bind /etc /mnt/b && test -e /mnt/b/passwd && umount /mnt/b");
	in_guest("mount -t tmpfs t /mnt && cd /mnt && mkdir l u w m && "
		 "mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m && touch m/f && test -e u/f && "
		 "umount m && cd / && umount /mnt");
	in_guest("mkdir -p /root/jail && mount --bind / /root/jail && chroot /root/jail id -u && umount /root/jail");
}

Test(inside, packages_users_setuid_and_ports)
{
	ready();
	in_guest("set -e; mkdir -p /root/p/DEBIAN /root/p/usr/local/bin; cd /root/p; "
		 "printf \"Package: mine\\nVersion: 1\\nArchitecture: all\\nMaintainer: me <me@example.org>\\n"
		 "Description: mine\\n\" >DEBIAN/control; "
		 "printf \"#!/bin/sh\\nuseradd --system mine\\n\" >DEBIAN/postinst; chmod 755 DEBIAN/postinst; "
		 "cp /usr/bin/id usr/local/bin/mine; chmod 4755 usr/local/bin/mine; "
		 "dpkg-deb -b . /root/mine.deb; apt-get install -y /root/mine.deb; id mine");
	cr_assert_str_eq(in_guest("id other 2>/dev/null >&2 || useradd -m other; su other -c \"mine -u\""), "0\n");
	in_guest("for id in 1 33 1000 65534 65535; do touch /root/f; chown $id:$id /root/f; "
		 "test $(stat -c %u:%g /root/f) = $id:$id || exit 1; done");
	in_guest("set -e; su other -c \"ping -c 1 -W 10 127.0.0.1\"; su other -c \"nc -l 80\" >/root/got & "
		 "n=0; until echo hello | nc -N 127.0.0.1 80; do n=$((n + 1)); test $n -lt 300; sleep 0.1; done; "
		 "wait; grep -q hello /root/got");
	assert_has(in_guest("locale"), "LANG=C.UTF-8");
}

Test(inside, sessions_are_in_utmp_and_wtmp)
{
	struct result r;

	ready();
	in_guest("test -f /var/log/wtmp");
	r = ssh("customer", "-tt", "tty; who; last -n 1; cat /proc/self/loginuid");
	assert_status(r, 0);
	assert_has(r.out, "root     pts/");
	assert_has(r.out, "(127.0.0.1)");
	assert_has(r.out, "still logged in");
	/* The end comes from outside, a moment later. */
	wait_for(20, "ssh %s customer@127.0.0.1 'test -z \"$(who)\" && ! last | grep -q still.logged'",
		 ssh_options);
	/* A command without a terminal is no login. */
	cr_assert_str_empty(in_guest("who"));
}

Test(inside, login_records_are_no_trap)
{
	ready();
	in_guest("rm /run/utmp /var/log/wtmp; mkfifo /run/utmp; ln -s /root/victim /var/log/wtmp; touch /root/victim");
	assert_status(ssh("customer", "-tt", "true"), 0);
	in_guest("test ! -s /root/victim && rm /run/utmp /var/log/wtmp && mkdir /run/utmp && >/var/log/wtmp");
	assert_status(ssh("customer", "-tt", "true"), 0);
	in_guest("rmdir /run/utmp; >/run/utmp");
}

Test(inside, reboot_and_poweroff_without_an_init_of_its_own)
{
	const char *before;

	tenant_ready("reboots");
	assert_status(ssh("reboots", "", "true"), 0);
	before = ok("vm2 guest show reboots --json | jq -r .pid");
	/* An init's own command, that was just installed, finds none that listens. */
	ssh("reboots", "",
	    "touch /root/kept; echo renamed >/etc/hostname; printf \"#!/bin/sh\\nexit 1\\n\" >/sbin/reboot; chmod 755 /sbin/reboot; reboot");
	wait_for(30, "test \"$(vm2 guest show reboots --json | jq -r 'select(.state == \"running\") | .pid')\" != '%s'"
		 " && ssh %s reboots@127.0.0.1 test -e /root/kept", before, ssh_options);
	/* It goes by the name that it was given, if that is one. */
	cr_expect_str_eq(ssh("reboots", "", "hostname; rm /etc/hostname; mkfifo /etc/hostname").out,
			 "renamed\n");
	ssh("reboots", "", "poweroff");
	wait_for(30, "test \"$(vm2 guest show reboots --json | jq -r .state)\" = stopped");
	/* And the next login starts it. */
	assert_status(ssh("reboots", "", "test -e /root/kept"), 0);
	cr_expect_str_eq(
		ssh("reboots", "", "hostname; rm /etc/hostname; echo no name >/etc/hostname").out,
		"reboots\n");
	ok("vm2 guest restart reboots");
	cr_expect_str_eq(ssh("reboots", "", "hostname").out, "reboots\n");
}

Test(inside, proc_shows_the_limits_of_the_guest)
{
	host_ready();
	if (sh("test -c /dev/fuse && command -v lxcfs").status != 0)
		cr_skip_test("this machine has no lxcfs or no FUSE");
	ok("/usr/libexec/vm2/supervise start vm2-lxcfs -- /usr/libexec/vm2/lxcfs");
	wait_for(20, "vm2 host check | grep 'lxcfs  *ok'");
	sh("vm2 plan add cramped --memory 200M --cpu 100");
	sh("vm2 tenant remove --yes cramped");
	ok("vm2 tenant add cramped --plan cramped --key /run/vm2-test/key.pub");
	cr_assert_str_eq(ssh("cramped", "", "free -m | awk \"/^Mem/ { print \\$2 }\"").out, "200\n");
	assert_has(ssh("cramped", "", "cat /proc/loadavg").out, "/");
	cr_expect_str_eq(ssh("cramped", "", "nproc; grep -c ^processor /proc/cpuinfo; "
			     "getconf _NPROCESSORS_ONLN; cat /sys/devices/system/cpu/online").out,
			 "1\n1\n1\n0\n");
	assert_lacks(ssh("cramped", "", "df").out, "lxcfs");
	/* ps(1) adds to this when a process began: after the guest, not after the host. */
	cr_expect_leq(atol(ok("date +%%s")) -
			      atol(ssh("cramped", "", "sed -n \"s/^btime //p\" /proc/stat").out),
		      60);
	/* One that crashes takes no guest with it: the kernel's numbers are to be seen again. */
	ok("kill -KILL $(cat /run/vm2/lxcfs.pid)");
	assert_status(ssh("cramped", "", "test $(awk \"/^MemTotal/ { print \\$2 }\" /proc/meminfo) -gt 204800"), 0);
	/* The next one serves those that start then. */
	wait_for(20, "vm2 host check | grep 'lxcfs  *ok'");
	ok("vm2 guest stop cramped");
	cr_assert_str_eq(ssh("cramped", "", "free -m | awk \"/^Mem/ { print \\$2 }\"").out, "200\n");
	ok("vm2 tenant remove --yes cramped; /usr/libexec/vm2/supervise stop vm2-lxcfs");
	ok("/usr/libexec/vm2/lxcfs --stop; ! grep /run/vm2/lxcfs /proc/mounts");
}

Test(inside, uptime_and_boot_are_the_guests_own)
{
	static const char seconds[] = "cut -d. -f1 /proc/uptime",
			  boot[] = "cat /proc/sys/kernel/random/boot_id";
	const char *before;
	long up, since;

	ready();
	before = in_guest(boot);
	ok("vm2 guest restart customer");
	since = atol(ok("date +%%s"));
	up = atol(in_guest(seconds));
	/* The host's begins before this test, and by far: it has booted. */
	cr_assert(up >= 0 && up <= 10 && up < atol(ok("%s", seconds)), "%ld", up);
	cr_expect_str_neq(in_guest(boot), before);
	cr_expect_str_neq(in_guest(boot), ok("%s; echo", boot));
	cr_expect_str_eq(
		in_guest(
			"sed -E \"s/^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}\\$/id/\" /proc/sys/kernel/random/boot_id; "
			"! echo x 2>&- >/proc/sys/kernel/random/boot_id"),
		"id\n");
	/* What a program asks the kernel for is the same clock (7: CLOCK_BOOTTIME, 1: CLOCK_MONOTONIC). */
	cr_assert_leq(atol(in_guest("perl -MTime::HiRes -e \"print int Time::HiRes::clock_gettime(1)\"")), 20);
	assert_has(in_guest("uptime -p 2>/dev/null || echo up"), "up");
	wait_for(20, "test $(vm2 guest exec customer -- cut -d. -f1 /proc/uptime) -gt %ld", up);
	cr_assert_leq(atol(in_guest(seconds)), atol(ok("date +%%s")) - since + up + 2);
}

/* A tree with nothing but busybox, whose init it is. */
static const char busybox_tree[] =
	"t=/run/vm2-test/busybox; mkdir -p $t/bin $t/sbin $t/etc $t/root; cp $(command -v busybox) $t/bin/; "
	"for a in sh ls ps cat touch true test sleep rm; do ln -s busybox $t/bin/$a; done; "
	"for a in init reboot poweroff; do ln -s ../bin/busybox $t/sbin/$a; done; "
	"echo root:x:0:0:root:/root:/bin/sh >$t/etc/passwd; "
	"printf '::sysinit:/bin/touch /run/booted\\n::respawn:/bin/sleep 1000\\n"
	"::shutdown:/bin/touch /root/shut-down\\n' >$t/etc/inittab; "
	"vm2 template import busybox $t";

Test(inside, busybox_is_the_init_where_the_template_says_so)
{
	const char *before;

	host_ready();
	ok("%s", busybox_tree);
	ok("vm2 tenant add small --template busybox --key /run/vm2-test/key.pub");
	assert_status(ssh("small", "", "test -e /run/booted"), 0);
	wait_for(20, "ssh %s small@127.0.0.1 'ps | grep -q \"[s]leep 1000\"'", ssh_options);
	before = ok("vm2 guest show small --json | jq -r .pid");
	ssh("small", "", "reboot");
	wait_for(60, "test \"$(vm2 guest show small --json | jq -r 'select(.state == \"running\") | .pid')\" != '%s' && "
		 "ssh %s small@127.0.0.1 'test -e /root/shut-down && rm /root/shut-down'", before, ssh_options);
	/* From outside it is asked as politely. */
	ok("vm2 guest stop small");
	assert_status(ssh("small", "", "test -e /root/shut-down"), 0);
	ssh("small", "", "poweroff");
	wait_for(60, "test \"$(vm2 guest show small --json | jq -r .state)\" = stopped");
}
