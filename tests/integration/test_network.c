/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fence: out allowed, in, across and to the host blocked, spoofing dropped. */
#include <string.h>

#include "tests/integration/lib.h"

TestSuite(network, .timeout = 240);

static void ready(void)
{
	tenant_shared("neta");
	tenant_shared("netb");
	assert_status(ssh("neta", "", "true"), 0);
	assert_status(ssh("netb", "", "true"), 0);
}

static const char *address(const char *guest, int family)
{
	return ok("vm2 guest show %s --json | jq -r .address%d", guest, family);
}

Test(network, out_is_allowed_with_nat)
{
	ready();
	ok("vm2 guest exec neta -- ping -c 1 -W 3 198.51.100.1");
	ok("vm2 guest exec neta -- ping -c 1 -W 3 2001:db8:1::1");
	/* The outside sees the host's address, not the guest's. */
	ok("/run/host/outside timeout 20 nc -lvn 198.51.100.1 8080 >/run/vm2-test/nc 2>&1 </dev/null & echo $! >/run/vm2-test/nc.pid");
	wait_for(10, "/run/host/outside ss -Hltn 'sport = 8080' | grep -q 8080");
	ok("vm2 guest exec neta -- bash -c 'echo hello >/dev/tcp/198.51.100.1/8080'");
	wait_for(10, "grep -q '192.0.2.2' /run/vm2-test/nc");
}

Test(network, in_is_blocked)
{
	ready();
	ok("/run/host/outside ip route replace 10.82.0.0/16 via 192.0.2.2");
	ok("! /run/host/outside ping -c 1 -W 1 %s", address("neta", 4));
	ok("vm2 guest exec neta -- sh -c 'setsid sh -c \"nc -lp 7000 >/dev/null\" >/dev/null 2>&1 </dev/null &'");
	ok("! /run/host/outside nc -zw 1 %s 7000", address("neta", 4));
}

Test(network, guests_do_not_reach_each_other)
{
	ready();
	ok("! vm2 guest exec neta -- ping -c 1 -W 1 %s", address("netb", 4));
	ok("! vm2 guest exec neta -- ping -c 1 -W 1 %s", address("netb", 6));
	ok("vm2 guest exec netb -- sh -c 'setsid sh -c \"nc -lp 7001 >/dev/null\" >/dev/null 2>&1 </dev/null &'");
	ok("! vm2 guest exec neta -- timeout 2 bash -c 'echo x >/dev/tcp/%s/7001'", address("netb", 4));
}

Test(network, the_host_answers_pings_and_nothing_else)
{
	ready();
	ok("vm2 guest exec neta -- ping -c 1 -W 3 192.0.2.2");
	ok("vm2 guest exec neta -- ping -c 1 -W 3 169.254.1.1");
	assert_status(sh("vm2 guest exec neta -- timeout 2 bash -c 'echo x >/dev/tcp/192.0.2.2/2222'"), 124);
	assert_status(sh("vm2 guest exec neta -- timeout 2 bash -c 'echo x >/dev/tcp/169.254.1.1/2222'"), 124);
}

Test(network, spoofed_sources_are_dropped)
{
	const char *pid;

	ready();
	/* From the host's side into the guest's namespace, where more is allowed than root inside may. */
	pid = ok("vm2 guest show neta --json | jq -r .pid");
	ok("nsenter -t %s -n ip address add 10.82.200.200/32 dev eth0", pid);
	ok("nsenter -t %s -n ip -6 address add fd82:766d:3200::dead/128 dev eth0 nodad", pid);
	ok("! nsenter -t %s -n ping -c 1 -W 1 -I 10.82.200.200 198.51.100.1", pid);
	ok("! nsenter -t %s -n ping -c 1 -W 1 -I fd82:766d:3200::dead 2001:db8:1::1", pid);
	ok("nsenter -t %s -n ping -c 1 -W 3 198.51.100.1", pid);
	ok("nft list counter inet vm2 spoofed | grep -qE 'packets [1-9]'");
	ok("nsenter -t %s -n ip address del 10.82.200.200/32 dev eth0", pid);
	ok("nsenter -t %s -n ip -6 address del fd82:766d:3200::dead/128 dev eth0", pid);
}

Test(network, low_ports_and_ping_work_inside)
{
	ready();
	ok("vm2 guest exec neta -- timeout 5 bash -c 'nc -lp 80 & sleep 0.3; echo x >/dev/tcp/127.0.0.1/80; wait'");
}
