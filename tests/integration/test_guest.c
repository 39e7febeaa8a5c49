/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A guest from within and from without. */
#include <string.h>

#include "tests/integration/lib.h"

TestSuite(guest, .timeout = 240);

static void ready(void)
{
	tenant_shared("inside");
	assert_status(ssh("inside", "", "true"), 0);
}

Test(guest, host_root_is_not_in_its_map)
{
	ready();
	cr_assert_str_eq(ok("vm2 guest exec inside -- sh -c 'cat /proc/self/uid_map /proc/self/gid_map' | "
			    "awk '$1!=0 || $2<65536 || $3!=65536 {bad=1} END {print NR, bad+0}'"),
			 "2 0");
	/* Its user namespace is its own uid's, so that what the kernel sums up by owner is its own (NS_GET_OWNER_UID). */
	cr_assert_str_eq(ok("p=$(vm2 guest show inside --json | jq .pid); python3 -c 'import fcntl, struct, sys; "
			    "print(*struct.unpack(\"I\", fcntl.ioctl(open(sys.argv[1]), 0xb704, bytes(4))))' /proc/$p/ns/user; "
			    "awk '{ print $2 }' /proc/$p/uid_map"),
			 ok("p=$(vm2 guest show inside --json | jq .pid); awk '{ print $2; print $2 }' /proc/$p/uid_map"));
}

Test(guest, host_processes_and_other_guests_are_not_to_be_seen)
{
	ready();
	tenant_ready("neighbour");
	ok("ssh %s neighbour@127.0.0.1 'setsid sleep 5566 >/dev/null 2>&1 </dev/null &'", ssh_options);
	wait_for(10, "pgrep -f '^sleep 5566'");
	assert_lacks(ok("vm2 guest exec inside -- ps axww"), "5566");
	assert_lacks(ok("vm2 guest exec inside -- ps axww"), "vm2d");
	cr_assert_str_eq(ok("vm2 guest exec inside -- sh -c 'cat /proc/1/comm' | grep -c bash || true"), "0");
	/* No path of the host shows in the list of mounts. */
	assert_lacks(ok("vm2 guest exec inside -- cat /proc/self/mountinfo"), "neighbour");
	assert_lacks(ok("vm2 guest exec inside -- sh -c 'cut -d\" \" -f5 /proc/self/mountinfo'"), "/var/lib/vm2");
	ok("vm2 guest exec inside -- sh -c '! test -e /var/lib/vm2/tenants.db'");
	/* Nothing is mounted but what a guest has, and each proc, wherever it is, shows its own processes. */
	cr_assert_str_eq(ok("vm2 guest exec inside -- cat /proc/1/mountinfo | tee /run/vm2-test/mounts | "
			    "sed 's/.* - //' | cut -d' ' -f1 | sort -u | grep -vxE 'cgroup2|devpts|fuse.lxcfs|mqueue|overlay|proc|"
			    "sysfs|tmpfs' || true"),
			 "");
	cr_assert_str_eq(ok("vm2 guest exec inside -- sh -c 'for m in $(sed -n \"s/^[^ ]* [^ ]* [^ ]* [^ ]* \\([^ ]*\\) "
			    ".* - proc .*/\\1/p\" /proc/1/mountinfo); do [ $(readlink $m/1/ns/pid)x = $(readlink "
			    "/proc/self/ns/pid)x ] && echo $m; done'"),
			 ok("sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \\([^ ]*\\) .* - proc .*/\\1/p' /run/vm2-test/mounts"));
	assert_has(ok("cat /run/vm2-test/mounts"), " - proc ");
}

Test(guest, root_inside_is_root)
{
	ready();
	ok("vm2 guest exec inside -- sh -ec 'touch /root/f; chown 33:65534 /root/f; "
	   "test $(stat -c %%u:%%g /root/f) = 33:65534; mkdir -p /mnt/t; mount -t tmpfs none /mnt/t; "
	   "umount /mnt/t; useradd -m visitor; su visitor -c \"id -un\" | grep -qx visitor; "
	   "mkfifo /root/fifo; dd if=/dev/urandom of=/dev/null bs=1k count=1 2>/dev/null; hostname'");
}

Test(guest, what_would_reach_the_host_is_refused)
{
	ready();
	static const char *const acts[] = {
		"mknod /root/sda b 8 0",
		"echo b > /proc/sysrq-trigger",
		"cat /proc/kcore",
		"ip link set eth0 down",
		"ip address add 10.82.99.99/32 dev eth0",
		"ip route add 192.0.2.77 via 169.254.1.1",
		"sysctl -w kernel.core_pattern=/x",
		"mount -t ext4 /dev/vda /mnt",
		"echo 1 > /sys/kernel/mm/ksm/run",
		"nsenter -t 1 -m -p true && ls /proc/1/root/var/lib/vm2/tenants.db",
		"dmesg",
		"date -s 2001-01-01",
	};

	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		cr_expect_neq(sh("vm2 guest exec inside -- sh -c '%s' </dev/null", acts[i]).status, 0, "%s",
			      acts[i]);
	/* The second fences: what is covered is empty, and the capabilities that docs/GUEST names are out of reach. */
	cr_expect_str_eq(ok("vm2 guest exec inside -- sh -c 'cd /proc; cat cmdline interrupts iomem ioports kallsyms "
			    "keys timer_list slabinfo vmallocinfo 2>/dev/null; ls irq bus driver fs /sys/firmware "
			    "/sys/kernel/debug /sys/kernel/tracing /sys/kernel/security 2>/dev/null | grep -v :; true'"
			    " | head -c 300 | tr -d '\\n'"),
			 "");
	cr_expect_str_eq(ok("vm2 guest exec inside -- cat /proc/1/status /proc/self/status | awk '/^CapBnd/ { print $2 }' | "
			    "while read b; do echo $((0x$b & 0x1ff42130200)); done"), "0\n0");
}

