/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a plan limits: in force from the first instruction, changed while guests run. */
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/integration/lib.h"

TestSuite(limits, .timeout = 240);

/* A file of a guest's control group, by its names in version 1 and 2. */
#define LIMIT(guest, v1, v2) \
	"cat $(find /sys/fs/cgroup -path '*/vm2/" guest "/" v1 "' -o -path '*/vm2/" guest "/" v2 "')"

static void have(const char *tenant, const char *limits)
{
	host_ready();
	sh("vm2 tenant remove --yes %s; vm2 plan remove %s-plan", tenant, tenant);
	ok("vm2 plan add %s-plan %s", tenant, limits);
	ok("vm2 tenant add %s --plan %s-plan --key /run/vm2-test/key.pub", tenant, tenant);
}

/* How many terminals can be open at one time. */
#define TERMINALS \
	"vm2 guest exec live -- perl -e '$n++ while open $f[$n], q(+<), q(/dev/ptmx); print $n, q( )'"

Test(limits, change_in_a_running_guest)
{
	have("live", "--memory 64M --processes 40 --cpu 50");
	assert_status(ssh("live", "", "true"), 0);
	cr_assert_str_eq(ok(LIMIT("live", "memory.limit_in_bytes", "memory.max")), "67108864");
	ok("vm2 plan set live-plan --memory 96M --processes 50");
	cr_assert_str_eq(ok(LIMIT("live", "memory.limit_in_bytes", "memory.max")), "100663296");
	/* What is memory as files follows: a half of it. */
	cr_expect_str_eq(
		ok("vm2 guest exec live -- df -m --output=size /dev/shm | tail -n 1 | tr -d ' '"),
		"48");
	cr_assert_str_eq(ok(LIMIT("live", "pids.max", "pids.max")), "50");
	/* A tenant's own limit outlives a change of the plan, until it is taken back. */
	ok("vm2 tenant set live --processes 60");
	ok("vm2 plan set live-plan --processes 70");
	cr_assert_str_eq(ok(LIMIT("live", "pids.max", "pids.max")), "60");
	cr_assert_str_eq(ok("vm2 tenant show live --json | jq -r .own"), "processes=60");
	ok("vm2 tenant set live --processes plan");
	cr_assert_str_eq(ok(LIMIT("live", "pids.max", "pids.max")), "70");
	ok("vm2 plan set live-plan --processes none");
	cr_assert_str_eq(ok(LIMIT("live", "pids.max", "pids.max")), "max");
	/* Terminals, which the guest's own mount counts, and which are all else that they were. */
	ok("vm2 plan set live-plan --terminals 3");
	cr_assert_str_eq(ok(TERMINALS), "3 ");
	ok("vm2 plan set live-plan --terminals 140");
	cr_assert_str_eq(ok(TERMINALS), "140 ");
	cr_expect_str_eq(ssh("live", "-tt", "stat -c %%a:%%G /dev/pts/ptmx /dev/pts/0").out,
			 "666:root\r\n620:tty\r\n");
	/* What begins counts as many processors as it can keep busy; init has since the start. */
	cr_assert_str_eq(ssh("live", "", "nproc").out, "1\n");
	cr_assert_str_eq(ssh("live", "", "grep Cpus_allowed_list /proc/1/status | grep -c [,-]").out, "0\n");
	ok("vm2 plan set live-plan --cpu none");
	cr_assert_str_eq(ok("vm2 guest exec live -- nproc"), ok("nproc"));
}

Test(limits, outlive_a_reboot_from_inside)
{
	have("again", "--memory 64M --processes 40");
	assert_status(ssh("again", "", "true"), 0);
	ok("vm2 plan set again-plan --memory 80M");
	ok("vm2 guest show again --json | jq .pid >/run/vm2-test/again.pid");
	/* reboot(2) with LINUX_REBOOT_CMD_RESTART: this template has no program for it. */
	ssh("again", "", "perl -e \"syscall(169, 0xfee1dead, 672274793, 0x1234567, 0)\"");
	wait_for(30, "vm2 guest show again --json | jq -e '.pid and .pid != '$(cat /run/vm2-test/again.pid)");
	cr_assert_str_eq(ok(LIMIT("again", "memory.limit_in_bytes", "memory.max")), "83886080");
}

/*
 * Its init takes all it can get before anything else. What is put into the group, or limited, after it
 * has begun has taken more by then: a process that is forked outside does not count.
 */
