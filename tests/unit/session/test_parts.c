/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/session/environment.h"
#include "provision/session/fence.h"
#include "provision/session/locale.h"
#include "provision/session/modes.h"
#include "provision/session/leaf.h"
#include "provision/session/order.h"
#include "provision/session/passwd.h"
#include "provision/session/slots.h"
#include "provision/session/status.h"

static void parse(const char *text, const char *home, const char *shell)
{
	struct passwd_root root;

	passwd_parse(text, strlen(text), &root);
	cr_assert_str_eq(root.home, home, "%s", text);
	cr_assert_str_eq(root.shell, shell, "%s", text);
}

Test(passwd, finds_root)
{
	parse("root:x:0:0:root:/root:/bin/bash\n", "/root", "/bin/bash");
	parse("a:b:c\n\nroot:x:0:0:r:/home/r:/bin/zsh", "/home/r", "/bin/zsh");
	parse("rooty:x:0:0:r:/r:/bin/zsh\nroot:x:0:0::/x:/bin/y:more\n", "/x", "/bin/y");
}

Test(passwd, survives_what_a_guest_may_write)
{
	CLEANUP_BUF struct buf b = { 0 };
	struct passwd_root root;

	parse("", "/root", "");
	parse("root:", "/root", "");
	parse("root::", "/root", "");
	parse("root:x:0:0:root", "/root", "");
	parse("root:x:0:0:root:relative:bash\n", "/root", "");
	parse("root:x:0:0:::\n", "/root", "");
	parse("xroot:x:0:0:r:/a:/b\n", "/root", "");
	buf_puts(&b, "root:x:0:0:r:/");
	for (int i = 0; i < 300; i++)
		buf_puts(&b, "a");
	buf_puts(&b, ":/bin/sh\n");
	passwd_parse(b.data, b.len, &root);
	cr_assert_str_eq(root.home, "/root");
	cr_assert_str_eq(root.shell, "/bin/sh");
	for (size_t n = 0; n <= b.len; n++)
		passwd_parse(b.data, n, &root);
	passwd_parse("root:x:0:0:r:/a\0b:/bin/s\0h\n", 27, &root);
	cr_assert_str_eq(root.home, "/root");
	cr_assert_str_eq(root.shell, "");
}

Test(passwd, reads_regular_files_only)
{
	char folder[] = "/tmp/vm2-passwd-XXXXXX", path[64], link[64];
	struct passwd_root root;

	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/passwd", folder);
	snprintf(link, sizeof(link), "%s/link", folder);
	passwd_read(path, &root);
	cr_assert_str_eq(root.home, "/root");
	cr_assert(root.shell[0] == '/');
	{
		CLEANUP_CLOSE int fd = open(path, O_CREAT | O_WRONLY, 0600);

		cr_assert_eq(fd_write_all(fd, "root:x:0:0::/h:/s\n", 18), 0);
	}
	passwd_read(path, &root);
	cr_assert_str_eq(root.home, "/h");
	cr_assert_eq(symlink(path, link), 0);
	passwd_read(link, &root);
	cr_assert_str_eq(root.home, "/root");
	cr_assert_eq(unlink(link), 0);
	cr_assert_eq(mkfifo(link, 0600), 0);
	passwd_read(link, &root); /* does not hang */
	cr_assert_str_eq(root.home, "/root");
	cr_assert_eq(truncate(path, PASSWD_FILE_MAX + 1), 0);
	passwd_read(path, &root);
	cr_assert_str_eq(root.home, "/root");
	cr_assert_eq(fd_remove_tree(AT_FDCWD, folder), 0);
}

/* An order as vm2d would hand it over. */
static int make_order(struct order *o, const char *fields[], struct err *err)
{
	CLEANUP_CLOSE int fd = memfd_create("order", MFD_CLOEXEC);

	for (; *fields; fields++)
		cr_assert_eq(fd_write_all(fd, *fields, strlen(*fields) + 1), 0);
	return order_read(fd, o, err);
}

