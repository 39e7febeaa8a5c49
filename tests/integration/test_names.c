/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The installed libnss_vm2.so.2, loaded by libc itself, in all sorts of programs: watched by valgrind
 * and ThreadSanitizer, setuid, static, in another root, with files in the snapshot's place that are none.
 */
#include <stdio.h>
#include <string.h>

#include "tests/integration/lib.h"

TestSuite(names, .timeout = 240);

#define PROGRAM "$VM2_BUILD/tests/integration/nss-program"
#define SNAPSHOT "/run/vm2/accounts.snap"

static const char *uid(void)
{
	tenant_shared("named");
	return ok("vm2 tenant show named --json | jq .uid");
}

Test(names, valgrind_finds_nothing)
{
	const char *watched = "valgrind -q --error-exitcode=9 --leak-check=full "
			      "--show-leak-kinds=definite --errors-for-leak-kinds=definite";

	cr_assert_str_eq(ok("%s %s get named", watched, PROGRAM), uid());
	ok("%s %s sizes named", watched, PROGRAM);
	ok("%s %s walk named 3", watched, PROGRAM);
	/* The children that it forks leave behind what the other threads had. */
	ok("valgrind -q --error-exitcode=9 %s threads named 3", PROGRAM);
}

/* The module too is built with it: what threads do to its memory is seen. */
Test(names, thread_sanitizer_finds_nothing)
{
	uid();
	/* It cannot cope with addresses that are very random (it would start itself anew). */
	ok("LD_LIBRARY_PATH=$VM2_BUILD/tests/integration TSAN_OPTIONS=exitcode=9 "
	   "setarch -R %s-threads threads named 4", PROGRAM);
	cr_assert_str_eq(ok("LD_LIBRARY_PATH=$VM2_BUILD/tests/integration LD_DEBUG=files "
			    "setarch -R %s-threads get named 2>&1 | "
			    "grep -c 'calling init: .*tests/integration/libnss_vm2.so.2'", PROGRAM),
			 "1");
}

Test(names, sizes_threads_and_forks_are_right)
{
	uid();
	ok("%s sizes named", PROGRAM);
	ok("%s sizes named+0 2>&1 | grep -q unknown || exit 0", PROGRAM);
	ok("%s threads named 8", PROGRAM);
}

Test(names, all_are_listed_once_while_a_thousand_are_published)
{
	uid();
	ok("$VM2_BUILD/tests/bench/bench-nss publish /etc/vm2/vm2.conf 1000 >/var/tmp/published & "
	   "n=0; while kill -0 $! 2>/dev/null; do %s walk named 20 || exit 1; n=$((n + 1)); done; "
	   "wait $! && test $n -gt 0",
	   PROGRAM);
	cr_assert_str_eq(ok("%s get named", PROGRAM), uid());
}

Test(names, a_setuid_program_knows_them)
{
	const char *number = uid();

	ok("install -m 4755 %s /usr/local/bin/nss-setuid", PROGRAM);
	cr_assert_str_eq(ok("runuser -u nobody -- env LD_LIBRARY_PATH=/var/tmp "
			    "/usr/local/bin/nss-setuid get named"),
			 number);
	cr_assert_str_eq(ok("sudo -u named true 2>&1; sudo -l -U named >/dev/null; sudo id -u named"),
			 number);
	/* su knows the account, asks for its password, and takes none. */
	assert_status(sh("runuser -u nobody -- su named -c true </dev/null"), 1);
}

/* Another root: without a snapshot nobody is there, with one all are; nothing crashes. */
Test(names, a_program_in_another_root_sees_what_is_there)
{
	const char *number = uid();

	ok("mkdir -p /var/tmp/root/usr /var/tmp/root/etc /var/tmp/root/run/vm2; cd /var/tmp/root; "
	   "ln -sfn usr/lib lib; ln -sfn usr/lib64 lib64; ln -sfn usr/bin bin; "
	   "mount --bind /usr usr && mount --bind /etc etc && cp %s run/", PROGRAM);
	cr_assert_str_eq(ok("chroot /var/tmp/root /run/nss-program get named"), "unknown");
	cr_assert_str_eq(ok("chroot /var/tmp/root /run/nss-program get root"), "0");
	cr_assert_str_eq(ok("%s chroot /var/tmp/root named | paste -sd' '", PROGRAM),
			 ok("echo %s unknown", number));
	ok("cp %s /var/tmp/root/run/vm2/", SNAPSHOT);
	cr_assert_str_eq(ok("chroot /var/tmp/root /run/nss-program get named"), number);
	cr_assert_str_eq(ok("%s chroot /var/tmp/root named | uniq", PROGRAM), number);
	ok("umount /var/tmp/root/usr /var/tmp/root/etc");
}

