/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/str.h"
#include "provision/cli/publickey.h"

#define KEY "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJX1L5ZkQzYy0b8E2b0K5cJqQf8a9u1m2n3o4p5q6r7s"

static void add(void *data, const char *line)
{
	buf_puts(data, line);
	buf_puts(data, "|");
}

static int parse(const char *text, struct buf *lines, struct err *err)
{
	CLEANUP_FREE char *copy = xstrdup(text);

	return publickey_parse("id", copy, add, lines, err);
}

Test(publickey, takes_lines)
{
	CLEANUP_BUF struct buf lines = { 0 };
	struct err err = { 0 };

	cr_assert_eq(parse("# mine\n\n " KEY " me@home \r\nfrom=\"10.0.0.0/8\",command=\"a b\" " KEY "\n",
			   &lines, &err),
		     0, "%s", err.text);
	cr_assert_str_eq(lines.data, KEY " me@home|from=\"10.0.0.0/8\",command=\"a b\" " KEY "|");
}

Test(publickey, never_hands_on_a_private_key)
{
	CLEANUP_BUF struct buf lines = { 0 };
	struct err err = { 0 };

	cr_assert_eq(parse(KEY "\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", &lines, &err), ERR_USAGE);
	cr_assert(strstr(err.text, "private key") && strstr(err.text, "id.pub"), "%s", err.text);
	cr_assert_eq(parse("PuTTY-User-Key-File-3: ssh-ed25519\n", &lines, &err), ERR_USAGE);
	cr_assert_eq(lines.len, 0);
}

Test(publickey, says_which_line_is_none)
{
	CLEANUP_BUF struct buf lines = { 0 };
	struct err err = { 0 };

	cr_assert_eq(parse(KEY "\nhello\n", &lines, &err), ERR_USAGE);
	cr_assert(strstr(err.text, "id:2"), "%s", err.text);
	cr_assert_eq(parse("# only this\n", &lines, &err), ERR_USAGE);
	cr_assert_eq(parse("ssh-ed25519 short", &lines, &err), ERR_USAGE);
	cr_assert_eq(lines.len, 0);
}