#define BASE "tenant=acme", "session=s1", "via=gateway"

Test(order, is_checked)
{
	const char *good[] = { BASE, "kind=shell", "pty=1", "cols=100", "started=7",
			       "plan_recording=best-effort", "record=1", NULL };
	const char *bad[][10] = { { "session=s1", "kind=shell", NULL },
				  { BASE, NULL },
				  { BASE, "kind=shelly", NULL },
				  { BASE, "kind=exec", NULL },
				  { BASE, "kind=subsystem", "command=netconf", NULL },
				  { BASE, "kind=shell", "cols=65536", NULL },
				  { BASE, "kind=shell", "pty=yes", NULL },
				  { "tenant=../x", "session=s1", "kind=shell", NULL },
				  { "no field", NULL },
				  { NULL } };
	struct err err = { 0 };
	struct order o = { 0 };

	cr_assert_eq(make_order(&o, good, &err), 0, "%s", err.text);
	cr_assert(o.pty && o.record && !o.required && o.cols == 100 && o.rows == 24 && o.started == 7);
	order_free(&o);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_assert_neq(make_order(&o, bad[i], &err), 0, "order %zu", i);
}

static bool has(char **env, const char *entry)
{
	for (; *env; env++)
		if (strcmp(*env, entry) == 0)
			return true;
	return false;
}

