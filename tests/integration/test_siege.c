/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The front door under attack: who means well still gets in, and nothing is left of the others. */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/lib.h"

TestSuite(siege, .timeout = 240);

static const char wire[] = "/usr/libexec/vm2/vm2-gateway-wire";

/* A gateway of its own, with settings of its own. */
static void start_gateway(const char *name, int port, const char *settings)
{
	ok("printf '[gateway]\nlisten = 127.0.0.1:%d\n%s\n' >/etc/vm2/%s.conf", port, settings, name);
	ok("/usr/libexec/vm2/supervise start %s -- vm2-gateway --config /etc/vm2/%s.conf", name, name);
	wait_for(20, "ss -Hltn 'sport = %d' | grep -q %d", port, port);
}

Test(siege, a_crowd_from_elsewhere_keeps_nobody_out)
{
	struct result r;

	tenant_ready("besieged");
	start_gateway("crowd2", 2298, "max-starting = 5");
	ok("for i in 1 2 3 4 5 6 7 8; do sleep 60 | nc -s 127.0.0.2 127.0.0.1 2298 >/dev/null & "
	   "echo $! >>/run/vm2-test/crowd; done");
	wait_for(20, "test $(ss -Htn state established 'sport = 2298' | wc -l) -ge 5");
	r = ssh("besieged", "-p 2298", "echo in");
	sh("xargs kill </run/vm2-test/crowd; /usr/libexec/vm2/supervise stop crowd2");
	assert_status(r, 0);
	assert_has(r.out, "in");
}

/* As sshd, for who wants it so: the last to come is turned away, told why, and who waits stays. */
Test(siege, newcomers_are_turned_away_by_lot)
{
	tenant_ready("besieged");
	start_gateway("lots", 2298, "max-starting = 9\nearly-drop = 3\nearly-drop-rate = 100");
	ok("for i in 1 2 3; do sleep 60 | nc -s 127.0.0.2 127.0.0.1 2298 >/dev/null & echo $! >>/run/vm2-test/lots; done");
	wait_for(20, "nc -w 5 127.0.0.1 2298 </dev/null | grep -q 'too many connections are logging in'");
	cr_assert_str_eq(ok("ss -Htn state established 'sport = 2298 and dst 127.0.0.2' | wc -l"), "3");
	sh("kill $(head -1 /run/vm2-test/lots)");
	wait_for(20, "ssh %s -p 2298 besieged@127.0.0.1 true", ssh_options);
	sh("xargs kill </run/vm2-test/lots; /usr/libexec/vm2/supervise stop lots");
}

/* All connections together, and the sessions of one. */
Test(siege, connections_and_their_sessions_are_counted)
{
	struct result r;

	tenant_ready("besieged");
	start_gateway("few", 2299, "max-connections = 1\nmax-sessions = 1");
	ok("ssh -M -N -f -S /run/vm2-test/few -p 2299 %s besieged@127.0.0.1", ssh_options);
	assert_has(ok("nc -w 5 127.0.0.1 2299 </dev/null"), "vm2: too many connections, try again later");
	/* One that is refused is tried by a connection of its own. */
	r = sh("coproc C { ssh -S /run/vm2-test/few besieged@127.0.0.1 'echo in; cat'; }; read -u ${C[0]} l; echo $l; "
	       "ssh -S /run/vm2-test/few -p 2299 %s -o LogLevel=INFO besieged@127.0.0.1 true; echo $?; "
	       "eval \"exec ${C[1]}>&-\"; wait", ssh_options);
	cr_assert_str_eq(r.out, "in\n255\n");
	assert_has(r.err, "refused");
	ok("ssh -S /run/vm2-test/few besieged@127.0.0.1 true && ssh -S /run/vm2-test/few -O exit besieged@127.0.0.1");
	ok("/usr/libexec/vm2/supervise stop few");
}

/* In the guest: greets whoever comes, and stays as long. */
static const char greeter[] =
	"use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalAddr => \"127.0.0.1\", LocalPort => 7060, "
	"Listen => 50, ReuseAddr => 1) or die; $SIG{CHLD} = \"IGNORE\"; while (my $c = $s->accept) { "
	"if (fork) { close $c; next } syswrite($c, \"in\\n\"); 1 while sysread($c, my $b, 100); exit }";

