/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guests that carry a whole Debian: systemd as init, a bus, cron and at, sudo, tmux, bubblewrap. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/integration/lib.h"

/* Guests' files on btrfs: one of them is enough. */
#ifdef ON_BTRFS
#define POOL	 "--pool 6G"
#define RELEASES "trixie"
#else
#define POOL	 ""
#define RELEASES "bookworm trixie openrc"
#endif

static void begin(void)
{
	setenv("VM2_TEST_SETUP", POOL, 1);
}

TestSuite(whole, .timeout = 400, .init = begin);

/* A guest of this release's tree; those of both are made at once, so that their boots overlap. */
static void ready(const char *release)
{
	static const char script[] =
		"test -e /run/vm2-test/whole && exit; touch /run/vm2-test/whole; set -e; "
		"for r in " RELEASES "; do "
		"eval tree=\\${VM2_WHOLE_$r-}; [ -n \"$tree\" ] || continue; "
		"vm2 template import whole-$r \"$tree\"; "
		"vm2 tenant add $r --template whole-$r --key /run/vm2-test/key.pub; "
		"vm2 guest start $r; [ $r != openrc ] || continue; "
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

#ifdef ON_BTRFS

/* What df(1) says of the root, in MiB, to a session, a service, and one with mounts of its own. */
static void shows_its_plans_disk(const char *guest)
{
	cr_assert_str_eq(in_guest(guest, "for p in \"\" -pProtectSystem=strict -pPrivateTmp=yes; do "
					 "systemd-run --quiet --pipe $p df -m --output=size / | tail -1; done; "
					 "df -m --output=size / | tail -1"),
			 "      300\n      300\n      300\n      300\n");
}

Test(whole, on_btrfs_it_boots_has_its_disk_and_comes_back)
{
	ready("trixie");
	ok("vm2 tenant set trixie --disk 300M");
	booted("trixie");
	shows_its_plans_disk("trixie");
	in_guest("trixie", "touch /root/kept && sync");
	ok("vm2 guest snapshot trixie one");
	in_guest("trixie", "rm /root/kept");
	ok("vm2 guest stop trixie && vm2 guest restore --yes trixie one && vm2 guest start trixie");
	booted("trixie");
	in_guest("trixie", "test -e /root/kept");
	cr_assert_str_empty(in_guest("trixie", "systemctl --failed --no-legend --plain"));
	shows_its_plans_disk("trixie");
}

#else

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
	in_guest(
		guest,
		"touch /root/kept; logger of an earlier boot; journalctl --sync; journalctl -b | grep -q earlier.boot");
	ssh(guest, "", "systemctl reboot");
	wait_for(60, "test \"$(vm2 guest show %s --json | jq -r 'select(.state == \"running\") | .pid')\" != '%s' && "
		 "ssh %s %s@127.0.0.1 test -e /root/kept", guest, before, ssh_options, guest);
	booted(guest);
	in_guest(guest,
		 "journalctl -b -1 | grep -q earlier.boot && ! journalctl -b | grep earlier.boot");
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

/* What its inittab has begun last is there: getty. */
static void openrc_booted(void)
{
	ready("openrc");
	wait_for(60, "vm2 guest exec openrc -- sh -c 'rc-status --runlevel; pgrep -x getty' | grep -c . | grep -qx 7");
}

/* A service that says when it was stopped as it should be. */
static const char openrc_service[] =
	"#!/sbin/openrc-run\ncommand=/bin/sleep\ncommand_args=1001\ncommand_background=yes\npidfile=/run/mine.pid\n"
	"stop_post() { touch /root/stopped; }\n";

/* Another init, asked by the signal that it wants: it boots, keeps services, and goes down in order. */
Test(whole, openrc_boots_serves_and_stops)
{
	const char *before;

	openrc_booted();
	cr_assert_str_eq(in_guest("openrc", "rc-status --runlevel; cat /proc/1/comm"), "default\ninit\n");
	in_guest("openrc", "rc-status default | grep started && ! rc-status --crashed | grep crashed");
	ok("printf '%%b' '%s' | ssh %s openrc@127.0.0.1 'cat >/etc/init.d/mine; chmod 755 /etc/init.d/mine; "
	   "rc-update add mine default'", openrc_service, ssh_options);
	in_guest("openrc", "rc-service mine start && rc-status default | grep -E \"mine +\\[ +started\"");
	before = ok("vm2 guest show openrc --json | jq -r .pid");
	ssh("openrc", "", "reboot");
	wait_for(60, "test \"$(vm2 guest show openrc --json | jq -r 'select(.state == \"running\") | .pid')\" != '%s' && "
		 "ssh %s openrc@127.0.0.1 rm /root/stopped", before, ssh_options);
	openrc_booted();
	in_guest("openrc", "pgrep -f \"[s]leep 1001\" && rc-status default | grep -E \"mine +\\[ +started\"");
	/* From outside, long before it would be killed. */
	ok("timeout 20 vm2 guest stop openrc");
	cr_assert_str_eq(ok("vm2 guest show openrc --json | jq -r .state"), "stopped");
	assert_status(ssh("openrc", "", "test -e /root/stopped"), 0);
}

/* Of a user as useradd(8) makes one, with ids of its own among the guest's; the image is made of one program. */
Test(whole, rootless_podman_runs_containers)
{
	openrc_booted();
	in_guest("openrc", "useradd -m pod && mkdir -p /home/pod/image/bin");
	ok("vm2 guest exec openrc -- sh -c 'cd /home/pod/image/bin && cat >busybox && chmod 755 busybox && "
	   "ln -s busybox id && ln -s busybox cat && ln -s busybox sh && chown -R pod: /home/pod' <$(command -v busybox)");
	in_guest("openrc", "su - pod -c \"tar -C image -c . | podman --storage-driver vfs import - local/tools\"");
	for (const char *const *n = (const char *const[]){ "none", "host", NULL }; *n; n++) {
		struct result r = ssh("openrc", "", "su - pod -c \"podman --storage-driver vfs run --rm --network %s "
				      "local/tools sh -c \\\"id; cat /proc/self/uid_map\\\"\"", *n);

		assert_status(r, 0);
		assert_has(r.out, "uid=0 gid=0\n");
		assert_has(r.out, "1      10000      10000\n");
	}
	/* The first five have such as the guest has; who comes later is a user all the same. */
	in_guest("openrc", "for i in 2 3 4 5 6 7; do useradd -m pod$i || exit 1; done; "
			   "test $(awk -F: \"\\$2 + \\$3 <= 60000\" /etc/subuid | wc -l) = 5 && "
			   "test $(awk -F: \"\\$2 + \\$3 <= 65536\" /etc/subgid | wc -l) = 5");
}

#endif
