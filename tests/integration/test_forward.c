/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports forwarded by stock ssh, into the guest and out of it. */
#include <string.h>

#include "tests/integration/lib.h"

TestSuite(forward, .timeout = 240);

static void ready(void)
{
	tenant_shared("fwd");
	assert_status(ssh("fwd", "", "true"), 0);
}

/*
 * A service in the guest, once: it reads to the client's end of file and then answers with the digest
 * of what came, or, given a file, with that. (nc stops sending at the end of file.)
 */
static const char service[] =
	"use IO::Socket::INET; my ($port, $file) = @ARGV; my $s = IO::Socket::INET->new("
	"LocalAddr => \"127.0.0.1\", LocalPort => $port, Listen => 5, ReuseAddr => 1) or die; "
	"my $c = $s->accept; open(my $o, \"|-\", \"sha256sum >/root/d$port\"); "
	"while (sysread($c, my $b, 65536)) { print $o $b } close $o; "
	"open(my $i, \"<\", $file || \"/root/d$port\"); "
	"while (sysread($i, my $b, 65536)) { syswrite($c, $b) } close $c;\n";

static void serve(int port, const char *file)
{
	ok("printf '%%s' '%s' | ssh %s fwd@127.0.0.1 'cat >/root/service.%d; "
	   "setsid perl /root/service.%d %d %s >/dev/null 2>&1 </dev/null &'",
	   service, ssh_options, port, port, port, file);
	wait_for(20, "vm2 guest exec fwd -- grep -q ' 0100007F:%04X 00000000:0000 0A' /proc/net/tcp", port);
}

/* Open a forwarding connection in the background, with a control socket to end it by. */
static void open_forward(const char *name, const char *what)
{
	ok("ssh -f -N -M -S /run/vm2-test/%s.ctl -o ExitOnForwardFailure=yes %s %s fwd@127.0.0.1 "
	   "</dev/null >/run/vm2-test/%s.log 2>&1",
	   name, what, ssh_options, name);
}

static void close_forward(const char *name)
{
	ok("ssh -S /run/vm2-test/%s.ctl -O exit fwd@127.0.0.1 2>/dev/null", name);
}

Test(forward, local_port_with_half_close)
{
	const char *sum;

	ready();
	serve(7000, "");
	open_forward("local", "-L 127.0.0.1:7700:localhost:7000");
	sum = ok("head -c 20000000 /dev/urandom >/run/vm2-test/bulk; sha256sum </run/vm2-test/bulk");
	cr_assert_str_eq(ok("nc -N 127.0.0.1 7700 </run/vm2-test/bulk"), sum);
	close_forward("local");
}

Test(forward, stdio_and_bulk_from_the_guest)
{
	ready();
	ok("vm2 guest exec fwd -- sh -c 'head -c 20000000 /dev/urandom >/root/bulk'");
	serve(7010, "/root/bulk");
	cr_assert_str_eq(ok("ssh -W 127.0.0.1:7010 %s fwd@127.0.0.1 </dev/null | sha256sum", ssh_options),
			 ok("vm2 guest exec fwd -- sha256sum /root/bulk | sed 's|/root/bulk|-|'"));
}

Test(forward, fifty_at_once_by_socks)
{
	ready();
	ok("ssh %s fwd@127.0.0.1 'cd /root; for i in $(seq 7100 7149); do echo this is $i >s$i; "
	   "nc -lN 127.0.0.1 $i <s$i >/dev/null 2>&1 & done'",
	   ssh_options);
	wait_for(30, "test $(vm2 guest exec fwd -- sh -c \"grep -c ' 0A ' /proc/net/tcp\") -ge 50");
	open_forward("socks", "-D 127.0.0.1:7701");
	ok("cd /run/vm2-test; for i in $(seq 7100 7149); do "
	   "sleep 5 | nc -X 5 -x 127.0.0.1:7701 localhost $i >got.$i & done; wait; "
	   "for i in $(seq 7100 7149); do test \"$(cat got.$i)\" = \"this is $i\" || "
	   "{ echo $i: $(cat got.$i); exit 1; }; done");
	close_forward("socks");
}

