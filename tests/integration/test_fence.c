/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fence holds whatever others do to the host's rules; what was changed is restored. */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/integration/lib.h"

TestSuite(fence, .timeout = 300);

/* RFC 3692: two protocols for experiments. What is sent as the one is forbidden, as the other not. */
#define FORBIDDEN 253
#define ALLOWED	  254

static const char *folder(void)
{
	static char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	cr_assert_gt(n, 0);
	return dirname(self);
}

static const char *guest(const char *name, const char *field)
{
	return ok("vm2 guest show %s --json | jq -r .%s", name, field);
}

static void two_guests(void)
{
	tenant_shared("fencea");
	tenant_shared("fenceb");
	assert_status(ssh("fencea", "", "true"), 0);
	assert_status(ssh("fenceb", "", "true"), 0);
}

static void set_table(const char *how)
{
	ok("/usr/libexec/vm2/supervise stop vm2d; "
	   "sed -i -E 's/^#?table = .*/table = %s/' /etc/vm2/vm2.conf && grep -q '^table = ' /etc/vm2/vm2.conf",
		how);
	ok("/usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(20, "vm2 host status");
	wait_for(20, "nft list table inet vm2");
}

/* In the background, in a network namespace: `where` is a prefix as "nsenter -t 7 -n". */
static void begin(const char *where, const char *label, const char *words)
{
	ok("%s %s/packets %s >/run/vm2-test/%s 2>&1 </dev/null & echo $! >/run/vm2-test/%s.pid",
		where, folder(), words, label, label);
}

static void begin_count(const char *where, const char *label, int protocol)
{
	char words[32];

	snprintf(words, sizeof(words), "count %d", protocol);
	begin(where, label, words);
	wait_for(10, "grep -q counts /run/vm2-test/%s", label);
}

static long number(const char *label)
{
	ok("kill $(cat /run/vm2-test/%s.pid)", label);
	wait_for(20, "tail -1 /run/vm2-test/%s | grep -qE '^[0-9]+$'", label);
	return atol(ok("tail -1 /run/vm2-test/%s", label));
}

static const char *inside(const char *name)
{
	return ok("echo nsenter -t %s -n", guest(name, "pid"));
}

/* Spoofed to the outside, and from its own addresses to the other guest and the host. */
static void flood(void)
{
	const char *a4 = guest("fencea", "address4"), *a6 = guest("fencea", "address6");
	const char *b4 = guest("fenceb", "address4"), *b6 = guest("fenceb", "address6");
	char words[1024];

	snprintf(words, sizeof(words),
		"send %d 10.82.200.200,198.51.100.1 203.0.113.9,198.51.100.1 %s,198.51.100.1 "
		"fd82:766d:3200::dead,2001:db8:1::1 2001:db8:77::9,2001:db8:1::1 %s,2001:db8:1::1 "
		"%s,%s %s,%s %s,192.0.2.2 %s,169.254.1.1 %s,fe80::1",
		FORBIDDEN, b4, b6, a4, b4, a6, b6, a4, a4, a6);
	/* fe80::1 wants an interface that a raw destination has no place for: leave it out. */
	*strrchr(words, ' ') = '\0';
	begin(inside("fencea"), "flood", words);
	snprintf(words, sizeof(words), "send %d %s,198.51.100.1 %s,2001:db8:1::1", ALLOWED, a4, a6);
	begin(inside("fencea"), "allowed", words);
	/* And in, unasked. */
	ok("/run/host/outside ip route replace 10.82.0.0/16 via 192.0.2.2");
	snprintf(words, sizeof(words), "send %d 198.51.100.1,%s", FORBIDDEN, a4);
	begin("/run/host/outside", "flood-in", words);
}

Test(fence, nothing_forbidden_passes_while_others_flush)
{
	static const char *const changes[] = { "flush ruleset", "delete table inet vm2",
		"flush chain inet vm2 forward", "flush set inet vm2 guests",
		"insert rule inet vm2 forward accept" };
	static const char *const places[] = { "outside", "host", "b", "a" };
	const char *wanted = getenv("VM2_FLUSHES");
	int flushes = wanted ? atoi(wanted) : 15;

	two_guests();
	begin_count("/run/host/outside", "outside", FORBIDDEN);
	begin_count("/run/host/outside", "outside-allowed", ALLOWED);
	begin_count("", "host", FORBIDDEN);
	begin_count(inside("fenceb"), "b", FORBIDDEN);
	begin_count(inside("fencea"), "a", FORBIDDEN);
	flood();
	for (int i = 0; i < flushes; i++) {
		sh("nft '%s'", changes[i % (sizeof(changes) / sizeof(changes[0]))]);
		usleep(50000);
	}
	cr_expect_gt(number("flood"), 1000);
	cr_expect_gt(number("flood-in"), 100);
	cr_expect_gt(number("allowed"), 100);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		cr_expect_eq(number(places[i]), 0, "forbidden packets arrived at %s", places[i]);
	cr_expect_gt(number("outside-allowed"), 100, "what is allowed went on");
	ok("nft list counter inet vm2 spoofed | grep -qE 'packets [1-9]'");
}

static const char *handle(void)
{
	return ok("nft -aj list tables | jq '.nftables[] | .table? // empty | "
		  "select(.family == \"inet\" and .name == \"vm2\") | .handle'");
}

/*
 * What firewalld and ufw have nft(8) and iptables-restore(8) do when they load again: their own tables
 * anew in one transaction, or all away first. Whatever they do, only ours is ours.
 */
static void reload(bool all)
{
	ok("printf '%%s\n' '%s' 'table inet firewalld' 'delete table inet firewalld' 'table inet firewalld {' "
	   "' chain filter_FORWARD {' '  type filter hook forward priority filter + 10; policy accept;' "
	   "'  ct state established,related accept' ' }' '}' 'table ip filter' 'flush table ip filter' "
	   "'table ip filter {' ' chain ufw-user-forward { }' ' chain FORWARD {' "
	   "'  type filter hook forward priority filter; policy accept;' '  jump ufw-user-forward' ' }' '}' "
	   "| nft -f -", all ? "flush ruleset" : "");
}

static void reloads_are_borne(void)
{
	const char *before = handle();

	reload(false);
	cr_expect_str_eq(handle(), before, "it is the same table");
	reload(true);
	wait_for(20, "vm2 firewall verify");
	ok("nft list table inet firewalld && nft list table ip filter");
	ok("vm2 guest exec fencea -- ping -c 1 -W 3 198.51.100.1");
	ok("! vm2 guest exec fencea -- ping -c 1 -W 1 %s", guest("fenceb", "address4"));
}

Test(fence, what_others_change_is_restored_and_noted)
{
	two_guests();
	reloads_are_borne();
	set_table("watched");
	reloads_are_borne();
	ok("nft list table inet vm2 >/run/vm2-test/table");
	ok("nft add table inet admins && nft flush ruleset && ! nft list table inet admins");
	wait_for(20, "nft list table inet vm2 | grep -q '\"%s\" . .* . %s'", guest("fencea", "interface"),
		guest("fencea", "address4"));
	ok("vm2 guest exec fencea -- ping -c 1 -W 3 198.51.100.1");
	ok("! vm2 guest exec fencea -- ping -c 1 -W 1 %s", guest("fenceb", "address4"));
	wait_for(20, "grep -rqs '\"change\":\"deleted .*\"type\":\"firewall\"' /var/lib/vm2/ledger");
	/* A guest that starts meanwhile finds the table, too. */
	ok("nft delete table inet vm2");
	tenant_ready("fencec");
	assert_status(ssh("fencec", "", "ping -c 1 -W 3 198.51.100.1"), 0);
	set_table("owned");
	ok("! nft delete table inet vm2");
	assert_status(ssh("fencea", "", "ping -c 1 -W 3 198.51.100.1"), 0);
}

Test(fence, the_fence_begins_anew_when_it_dies)
{
	two_guests();
	/* It is the one that holds the listening socket's other end: kill each child of vm2d in turn. */
	ok("for pid in $(pgrep -P $(pgrep -o -x vm2d)); do kill -9 $pid; done");
	tenant_ready("fenced");
	assert_status(ssh("fenced", "", "ping -c 1 -W 3 198.51.100.1"), 0);
	ok("! nft delete table inet vm2");
}
