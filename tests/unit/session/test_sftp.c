/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sftp server of vm2-sftp, packet by packet, in a folder of its own. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provision/base/fd.h"
#include "provision/session/sftp.h"

static struct sftp s;
static char folder[] = "/tmp/vm2-sftp.XXXXXX";

/* A request is made with the very functions that make replies. */
static struct sftp request;

static void setup(void)
{
	static const uint8_t hello[] = { SFTP_INIT, 0, 0, 0, 3 };

	cr_assert(mkdtemp(folder));
	cr_assert_eq(chdir(folder), 0);
	sftp_setup(&s);
	cr_assert_eq(sftp_serve(&s, hello, sizeof(hello)), 0);
	cr_assert_eq(s.out[4], SFTP_VERSION);
	cr_assert_eq(s.out[8], 3);
	s.out_len = 0;
}

static void teardown(void)
{
	sftp_close_all(&s);
	cr_assert_eq(chdir("/"), 0);
	fd_remove_tree(-1, folder);
	free(s.out);
	free(request.out);
}

TestSuite(sftp, .init = setup, .fini = teardown, .timeout = 60);

/* Send what stands in `request`; the reply is at s.out then. Returns its type. */
static int send_request(void)
{
	s.out_len = 0;
	cr_assert_eq(sftp_serve(&s, request.out, request.out_len), 0);
	cr_assert_geq(s.out_len, 9);
	cr_assert_eq(s.out_len, ((size_t)s.out[1] << 16 | (size_t)s.out[2] << 8 | s.out[3]) + 4);
	request.out_len = 0;
	return s.out[4];
}

static void begin(uint8_t type)
{
	request.out_len = 0;
	sftp_put8(&request, type);
	sftp_put32(&request, 7);
}

/* The status that the request is answered with. */
static int status(void)
{
	cr_assert_eq(send_request(), SFTP_STATUS);
	cr_assert_eq(s.out[8], 7);
	return s.out[12];
}

static int paths(uint8_t type, const char *extension, const char *a, const char *b)
{
	begin(type);
	if (extension)
		sftp_put_text(&request, extension);
	sftp_put_text(&request, a);
	if (b)
		sftp_put_text(&request, b);
	return status();
}

/* Open a file; returns its number. */
static uint32_t open_file(const char *name, uint32_t flags)
{
	begin(SFTP_OPEN);
	sftp_put_text(&request, name);
	sftp_put32(&request, flags);
	sftp_put32(&request, 0);
	cr_assert_eq(send_request(), SFTP_HANDLE, "%s: status %d", name, s.out[12]);
	return s.out[16];
}

static void put_handle(uint32_t handle)
{
	sftp_put32(&request, 4);
	sftp_put32(&request, handle);
}

static int with_handle(uint8_t type, uint32_t handle)
{
	begin(type);
	put_handle(handle);
	return status();
}

static int write_at(uint32_t handle, uint64_t at, const char *text)
{
	begin(SFTP_WRITE);
	put_handle(handle);
	sftp_put64(&request, at);
	sftp_put_text(&request, text);
	return status();
}

static int ask_read(uint32_t handle, uint64_t at, uint32_t len)
{
	begin(SFTP_READ);
	put_handle(handle);
	sftp_put64(&request, at);
	sftp_put32(&request, len);
	return send_request();
}