Test(forward, remote_port_that_the_guest_chooses)
{
	const char *port;

	ready();
	ok("cd /run/vm2-test; echo from outside >outside; "
	   "(nc -lN 127.0.0.1 7702 <outside >inside 2>/dev/null &)");
	open_forward("remote", "-o LogLevel=INFO -R 0:127.0.0.1:7702");
	port = ok("sed -n 's/.*[Aa]llocated port \\([0-9]*\\) for.*/\\1/p' /run/vm2-test/remote.log");
	cr_assert_gt(strlen(port), 2, "%s", port);
	cr_assert_str_eq(ok("vm2 guest exec fwd -- sh -c 'echo from inside | nc -N localhost %s'", port),
			 "from outside");
	wait_for(10, "grep -qx 'from inside' /run/vm2-test/inside");
	close_forward("remote");
	/* Nobody listens there any more. */
	wait_for(10, "! vm2 guest exec fwd -- nc -z localhost %s", port);
}

Test(forward, the_host_is_out_of_reach)
{
	static const char *const targets[] = { "127.0.0.1:2222", "localhost:2222", "169.254.1.1:2222" };

	ready();
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
		assert_lacks(sh("timeout 5 ssh -W %s %s fwd@127.0.0.1 </dev/null", targets[i],
				ssh_options).out, "SSH-2.0");
	/* A port that is taken in the guest is refused, and so is a name that is none. */
	ok("ssh %s fwd@127.0.0.1 'nc -lN 127.0.0.1 7020 >/dev/null 2>&1 </dev/null &'", ssh_options);
	wait_for(20, "vm2 guest exec fwd -- grep -q ' 0100007F:1B6C ' /proc/net/tcp");
	assert_status(sh("ssh -N -o ExitOnForwardFailure=yes -R 7020:127.0.0.1:9 %s fwd@127.0.0.1",
			 ssh_options), 255);
	cr_assert_str_eq(sh("timeout 60 ssh -W no.such.name.invalid:80 %s fwd@127.0.0.1 </dev/null",
			    ssh_options).out, "");
}

/* What is forwarded comes from the guest: another one is reached where a rule of this one's says so. */
Test(forward, the_rules_of_the_firewall_hold)
{
	const char *there;

	ready();
	tenant_ready("apart");
	ok("ssh %s apart@127.0.0.1 'setsid sh -c \"while :; do echo hello | nc -N -l 7065; done\" "
	   ">/dev/null 2>&1 </dev/null &'", ssh_options);
	wait_for(20, "vm2 guest exec apart -- grep -q ' 00000000:1B99 00000000:0000 0A' /proc/net/tcp");
	there = ok("vm2 guest show apart --json | jq -r .address4");
	cr_assert_str_eq(sh("timeout 2 ssh -W %s:7065 %s fwd@127.0.0.1 </dev/null", there, ssh_options).out, "");
	ok("vm2 rule add fwd peer allow tcp --port 7065 --prefix %s/32", there);
	cr_assert_str_eq(ok("timeout 20 ssh -W %s:7065 %s fwd@127.0.0.1 </dev/null", there, ssh_options), "hello");
	ok("vm2 rule remove fwd 1; vm2 guest stop apart");
}

Test(forward, goes_on_when_the_guest_ends_its_agent)
{
	ready();
	open_forward("agent", "-L 127.0.0.1:7703:localhost:7030");
	serve(7030, "");
	assert_has(ok("echo 1 | nc -N 127.0.0.1 7703"), "-");
	ok("vm2 guest exec fwd -- sh -c 'for p in /proc/[0-9]*; do "
	   "[ $(cat $p/comm) = vm2-forward ] && kill -9 ${p#/proc/}; done; true'");
	serve(7030, "");
	wait_for(20, "echo 2 | nc -N 127.0.0.1 7703 | grep -e -");
	close_forward("agent");
}

/* In the guest: says the same to whoever comes. */
static const char speaker[] =
	"use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Local => \"/run/s\", Listen => 5) or die; "
	"while (my $c = $s->accept) { print $c \"fwd\\n\"; close $c }";