Test(environment, is_made_from_nothing)
{
	const char *fields[] = { BASE, "kind=shell", "pty=1", "term=vt100", "source=[2001:db8::1]:5000",
				 "local=[::1]:22", "env=LC_ALL=C", "env=LD_PRELOAD=/x", "env=PATH=/x",
				 "env=LANG=de_DE.UTF-8", "env=LC_=x", "env=LC_a=x", "env=BASH_ENV=/x",
				 "env=LANG", "env=1A=x", "env=A-B=x", "env==x", "env=SSH_TTY=/x", NULL };
	struct passwd_root root = { .home = "/root", .shell = "/bin/sh" };
	struct err err = { 0 };
	struct order o = { 0 };
	int n = 0;
	char **env;

	cr_assert_eq(make_order(&o, fields, &err), 0, "%s", err.text);
	env = environment_make(&o, &root, "/dev/pts/3", "");
	cr_assert(has(env, "HOME=/root") && has(env, "SHELL=/bin/sh") && has(env, "USER=root") &&
		  has(env, "LOGNAME=root") && has(env, "TERM=vt100") && has(env, "LC_ALL=C") &&
		  has(env, "LANG=de_DE.UTF-8") && has(env, "SSH_TTY=/dev/pts/3") &&
		  has(env, "VM2_SESSION=s1") && has(env, "MAIL=/var/mail/root") &&
		  has(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin") &&
		  has(env, "SSH_CONNECTION=2001:db8::1 5000 ::1 22") &&
		  has(env, "SSH_CLIENT=2001:db8::1 5000 22"));
	for (; env[n]; n++)
		;
	/* Ours, and of theirs LC_ALL, LD_PRELOAD, LANG, LC_, LC_a and BASH_ENV: no PATH, no SSH_TTY. */
	cr_assert_eq(n, 17);
	order_free(&o);
}

Test(modes, are_those_that_the_client_has)
{
	struct termios t = { .c_lflag = ICANON | ECHO, .c_iflag = IXON };

	modes_apply("3=8 53=0 38=0 42=1 1=255 129=9600 72=1 51=1", &t);
	cr_assert_eq(t.c_cc[VERASE], 8);
	cr_assert_eq(t.c_cc[VINTR], 0);
	cr_assert_eq(t.c_lflag, ICANON);
	cr_assert_eq(t.c_iflag, IUTF8);
	cr_assert_eq(t.c_oflag, ONLCR);
	cr_assert_eq(cfgetospeed(&t), B9600);
	/* What is none is passed over. */
	modes_apply("= =1 53 53= 53=x 300=1 53=-1 51=4294967296  99=1 128=1 53=1", &t);
	cr_assert_eq(t.c_lflag, ICANON | ECHO);
}

static const char *locale_of(const char *text)
{
	static char lang[LOCALE_MAX];

	locale_parse(text, strlen(text), lang);
	return lang;
}

Test(locale, is_a_name_or_nothing)
{
	cr_assert_str_eq(locale_of("#  File generated by update-locale\nLANG=C.UTF-8\n"), "C.UTF-8");
	cr_assert_str_eq(locale_of("LANG=\"de_DE.UTF-8@euro\""), "de_DE.UTF-8@euro");
	cr_assert_str_eq(locale_of("LANG=a\nLC_ALL=b\nLANG=c"), "c");
	cr_assert_str_empty(locale_of("LANG=/../../etc/passwd\n"));
	cr_assert_str_empty(locale_of("LANG=a b\nXLANG=c\nLANG="));
	cr_assert_str_empty(locale_of("LANG=0123456789012345678901234567890123456789012345678901234567890123"));
}

Test(status, maps_exits_and_signals)
{
	siginfo_t info = { .si_code = CLD_EXITED };
	char buf[16];

	info.si_status = 7;
	cr_assert_eq(status_from(&info).exit, 7);
	cr_assert_eq(status_from(&info).signal, 0);
	info.si_code = CLD_DUMPED;
	info.si_status = SIGSEGV;
	cr_assert_eq(status_from(&info).signal, SIGSEGV);
	cr_assert(status_from(&info).core);
	cr_assert_str_eq(status_signal_name(SIGTERM, buf), "TERM");
	cr_assert_str_eq(status_signal_name(SIGRTMIN + 2, buf), "RTMIN+2");
	cr_assert_eq(status_signal_number("USR1"), SIGUSR1);
	cr_assert_eq(status_signal_number("SIGTERM"), 0);
	cr_assert_eq(status_signal_number(""), 0);
}

Test(leaf, is_canonical)
{
	const char *fields[] = { BASE, "kind=exec", "argv=echo", "argv=a\"b", "source=1.2.3.4:5", NULL };
	struct leaf_close c = { .status = { .signal = SIGKILL }, .bytes_in = 1, .bytes_out = 2 };
	CLEANUP_BUF struct buf open_leaf = { 0 }, close_leaf = { 0 }, long_leaf = { 0 };
	struct err err = { 0 };
	struct order o = { 0 };
	char big[20000];

	cr_assert_eq(make_order(&o, fields, &err), 0, "%s", err.text);
	leaf_open(&open_leaf, &o, 1700000000);
	cr_assert_str_eq(open_leaf.data,
			 "{\"command\":\"echo a\\\"b\",\"kind\":\"exec\",\"session\":\"s1\","
			 "\"source\":\"1.2.3.4:5\",\"tenant\":\"acme\",\"time\":\"2023-11-14T22:13:20Z\","
			 "\"type\":\"open\",\"via\":\"gateway\"}");
	leaf_close(&close_leaf, &o, &c, 1700000000);
	cr_assert_str_eq(close_leaf.data,
			 "{\"bytes_in\":1,\"bytes_out\":2,\"kind\":\"exec\",\"session\":\"s1\","
			 "\"signal\":\"KILL\",\"tenant\":\"acme\",\"time\":\"2023-11-14T22:13:20Z\","
			 "\"type\":\"close\",\"via\":\"gateway\"}");
	/* However long and however ugly the command, the leaf fits. */
	memset(big, 1, sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	free(o.argv[1]);
	o.argv[1] = xstrdup(big);
	leaf_open(&long_leaf, &o, 1700000000);
	cr_assert_lt(long_leaf.len, 65536);
	cr_assert_not_null(strstr(long_leaf.data, "\"command_bytes\":20004,\"kind\""));
	order_free(&o);
}

/* The leak checker needs what the fence refuses. */
#ifndef __SANITIZE_ADDRESS__
static int failure(long r)
{
	return r < 0 ? errno : 0;
}

/* What is left to one who took the relay over; the number of the first line that does not hold. */
static int behind_the_fence(const char *ledger, int recordings)
{
	struct err err = { 0 };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || fence_raise(ledger, recordings, &err) != 0)
		return 1;
	if (openat(recordings, "segment", O_RDWR | O_CREAT | O_EXCL, 0600) < 0)
		return 2;
	if (chdir(ledger) < 0 || mkdir("tile", 0700) < 0 || open("tile/0", O_RDWR | O_CREAT, 0600) < 0)
		return 3;
	if (failure(open("/etc/shadow", O_RDONLY)) != EACCES ||
	    failure(open("/etc/vm2-mark", O_WRONLY | O_CREAT, 0600)) != EACCES)
		return 4;
	if (failure(unlink("/etc/hostname")) != EACCES || failure(mkdir("/vm2-mark", 0700)) != EACCES)
		return 5;
	if (failure(execl("/bin/true", "true", (char *)NULL)) != EPERM)
		return 6;
	if (failure(socket(AF_INET, SOCK_STREAM, 0)) != EPERM || failure(socket(AF_UNIX, SOCK_SEQPACKET, 0)))
		return 7;
	if (failure(chmod("/etc/hostname", 0777)) != EPERM || failure(chown("/etc/hostname", 1, 1)) != EPERM)
		return 8;
	if (failure(unshare(CLONE_NEWUSER)) != EPERM || failure(syscall(SYS_ptrace, 0, 0, 0, 0)) != EPERM)
		return 9;
	return 0;
}

Test(fence, leaves_the_ledger_and_the_recording)
{
	char dir[] = "/tmp/vm2-fence.XXXXXX", ledger[64];
	int recordings, status;
	pid_t pid;

	/* linux/landlock.h: LANDLOCK_CREATE_RULESET_VERSION */
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 1)
		cr_skip_test("this kernel has no Landlock");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(ledger, sizeof(ledger), "%s/ledger", dir);
	recordings = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pid = fork();
	if (pid == 0)
		_exit(behind_the_fence(ledger, recordings));
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "line %d", WEXITSTATUS(status));
	close(recordings);
	fd_remove_tree(AT_FDCWD, dir);
}
#endif

