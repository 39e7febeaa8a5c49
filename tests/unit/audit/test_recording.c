/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "provision/audit/recording.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

static const struct recording_header header = { .cols = 80, .rows = 24, .started = 1700000000,
						.title = "acme \"x\"", .term = "xterm",
						.shell = "/bin/bash" };

static char *make_folder(int *ret_fd)
{
	char *path = xstrdup("/tmp/vm2-recording-XXXXXX");

	cr_assert_not_null(mkdtemp(path));
	*ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return path;
}

static void remove_folder(char **path)
{
	cr_assert_eq(fd_remove_tree(AT_FDCWD, *path), 0);
	free(*path);
}

static ssize_t output_of(const char *cmd, char *out, size_t cap)
{
	FILE *p = popen(cmd, "r");
	size_t n = fread(out, 1, cap - 1, p);

	out[n] = '\0';
	cr_assert_eq(pclose(p), 0, "%s", cmd);
	return (ssize_t)n;
}

Test(recording, is_what_asciinema_plays)
{
	CLEANUP_CLOSE int fd = -1;
	CLEANUP(remove_folder) char *folder = make_folder(&fd);
	/* asciinema wants a terminal of its own to watch for keys; it is not to touch the output. */
	CLEANUP_FREE char *cmd = xasprintf("LC_ALL=C.UTF-8 script -qec 'stty -opost; asciinema cat %s/"
					   RECORDING_FIRST "' /dev/null </dev/null", folder);
	struct recording *r = NULL;
	struct err err = { 0 };
	int64_t now = clock_ms();
	struct stat st;
	char out[256];

	if (system("command -v asciinema >/dev/null") != 0)
		cr_skip_test("asciinema is not installed");
	cr_assert_eq(recording_create(fd, &header, &r, &err), 0, "%s", err.text);
	cr_assert_eq(recording_output(r, now, "one\r\n", 5, &err), 0);
	cr_assert_eq(recording_resize(r, now + 10, 132, 50, &err), 0);
	/* U+20AC in three pieces, then a byte that is no UTF-8, then controls. */
	cr_assert_eq(recording_output(r, now + 20, "\xe2", 1, &err), 0);
	cr_assert_eq(recording_output(r, now + 30, "\x82", 1, &err), 0);
	cr_assert_eq(recording_output(r, now + 1234, "\xac\xff\x1b[1m\"\\", 8, &err), 0);
	cr_assert_eq(recording_output(r, now + 1235, "\xf0\x9f", 2, &err), 0);
	recording_close(r);
	output_of(cmd, out, sizeof(out));
	cr_assert_str_eq(out, "one\r\n\xe2\x82\xac\xef\xbf\xbd\x1b[1m\"\\\xef\xbf\xbd\xef\xbf\xbd");
	cr_assert_eq(fstatat(fd, RECORDING_FIRST, &st, 0), 0);
	cr_assert_eq(st.st_mode & 07777, 0440);
}

Test(recording, has_one_event_a_line_and_its_digest)
{
	CLEANUP_CLOSE int fd = -1;
	CLEANUP(remove_folder) __attribute__((unused)) char *folder = make_folder(&fd);
	struct recording *r = NULL, *again = NULL;
	struct err err = { 0 };
	unsigned char digest[32], want[32];
	struct sha256_ctx ctx;
	char text[4096];
	ssize_t n;

	cr_assert_eq(recording_create(fd, &header, &r, &err), 0);
	cr_assert_eq(recording_create(fd, &header, &again, &err), -EEXIST);
	cr_assert_null(again);
	cr_assert_eq(recording_output(r, clock_ms() + 2500, "a", 1, &err), 0);
	/* Time that goes back does not; and each event is in the file at once. */
	cr_assert_eq(recording_output(r, clock_ms(), "b", 1, &err), 0);
	n = fd_read_path(fd, RECORDING_FIRST, text, sizeof(text));
	cr_assert_eq((uint64_t)n, recording_bytes(r));
	cr_assert_not_null(strstr(text, "\n[2.5"));
	cr_assert_not_null(strstr(text, ", \"o\", \"a\"]\n[2.5"));
	cr_assert(strstr(text, "\"width\": 80, \"height\": 24, \"timestamp\": 1700000000"));
	recording_digest(r, digest);
	sha256_init(&ctx);
	sha256_update(&ctx, (size_t)n, (const uint8_t *)text);
	sha256_digest(&ctx, 32, want);
	cr_assert_eq(memcmp(digest, want, 32), 0);
	recording_close(r);
	cr_assert_null(recording_close(NULL));
}

Test(recording, stays_readable_on_a_full_disk)
{
	CLEANUP_CLOSE int fd = -1;
	CLEANUP(remove_folder) __attribute__((unused)) char *folder = make_folder(&fd);
	struct recording *r = NULL;
	struct err err = { 0 };
	char text[4096], big[1024];
	ssize_t n;

	memset(big, 'x', sizeof(big));
	cr_assert_eq(recording_create(fd, &header, &r, &err), 0);
	cr_assert_eq(recording_output(r, clock_ms(), "kept", 4, &err), 0);
	/* RLIMIT_FSIZE stands for the full disk: half of the line is taken, then nothing. */
	signal(SIGXFSZ, SIG_IGN);
	{
		CLEANUP_FREE char *cmd = xasprintf("prlimit --fsize=%llu --pid %d",
						   (unsigned long long)recording_bytes(r) + 100,
						   (int)getpid());

		cr_assert_eq(system(cmd), 0);
	}
	cr_assert_lt(recording_output(r, clock_ms(), big, sizeof(big), &err), 0);
	cr_assert_lt(recording_output(r, clock_ms(), "x", 1, &err), 0);
	recording_close(r);
	n = fd_read_path(fd, RECORDING_FIRST, text, sizeof(text));
	cr_assert(n > 0 && text[n - 1] == '\n' && strstr(text, "kept\"]\n") == text + n - 7);
}
