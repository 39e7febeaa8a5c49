/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The module as it is installed: loaded by dlopen(3), and by glibc's own switch through getent. It
 * knows one path only, so each test has a tmpfs of its own over /run (mount namespace; root).
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <nss.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <shadow.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "nss_vm2/snapshot.h"
#include "tests/unit/sanitized.h"

#define NSS_MODULE BUILD_ROOT "/nss_vm2/libnss_vm2.so.2"

static const struct snapshot_account three[] = {
	{ "zeta", 20002, 1000000 + 65536, "0 root\n7 lp\n" },
	{ "acme", 20000, 1000000, NULL },
	{ "none", 20001, 0, NULL },
};

typedef enum nss_status by_name(const char *, void *, char *, size_t, int *);
typedef enum nss_status by_number(uint32_t, void *, char *, size_t, int *);
typedef enum nss_status enumerate(void *, char *, size_t, int *);
typedef enum nss_status rewind_fn(int);
typedef enum nss_status initgroups_fn(const char *, gid_t, long *, long *, gid_t **, long, int *);

static void *module;

static void *symbol(const char *name)
{
	void *p = dlsym(module, name);

	cr_assert_not_null(p, "%s", name);
	return p;
}

static void write_listed(size_t cut, bool listed)
{
	static uint32_t generation;
	const struct snapshot_options options = { "/var/lib/vm2/empty", "/usr/bin/vm2-shell", !listed,
						  generation++ };
	void *data = NULL;
	size_t len;
	int fd = open("/run/vm2/new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	cr_assert_eq(snapshot_encode(three, 3, &options, &data, &len), 0);
	cr_assert_eq(write(fd, data, len - cut), (ssize_t)(len - cut));
	close(fd);
	free(data);
	cr_assert_eq(rename("/run/vm2/new", SNAPSHOT_PATH), 0);
}

static void write_snapshot(size_t cut)
{
	write_listed(cut, true);
}

static void setup(void)
{
	/* A mount namespace of this test's own process: nothing of it is seen outside. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", 0, "mode=755") < 0) {
		cr_assert_null(getenv("VM2_MUST_WORK"), "cannot mount: %s", strerror(errno));
		cr_skip_test("no private /run to be had: needs root");
	}
	cr_assert_eq(mkdir("/run/vm2", 0755), 0);
	write_snapshot(0);
	module = dlopen(NSS_MODULE, RTLD_NOW | RTLD_LOCAL);
	cr_assert_not_null(module, "%s", dlerror());
}

TestSuite(nss_module, .init = setup);

Test(nss_module, exports_nothing_else)
{
	cr_expect_null(dlsym(module, "snapshot_open"));
	cr_expect_null(dlsym(module, "entry_passwd"));
	cr_expect_null(dlsym(module, "lookup"));
	/* All that it exports is the interface, and it is small. */
	cr_expect_eq(system("! nm -D --defined-only " NSS_MODULE " | grep -v ' _nss_vm2_'"), 0);
#ifndef SANITIZED
	cr_expect_eq(system("strip -o /run/stripped " NSS_MODULE
			    " && test $(stat -c %s /run/stripped) -lt 40960"), 0);
	cr_expect_neq(system("nm -D --undefined-only " NSS_MODULE
			     " | grep -E 'printf|fopen|locale|malloc|dlopen'"), 0);
#endif
}

Test(nss_module, gives_the_tenant)
{
	char buf[512];
	struct passwd pw;
	struct group gr;
	struct spwd sp;
	int e = 0;

	cr_assert_eq(((by_name *)symbol("_nss_vm2_getpwnam_r"))("acme", &pw, buf, 512, &e), 1);
	cr_expect_str_eq(pw.pw_name, "acme");
	cr_expect_str_eq(pw.pw_passwd, "x");
	cr_expect(pw.pw_uid == 20000 && pw.pw_gid == 20000);
	cr_expect_str_eq(pw.pw_gecos, "VM2 tenant");
	cr_expect_str_eq(pw.pw_dir, "/var/lib/vm2/empty");
	cr_expect_str_eq(pw.pw_shell, "/usr/bin/vm2-shell");
	cr_assert_eq(((by_number *)symbol("_nss_vm2_getpwuid_r"))(1001000, &pw, buf, 512, &e), 1);
	cr_expect_str_eq(pw.pw_name, "acme+1000");
	cr_expect_str_eq(pw.pw_gecos, "VM2 guest user");
	cr_assert_eq(((by_name *)symbol("_nss_vm2_getpwnam_r"))("zeta+7", &pw, buf, 512, &e), 1);
	cr_expect_str_eq(pw.pw_gecos, "lp");
	cr_assert_eq(((by_name *)symbol("_nss_vm2_getgrnam_r"))("zeta+0", &gr, buf, 512, &e), 1);
	cr_expect_eq(gr.gr_gid, 1065536);
	cr_expect_null(gr.gr_mem[0]);
	cr_assert_eq(((by_number *)symbol("_nss_vm2_getgrgid_r"))(20001, &gr, buf, 512, &e), 1);
	cr_expect_str_eq(gr.gr_name, "none");
	cr_assert_eq(((by_name *)symbol("_nss_vm2_getspnam_r"))("acme", &sp, buf, 512, &e), 1);
	cr_expect_str_eq(sp.sp_pwdp, "*");
	cr_expect_eq(sp.sp_expire, -1);
	cr_expect_eq(((by_name *)symbol("_nss_vm2_getspnam_r"))("acme+0", &sp, buf, 512, &e), 0);
	cr_expect_eq(((by_name *)symbol("_nss_vm2_getpwnam_r"))("root", &pw, buf, 512, &e), 0);
	cr_expect_eq(e, ENOENT);
}

/* Every size from none: ERANGE and TRYAGAIN until it fits, and nothing written past the end. */
static void sweep(const char *function, const char *name)
{
	by_name *get = symbol(function);
	int fits = 0;

	for (size_t len = 0; len <= 512; len++) {
		for (size_t skew = 0; skew < 8; skew++) {
			char *buf = malloc(skew + len + 1);
			union {
				struct passwd pw;
				struct group gr;
				struct spwd sp;
			} entry;
			enum nss_status s;
			int e = 77;

			memset(buf, 0x5a, skew + len + 1);
			memset(&entry, 0xa5, sizeof(entry));
			s = get(name, &entry, buf + skew, len, &e);
			cr_assert_eq(buf[skew + len], 0x5a);
			if (s == NSS_STATUS_SUCCESS) {
				cr_assert_eq(e, 77);
				fits += skew == 0;
			} else {
				cr_assert(s == NSS_STATUS_TRYAGAIN && e == ERANGE, "%zu: %d", len, s);
				cr_assert(skew || !fits, "fitted before, not at %zu", len);
				cr_assert_eq(entry.pw.pw_name, (char *)0xa5a5a5a5a5a5a5a5);
			}
			free(buf);
		}
	}
	cr_assert_gt(fits, 300);
}

Test(nss_module, negotiates_the_buffer)
{
	sweep("_nss_vm2_getpwnam_r", "acme");
	sweep("_nss_vm2_getpwnam_r", "acme+65535");
	sweep("_nss_vm2_getpwnam_r", "zeta+7");
	sweep("_nss_vm2_getgrnam_r", "acme+65535");
	sweep("_nss_vm2_getspnam_r", "acme");
}

Test(nss_module, lists_the_tenants)
{
	static const char *const order[] = { "acme", "none", "zeta" };
	enumerate *get = symbol("_nss_vm2_getpwent_r");
	rewind_fn *rewind_it = symbol("_nss_vm2_setpwent");
	struct passwd pw;
	char buf[512];
	int e = 0;

	for (int round = 0; round < 2; round++) {
		cr_assert_eq(rewind_it(0), 1);
		for (int i = 0; i < 3; i++) {
			cr_assert_eq(get(&pw, buf, 3, &e), NSS_STATUS_TRYAGAIN);
			cr_assert_eq(get(&pw, buf, sizeof(buf), &e), 1);
			cr_assert_str_eq(pw.pw_name, order[i]);
		}
		cr_assert_eq(get(&pw, buf, sizeof(buf), &e), NSS_STATUS_NOTFOUND);
		cr_assert_eq(e, ENOENT);
	}
}

Test(nss_module, says_when_there_is_no_whole_file)
{
	by_name *get = symbol("_nss_vm2_getpwnam_r");
	struct passwd pw;
	char buf[512];
	int e = 0;

	write_snapshot(1);
	errno = 42;
	cr_expect_eq(get("acme", &pw, buf, 512, &e), NSS_STATUS_UNAVAIL);
	cr_expect(e == EBADMSG && errno == 42);
	unlink(SNAPSHOT_PATH);
	cr_expect_eq(get("acme", &pw, buf, 512, &e), NSS_STATUS_UNAVAIL);
	cr_expect_eq(e, ENOENT);
	cr_assert_eq(mkfifo(SNAPSHOT_PATH, 0644), 0);
	cr_expect_eq(get("acme", &pw, buf, 512, &e), NSS_STATUS_UNAVAIL);
	unlink(SNAPSHOT_PATH);
	cr_assert_eq(symlink("/etc/passwd", SNAPSHOT_PATH), 0);
	cr_expect_eq(get("acme", &pw, buf, 512, &e), NSS_STATUS_UNAVAIL);
}

Test(nss_module, adds_no_groups)
{
	initgroups_fn *get = symbol("_nss_vm2_initgroups_dyn");
	long start = 0, size = 0;
	gid_t *groups = NULL;
	int e = 0;

	cr_expect_eq(get("acme", 20000, &start, &size, &groups, 10, &e), NSS_STATUS_SUCCESS);
	cr_expect_eq(get("root", 0, &start, &size, &groups, 10, &e), NSS_STATUS_NOTFOUND);
	cr_expect(start == 0 && !groups);
}

static int open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void *hammer(void *arg)
{
	by_name *get = symbol("_nss_vm2_getpwnam_r");
	enumerate *list = symbol("_nss_vm2_getpwent_r");
	struct passwd pw;
	char buf[512];
	int e;

	for (int i = 0; i < 5000; i++) {
		cr_assert_eq(get("acme+7", &pw, buf, sizeof(buf), &e), 1);
		cr_assert_eq(pw.pw_uid, 1000007);
		if (list(&pw, buf, sizeof(buf), &e) != NSS_STATUS_SUCCESS)
			((rewind_fn *)symbol("_nss_vm2_setpwent"))(0);
	}
	return arg;
}

Test(nss_module, serves_threads_and_keeps_nothing_open)
{
	int before = open_files();
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, hammer, NULL);
	for (int i = 0; i < 300; i++)
		write_snapshot(0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	cr_assert_eq(open_files(), before);
}

Test(nss_module, lists_nobody_when_told_so)
{
	enumerate *get = symbol("_nss_vm2_getpwent_r");
	struct passwd pw;
	char buf[512];
	int e = 0;

	write_listed(0, false);
	cr_expect_eq(get(&pw, buf, sizeof(buf), &e), NSS_STATUS_NOTFOUND);
	cr_expect_eq(e, ENOENT);
	cr_expect_eq(((by_name *)symbol("_nss_vm2_getpwnam_r"))("acme", &pw, buf, 512, &e), 1);
}

/* What a process keeps of the file is never older than the file. */
Test(nss_module, sees_each_new_file_at_once)
{
	by_name *get = symbol("_nss_vm2_getpwnam_r");
	struct timespec pause = { .tv_nsec = 200000 };
	struct passwd pw;
	char buf[512];
	int e = 0;

	for (int i = 0; i < 50; i++) {
		write_snapshot(0);
		nanosleep(&pause, NULL);
		cr_assert_eq(get("acme", &pw, buf, 512, &e), NSS_STATUS_SUCCESS);
		if (i % 2)
			unlink(SNAPSHOT_PATH);
		else
			write_snapshot(1);
		nanosleep(&pause, NULL);
		cr_assert_eq(get("acme", &pw, buf, 512, &e), NSS_STATUS_UNAVAIL);
	}
}

/* In place, under a process that has read it: neither SIGBUS nor an answer. */
Test(nss_module, bears_a_file_that_is_cut_short_under_it)
{
	by_name *get = symbol("_nss_vm2_getpwnam_r");
	struct timespec pause = { .tv_nsec = 200000 };
	struct passwd pw;
	char buf[512];
	int e = 0;

	cr_assert_eq(get("acme", &pw, buf, 512, &e), NSS_STATUS_SUCCESS);
	cr_assert_eq(truncate(SNAPSHOT_PATH, 100), 0);
	nanosleep(&pause, NULL);
	cr_expect_eq(get("acme", &pw, buf, 512, &e), NSS_STATUS_UNAVAIL);
	cr_expect_eq(get("zeta", &pw, buf, 512, &e), NSS_STATUS_UNAVAIL);
}

static _Atomic bool ended;

static void *look_on(void *arg)
{
	by_name *get = symbol("_nss_vm2_getpwnam_r");
	struct passwd pw;
	char buf[512];
	int e;

	while (!ended)
		cr_assert_eq(get("zeta+9", &pw, buf, sizeof(buf), &e), 1);
	return arg;
}

/* A child of any moment finds all usable, whatever the other threads were in the midst of. */
Test(nss_module, survives_forks_among_threads, .timeout = 100)
{
	by_name *get = symbol("_nss_vm2_getpwnam_r");
	enumerate *list = symbol("_nss_vm2_getpwent_r");
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		pthread_create(&threads[i], NULL, look_on, NULL);
	for (int i = 0; i < 200; i++) {
		int status = 0;
		pid_t pid;

		if (i % 10 == 0)
			write_snapshot(0);
		pid = fork();
		if (pid == 0) {
			struct passwd pw;
			char buf[512];
			int e, right = 0;

			for (int k = 0; k < 20; k++)
				right += get("acme", &pw, buf, sizeof(buf), &e) == 1 &&
					 pw.pw_uid == 20000;
			right += list(&pw, buf, sizeof(buf), &e) == 1;
			_exit(right);
		}
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		cr_assert_eq(status, 21 << 8, "%d: %x", i, status);
	}
	ended = true;
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

/* Each walk sees each tenant once, in order, whatever is published meanwhile. */
Test(nss_module, lists_all_while_a_thousand_are_published)
{
	enumerate *get = symbol("_nss_vm2_getpwent_r");
	int published = 0, walks = 0;

	while (published < 1000) {
		char last[64] = "", buf[512];
		struct passwd pw;
		int e, n = 0;

		cr_assert_eq(((rewind_fn *)symbol("_nss_vm2_setpwent"))(0), 1);
		while (get(&pw, buf, sizeof(buf), &e) == NSS_STATUS_SUCCESS) {
			cr_assert_gt(strcmp(pw.pw_name, last), 0);
			snprintf(last, sizeof(last), "%s", pw.pw_name);
			write_snapshot(0);
			published++;
			n++;
		}
		cr_assert_eq(e, ENOENT);
		cr_assert_eq(n, 3);
		walks++;
	}
	cr_assert_gt(walks, 300);
}

/* A module with a sanitizer in it cannot be loaded into a getent that has none. */
#ifndef SANITIZED
/* Run getent with our switch configuration; what it says without the last newline. */
static void getent(const char *arguments, const char *want)
{
	char command[512], line[256] = "";
	FILE *p;

	snprintf(command, sizeof(command), "LD_LIBRARY_PATH=/run/lib getent %s", arguments);
	p = popen(command, "r");
	if (fgets(line, sizeof(line), p))
		line[strcspn(line, "\n")] = 0;
	pclose(p);
	cr_expect_str_eq(line, want, "getent %s", arguments);
}

Test(nss_module, serves_glibc)
{
	FILE *f = fopen("/run/nsswitch.conf", "w");
	char command[512];

	fputs("passwd: files vm2\ngroup: files vm2\nshadow: files vm2\n", f);
	fclose(f);
	cr_assert_eq(mount("/run/nsswitch.conf", "/etc/nsswitch.conf", NULL, MS_BIND, NULL), 0);
	snprintf(command, sizeof(command), "mkdir /run/lib && cp %s /run/lib/libnss_vm2.so.2",
		 NSS_MODULE);
	cr_assert_eq(system(command), 0);
	getent("passwd acme", "acme:x:20000:20000:VM2 tenant:/var/lib/vm2/empty:/usr/bin/vm2-shell");
	getent("passwd 1001000", "acme+1000:*:1001000:1001000:VM2 guest user:/:/usr/sbin/nologin");
	getent("group 20002", "zeta:*:20002:");
	getent("shadow none", "none:*:::::::");
	getent("initgroups acme | tr -s ' '", "acme ");
	getent("passwd | tail -n 1 | cut -d: -f1", "zeta");
	getent("passwd nobody-has-this", "");
}
#endif
