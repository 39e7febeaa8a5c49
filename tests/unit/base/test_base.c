/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "provision/base/cleanup.h"
#include "provision/base/config.h"
#include "provision/base/err.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

Test(err, keeps_text_and_context)
{
	struct err err = { 0 };

	cr_assert_eq(err_set(&err, ERR_BUSY, "guest %s is busy", "acme"), ERR_BUSY);
	cr_assert_eq(err_wrap(&err, "cannot start"), ERR_BUSY);
	cr_assert_str_eq(err.text, "cannot start: guest acme is busy");
	cr_assert_eq(err_sys(&err, ENOENT, "open"), -ENOENT);
	cr_assert_str_eq(err.text, "open: No such file or directory");
	cr_assert_eq(err_exit_status(-ENOENT), ERR_NOT_FOUND);
	/* ENOTSUPP, which the kernel does not keep to itself where a filter cannot be compiled. */
	cr_assert_eq(err_sys(&err, 524, "filter"), -524);
	cr_assert_not_null(strstr(err.text, "net.core.bpf_jit_limit"), "%s", err.text);
}

Test(err, is_one_line_whatever_it_quotes)
{
	struct err err;

	err_set(&err, ERR_FAILED, "name '%s'", "a\nb\x1b[2J");
	cr_assert_null(strpbrk(err.text, "\n\x1b"));
	err_set(&err, ERR_FAILED, "%s", "x");
	err_set(&err, ERR_FAILED, "%s again", err.text);
	cr_assert_str_eq(err.text, "x again");
}

Test(str, names)
{
	cr_assert(name_valid("acme"));
	cr_assert(name_valid("a"));
	cr_assert(name_valid("a23456789012345678901234567890ab"));
	cr_assert_not(name_valid("a23456789012345678901234567890abc"));
	cr_assert_not(name_valid(""));
	cr_assert_not(name_valid("Acme"));
	cr_assert_not(name_valid("1acme"));
	cr_assert_not(name_valid("ac/me"));
	cr_assert_not(name_valid(".."));
	cr_assert_not(name_valid("ac\nme"));
	cr_assert_not(name_valid("acme-"));
}

Test(str, numbers_and_sizes)
{
	uint64_t n = 7;

	cr_assert_eq(parse_u64("18446744073709551615", UINT64_MAX, &n), 0);
	cr_assert_eq(n, UINT64_MAX);
	cr_assert_eq(parse_u64("18446744073709551616", UINT64_MAX, &n), -ERANGE);
	cr_assert_eq(parse_u64("-1", 10, &n), -EINVAL);
	cr_assert_eq(parse_u64("", 10, &n), -EINVAL);
	cr_assert_eq(parse_size("512M", &n), 0);
	cr_assert_eq(n, 512UL << 20);
	cr_assert_eq(parse_size("M", &n), -EINVAL);
	cr_assert_eq(parse_size("99999999999T", &n), -ERANGE);
}

Test(str, json_is_always_valid_utf8)
{
	CLEANUP_BUF struct buf b = { 0 };

	buf_json(&b, "a\"\\\n\xc3\xa9\xff\x01");
	cr_assert_str_eq(b.data, "\"a\\\"\\\\\\n\xc3\xa9\\ufffd\\u0001\"");
	cr_assert_eq(utf8_len("\xed\xa0\x80", 3), 0, "a surrogate is no UTF-8");
	cr_assert_eq(utf8_len("\xc0\x80", 2), 0, "overlong");
	cr_assert_eq(utf8_len("\xf4\x90\x80\x80", 4), 0, "past U+10FFFF");
	cr_assert_eq(utf8_len("\xe2\x82", 2), 0, "cut");
}

Test(fd, replaces_whole_and_removes_trees)
{
	char folder[] = "/tmp/vm2-unit-XXXXXX", text[16];
	CLEANUP_CLOSE int dir = -1;

	cr_assert(mkdtemp(folder));
	dir = open(folder, O_RDONLY | O_DIRECTORY);
	cr_assert_eq(fd_replace_file(dir, "f", "one", 3, 0640, 1), 0);
	cr_assert_eq(fd_replace_file(dir, "f", "two2", 4, 0640, 0), 0);
	cr_assert_eq(fd_read_path(dir, "f", text, sizeof(text)), 4);
	cr_assert_str_eq(text, "two2");
	cr_assert_eq(fd_read_path(dir, "f", text, 4), -EFBIG);
	cr_assert_eq(symlinkat("/etc", dir, "link"), 0);
	cr_assert_eq(mkdirat(dir, "sub", 0700), 0);
	cr_assert_eq(symlinkat("/etc/passwd", dir, "sub/link"), 0);
	cr_assert_eq(fd_remove_tree(AT_FDCWD, folder), 0);
	cr_assert_eq(access("/etc/passwd", F_OK), 0);
	cr_assert_eq(access(folder, F_OK), -1);
	cr_assert_eq(fd_remove_tree(AT_FDCWD, folder), 0);
}