Test(sftp, a_file_is_written_and_read_and_copied)
{
	uint32_t a = open_file("a", SFTP_F_READ | SFTP_F_WRITE | SFTP_F_CREAT), b;

	cr_assert_eq(write_at(a, 0, "hello world"), SFTP_OK);
	cr_assert_eq(write_at(a, 6, "there"), SFTP_OK);
	cr_assert_eq(ask_read(a, 0, 1000000), SFTP_DATA);
	cr_assert_eq(memcmp(s.out + 9, "\0\0\0\013hello there", 15), 0);
	cr_assert_eq(ask_read(a, 11, 100), SFTP_STATUS);
	cr_assert_eq(s.out[12], SFTP_EOF);
	b = open_file("b", SFTP_F_WRITE | SFTP_F_CREAT | SFTP_F_EXCL);
	begin(SFTP_EXTENDED);
	sftp_put_text(&request, "copy-data");
	put_handle(a);
	sftp_put64(&request, 6);
	sftp_put64(&request, 0);
	put_handle(b);
	sftp_put64(&request, 2);
	cr_assert_eq(status(), SFTP_OK);
	cr_assert_eq(with_handle(SFTP_CLOSE, a), SFTP_OK);
	cr_assert_eq(with_handle(SFTP_CLOSE, a), SFTP_NO_SUCH_FILE);
	cr_assert_eq(ask_read(a, 0, 10), SFTP_STATUS);
	b = open_file("b", SFTP_F_READ);
	cr_assert_eq(ask_read(b, 0, 10), SFTP_DATA);
	cr_assert_eq(memcmp(s.out + 9, "\0\0\0\007\0\0there", 11), 0);
}

static int copy_all(uint32_t from, uint32_t to, uint64_t at)
{
	begin(SFTP_EXTENDED);
	sftp_put_text(&request, "copy-data");
	put_handle(from);
	sftp_put64(&request, 0);
	sftp_put64(&request, 0);
	put_handle(to);
	sftp_put64(&request, at);
	return status();
}

Test(sftp, a_copy_ends)
{
	uint32_t a = open_file("a", SFTP_F_READ | SFTP_F_WRITE | SFTP_F_CREAT), b;
	struct stat st;

	cr_assert_eq(write_at(a, 0, "hello"), SFTP_OK);
	/* Into itself by another handle, to its end, which would go away from it. */
	cr_assert_eq(copy_all(a, open_file("a", SFTP_F_WRITE), 1), SFTP_FAILURE);
	cr_assert_eq(stat("a", &st), 0);
	cr_assert_eq(st.st_size, 5);
	b = open_file("b", SFTP_F_WRITE | SFTP_F_CREAT);
	cr_assert_eq(copy_all(open_file("/dev/zero", SFTP_F_READ), b, 0), SFTP_FAILURE);
	/* What has no size is copied all the same. */
	cr_assert_eq(copy_all(open_file("/proc/version", SFTP_F_READ), b, 0), SFTP_OK);
	cr_assert_eq(stat("b", &st), 0);
	cr_assert_gt(st.st_size, 10);
}

Test(sftp, nothing_is_waited_for, .timeout = 20)
{
	cr_assert_eq(mkfifo("pipe", 0600), 0);
	cr_assert_eq(ask_read(open_file("pipe", SFTP_F_READ), 0, 10), SFTP_STATUS);
	cr_assert_eq(s.out[12], SFTP_EOF);
	/* Somebody may hold its other end, and say nothing. */
	cr_assert_geq(open("pipe", O_RDWR | O_CLOEXEC), 0);
	cr_assert_eq(ask_read(open_file("pipe", SFTP_F_READ), 0, 10), SFTP_STATUS);
	cr_assert_eq(s.out[12], SFTP_FAILURE);
}

static int refused(const char *name, uint32_t flags)
{
	begin(SFTP_OPEN);
	sftp_put_text(&request, name);
	sftp_put32(&request, flags);
	sftp_put32(&request, 0);
	return status();
}

