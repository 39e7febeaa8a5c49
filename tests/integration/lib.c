/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/integration/lib.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

#define LIMIT_MS 120000
#define OUTPUT_MAX (1 << 20)

const char ssh_options[] =
	"-p 2222 -i /run/vm2-test/key -o IdentitiesOnly=yes -o BatchMode=yes "
	"-o UserKnownHostsFile=/run/vm2-test/known_hosts -o StrictHostKeyChecking=accept-new "
	"-o LogLevel=ERROR";

/* Is there more to come? If not, `fd` is closed. */
static bool collect(int fd, struct buf *into)
{
	char data[65536];
	ssize_t n = read(fd, data, sizeof(data));

	if (n > 0 && into->len < OUTPUT_MAX)
		buf_add(into, data, (size_t)n);
	if (n <= 0)
		close(fd);
	return n > 0;
}

/*
 * Read both pipes until `pid` has ended and they are empty: closed, or silent for a moment, since a
 * background job may keep them open.
 */
static int watch(pid_t pid, int out, int err, struct buf *o, struct buf *e)
{
	int64_t deadline = clock_ms() + LIMIT_MS;
	CLEANUP_CLOSE int end = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p[3] = { { out, POLLIN, 0 }, { err, POLLIN, 0 }, { end, POLLIN, 0 } };
	struct buf *into[2] = { o, e };
	int status, ended = 0;

	cr_assert_geq(end, 0);
	while (clock_ms() < deadline) {
		int n = poll(p, 3, ended ? 50 : 1000);

		if (ended && n == 0)
			return status;
		for (int i = 0; n > 0 && i < 2; i++)
			if (p[i].revents && !collect(p[i].fd, into[i]))
				p[i].fd = -1;
		if (n > 0 && p[2].revents && waitpid(pid, &status, 0) == pid) {
			ended = 1;
			p[2].fd = -1;
		}
		if (ended && p[0].fd < 0 && p[1].fd < 0)
			return status;
	}
	kill(-pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 255 << 8;
}

static struct result run(const char *line)
{
	struct buf o = { 0 }, e = { 0 };
	int out[2], err[2], status;
	pid_t pid;

	cr_assert(pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0);
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		int null = open("/dev/null", O_RDONLY);

		dup2(null, 0);
		dup2(out[1], 1);
		dup2(err[1], 2);
		execl("/bin/bash", "bash", "-c", line, NULL);
		_exit(127);
	}
	close(out[1]);
	close(err[1]);
	buf_puts(&o, "");
	buf_puts(&e, "");
	status = watch(pid, out[0], err[0], &o, &e);
	return (struct result){ .status = WIFEXITED(status) ? WEXITSTATUS(status)
							    : 128 + WTERMSIG(status),
				.out = o.data,
				.err = e.data };
}

#define FORMAT(line)                                       \
	do {                                               \
		va_list ap;                                \
		va_start(ap, fmt);                         \
		cr_assert_geq(vasprintf(&line, fmt, ap), 0); \
		va_end(ap);                                \
	} while (0)

struct result sh(const char *fmt, ...)
{
	CLEANUP_FREE char *line = NULL;

	FORMAT(line);
	return run(line);
}

const char *ok(const char *fmt, ...)
{
	CLEANUP_FREE char *line = NULL;
	struct result r;
	size_t len;

	FORMAT(line);
	r = run(line);
	cr_assert_eq(r.status, 0, "%s\nstatus: %d\nout: %s\nerr: %s", line, r.status, r.out, r.err);
	len = strlen(r.out);
	if (len && r.out[len - 1] == '\n')
		r.out[len - 1] = '\0';
	return r.out;
}

struct result ssh(const char *tenant, const char *options, const char *fmt, ...)
{
	CLEANUP_FREE char *command = NULL;
	CLEANUP_BUF struct buf line = { 0 };

	FORMAT(command);
	buf_printf(&line, "ssh %s %s %s@127.0.0.1", options, ssh_options, tenant);
	if (*command) {
		buf_puts(&line, " '");
		for (const char *p = command; *p; p++) {
			if (*p == '\'')
				buf_puts(&line, "'\\''");
			else
				buf_add(&line, p, 1);
		}
		buf_puts(&line, "'");
	}
	return run(line.data);
}

void wait_for(int seconds, const char *fmt, ...)
{
	CLEANUP_FREE char *line = NULL;
	int64_t deadline = clock_ms() + seconds * 1000;
	struct result r;

	FORMAT(line);
	do {
		r = run(line);
		if (r.status == 0)
			return;
		usleep(20000);
	} while (clock_ms() < deadline);
	cr_assert_fail("not within %d s: %s\nout: %s\nerr: %s", seconds, line, r.out, r.err);
}

static void set_up(void)
{
	ok("install -d -m 700 /run/vm2-test && ssh-keygen -q -t ed25519 -N '' -f /run/vm2-test/key &&"
	   " ssh-keygen -q -t ed25519 -N '' -f /run/vm2-test/other-key");
	ok("vm2 host setup %s >/run/vm2-test/setup.log 2>&1 || { cat /run/vm2-test/setup.log >&2; exit 1; }",
	   getenv("VM2_TEST_SETUP") ? getenv("VM2_TEST_SETUP") : "");
	ok("/usr/libexec/vm2/supervise start vm2d -- vm2d");
	wait_for(20, "vm2 host status");
	ok("/usr/libexec/vm2/supervise start vm2-gateway -- vm2-gateway");
	wait_for(20, "ss -Hltn 'sport = 2222' | grep -q 2222");
	ok("vm2 template import debian \"$VM2_TEMPLATE_TREE\"");
}

void host_ready(void)
{
	CLEANUP_CLOSE int lock = -1;

	if (access("/run/host/outside", X_OK) < 0)
		cr_skip_test("this is no disposable host: use tests/run or tests/host");
	lock = open("/run/vm2-test.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(lock, 0);
	flock(lock, LOCK_EX);
	if (access("/run/vm2-test/ready", F_OK) == 0)
		return;
	set_up();
	ok("touch /run/vm2-test/ready");
}

void tenant_ready(const char *name)
{
	host_ready();
	sh("vm2 tenant remove --yes %s", name);
	ok("vm2 tenant add %s --key /run/vm2-test/key.pub", name);
}

void tenant_shared(const char *name)
{
	host_ready();
	ok("flock /run/vm2-test.lock sh -c 'vm2 tenant show %s || "
	   "vm2 tenant add %s --key /run/vm2-test/key.pub'", name, name);
}