/* libc's own way to load modules into a static program, and a static program that loads none. */
Test(names, static_programs_do_not_crash)
{
	const char *number = uid();

	/* Debian's libnss_systemd does crash static programs, with and without ours. */
	ok("sed -i.kept 's/ systemd//' /etc/nsswitch.conf");
	cr_assert_str_eq(ok("%s-static get named", PROGRAM), number);
	cr_assert_str_eq(ok("%s-static get nobody-has-this", PROGRAM), "unknown");
	ok("%s-static threads named 2", PROGRAM);
	ok("touch /var/tmp/static && chown named /var/tmp/static && busybox ls -l /var/tmp/static");
	cr_assert_leq(sh("busybox id named").status, 1);
	ok("mv /etc/nsswitch.conf.kept /etc/nsswitch.conf");
}

Test(names, the_hosts_tools_show_them)
{
	const char *number = uid();

	ok("touch /var/tmp/shown && chown named:named /var/tmp/shown");
	assert_has(ok("ls -l /var/tmp/shown"), " named named ");
	cr_assert_str_eq(ok("ls -ln /var/tmp/shown | cut -d' ' -f3,4"), ok("echo %s %s", number, number));
	cr_assert_str_eq(ok("find /var/tmp/shown -user named -group named"), "/var/tmp/shown");
	cr_assert_str_eq(ok("find /var/tmp/shown -uid %s -nouser", number), "");
	ok("python3 -c 'import pwd, grp; u = pwd.getpwnam(\"named\"); "
	   "assert pwd.getpwuid(u.pw_uid) == u and u in pwd.getpwall(); "
	   "g = grp.getgrnam(\"named\"); assert grp.getgrgid(u.pw_gid) == g and g in grp.getgrall()'");
	cr_assert_str_eq(ok("setpriv --reuid named --regid named --init-groups ps -o user=,group= -p self "
			    "2>/dev/null || setpriv --reuid named --regid named --init-groups "
			    "sh -c 'ps -o user=,group= -p $$' | tr -s ' '"),
			 "named named");
}

/* A name that the host has is no tenant's; one that it gets later is the host's. */
Test(names, the_hosts_own_names_stay_its_own)
{
	static const char *const names[] = { "root", "daemon", "nobody", "video" };

	uid();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct result r = sh("vm2 tenant add %s", names[i]);

		assert_status(r, 6);
		assert_has(r.err, "is a name of this host already");
	}
	ok("cp /etc/passwd /var/tmp/passwd && echo named:x:4242:4242::/:/bin/sh >>/etc/passwd");
	cr_expect_str_eq(ok("%s get named", PROGRAM), "4242");
	ok("cp /var/tmp/passwd /etc/passwd");
	cr_assert_str_eq(ok("%s get named", PROGRAM), uid());
}

/* Whatever lies there: no crash, nobody found, the host's own accounts as ever. */
static void expect_nobody(const char *what)
{
	ok("mv %s %s.kept; %s", SNAPSHOT, SNAPSHOT, what);
	cr_expect_str_eq(ok("%s get named", PROGRAM), "unknown", "%s", what);
	cr_expect_str_eq(ok("%s get root", PROGRAM), "0", "%s", what);
	cr_expect_eq(sh("getent passwd >/dev/null").status, 0, "%s", what);
	ok("rm -f %s; mv %s.kept %s", SNAPSHOT, SNAPSHOT, SNAPSHOT);
}

Test(names, what_is_no_snapshot_is_nobody)
{
	const char *number = uid();

	expect_nobody("true");
	expect_nobody(": >" SNAPSHOT);
	expect_nobody("mkfifo " SNAPSHOT);
	expect_nobody("ln -s /etc/passwd " SNAPSHOT);
	expect_nobody("ln -s accounts.snap.kept " SNAPSHOT);
	expect_nobody("head -c 100 " SNAPSHOT ".kept >" SNAPSHOT);
	expect_nobody("head -c -1 " SNAPSHOT ".kept >" SNAPSHOT);
	/* Its end was never written; another version; noise. */
	expect_nobody("head -c 150 " SNAPSHOT ".kept >" SNAPSHOT
		      "; truncate -s $(stat -c %s " SNAPSHOT ".kept) " SNAPSHOT);
	expect_nobody("cp " SNAPSHOT ".kept " SNAPSHOT
		      "; printf '\\002' | dd of=" SNAPSHOT " bs=1 seek=8 conv=notrunc status=none");
	expect_nobody("head -c 100000 /dev/urandom >" SNAPSHOT);
	cr_assert_str_eq(ok("%s get named", PROGRAM), number);
}