Test(guest, attached_processes_hold_nothing_of_the_host)
{
	ready();
	cr_assert_str_eq(ok("vm2 guest exec inside -- sh -c 'ls -l /proc/self/fd | grep -vc -e total -e pipe: -e /proc -e /dev/null' || true"), "0");
	assert_lacks(ok("vm2 guest exec inside -- env"), "VM2_TEMPLATE_TREE");
	cr_assert_str_eq(ok("cd /etc && vm2 guest exec inside -- pwd"), "/root");
	cr_assert_str_eq(ok("vm2 guest exec inside -- sh -c 'grep -c . /proc/self/cgroup >/dev/null; id -G'"), "0");
}

Test(guest, files_survive_stop_and_start)
{
	ready();
	assert_status(ssh("inside", "", "echo here >/etc/kept; sync"), 0);
	ok("vm2 guest stop inside");
	cr_assert_str_eq(ok("vm2 guest show inside --json | jq -r .state"), "stopped");
	ok("! ip link show | grep -q \"$(vm2 guest show inside --json | jq -r .interface)\"");
	assert_status(sh("vm2 guest stop inside"), 0);
	/* It is there: nobody is told that it would be made. */
	cr_assert_str_eq(sh("vm2 guest start inside").err, "Starting your system\n");
	ok("vm2 guest start inside");
	cr_assert_str_eq(ssh("inside", "", "cat /etc/kept").out, "here\n");
}

Test(guest, limits_are_in_force)
{
	host_ready();
	sh("vm2 plan add tiny --memory 64M --processes 40 --cpu 50");
	sh("vm2 tenant remove --yes limited");
	ok("vm2 tenant add limited --plan tiny --key /run/vm2-test/key.pub");
	assert_status(ssh("limited", "", "true"), 0);
	/* More processes than the plan allows: refused there, and the login still works. */
	assert_has(ssh("limited", "", "for i in $(seq 60); do sleep 2 & done; wait").err, "fork");
	wait_for(20, "ssh %s limited@127.0.0.1 true", ssh_options);
	/* 200 MB do not fit into 64. */
	cr_expect_neq(ssh("limited", "", "head -c 200000000 /dev/zero | tail >/dev/null").status, 0);
	wait_for(20, "ssh %s limited@127.0.0.1 true", ssh_options);
}

/* What cannot be undone is asked for where somebody can answer, and refused where not. */
Test(guest, destruction_takes_a_yes)
{
	static const char *const lines[] = { "vm2 guest restore asked s",
					     "vm2 tenant remove asked" };

	tenant_ready("asked");
	ok("vm2 guest start asked && vm2 guest snapshot asked s && vm2 guest exec asked -- touch /root/here");
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct result r = sh("%s", lines[i]);

		assert_status(r, 2);
		assert_has(r.err, "add --yes");
		assert_has(sh("echo n | script -qec '%s' /dev/null", lines[i]).out,
			   "nothing was done: the answer was not yes");
		assert_status(sh("printf '\\004' | script -qec '%s' /dev/null", lines[i]), 1);
		ok("vm2 guest exec asked -- test -e /root/here");
	}
	ok("echo y | script -qec 'vm2 guest restore asked s' /dev/null && vm2 guest exec asked -- test ! -e /root/here");
	ok("echo y | script -qec 'vm2 tenant remove asked' /dev/null && ! vm2 tenant show asked");
}

Test(guest, removal_leaves_nothing)
{
	tenant_ready("gone");
	assert_status(ssh("gone", "", "true"), 0);
	ok("vm2 guest show gone --json >/run/vm2-test/gone.json");
	/* It asks first, and where nobody is to be asked it wants to be told. */
	assert_status(sh("vm2 guest destroy gone </dev/null"), 2);
	assert_has(sh("echo n | script -qec 'vm2 guest destroy gone' /dev/null").out, "the answer was not yes");
	ok("vm2 guest show gone --json | jq -e '.state == \"running\"'");
	ok("vm2 guest destroy --yes gone");
	ok("vm2 tenant show gone");
	assert_status(ssh("gone", "", "true"), 0);
	ok("vm2 tenant remove --yes gone");
	ok("! test -e /var/lib/vm2/guests/gone");
	ok("! grep -q 'guests/gone' /proc/self/mountinfo");
	ok("! find /sys/fs/cgroup -type d -name gone | grep .");
	ok("! nft list table inet vm2 | grep -q \"$(jq -r .address4 /run/vm2-test/gone.json)\\\"\"");
	assert_status(sh("vm2 guest show gone"), 3);
}