/* What each of three connections to a port of ours is told there, when all stay open. */
static const char three[] = "for fd in 5 6 7; do eval \"exec $fd<>/dev/tcp/127.0.0.1/%d\"; l=; read -t 20 -u $fd l; "
			    "echo [$l]; done; exec 5>&-; for i in $(seq 200); do exec 8<>/dev/tcp/127.0.0.1/%d; "
			    "read -t 20 -u 8 l && break; sleep .05; done; echo [$l]";

/* And what each of three listeners is told. */
static const char listeners[] = "for port in 7041 7042 7043; do ssh -S /run/vm2-test/fewer -O forward "
				"-R $port:127.0.0.1:9 besieged@127.0.0.1 2>/dev/null; echo $?; done | tr '\n' ' '";

Test(siege, forwards_of_a_connection_are_counted)
{
	struct result r;

	tenant_ready("besieged");
	ok("printf '%%s' '%s' | ssh %s besieged@127.0.0.1 'cat >/root/greet; "
	   "setsid perl /root/greet >/dev/null 2>&1 </dev/null &'", greeter, ssh_options);
	wait_for(20, "vm2 guest exec besieged -- grep -q ' 0100007F:1B94 00000000:0000 0A' /proc/net/tcp");
	start_gateway("fewer", 2299, "max-forwards = 2");
	for (int i = 0; i < 2; i++)
		ok("ssh -M -N -f -S /run/vm2-test/fewer%s -E /run/vm2-test/fewer.log -L %d:localhost:7060 -p 2299 "
		   "-o LogLevel=INFO %s besieged@127.0.0.1", i ? "" : ".other", 7721 + i, ssh_options);
	/* Two and two, whatever the other connection has; when one ends there is room for another. */
	for (int port = 7721; port <= 7722; port++)
		cr_assert_str_eq(ok(three, port, port), "[in]\n[in]\n[]\n[in]");
	assert_has(ok("cat /run/vm2-test/fewer.log"), "open failed: administratively prohibited");
	cr_assert_str_eq(ok("%s", listeners), "0 0 255 ");
	ok("for c in fewer fewer.other; do ssh -S /run/vm2-test/$c -O exit besieged@127.0.0.1; done; "
	   "/usr/libexec/vm2/supervise stop fewer");
	/* None at all: not one, and sessions as ever. */
	start_gateway("fewer", 2299, "max-forwards = 0");
	cr_assert_str_eq(sh("ssh -W localhost:7060 -p 2299 %s besieged@127.0.0.1 </dev/null", ssh_options).out, "");
	assert_status(ssh("besieged", "-p 2299 -o ExitOnForwardFailure=yes -R 0:127.0.0.1:9", "true"), 255);
	r = ssh("besieged", "-p 2299 -A", "echo [$SSH_AUTH_SOCK]");
	assert_status(r, 0);
	cr_assert_str_eq(r.out, "[]\n");
	ok("/usr/libexec/vm2/supervise stop fewer");
}

/* As many as are let stand there, and more that come: how much longer does who may come in wait? */
Test(siege, five_hundred_silent_ones_slow_nobody_down)
{
	static const char timed[] = "best=99999; for i in 1 2 3 4; do s=$(date +%%s%%N); ssh %s waited@127.0.0.1 true "
				    "|| exit 1; t=$((($(date +%%s%%N) - s) / 1000000)); "
				    "[ $t -lt $best ] && best=$t; done; echo $best";
	long alone, beset;
	int tries = 0;

	tenant_ready("waited");
	assert_status(ssh("waited", "", "true"), 0);
	alone = atol(ok(timed, ssh_options));
	ok("printf '%%s\n' 'import socket, time' 'all = []' 'for i in range(500):' "
	   "'    c = socket.socket(); c.bind((\"127.0.0.2\", 0)); c.connect((\"127.0.0.1\", 2222)); all.append(c)' "
	   "'print(len(all), flush=True)' 'time.sleep(60)' >/run/vm2-test/half.py; "
	   "python3 /run/vm2-test/half.py >/run/vm2-test/half 2>&1 & echo $! >/run/vm2-test/half.pid");
	wait_for(60, "grep -qx 500 /run/vm2-test/half");
	wait_for(60, "test $(ss -Htn state established 'sport = 2222' | wc -l) -le 100");
	/* What else runs on the machine slows down for a while, what waits in the gateway as long as they stay. */
	do
		beset = atol(ok(timed, ssh_options));
	while (beset > alone * 2 + 20 && ++tries < 10);
	sh("kill $(cat /run/vm2-test/half.pid)");
	fprintf(stderr, "a login takes %ld ms alone, %ld ms beside 500 half-open connections\n", alone, beset);
	cr_assert_leq(beset, alone * 2 + 20, "%ld ms alone, %ld ms beset", alone, beset);
}