Test(fd, removes_trees_deeper_than_there_are_descriptors)
{
	char folder[] = "/tmp/vm2-test-XXXXXX";
	const struct rlimit few = { 100, 100 };
	int dir, next;

	cr_assert(mkdtemp(folder));
	dir = open(folder, O_RDONLY | O_DIRECTORY);
	/* A name that is in the way of what is moved up. */
	cr_assert_eq(mkdirat(dir, ".deep.0", 0700), 0);
	for (int i = 0; i < 300; i++) {
		cr_assert_eq(mkdirat(dir, "d", 0700), 0);
		cr_assert_eq(mkdirat(dir, "e", 0700), 0);
		next = openat(dir, "d", O_RDONLY | O_DIRECTORY);
		close(dir);
		dir = next;
	}
	close(dir);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	cr_assert_eq(fd_remove_tree(AT_FDCWD, folder), 0);
	cr_assert_eq(access(folder, F_OK), -1);
}

Test(fd, holds_processes_by_start_time)
{
	pid_t pid = fork();
	uint64_t start;
	int fd;

	if (pid == 0) {
		pause();
		_exit(0);
	}
	start = process_start_time(pid);
	cr_assert_neq(start, 0);
	cr_assert_eq(process_open(pid, start + 1), -ESRCH);
	fd = process_open(pid, start);
	cr_assert_geq(fd, 0);
	cr_assert_eq(process_wait(fd, 0), -ETIMEDOUT);
	cr_assert(process_lives(pid, start));
	cr_assert_not(process_lives(pid, start + 1));
	cr_assert_eq(process_signal(fd, 9), 0);
	cr_assert_eq(process_wait(fd, 5000), 0);
	cr_assert_not(process_lives(pid, start), "it is still to be reaped");
	close(fd);
	waitpid(pid, NULL, 0);
	cr_assert_not(process_lives(pid, start));
	cr_assert_not(process_lives(pid, 0));
}

static int load(const char *text, const struct config **ret, struct err *err)
{
	char path[] = "/tmp/vm2-unit-XXXXXX";
	CLEANUP_CLOSE int fd = mkstemp(path);
	int r;

	cr_assert_eq(fd_write_all(fd, text, strlen(text)), 0);
	r = config_load(path, ret, err);
	unlink(path);
	return r;
}

Test(config, derives_paths_and_takes_values)
{
	const struct config *c = NULL;
	struct err err = { 0 };

	cr_assert_eq(load("# a comment\n[paths]\nstate = /srv/x\nledger=/l\n[network]\nmtu = 1400\n", &c,
			  &err),
		     0, "%s", err.text);
	cr_assert_str_eq(c->database, "/srv/x/tenants.db");
	cr_assert_str_eq(c->ledger, "/l");
	cr_assert_eq(c->mtu, 1400);
	cr_assert_str_eq(c->instance, "vm2");
	config_free(c);
}

Test(config, says_what_is_wrong_and_where)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{ "[network]\nmtu = many\n", ":2: mtu = 'many'" },
		{ "[network]\nmtu = 99999999999999999999999\n", "allowed range" },
		{ "[network]\nmto = 1\n", "no setting 'mto' in [network]" },
		{ "[paths]\nstate = var\n", "absolute" },
		{ "hello\n", "neither" },
		{ "[open\n", "must end with ']'" },
		{ "[instance]\nname = ../x\n", ":2: name = '../x' must be 1 to 8 of a-z, 0-9 and '_'" },
		{ "[instance]\nname = a-b\n", "a letter first" },
		{ "[instance]\nname = 1ab\n", "a letter first" },
		{ "[instance]\nname = ninechars\n", "1 to 8" },
		{ "[instance]\nname =\n", "1 to 8" },
		{ "[guest]\nplan = a_b\n", "must be a name" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct config *c = NULL;
		struct err err = { 0 };

		cr_assert_eq(load(cases[i].text, &c, &err), ERR_USAGE);
		cr_assert_null(c);
		cr_assert(strstr(err.text, cases[i].says), "'%s' lacks '%s'", err.text, cases[i].says);
	}
}

Test(config, the_written_file_loads_and_changes_nothing)
{
	const struct config *c = NULL;
	struct err err = { 0 };
	CLEANUP_FREE char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	config_write_defaults(f);
	fclose(f);
	for (char *p = text; (p = strstr(p, "\n#")); p++)
		if (p[2] != ' ')
			p[1] = ' ';
	cr_assert_eq(load(text, &c, &err), 0, "%s", err.text);
	cr_assert_str_eq(c->socket, "/run/vm2/vm2d.sock");
	config_free(c);
}
