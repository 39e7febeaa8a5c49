/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests that carry a whole Debian: systemd as init, a bus, cron and at, sudo, tmux, bubblewrap. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/lib.h"

TestSuite(whole, .timeout = 400);

/* A guest of this release's tree; those of both are made at once, so that their boots overlap. */
static void ready(const char *release)
{
	static const char script[] =
		"test -e /run/vm2-test/whole && exit; touch /run/vm2-test/whole; set -e; "
		"for r in bookworm trixie; do "
		"eval tree=\\${VM2_WHOLE_$r-}; [ -n \"$tree\" ] || continue; "
		"vm2 template import whole-$r \"$tree\"; "
		"vm2 tenant add $r --template whole-$r --key /run/vm2-test/key.pub; "
		"ssh -n %s $r@127.0.0.1 \"echo '* * * * * root touch /root/cron' >/etc/cron.d/mine\"; "
		"done";
	char variable[64];

	host_ready();
	snprintf(variable, sizeof(variable), "VM2_WHOLE_%s", release);
	if (!getenv(variable))
		cr_skip_test("there is no whole tree of %s: see tests/run", release);
	ok(script, ssh_options);
}

/* Run a line in the guest, and fail the test unless it exits 0. */
static const char *in_guest(const char *guest, const char *line)
{
	struct result r = ssh(guest, "", "%s", line);

	cr_assert_eq(r.status, 0, "%s\nstatus: %d\nout: %s\nerr: %s", line, r.status, r.out, r.err);
	return r.out;
}

/* The bus is there late in the boot: until then nobody can be asked. */
static void booted(const char *guest)
{
	wait_for(100, "ssh %s %s@127.0.0.1 'systemctl is-system-running --wait' | grep -qx running || "
		 "{ ssh %s %s@127.0.0.1 'systemctl --failed; systemctl list-jobs'; false; }",
		 ssh_options, guest, ssh_options, guest);
}

/* Login does not wait for the boot; what is entered early is in nobody's way. */
static void boots(const char *guest)
{
	ready(guest);
	assert_status(ssh(guest, "", "cat /proc/1/comm >/dev/null"), 0);
	booted(guest);
	cr_assert_str_empty(in_guest(guest, "systemctl --failed --no-legend --plain"));
	cr_assert_str_eq(in_guest(guest, "systemd-detect-virt --container; cat /run/host/container-manager"),
			 "container-other\nvm2\n");
	in_guest(guest, "journalctl -b -n 1 --no-pager | grep . && hostnamectl | grep -i container && "
			"timedatectl | grep Universal && test $(cat /etc/machine-id | wc -c) = 33");
	/* Sessions stand beside systemd's groups, not in them. */
	assert_has(in_guest(guest, "cat /proc/self/cgroup"), "0::/vm2\n");
	assert_has(in_guest(guest, "systemd-run --quiet --scope cat /proc/self/cgroup"), ".scope");
}

static void serves(const char *guest)
{
	ready(guest);
	booted(guest);
	in_guest(guest, "printf \"[Service]\\nExecStart=/bin/sleep infinity\\nPrivateDevices=yes\\n"
			"PrivateTmp=yes\\nProtectSystem=strict\\nProtectKernelTunables=yes\\n"
			"[Install]\\nWantedBy=multi-user.target\\n\" >/etc/systemd/system/mine.service; "
			"systemctl enable --now mine");
	in_guest(guest, "systemctl is-active mine");
	in_guest(guest, "systemd-run --quiet --wait -p DynamicUser=yes true");
	/* What was started in a session lives on after it. */
	in_guest(guest, "tmux new -d -s mine \"sleep 1000\"");
	in_guest(guest, "tmux has-session -t mine; echo \"echo from at >/root/at\" | at now; "
			"systemctl is-active cron");
	wait_for(60, "ssh %s %s@127.0.0.1 grep -q from.at /root/at", ssh_options, guest);
	in_guest(guest, "id user 2>/dev/null || useradd -m -s /bin/sh user; "
			"echo \"user ALL=(ALL) NOPASSWD: ALL\" >/etc/sudoers.d/user; "
			"test $(su user -c \"sudo id -u\") = 0; su user -c \"ping -c 1 -W 5 127.0.0.1\"");
	in_guest(guest, "bwrap --ro-bind / / --proc /proc --dev /dev true; "
			"su user -c \"bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev true\"");
	wait_for(100, "ssh %s %s@127.0.0.1 test -e /root/cron", ssh_options, guest);
}

static void restarts_and_stops(const char *guest)
{
	const char *before;

	ready(guest);
	booted(guest);
	before = ok("vm2 guest show %s --json | jq -r .pid", guest);
	in_guest(guest, "touch /root/kept");
	ssh(guest, "", "systemctl reboot");
	wait_for(60, "test \"$(vm2 guest show %s --json | jq -r 'select(.state == \"running\") | .pid')\" != '%s' && "
		 "ssh %s %s@127.0.0.1 test -e /root/kept", guest, before, ssh_options, guest);
	booted(guest);
	ssh(guest, "", "poweroff");
	wait_for(60, "test \"$(vm2 guest show %s --json | jq -r .state)\" = stopped", guest);
	assert_status(ssh(guest, "", "test -e /root/kept"), 0);
	/* In the middle of its boot: asked politely, and no worse for it. */
	ok("vm2 guest stop %s", guest);
	assert_status(ssh(guest, "", "true"), 0);
	booted(guest);
}

#define BOTH(what)                  \
	Test(whole, what##_bookworm) \
	{                            \
		what("bookworm");    \
	}                            \
	Test(whole, what##_trixie)   \
	{                            \
		what("trixie");      \
	}

BOTH(boots)
BOTH(serves)
BOTH(restarts_and_stops)