Test(sftp, what_a_plan_forbids_is_not_opened)
{
	open_file("a", SFTP_F_WRITE | SFTP_F_CREAT);
	s.no_uploads = true;
	cr_assert_eq(refused("a", SFTP_F_WRITE), SFTP_PERMISSION_DENIED);
	cr_assert_eq(refused("a", SFTP_F_READ | SFTP_F_WRITE), SFTP_PERMISSION_DENIED);
	cr_assert_eq(refused("b", SFTP_F_CREAT), SFTP_PERMISSION_DENIED);
	cr_assert_eq(refused("a", SFTP_F_READ | SFTP_F_TRUNC), SFTP_PERMISSION_DENIED);
	open_file("a", SFTP_F_READ);
	s.no_downloads = true;
	cr_assert_eq(refused("a", SFTP_F_READ), SFTP_PERMISSION_DENIED);
	cr_assert_eq(refused("a", 0), SFTP_PERMISSION_DENIED);
	s.no_uploads = false;
	cr_assert_eq(refused("a", SFTP_F_READ | SFTP_F_WRITE), SFTP_PERMISSION_DENIED);
	open_file("c", SFTP_F_WRITE | SFTP_F_CREAT);
}

Test(sftp, names_come_and_go)
{
	open_file("a", SFTP_F_WRITE | SFTP_F_CREAT);
	open_file("b", SFTP_F_WRITE | SFTP_F_CREAT);
	cr_assert_eq(paths(SFTP_RENAME, NULL, "a", "b"), SFTP_FAILURE, "version 3 replaces nothing");
	cr_assert_eq(access("a", F_OK), 0);
	cr_assert_eq(paths(SFTP_EXTENDED, "posix-rename@openssh.com", "a", "b"), SFTP_OK);
	cr_assert_neq(access("a", F_OK), 0);
	cr_assert_eq(paths(SFTP_EXTENDED, "hardlink@openssh.com", "b", "c"), SFTP_OK);
	cr_assert_eq(paths(SFTP_SYMLINK, NULL, "where/to", "l"), SFTP_OK);
	begin(SFTP_READLINK);
	sftp_put_text(&request, "l");
	cr_assert_eq(send_request(), SFTP_NAME);
	cr_assert_eq(memcmp(s.out + 13, "\0\0\0\010where/to", 12), 0);
	cr_assert_eq(paths(SFTP_REMOVE, NULL, "c", NULL), SFTP_OK);
	cr_assert_eq(paths(SFTP_REMOVE, NULL, "c", NULL), SFTP_NO_SUCH_FILE);
	cr_assert_eq(paths(SFTP_EXTENDED, "nobody@knows.it", "c", NULL), SFTP_OP_UNSUPPORTED);
}

Test(sftp, a_folder_is_listed_to_its_end)
{
	uint32_t handle, n = 0;

	for (int i = 0; i < 250; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%d", i);
		handle = open_file(name, SFTP_F_WRITE | SFTP_F_CREAT);
		cr_assert_eq(with_handle(SFTP_CLOSE, handle), SFTP_OK);
	}
	begin(SFTP_OPENDIR);
	sftp_put_text(&request, ".");
	cr_assert_eq(send_request(), SFTP_HANDLE);
	handle = s.out[16];
	for (;;) {
		begin(SFTP_READDIR);
		put_handle(handle);
		if (send_request() != SFTP_NAME)
			break;
		n += s.out[12];
	}
	cr_assert_eq(s.out[12], SFTP_EOF);
	cr_assert_eq(n, 252, "%u names", n);
	/* It is no file, and a file is no folder. */
	cr_assert_eq(ask_read(handle, 0, 10), SFTP_STATUS);
	handle = open_file("f1", SFTP_F_READ);
	cr_assert_eq(with_handle(SFTP_READDIR, handle), SFTP_NO_SUCH_FILE);
}

Test(sftp, attributes_are_set)
{
	struct stat st;

	open_file("a", SFTP_F_WRITE | SFTP_F_CREAT);
	begin(SFTP_SETSTAT);
	sftp_put_text(&request, "a");
	sftp_put32(&request, SFTP_A_SIZE | SFTP_A_MODE | SFTP_A_TIMES);
	sftp_put64(&request, 12345);
	sftp_put32(&request, 0100640);
	sftp_put32(&request, 1000);
	sftp_put32(&request, 2000);
	cr_assert_eq(status(), SFTP_OK);
	cr_assert_eq(stat("a", &st), 0);
	cr_assert_eq(st.st_size, 12345);
	cr_assert_eq(st.st_mode, 0100640);
	cr_assert_eq(st.st_mtime, 2000);
	begin(SFTP_STAT);
	sftp_put_text(&request, "a");
	cr_assert_eq(send_request(), SFTP_ATTRS);
}