/* In the guest: reads all that fifty say, to the end of each, and then tells each how much it was. */
static const char fifty[] =
	"use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalAddr => \"127.0.0.1\", LocalPort => 7050, "
	"Listen => 50, ReuseAddr => 1) or die; my (@c, @n); for (1 .. 50) { my $c = $s->accept; push @c, $c } "
	"for my $c (@c) { my $n = 0; while (my $r = sysread($c, my $b, 65536)) { $n += $r } push @n, $n } "
	"for my $i (0 .. 49) { syswrite($c[$i], \"$n[$i]\\n\"); close $c[$i] }";

Test(forward, fifty_at_once_that_are_half_closed)
{
	ready();
	ok("printf '%%s' '%s' | ssh %s fwd@127.0.0.1 'cat >/root/fifty; "
	   "setsid perl /root/fifty >/dev/null 2>&1 </dev/null &'", fifty, ssh_options);
	wait_for(20, "vm2 guest exec fwd -- grep -q ' 0100007F:1B8A 00000000:0000 0A' /proc/net/tcp");
	open_forward("fifty", "-L 127.0.0.1:7707:localhost:7050");
	ok("cd /run/vm2-test; for i in $(seq 50); do head -c $((i * 1000)) /dev/zero | "
	   "timeout 60 nc -N 127.0.0.1 7707 >half.$i & done; wait; "
	   "for i in $(seq 50); do test \"$(cat half.$i)\" = $((i * 1000)) || { echo $i: $(cat half.$i); exit 1; }; done");
	close_forward("fifty");
}

/* A socket of the guest's file system; one that is not there, or not allowed, costs nobody the connection. */
Test(forward, to_a_socket_of_the_guests)
{
	ready();
	ok("printf '%%s' '%s' | ssh %s fwd@127.0.0.1 'cat >/root/speak; rm -f /run/s; "
	   "setsid perl /root/speak >/dev/null 2>&1 </dev/null &'", speaker, ssh_options);
	wait_for(20, "vm2 guest exec fwd -- test -S /run/s");
	open_forward("socket", "-L /run/vm2-test/to-s:/run/s -L 7705:/run/none -L 7706:/run/s");
	cr_assert_str_eq(ok("nc -NU /run/vm2-test/to-s </dev/null"), "fwd");
	cr_assert_str_eq(ok("timeout 20 nc -N 127.0.0.1 7705 </dev/null"), "");
	cr_assert_str_eq(ok("nc -N 127.0.0.1 7706 </dev/null"), "fwd");
	ok("ssh -S /run/vm2-test/socket.ctl -O check fwd@127.0.0.1");
	close_forward("socket");
	wait_for(20, "grep -a forward-open /var/lib/vm2/ledger/tile/entries/* | grep -a '\"/run/s\"'");
	/* permitopen names ports: a socket is none of them. */
	ok("rm -f /run/vm2-test/few; ssh-keygen -q -t ed25519 -N '' -f /run/vm2-test/few && "
	   "vm2 key add fwd /run/vm2-test/few.pub --permit-open localhost:7000");
	cr_assert_str_eq(sh("ssh -i /run/vm2-test/few -W /run/s $(echo '%s' | sed 's,-i [^ ]*,,') "
			    "fwd@127.0.0.1 </dev/null", ssh_options).out, "");
}

/* In the guest: asks the agent what keys it has, and shows its answer's kind and their number. */
static const char ask_agent[] =
	"use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new($ENV{SSH_AUTH_SOCK}) or die; "
	"syswrite($s, \"\\0\\0\\0\\1\\13\"); my $b = \"\"; while (length($b) < 9) { "
	"sysread($s, $b, 9 - length($b), length($b)) or die } print unpack(\"H*\", substr($b, 4));";