Test(limits, are_in_force_before_the_first_instruction)
{
	char self[PATH_MAX] = "";

	host_ready();
	cr_assert_gt(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
	ok("t=/run/vm2-test/first; mkdir -p $t/sbin $t/bin $t/etc $t/root; cp %s/first-init $t/sbin/init; "
	   "cp $(command -v busybox) $t/bin/; ln -s busybox $t/bin/sh; ln -s busybox $t/bin/cat; "
	   "echo root:x:0:0:root:/root:/bin/sh >$t/etc/passwd; vm2 template import first $t", dirname(self));
	ok("vm2 plan add eager --memory 32M --processes 25 && "
	   "vm2 tenant add eager --template first --plan eager --key /run/vm2-test/key.pub");
	for (int i = 0; i < 3; i++) {
		ok("vm2 guest start eager");
		/* From outside: who looks inside would be one of them. 25 with itself; who takes 96 MiB of 32 is killed. */
		wait_for(30, "test -s /var/lib/vm2/guests/eager/upper/seen");
		ok("vm2 guest stop eager; mv /var/lib/vm2/guests/eager/upper/seen /run/vm2-test/");
		cr_assert_str_eq(ok("cat /run/vm2-test/seen"), "24 9");
	}
}

/* Each of 400 sockets sends itself 24 times 32 KiB; what waits there then is read, and told in MiB. */
static const char waiting[] =
	"use Socket; for (1 .. 400) { socket(my $s, PF_INET, SOCK_DGRAM, 0) or die; bind($s, pack_sockaddr_in(0, "
	"INADDR_LOOPBACK)) or die; setsockopt($s, SOL_SOCKET, SO_RCVBUF, 1 << 20); my $to = getsockname($s); "
	"send($s, q(x) x 32768, MSG_DONTWAIT, $to) for 1 .. 24; push @s, $s } my $n = 0; "
	"for my $s (@s) { while (defined recv($s, my $b, 65536, MSG_DONTWAIT)) { $n += length $b } } "
	"print int($n / 1048576), qq(\\n)";

Test(limits, hold_what_waits_in_sockets)
{
	long mib;

	have("talks", "--memory 64M");
	ok("vm2 guest start talks && printf '%%s' '%s' | vm2 guest exec talks -- sh -c 'cat >/root/waiting'", waiting);
	mib = atol(ok("vm2 guest exec talks -- perl /root/waiting"));
	cr_assert(mib > 8 && mib < 65, "%ld MiB", mib);
	ok("vm2 plan set talks-plan --memory none");
	mib = atol(ok("vm2 guest exec talks -- perl /root/waiting"));
	cr_assert_gt(mib, 80, "%ld MiB without a limit", mib);
}

/* How many of fifty pings in half a second come back. */
#define PINGS(guest) \
	"vm2 guest exec " guest " -- ping -q -c 50 -i 0.01 -W 2 198.51.100.1 | sed -n 's/.* \\([0-9]*\\) received.*/\\1/p'"

Test(limits, of_its_network_change_in_a_running_guest)
{
	const char *interface;
	int few;

	have("flow", "--up 10mbit --down 20mbit");
	assert_status(ssh("flow", "", "true"), 0);
	interface = ok("vm2 guest show flow --json | jq -r .interface");
	/* One queue each way, on a host of many processors too. */
	cr_expect_str_eq(ok("ls /sys/class/net/%s/queues", interface), "rx-0\ntx-0");
	ok("nft list set inet vm2 up | grep '\"%s\" limit rate over 1250000 bytes/second'", interface);
	ok("vm2 firewall verify");
	cr_assert_str_eq(ok(PINGS("flow")), "50");
	ok("vm2 plan set flow-plan --packets 10 --up 5mbit");
	few = atoi(ok(PINGS("flow")));
	cr_assert(few >= 10 && few < 45, "%d came back", few);
	ok("nft list set inet vm2 up | grep '\"%s\" limit rate over 625000 bytes/second'", interface);
	ok("vm2 firewall restore && vm2 firewall verify");
	ok("vm2 tenant set flow --packets none --up none");
	cr_assert_str_eq(ok(PINGS("flow")), "50");
	ok("vm2 firewall verify");
	ok("! nft list set inet vm2 up | grep '\"%s\"'", interface);
	/* A stopped guest has no rate either; it comes with the next start. */
	ok("vm2 guest stop flow");
	ok("! nft list set inet vm2 down | grep '\"%s\"'", interface);
	ok("vm2 plan set flow-plan --down 30mbit && vm2 guest start flow");
	ok("nft list set inet vm2 down | grep '\"%s\" limit rate over 3750000 bytes/second'", interface);
}

/* By other programs: one sends far more than its guest may, and one reads what the kernel has. */
Test(limits, of_its_network_hold_for_a_flood_of_datagrams)
{
	int kbits;

	have("flood", "--up 10mbit");
	assert_status(ssh("flood", "", "true"), 0);
	ok("nft -j list ruleset | jq -e --arg a $(vm2 guest show flood --json | jq -r .address4) "
	   "'[.nftables[].set? | select(.table? == \"vm2\" and .name == \"source4\") | .elem[].concat[2]] | index($a)'");
	ok("/run/host/outside sh -c 'iperf3 -s -1 -B 198.51.100.1 >/run/vm2-test/iperf3 2>&1 </dev/null &'");
	wait_for(20, "/run/host/outside ss -Hltn 'sport = 5201' | grep .");
	ok("nsenter -t $(vm2 guest show flood --json | jq .pid) -n "
	   "iperf3 -c 198.51.100.1 -u -b 50M -l 1000 -t 3 --json >/run/vm2-test/iperf3.json");
	kbits = atoi(ok("jq '.end.sum | (.bits_per_second * (1 - .lost_percent / 100) / 1000 | floor)' /run/vm2-test/iperf3.json"));
	/* A second's may come at once: 40 Mbit of the 150 that were sent in 3 s, by IP. */
	cr_assert(kbits > 6000 && kbits < 14500, "%d kbit/s", kbits);
	ok("vm2 network top --json >/dev/null; test $(vm2 guest show flood --json | jq .dropped) -gt 5000");
}

/* Everybody gets in, within the time that is promised while `what` goes on in the guest. */
static void all_get_in(const char *what)
{
	static const char *const who[] = { "greedy", "quiet" };

	for (size_t i = 0; i < 2; i++) {
		struct result r = sh("timeout 10 ssh %s %s@127.0.0.1 'echo in'", ssh_options, who[i]);

		cr_assert_eq(r.status, 0, "%s, %s: %d: %s", what, who[i], r.status, r.err);
		assert_has(r.out, "in");
	}
	ok("timeout 10 vm2 guest list && timeout 10 true");
}

/*
 * Each of these fills something up until it is full, and goes on. It says "full" once, and ends when its
 * line does.
 */
Test(limits, what_fills_up_keeps_nobody_out)
{
	static const struct {
		const char *what, *command;
	} sieges[] = {
		{ "a fork bomb", "perl -e \"\\$| = 1; 1 while defined fork; print qq(full\\n); fork while 1\"" },
		{ "memory", "while :; do perl -e \"\\$x .= q(x) x 1000000 while 1\"; echo full; done" },
		{ "terminals", "perl -e \"\\$| = 1; 1 while open \\$f[@f], q(+<), q(/dev/ptmx); print qq(full\\n); "
			       "sleep 100\"" },
		{ "processors", "for i in 1 2 3 4; do while :; do :; done & done; echo full; wait" },
	};

	have("greedy", "--memory 64M --processes 60 --terminals 1000");
	tenant_ready("quiet");
	ok("vm2 guest start greedy && vm2 guest start quiet");
	for (size_t i = 0; i < sizeof(sieges) / sizeof(sieges[0]); i++) {
		ok("rm -f /run/vm2-test/siege; ssh -tt %s greedy@127.0.0.1 '%s' >/run/vm2-test/siege 2>&1 & "
		   "echo $! >/run/vm2-test/siege.pid",
		   ssh_options, sieges[i].command);
		wait_for(60, "grep full /run/vm2-test/siege || { cat /run/vm2-test/siege; false; }");
		all_get_in(sieges[i].what);
		ok("kill $(cat /run/vm2-test/siege.pid)");
		ok("vm2 guest restart greedy");
	}
}

/*
 * A terminal's memory is the host's (docs/THREATS): there are as many as take an eighth of it, 56 KiB each. The
 * number is the whole machine's: here a file stands for it.
 */
Test(limits, of_all_terminals_follow_the_hosts_memory)
{
	host_ready();
	ok("mv /etc/sysctl.d/60-vm2.conf /run/vm2-test/ && unshare -m sh -ec 'echo 4096 >/run/vm2-test/ptys; "
	   "mount --bind /run/vm2-test/ptys /proc/sys/kernel/pty/max; vm2 host setup' >/dev/null; r=$?; "
	   "grep -x \"kernel.pty.max = $(cat /run/vm2-test/ptys)\" /etc/sysctl.d/60-vm2.conf || r=1; "
	   "mv -f /run/vm2-test/60-vm2.conf /etc/sysctl.d/; exit $r");
	cr_assert_str_eq(ok("cat /run/vm2-test/ptys"),
			 ok("awk '/^MemTotal/ { n = int($2 / 8 / 56); if (n > 1048576) n = 1048576; print n < 4096 ? 4096 : n }' "
			    "/proc/meminfo"));
}

Test(limits, that_cannot_be_kept_are_refused)
{
	struct result r;

	have("odd", "--memory 64M");
	r = sh("vm2 plan set odd-plan --memory 1M");
	assert_status(r, 2);
	assert_has(r.err, "memory");
	assert_status(sh("vm2 plan set odd-plan"), 2);
	assert_status(sh("vm2 plan set nosuch --memory 64M"), 3);
	assert_status(sh("vm2 tenant set odd --plan nosuch"), 3);
	assert_status(sh("vm2 tenant set nosuch --memory 64M"), 3);
	assert_status(sh("vm2 plan remove odd-plan"), 5);
	assert_status(sh("vm2 plan remove small"), 5);
	assert_status(sh("vm2 plan remove nosuch"), 3);
	cr_assert_str_eq(ok("vm2 plan list --json | jq -r '.[] | select(.name == \"odd-plan\") | .memory'"),
			 "67108864");
	ok("vm2 tenant set odd --plan small && vm2 plan remove odd-plan");
}