Test(siege, a_client_that_keeps_to_no_rule_harms_nobody_and_leaves_nothing)
{
	tenant_ready("lawless");
	assert_status(ssh("lawless", "", "true"), 0);
	ok("timeout 100 python3 $VM2_SOURCE/tests/integration/hostile.py 2222 lawless /var/log/vm2/vm2-gateway.log >&2");
}

Test(siege, an_audit_finds_nothing_red)
{
	struct result r;

	tenant_ready("audited");
	r = sh("ssh-audit -n -l fail -p 2222 127.0.0.1");
	cr_assert(r.status == 0 || r.status == 2, "%d\n%s%s", r.status, r.out, r.err);
	assert_lacks(r.out, "[fail]");
	r = ssh("audited", "-vv", "true");
	assert_status(r, 0);
	assert_has(r.err, "kex-strict-s-v00@openssh.com");
	assert_has(r.err, "server-sig-algs=<");
	/* What is not in the lists is not to be had, and the log says of whom; who needs it can have it. */
	assert_status(ssh("audited", "-o HostKeyAlgorithms=ecdsa-sha2-nistp256", "true"), 255);
	wait_for(20, "grep 'no match for method' /var/log/vm2/vm2-gateway.log | grep -q 'client .ecdsa-sha2-nistp256'");
	start_gateway("nist", 2295, "host-key-algorithms = ecdsa-sha2-nistp256");
	assert_status(ssh("audited", "-p 2295 -o HostKeyAlgorithms=ecdsa-sha2-nistp256", "true"), 0);
	ok("/usr/libexec/vm2/supervise stop nist");
	assert_has(ok("ssh-keygen -lf /var/lib/vm2/hostkeys/ssh_host_rsa_key.pub"), "3072 ");
}

Test(siege, who_fails_again_and_again_has_to_wait)
{
	tenant_ready("guessed");
	start_gateway("penal", 2297, "penalty-exempt = 127.0.0.1");
	sh("for i in 1 2 3 4 5 6 7 8; do sshpass -p wrong ssh -F none -b 127.0.0.2 -p 2297 "
	   "-o PubkeyAuthentication=no -o NumberOfPasswordPrompts=1 -o StrictHostKeyChecking=no "
	   "-o UserKnownHostsFile=/dev/null guessed@127.0.0.1 true & done; wait");
	/* It is told so before the protocol begins; the right key does not help it, nor harm others. */
	wait_for(20, "nc -s 127.0.0.2 -w 5 127.0.0.1 2297 </dev/null | grep -q 'too many failed logins'");
	assert_status(ssh("guessed", "-p 2297 -b 127.0.0.2", "true"), 255);
	assert_status(ssh("guessed", "-p 2297 -b 127.0.0.3", "true"), 0);
	assert_status(ssh("guessed", "-p 2297 -b 127.0.0.1", "true"), 0);
	ok("vm2 tenant unlock guessed; /usr/libexec/vm2/supervise stop penal");
}

/* Asks vm2d for the one and the other, as the coin falls, and prints by how much the one takes longer, in percent. */
static const char clocked[] =
	"import random, socket, statistics, sys, time\n"
	"def ask(op, **fields):\n"
	"    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); began = time.perf_counter()\n"
	"    s.connect(\"/run/vm2/vm2d.sock\"); fields = {\"op\": op, \"source\": \"192.0.2.7:1\", **fields}\n"
	"    s.send(b\"\".join(f\"{k}={v}\\0\".encode() for k, v in fields.items()))\n"
	"    while b\"event=end\" not in s.recv(65536): pass\n"
	"    return time.perf_counter() - began\n"
	"key = \" \".join(open(\"/run/vm2-test/other-key.pub\").read().split()[:2])\n"
	"for n, request in (150, (\"auth.key\", {\"key\": key})), (16, (\"auth.password\", {\"password\": \"wrong\"})):\n"
	"    times = {name: [] for name in (\"timed\", \"nobody-here\")}\n"
	"    for i in range(n):\n"
	"        for name in random.sample(sorted(times), 2): times[name].append(ask(request[0], tenant=name, **request[1]))\n"
	"    known, unknown = (statistics.median(t) for t in times.values())\n"
	"    print(f\"{request[0]} {known * 1000:.2f} {unknown * 1000:.2f} {(known / unknown - 1) * 100:.0f}\")\n";