Test(forward, the_agent_of_the_client)
{
	const char *path;

	ready();
	ok("printf '%%s' '%s' | ssh %s fwd@127.0.0.1 'cat >/root/ask'", ask_agent, ssh_options);
	ok("ssh-agent -a /run/vm2-test/agent >/dev/null; cp /run/vm2-test/key /run/vm2-test/lent; "
	   "chmod 600 /run/vm2-test/lent; SSH_AUTH_SOCK=/run/vm2-test/agent ssh-add -q /run/vm2-test/lent");
	/* One key: SSH_AGENT_IDENTITIES_ANSWER is 12. Two sessions of a connection share the socket. */
	ok("SSH_AUTH_SOCK=/run/vm2-test/agent ssh -f -N -M -S /run/vm2-test/lend.ctl -A %s fwd@127.0.0.1",
	   ssh_options);
	for (int i = 0; i < 2; i++)
		cr_assert_str_eq(ok("SSH_AUTH_SOCK=/run/vm2-test/agent ssh -A -S /run/vm2-test/lend.ctl "
				    "fwd@127.0.0.1 perl /root/ask"),
				 "0c00000001");
	path = ok("SSH_AUTH_SOCK=/run/vm2-test/agent ssh -A -S /run/vm2-test/lend.ctl fwd@127.0.0.1 "
		  "'stat -c %%a:%%u ${SSH_AUTH_SOCK%%/*} >&2; echo $SSH_AUTH_SOCK' 2>/run/vm2-test/mode");
	cr_assert_str_eq(ok("cat /run/vm2-test/mode"), "700:0");
	assert_status(sh("vm2 guest exec fwd -- test -S %s", path), 0);
	close_forward("lend");
	wait_for(20, "! vm2 guest exec fwd -- test -e $(dirname %s)", path);
	/* Not asked for, and not allowed: there is none, and the session is there. */
	cr_assert_str_eq(ok("ssh %s fwd@127.0.0.1 'echo [$SSH_AUTH_SOCK]'", ssh_options), "[]");
	ok("rm -f /run/vm2-test/plain; ssh-keygen -q -t ed25519 -N '' -f /run/vm2-test/plain && "
	   "vm2 key add fwd /run/vm2-test/plain.pub --restrict");
	cr_assert_str_eq(ok("SSH_AUTH_SOCK=/run/vm2-test/agent ssh -A -i /run/vm2-test/plain "
			    "$(echo '%s' | sed 's,-i [^ ]*,,') fwd@127.0.0.1 'echo [$SSH_AUTH_SOCK]'",
			    ssh_options),
			 "[]");
	ok("SSH_AUTH_SOCK=/run/vm2-test/agent ssh-add -qD; pkill -f '^ssh-agent -a /run/vm2-test/agent'");
}

/* In the guest: greets whoever comes, and stays as long. */
static const char greeter[] =
	"use IO::Socket::INET; my $s = IO::Socket::INET->new(LocalAddr => \"127.0.0.1\", LocalPort => 7060, "
	"Listen => 50, ReuseAddr => 1) or die; $SIG{CHLD} = \"IGNORE\"; while (my $c = $s->accept) { "
	"if (fork) { close $c; next } syswrite($c, \"in\\n\"); 1 while sysread($c, my $b, 100); exit }";

/* A connection by a port of ours, as descriptor fd of the shell, and what it is told: nothing at its end. */
#define BY "exec %d<>/dev/tcp/127.0.0.1/%d; l=; read -t 20 -u %d l; echo [$l]; "
#define SOCKS "timeout 60 nc -X 5 -x 127.0.0.1:7711 localhost 7060 </dev/null"

/* What comes to a listener in the guest is told by who is there for it here: the gateway itself. */
#define COMES "vm2 guest exec many -- nc -N -w 5 127.0.0.1 7066 </dev/null | head -c 7"