Test(sftp, a_path_is_made_whole)
{
	char want[64];

	begin(SFTP_REALPATH);
	sftp_put_text(&request, "x/../new");
	cr_assert_eq(status(), SFTP_NO_SUCH_FILE);
	begin(SFTP_REALPATH);
	sftp_put_text(&request, "./new");
	cr_assert_eq(send_request(), SFTP_NAME);
	snprintf(want, sizeof(want), "%s/new", folder);
	cr_assert_eq(memcmp(s.out + 17, want, strlen(want)), 0);
	setenv("HOME", folder, 1);
	begin(SFTP_EXTENDED);
	sftp_put_text(&request, "expand-path@openssh.com");
	sftp_put_text(&request, "~/new");
	cr_assert_eq(send_request(), SFTP_NAME);
	cr_assert_eq(memcmp(s.out + 17, want, strlen(want)), 0);
	/* Others' homes, by the guest's own accounts. */
	begin(SFTP_EXTENDED);
	sftp_put_text(&request, "expand-path@openssh.com");
	sftp_put_text(&request, "~root/../etc");
	cr_assert_eq(send_request(), SFTP_NAME);
	cr_assert_eq(memcmp(s.out + 13, "\0\0\0\004/etc", 8), 0);
	begin(SFTP_EXTENDED);
	sftp_put_text(&request, "home-directory");
	sftp_put_text(&request, "root");
	cr_assert_eq(send_request(), SFTP_NAME);
	cr_assert_eq(memcmp(s.out + 13, "\0\0\0\005/root", 9), 0);
	cr_assert_eq(paths(SFTP_EXTENDED, "expand-path@openssh.com", "~nobody-here/x", NULL), SFTP_NO_SUCH_FILE);
	cr_assert_eq(paths(SFTP_EXTENDED, "home-directory", "nobody-here", NULL), SFTP_NO_SUCH_FILE);
}

Test(sftp, nonsense_is_answered_and_breaks_nothing)
{
	static char name[PATH_MAX + 10];
	struct sftp fresh = { 0 };

	memset(name, 'x', sizeof(name) - 1);
	cr_assert_eq(paths(SFTP_STAT, NULL, name, NULL), SFTP_FAILURE);
	begin(SFTP_STAT);
	sftp_put_string(&request, "a\0b", 3);
	cr_assert_eq(status(), SFTP_BAD_MESSAGE);
	begin(SFTP_WRITE);
	sftp_put32(&request, 0xffffffff);
	cr_assert_eq(status(), SFTP_BAD_MESSAGE);
	cr_assert_eq(with_handle(SFTP_CLOSE, 0x7fffffff), SFTP_NO_SUCH_FILE);
	begin(99);
	cr_assert_eq(status(), SFTP_OP_UNSUPPORTED);
	/* Nothing before the version. */
	begin(SFTP_STAT);
	sftp_put_text(&request, ".");
	cr_assert_neq(sftp_serve(&fresh, request.out, request.out_len), 0);
}

Test(sftp, there_is_an_end_to_handles)
{
	for (int i = 0; i < SFTP_HANDLES_MAX; i++) {
		begin(SFTP_OPENDIR);
		sftp_put_text(&request, "/");
		cr_assert_eq(send_request(), SFTP_HANDLE);
	}
	begin(SFTP_OPENDIR);
	sftp_put_text(&request, "/");
	cr_assert_eq(status(), SFTP_FAILURE);
	cr_assert_eq(with_handle(SFTP_CLOSE, 0), SFTP_OK);
	begin(SFTP_OPENDIR);
	sftp_put_text(&request, "/");
	cr_assert_eq(send_request(), SFTP_HANDLE);
}