Test(siege, a_name_that_is_nobodys_takes_as_long)
{
	const char *seen;

	tenant_ready("timed");
	ok("echo 'right pass word' | vm2 tenant passwd timed; printf '%%s' '%s' >/run/vm2-test/clocked.py", clocked);
	seen = ok("python3 /run/vm2-test/clocked.py");
	fprintf(stderr, "ms for a name, and for nobody's, and percent: %s\n", seen);
	ok("echo '%s' | awk '$4 < -30 || $4 > 40 { exit 1 }'", seen);
}

/* Put a program of this folder in the wire's place; a gateway that is started then has it. */
static void take_wire_over(const char *program)
{
	char self[PATH_MAX] = "";

	cr_assert_gt(readlink("/proc/self/exe", self, sizeof(self) - 1), 0);
	ok("cp %s/%s /run/vm2-test/other-wire && mv %s %s.real && mv /run/vm2-test/other-wire %s", dirname(self),
	   program, wire, wire, wire);
}

Test(siege, a_wire_process_that_was_taken_over_cannot_claim_a_signature)
{
	struct result r;

	tenant_ready("forger");
	tenant_ready("forged");
	ok("python3 $VM2_SOURCE/tests/integration/forge.py --keys && for t in forger forged; do "
	   "vm2 key add $t /run/vm2-test/forge/mine.pub; done; vm2 key add forged /run/vm2-test/forge/theirs.pub");
	take_wire_over("forging-wire");
	start_gateway("forging", 2295, "penalty-exempt = 127.0.0.1");
	r = sh("timeout 60 python3 $VM2_SOURCE/tests/integration/forge.py 2295");
	ok("/usr/libexec/vm2/supervise stop forging; mv %s.real %s", wire, wire);
	assert_status(r, 0);
}

Test(siege, a_wire_process_that_was_taken_over_gains_no_time)
{
	struct result r;

	host_ready();
	take_wire_over("hostile-wire");
	start_gateway("taken", 2297, "login-grace = 3");
	ok("sleep 60 | nc 127.0.0.1 2297 >/dev/null & echo $! >/run/vm2-test/taken");
	wait_for(5, "ss -Htn state established 'sport = 2297' | grep -q .");
	r = sh("for i in $(seq 100); do ss -Htn state established 'sport = 2297' | grep -q . || exit 0; "
	       "sleep .1; done; exit 1");
	sh("kill $(cat /run/vm2-test/taken)");
	ok("/usr/libexec/vm2/supervise stop taken; mv %s.real %s", wire, wire);
	assert_status(r, 0);
}

Test(siege, connections_that_break_off_leave_nothing)
{
	tenant_ready("broken");
	assert_status(ssh("broken", "", "true"), 0);
	wait_for(20, "! pgrep -x vm2-session");
	/* The two pairs that wait for a connection are there again, and the two nurseries, and no other. */
	wait_for(20, "test $(pgrep -fc '^/usr/libexec/vm2/vm2-gateway-monitor') = 3 && "
		     "test $(pgrep -fc '^/usr/libexec/vm2/vm2-gateway-wire') = 3");
	ok("fds=$(ls /proc/$(pgrep -ox vm2-gateway)/fd | wc -l); "
	   "for i in $(seq 40); do timeout -s KILL 0.$((i %% 10))$((i %% 7)) "
	   "ssh %s broken@127.0.0.1 'cat /dev/zero' >/dev/null 2>&1 & "
	   "[ $((i %% 8)) = 0 ] && wait; done; wait; "
	   "for i in $(seq 100); do now=$(ls /proc/$(pgrep -ox vm2-gateway)/fd | wc -l); "
	   "[ $now -le $fds ] && ! pgrep -x vm2-session && exit 0; sleep .1; done; "
	   "echo \"$fds descriptors, now $now\"; pgrep -a vm2; exit 1", ssh_options);
	cr_assert_str_eq(ok("vm2 session list --tenant broken --limit 1000 --json | "
			    "jq '[.[] | select(.ended == null)] | length'"), "0");
}