Test(forward, a_tenant_has_as_many_as_its_plan_allows)
{
	static const char refused[] = "cat /var/log/vm2/*.log | "
				      "grep -c \"'many' cannot forward more: the plan allows no more than 3\"";

	tenant_ready("many");
	ok("vm2 tenant set many --forwards 3; printf '%%s' '%s' | ssh %s many@127.0.0.1 'cat >/root/greet; "
	   "setsid perl /root/greet >/dev/null 2>&1 </dev/null &'", greeter, ssh_options);
	wait_for(20, "vm2 guest exec many -- grep -q ' 0100007F:1B94 00000000:0000 0A' /proc/net/tcp");
	for (int i = 0; i < 2; i++)
		ok("ssh -f -N -M -S /run/vm2-test/many%d.ctl %s %s many@127.0.0.1", i,
		   i ? "-D 127.0.0.1:7711" : "-L 7710:localhost:7060", ssh_options);
	/* One by the one connection and two by the other; then none by either, until one of them ends. */
	cr_assert_str_eq(ok(SOCKS " >/run/vm2-test/first & first=$!; "
			    "for i in $(seq 200); do grep -qx in /run/vm2-test/first && break; sleep .05; done; "
			    BY BY BY "exec 7>&-; " BY SOCKS "; cat /run/vm2-test/first; "
			    "ssh -S /run/vm2-test/many1.ctl -O forward -R 0:127.0.0.1:9 many@127.0.0.1 2>/dev/null && "
			    "echo listens; exec 5>&-; "
			    "for i in $(seq 200); do ssh -S /run/vm2-test/many1.ctl -O forward -R 7066:127.0.0.1:2222 "
			    "many@127.0.0.1 >/dev/null 2>&1 && echo listens && break; sleep .05; done; " BY
			    "echo [$(" COMES ")]; exec 6>&-; for i in $(seq 200); do came=$(" COMES "); "
			    "[ -n \"$came\" ] && break; sleep .05; done; echo $came; kill $first", 5, 7710, 5, 6, 7710, 6, 7, 7710, 7, 7, 7710, 7, 8, 7710, 8),
			 "[in]\n[in]\n[]\n[]\nin\nlistens\n[]\n[]\nSSH-2.0");
	/* Each of the two connections said it once, and again when it had found room meanwhile. */
	cr_assert_str_eq(ok("%s", refused), "3");
	/* Who is killed takes none along. */
	ok("pkill -9 -f '^/usr/libexec/vm2/vm2-session.* many '");
	wait_for(20, "! pgrep -f '^/usr/libexec/vm2/vm2-session.* many '");
	wait_for(20, "exec 5<>/dev/tcp/127.0.0.1/7710; read -t 5 -u 5 l && exec 6<>/dev/tcp/127.0.0.1/7710 && "
		     "read -t 5 -u 6 l && exec 7<>/dev/tcp/127.0.0.1/7710 && read -t 5 -u 7 l");
	ok("vm2 tenant set many --forwards none");
	ok("for i in 0 1; do ssh -S /run/vm2-test/many$i.ctl -O exit many@127.0.0.1 2>/dev/null; done");
	ok("ssh -f -N -M -S /run/vm2-test/many0.ctl -L 7710:localhost:7060 %s many@127.0.0.1", ssh_options);
	cr_assert_str_eq(ok(BY BY BY BY, 5, 7710, 5, 6, 7710, 6, 7, 7710, 7, 8, 7710, 8), "[in]\n[in]\n[in]\n[in]");
	ok("ssh -S /run/vm2-test/many0.ctl -O exit many@127.0.0.1 2>/dev/null; vm2 guest stop many");
}

Test(forward, is_on_record)
{
	ready();
	serve(7040, "");
	open_forward("record", "-L 127.0.0.1:7704:localhost:7040");
	ok("printf 0123456789 | nc -N 127.0.0.1 7704");
	close_forward("record");
	wait_for(20, "grep -a forward-close /var/lib/vm2/ledger/tile/entries/* | grep -a localhost:7040");
	assert_has(ok("grep -a forward-close /var/lib/vm2/ledger/tile/entries/* | grep -ao "
		      "'{[^{]*localhost:7040'"),
		   "\"bytes_in\":10,\"bytes_out\":68,\"direction\":\"to-guest\"");
	wait_for(20, "test $(vm2 session list --tenant fwd --json | "
		     "jq '[.[] | select(.kind == \"forward\" and .state == \"open\")] | length') = 0");
}