Test(slots, are_had_by_one_at_a_time)
{
	char path[] = "/tmp/vm2-slots-XXXXXX";
	CLEANUP_CLOSE int one = mkostemp(path, O_CLOEXEC), two = open(path, O_RDWR | O_CLOEXEC);
	struct slots a, b;

	cr_assert(one >= 0 && two >= 0 && unlink(path) == 0);
	slots_begin(&a, one, 4);
	slots_begin(&b, two, 4);
	cr_assert_eq(slots_take(&a), 0);
	cr_assert_eq(slots_take(&b), 1);
	cr_assert_eq(slots_take(&a), 2);
	cr_assert_eq(slots_take(&a), 3);
	cr_assert_eq(slots_take(&a), -EAGAIN);
	cr_assert_eq(slots_take(&b), -EAGAIN);
	slots_give(&a, 2);
	cr_assert_eq(slots_take(&b), 2);
	cr_assert_eq(slots_take(&a), -EAGAIN);
	/* Whoever ends leaves all of its own. */
	two = fd_close(two);
	cr_assert_eq(slots_take(&a), 1);
	cr_assert_eq(slots_take(&a), 2);
	cr_assert_eq(slots_take(&a), -EAGAIN);
	slots_end(&a);
	slots_end(&b);
	/* Without a bound the file is not looked at. */
	slots_begin(&a, -1, 0);
	cr_assert_eq(slots_take(&a), 0);
	cr_assert_eq(slots_take(&a), 0);
	slots_give(&a, 0);
	slots_end(&a);
}
