/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Restarting or killing our daemons ends no session and no guest. */
#include <string.h>

#include "tests/integration/lib.h"

TestSuite(restart, .timeout = 240);

/* A session that counts, in the background, into a file. */
static void counting(const char *tenant)
{
	tenant_ready(tenant);
	ok("ssh %s %s@127.0.0.1 'i=0; while sleep 0.1; do i=$((i+1)); echo $i; done' >/run/vm2-test/count.%s "
	   "2>&1 </dev/zero &",
	   ssh_options, tenant, tenant);
	wait_for(20, "test -s /run/vm2-test/count.%s", tenant);
}

static void still_counts(const char *tenant)
{
	ok("echo $(wc -l </run/vm2-test/count.%s) >/run/vm2-test/before", tenant);
	wait_for(10, "test $(wc -l </run/vm2-test/count.%s) -gt $(( $(cat /run/vm2-test/before) + 3 ))",
		 tenant);
}

Test(restart, of_vm2d_ends_no_session)
{
	counting("lives");
	ok("/usr/libexec/vm2/supervise stop vm2d");
	still_counts("lives");
	ok("/usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(20, "vm2 host status");
	still_counts("lives");
	cr_assert_str_eq(ok("vm2 guest show lives --json | jq -r .state"), "running");
	cr_assert_str_eq(ok("vm2 session list --tenant lives --json | jq -r '.[0].state'"), "open");
	assert_status(ssh("lives", "", "true"), 0);
	ok("pkill -f '[i]=0; while'");
	wait_for(10, "vm2 session list --tenant lives --json | jq -e 'all(.state != \"open\")'");
}

/* What requests have used up is replaced, though nobody asks vm2d for anything any more. */
Test(restart, of_workers_that_wait_comes_by_itself)
{
	/* Four, the keeper and the fence; and more where several were busy at once. */
	const char *all = "test $(pgrep -cx -P $(pgrep -ox vm2d) vm2d) -ge 6";

	tenant_ready("spares");
	ok("vm2 guest start spares");
	wait_for(5, "%s", all);
	ok("for i in $(seq 16); do vm2 host status >/run/vm2-test/asked || exit 1; done");
	wait_for(5, "%s", all);
}

static void wait_for_the_next(void)
{
	wait_for(20, "pgrep -xc vm2-guest-next | grep -x 1");
}

/* A vm2-guest is there before anybody wants a guest: one start takes it, and then there is another. */
Test(restart, a_guest_has_the_vm2_guest_that_waited)
{
	tenant_ready("taker");
	wait_for_the_next();
	ok("pgrep -x vm2-guest-next >/run/vm2-test/next");
	/* What it becomes later it has, whatever is installed by then. */
	ok("cd /usr/libexec/vm2 && mv vm2-guest-keep was && printf '\\0' >vm2-guest-keep && chmod 755 vm2-guest-keep");
	ok("vm2 guest start taker; cd /usr/libexec/vm2 && mv was vm2-guest-keep");
	ok(". /run/vm2/guests/taker/state && test $supervisor_pid = $(cat /run/vm2-test/next)");
	wait_for_the_next();
	ok("test $(pgrep -x vm2-guest-next) != $(cat /run/vm2-test/next)");
	/* One that is killed is nobody's loss. */
	ok("vm2 guest stop taker && pgrep -x vm2-guest-next >/run/vm2-test/next && pkill -9 -x vm2-guest-next");
	wait_for(5, "! test -e /proc/$(cat /run/vm2-test/next)");
	ok("vm2 guest start taker");
	wait_for_the_next();
	ok("/usr/libexec/vm2/supervise stop vm2d");
	wait_for(20, "! pgrep -x vm2-guest-next");
	ok("/usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(20, "vm2 host status");
	ok("vm2 guest show taker --json | jq -e '.state == \"running\"'");
}

/* Of a guest that does not come up: neither a process nor a folder of the session that was to be. */
Test(restart, a_start_that_fails_leaves_no_session)
{
	struct result r;

	tenant_ready("fruitless");
	ok("cd /usr/libexec/vm2 && mv vm2-init was");
	/* On a terminal, which is recorded: ssh would not come so far. */
	r = sh("script -qec 'vm2 guest exec fruitless -- true' /dev/null </dev/null");
	ok("mv /usr/libexec/vm2/was /usr/libexec/vm2/vm2-init");
	cr_assert_neq(r.status, 0);
	wait_for(10, "! pgrep -f '^/usr/libexec/vm2/vm2-session.* fruitless '");
	ok("! ls -A /var/lib/vm2/sessions/fruitless | grep .");
	ok("vm2 session list --tenant fruitless --json | jq -e '. == []'");
	assert_status(ssh("fruitless", "", "true"), 0);
}

Test(restart, a_kill_of_vm2d_ends_no_session)
{
	counting("killd");
	ok("pkill -9 -x vm2d");
	wait_for(20, "vm2 host status");
	still_counts("killd");
	assert_status(ssh("killd", "", "true"), 0);
}

Test(restart, of_the_gateways_listener_ends_no_session)
{
	counting("livesg");
	ok("/usr/libexec/vm2/supervise stop vm2-gateway");
	assert_status(ssh("livesg", "", "true"), 255);
	still_counts("livesg");
	ok("/usr/libexec/vm2/supervise start vm2-gateway -- vm2-gateway");
	wait_for(20, "ss -Hltn 'sport = 2222' | grep -q 2222");
	still_counts("livesg");
	assert_status(ssh("livesg", "", "true"), 0);
}

/* Its sockets go from one program to the next: whoever connects meanwhile waits a moment, no more. */
Test(restart, a_new_gateway_takes_over_without_a_closed_door)
{
	counting("handed");
	ok("printf '%%s\n' 'import os, socket' 'n = bad = 0' "
	   "'while not os.path.exists(\"/run/vm2-test/enough\"):' "
	   "'    try:' '        c = socket.create_connection((\"127.0.0.1\", 2222), 20)' "
	   "'        bad += not c.recv(8).startswith(b\"SSH-2.0\"); c.close()' "
	   "'    except OSError: bad += 1' '    n += 1' 'print(n, bad)' >/run/vm2-test/knock.py; "
	   "rm -f /run/vm2-test/enough; python3 /run/vm2-test/knock.py >/run/vm2-test/knocked 2>&1 &");
	ok("cp /usr/sbin/vm2-gateway /usr/sbin/vm2-gateway.new && mv /usr/sbin/vm2-gateway.new /usr/sbin/vm2-gateway");
	ok("pgrep -ox vm2-gateway >/run/vm2-test/gateway; readlink /proc/$(cat /run/vm2-test/gateway)/exe | "
	   "grep deleted; kill -USR2 $(cat /run/vm2-test/gateway)");
	wait_for(20, "readlink /proc/$(cat /run/vm2-test/gateway)/exe | grep -qx /usr/sbin/vm2-gateway");
	assert_status(ssh("handed", "", "true"), 0);
	still_counts("handed");
	ok("touch /run/vm2-test/enough");
	wait_for(20, "grep -qE '^[0-9]+ 0$' /run/vm2-test/knocked");
	/* The count of connections went with it: once more, and a login. */
	ok("kill -USR2 $(cat /run/vm2-test/gateway)");
	assert_status(ssh("handed", "", "true"), 0);
	still_counts("handed");
}

/* What its host key is, as clients are shown it. */
#define SHOWN "ssh-keyscan -p 2294 -t ed25519 127.0.0.1 2>/dev/null | grep -v '^#' | cut -d' ' -f2,3"

Test(restart, new_settings_and_host_keys_count_from_a_hangup_on)
{
	struct result r;

	tenant_ready("turned");
	ok("cp -a /var/lib/vm2/hostkeys /var/lib/vm2/turned && printf '[gateway]\nlisten = 127.0.0.1:2294\n"
	   "[paths]\nhostkeys = /var/lib/vm2/turned\n' >/etc/vm2/turned.conf && "
	   "/usr/libexec/vm2/supervise start turned -- vm2-gateway --config /etc/vm2/turned.conf");
	wait_for(20, "test \"$(" SHOWN ")\" = \"$(cut -d' ' -f1,2 /var/lib/vm2/turned/ssh_host_ed25519_key.pub)\"");
	ok("ssh -p 2294 -o UserKnownHostsFile=/dev/null %s turned@127.0.0.1 'i=0; while sleep 0.1; do i=$((i+1)); "
	   "echo $i; done' >/run/vm2-test/count.turned 2>&1 </dev/zero &", ssh_options);
	wait_for(20, "test -s /run/vm2-test/count.turned");
	ok("rm -f /run/vm2-test/turned*; ssh-keygen -q -t ed25519 -N '' -f /run/vm2-test/turned && "
	   "cat /run/vm2-test/turned >/var/lib/vm2/turned/ssh_host_ed25519_key && echo changed >/etc/vm2/changed && "
	   "sed -i 's,^listen,banner = /etc/vm2/changed\\n&,' /etc/vm2/turned.conf && "
	   "kill -HUP $(pgrep -of '^vm2-gateway --config /etc/vm2/turned.conf')");
	wait_for(20, "test \"$(" SHOWN ")\" = \"$(cut -d' ' -f1,2 /run/vm2-test/turned.pub)\"");
	r = ssh("turned", "-p 2294 -o UserKnownHostsFile=/dev/null -o LogLevel=INFO", "true");
	assert_status(r, 0);
	assert_has(r.err, "changed");
	still_counts("turned");
	/* What cannot be is named, and changes nothing. */
	ok("sed -i 's,^banner,banners,' /etc/vm2/turned.conf; "
	   "kill -HUP $(pgrep -of '^vm2-gateway --config /etc/vm2/turned.conf')");
	wait_for(20, "grep 'the settings stay as they were' /var/log/vm2/turned.log | grep -q banners");
	assert_has(ssh("turned", "-p 2294 -o UserKnownHostsFile=/dev/null -o LogLevel=INFO", "true").err, "changed");
	ok("/usr/libexec/vm2/supervise stop turned; vm2 guest stop turned; rm -r /var/lib/vm2/turned");
}

Test(restart, the_doors_are_not_root)
{
	tenant_ready("doors");
	ok("ssh %s doors@127.0.0.1 'sleep 30' >/dev/null 2>&1 </dev/zero &", ssh_options);
	wait_for(20, "pgrep -f '^sleep 30'");
	/* Those that wait for others have come: the last of them are not the session's own. */
	wait_for(
		20,
		"test $(pgrep -c -P $(pgrep -f '[v]m2-gateway-wire' -P $(pgrep -ox vm2-gateway))) -ge 3 && "
		"test $(pgrep -cf '[v]m2-gateway-monitor' -P $(pgrep -ox vm2-gateway)) -ge 4");
	cr_assert_str_eq(ok("ps -eo user:20,args | grep '[v]m2-gateway' | grep -v supervise | awk '{print $1}' | sort -u"),
			 "vm2-gateway");
	/* The process that parses SSH: no files, no network of its own, a seccomp filter. */
	ok("n=$(pgrep -f '[v]m2-gateway-wire' -P $(pgrep -ox vm2-gateway)) && test -n \"$(pgrep -P $n)\" || exit 4; "
	   "for p in $(pgrep -P $n); do grep -q 'Seccomp:.2' /proc/$p/status || exit 1; done; "
	   "for p in $n $(pgrep -P $n); do test -z \"$(ls -A /proc/$p/root/)\" || exit 2; "
	   "test $(readlink /proc/$p/ns/net) != $(readlink /proc/1/ns/net) || exit 3; done");
	/* None of them, nor of those that hear passwords, lets another of the same user look into it: proc(5). */
	ok("for p in $(pgrep -f '^/usr/libexec/vm2/vm2-gateway-(wire|monitor)'); do "
	   "test $(stat -c %%U /proc/$p/environ) = root || { ps -p $p -o args; exit 1; }; done");
	/* One that crashed: the others go on, and new ones have another parent, with another layout. */
	ok("n=$(pgrep -f '[v]m2-gateway-wire' -P $(pgrep -ox vm2-gateway)) && kill -SEGV $(pgrep -nP $n) && "
	   "for i in $(seq 100); do now=$(pgrep -nf '[v]m2-gateway-wire' -P $(pgrep -ox vm2-gateway)); "
	   "[ -n \"$now\" ] && [ $now != $n ] && exit 0; sleep .1; done; exit 1");
	/* And a monitor: the other one that waited goes with it, and the next two have another layout. */
	ok("waiting() { pgrep -f '[v]m2-gateway-monitor' -P $(pgrep -ox vm2-gateway) | sort -n | tail -2; }; "
	   "places() { for p in $(waiting); do grep -m1 'libc.so' /proc/$p/maps; done | sort -u; }; "
	   "old=$(waiting) place=$(places); [ $(echo \"$place\" | wc -l) = 1 ] && kill -SEGV ${old##*[!0-9]} || exit 2; "
	   "for i in $(seq 100); do now=$(places); kill -0 ${old%%%%[!0-9]*} 2>/dev/null || [ -z \"$now\" ] || "
	   "[ \"$now\" = \"$place\" ] || [ $(echo \"$now\" | wc -l) -gt 1 ] || exit 0; sleep .1; done; exit 1");
	ok("pgrep -f '^sleep 30'");
	assert_status(ssh("doors", "", "true"), 0);
	ok("pkill -f '^slee[p] 30'");
}

/* Somebody kills its vm2-guest: what the plan says of a failed init holds for it, too. */
Test(restart, a_killed_guest_starts_again_by_itself_with_its_files)
{
	static const char running[] = "vm2 guest show killed --json | jq '.state == \"running\"' | grep true";
	const char *before;

	tenant_ready("killed");
	assert_status(ssh("killed", "", "echo mine >/root/mine"), 0);
	before = ok("vm2 guest show killed --json | jq .pid");
	ok("kill -9 $(pgrep -f '[v]m2-guest.*killed')");
	wait_for(20, "! %s", running);
	wait_for(20, "%s && vm2 guest show killed --json | jq '.pid != %s' | grep true", running, before);
	cr_assert_str_eq(ssh("killed", "", "cat /root/mine").out, "mine\n");
	cr_assert_str_eq(ok("ip -br link | grep -c \"$(vm2 guest show killed --json | jq -r .interface)@\""), "1");
	/* Together with vm2d: the next one sees to it. */
	before = ok("vm2 guest show killed --json | jq .pid");
	ok("kill -9 $(pgrep -f '[v]m2-guest.*killed') $(pgrep -x vm2d)");
	wait_for(20, "%s && vm2 guest show killed --json | jq '.pid != %s' | grep true", running, before);
	/* One that is not to begin again is cleared away. */
	ok("vm2 tenant set killed --restart no && kill -9 $(pgrep -f '[v]m2-guest.*killed')");
	wait_for(20, "! ls -d /run/vm2/guests/killed && ! find /sys/fs/cgroup -path '*/vm2/killed' | grep .");
	ok("vm2 guest show killed --json | jq -e '.state == \"stopped\"'");
}
