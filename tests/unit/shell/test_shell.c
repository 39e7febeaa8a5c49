/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm2-shell as it is installed, with the uid of a tenant's account, against a stand-in for vm2d. It
 * reads /etc/passwd and the standard socket: each test has its own of both (mount namespace; root).
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "tests/unit/stub.h"

#define PROGRAM BUILD_ROOT "/gateway/shell/vm2-shell"
#define UID 1879048200

static pid_t stub;

/* Print the request's fields to the session's output; end as the command says. */
static void answer(int fd, struct msg *m)
{
	const char *key, *value, *command = msg_get(m, "command");
	int out = msg_take_fd(m, 1);
	size_t pos = 0, len;

	stub_event(fd, "open", "session", "1");
	while (msg_next(m, &pos, &key, &len, &value))
		dprintf(out, "%.*s=%s;", (int)len, key, value);
	close(out);
	if (command && !strcmp(command, "kill me"))
		stub_event(fd, "end", "signal", "KILL");
	else
		stub_event(fd, "end", "exit", "23");
}

static void setup(void)
{
	FILE *f;

	/* A mount namespace of this test's own process: nothing of it is seen outside. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", 0, "mode=755") < 0) {
		cr_assert_null(getenv("VM2_MUST_WORK"), "cannot mount: %s", strerror(errno));
		cr_skip_test("no private /run to be had: needs root");
	}
	cr_assert_eq(mkdir("/run/vm2", 0755), 0);
	f = fopen("/run/passwd", "w");
	fprintf(f, "root:x:0:0::/root:/bin/bash\nacme:x:%d:%d::/:/usr/bin/vm2-shell\n", UID, UID);
	fprintf(f, "odd:x:%d:%d::/:/bin/sh\n", UID + 1, UID + 1);
	fclose(f);
	cr_assert_eq(mount("/run/passwd", "/etc/passwd", NULL, MS_BIND, NULL), 0);
	stub = stub_start("/run/vm2/vm2d.sock", answer);
}

static void teardown(void)
{
	if (stub)
		stub_stop(stub);
}

TestSuite(shell, .init = setup, .fini = teardown, .timeout = 60);

/* Run it as uid with these words; its output (with errors) goes to seen. The exit status. */
static int run(uid_t uid, char *const argv[], char *const envp[], char seen[4096])
{
	int out[2], status = 0;
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		close(0);
		dup2(out[1], 1);
		dup2(out[1], 2);
		if (setgroups(0, NULL) == 0 && setgid(uid) == 0 && setuid(uid) == 0)
			execve(PROGRAM, argv, envp);
		_exit(99);
	}
	close(out[1]);
	while ((n = read(out[0], seen + len, 4095 - len)) > 0)
		len += (size_t)n;
	seen[len] = 0;
	close(out[0]);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(shell, opens_a_shell_in_the_guest)
{
	static char *const env[] = { "LANG=de_DE.UTF-8", "LC_ALL=C", "LD_PRELOAD=", "HOME=/x",
				     "USER=other", "LC_=", "TERM=dumb", NULL };
	char seen[4096];

	cr_assert_eq(run(UID, (char *[]){ "-vm2-shell", NULL }, env, seen), 23);
	cr_assert_str_eq(seen, "op=session.open;tenant=acme;kind=shell;via=shell;"
			       "env=LANG=de_DE.UTF-8;env=LC_ALL=C;env=LC_=;pty=0;");
}

Test(shell, runs_a_command_in_the_guest)
{
	char seen[4096];

	cr_assert_eq(run(UID, (char *[]){ "vm2-shell", "-c", "echo $HOME; exit 3", NULL },
			 (char *[]){ NULL }, seen), 23);
	cr_expect(strstr(seen, "kind=exec;command=echo $HOME; exit 3;"), "%s", seen);
	cr_expect_eq(run(UID, (char *[]){ "vm2-shell", "-c", "kill me", NULL }, (char *[]){ NULL },
			 seen), 128 + SIGKILL);
}

Test(shell, serves_nobody_but_tenants)
{
	static const uid_t others[] = { 0, 1, UID + 1, UID + 2, 65534 };
	char seen[4096];

	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		cr_expect_eq(run(others[i], (char *[]){ "vm2-shell", NULL }, (char *[]){ NULL },
				 seen), 4);
		cr_expect(strstr(seen, "is no tenant's account"), "%s", seen);
	}
}

Test(shell, tells_what_is_wrong)
{
	char seen[4096];

	cr_expect_eq(run(UID, (char *[]){ "vm2-shell", "script", NULL }, (char *[]){ NULL }, seen),
		     2);
	cr_expect(strstr(seen, "usage"), "%s", seen);
	stub_stop(stub);
	stub = 0;
	cr_expect_eq(run(UID, (char *[]){ "vm2-shell", NULL }, (char *[]){ NULL }, seen), 5);
	cr_expect(strstr(seen, "vm2d does not answer"), "%s", seen);
}

/* Nothing at all open: descriptors must not be mistaken for each other. */
Test(shell, survives_closed_descriptors)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		for (int i = 0; i < 3; i++)
			close(i);
		if (setgid(UID) == 0 && setuid(UID) == 0)
			execl(PROGRAM, "vm2-shell", NULL);
		_exit(99);
	}
	waitpid(pid, &status, 0);
	cr_assert_eq(WEXITSTATUS(status), 23);
}

/* Nothing of a hostile caller's goes along, and none of it hinders. */
Test(shell, takes_nothing_from_a_hostile_environment)
{
	char *big = calloc(1, 100001), seen[4096];
	char *const env[] = { "LD_PRELOAD=/nowhere/x.so", "LD_LIBRARY_PATH=/nowhere", "PATH=/nowhere",
			      "IFS=x", "ENV=/etc/shadow", "BASH_ENV=/etc/shadow", "VM2_CONFIG=/nowhere",
			      "LANG", "=LANG=x", "LC_A B=x", "LC_ALL=\xff\xfe\x80", "\xff=\xff", big, NULL };

	memset(big, 'x', 100000);
	memcpy(big, "LC_TIME=", 8);
	cr_assert_eq(run(UID, (char *[]){ "vm2-shell", NULL }, env, seen), 23);
	/* The loader may complain about LD_PRELOAD: that is between it and the caller. */
	cr_assert(strstr(seen, "op=session.open;tenant=acme;kind=shell;via=shell;env=LC_ALL=\xff\xfe\x80;pty=0;"),
		  "%s", seen);
	/* A command is one word, whatever is in it; one that no message holds is refused. */
	cr_assert_eq(run(UID, (char *[]){ "vm2-shell", "-c", "a\nb\x80=tenant=root", NULL }, env, seen), 23);
	cr_expect(strstr(seen, "command=a\nb\x80=tenant=root;"), "%s", seen);
	cr_expect_neq(run(UID, (char *[]){ "vm2-shell", "-c", big, NULL }, env, seen), 23);
	free(big);
}