/* What is there of programs, descriptors, terminals, of the gateway, vm2d and the guest. */
static const char left_over[] =
	"{ pgrep -fc '^/usr/libexec/vm2/vm2-gateway-monitor'; pgrep -fc '^/usr/libexec/vm2/vm2-gateway-wire'; "
	"pgrep -xc vm2-session; ls /proc/$(pgrep -f '^vm2-gateway --config /etc/vm2/cuts.conf')/fd | wc -l; "
	/* vm2d has one for each of its workers, of which it keeps some more or less. */
	"echo $(($(ls /proc/$(pgrep -ox vm2d)/fd | wc -l) - $(pgrep -xcP $(pgrep -ox vm2d) vm2d))); "
	"vm2 guest exec broken -- sh -c 'ls /proc | grep -c ^[0-9]; ls /dev/pts | wc -l; "
	"ls /tmp | wc -l'; find /sys/fs/cgroup -type d | wc -l; } | tr '\\n' ' '";

/* KiB that are nobody else's, of the listener, its nursery and vm2d; what they share depends on who else is there. */
static const char memory[] =
	"gateway=$(pgrep -f '^vm2-gateway --config /etc/vm2/cuts.conf'); for p in $gateway "
	"$(pgrep -nP $gateway vm2-gateway-wi) $(pgrep -ox vm2d); do awk '/^Pss:/ { pss = $2 } /^Anonymous:/ "
	"{ print $2 \" of \" pss }' /proc/$p/smaps_rollup; done | tr '\\n' ' '";

static void break_off(long n)
{
	ok("setsid sh -c 'python3 $VM2_SOURCE/tests/integration/breaks.py 2296 %ld broken /run/vm2-test/key "
	   "$VM2_BUILD/tests/bench/bench-ssh-client \"right pass word\"; echo $?' >/run/vm2-test/cut 2>&1 &", n);
	wait_for(7000, "tail -1 /run/vm2-test/cut | grep -q '^[0-9]*$' && test $(wc -l </run/vm2-test/cut) = 2");
	assert_has(ok("cat /run/vm2-test/cut"), "\n0");
}

/*
 * VM2_BREAKS: how many, 60 if it does not say; 10,000 take a quarter of an hour and more, and VM2_TEST_LIMIT=7200
 * (seconds for this program). With 1,000 and more their memory is looked at as well, after a tenth of them have
 * been before.
 */
Test(siege, connections_cut_at_any_byte_leave_nothing, .timeout = 7200)
{
	long n = getenv("VM2_BREAKS") ? atol(getenv("VM2_BREAKS")) : 60, kib = 0;
	const char *before, *held = "";

	tenant_ready("broken");
	ok("echo 'right pass word' | vm2 tenant passwd broken");
	assert_status(ssh("broken", "-tt", "true"), 0);
	start_gateway("cuts", 2296, "penalty-exempt = 127.0.0.1\nmax-per-source = 0");
	wait_for(20, "! pgrep -x vm2-session");
	wait_for(20, "test $(pgrep -fc '^/usr/libexec/vm2/vm2-gateway-wire') = 6");
	before = ok(left_over);
	if (n >= 1000) {
		break_off(n / 10);
		wait_for(40, "! pgrep -x vm2-session");
		held = ok(memory);
	}
	break_off(n);
	wait_for(40, "test \"$(%s)\" = '%s' || { %s; echo 'not %s' >&2; false; }", left_over, before, left_over, before);
	cr_assert_str_eq(ok("vm2 session list --tenant broken --limit 100000 --json | "
			    "jq '[.[] | select(.ended == null)] | length'"), "0");
	if (n >= 1000) {
		fprintf(stderr, "%s\n%s, then %s KiB; left: %s\n", ok("cat /run/vm2-test/cut"), held, ok(memory), before);
		kib = atol(ok("echo '%s %s' | awk '{ m = 0; for (i = 1; i <= 9; i += 3) if ($(i + 9) - $i > m) "
			      "m = $(i + 9) - $i; print m }'", held, ok(memory)));
		cr_assert_leq(kib, 256, "%ld KiB more", kib);
	}
	assert_status(ssh("broken", "-p 2296", "true"), 0);
	ok("/usr/libexec/vm2/supervise stop cuts");
}
