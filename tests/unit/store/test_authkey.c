/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/str.h"
#include "provision/store/authkey.h"

#define ED "AAAAC3NzaC1lZDI1NTE5AAAAI"

Test(authkey, agrees_with_ssh_keygen)
{
	static const char *const kinds[] = { "ed25519", "ecdsa -b 256", "ecdsa -b 384",
		"ecdsa -b 521", "rsa -b 2048" };
	char folder[] = "/tmp/vm2-test-key.XXXXXX", command[256], line[AUTHKEY_LINE_MAX], want[256];
	struct authkey key;
	struct err err;

	if (system("command -v ssh-keygen >/dev/null") != 0)
		cr_skip_test("ssh-keygen is not there");
	cr_assert(mkdtemp(folder));
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		char got[64];
		FILE *f;

		snprintf(command, sizeof(command),
			"cd %s && ssh-keygen -q -N '' -C 'me@here (%zu)' -f k%zu -t %s && "
			"cat k%zu.pub && ssh-keygen -lf k%zu.pub",
			folder, i, i, kinds[i], i, i);
		f = popen(command, "re");
		cr_assert(f && fgets(line, sizeof(line), f) && fgets(want, sizeof(want), f));
		pclose(f);
		cr_assert_eq(authkey_parse(line, &key, &err), 0, "%s: %s", kinds[i], err.text);
		authkey_fingerprint(key.blob, key.len, got);
		cr_assert(strstr(want, got), "%s is not in %s", got, want);
		cr_assert(str_starts(key.comment, "me@here ("), "%s", key.comment);
	}
	snprintf(command, sizeof(command), "rm -r %s", folder);
	cr_assert_eq(system(command), 0);
}

Test(authkey, takes_what_is_right)
{
	static const char *const good[] = {
		"ssh-ed25519 " ED "Jm5pLKJ9BzpB/tPHc8+X2lvxOk9TRyYC3fXcBE2kC9N",
		"ssh-ed25519   " ED "Jm5pLKJ9BzpB/tPHc8+X2lvxOk9TRyYC3fXcBE2kC9N \t a comment\n",
		/* sk-ssh-ed25519@openssh.com with application "ssh:" */
		("sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIAAAAAAAAAAAAAAAAAAA"
		 "AAAAAAAAAAAAAAAAAAAAAAAAAAAABHNzaDo="),
	};
	struct authkey key;
	struct err err = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		cr_expect_eq(authkey_parse(good[i], &key, &err), 0, "%zu: %s", i, err.text);
}

Test(authkey, refuses_what_is_wrong_and_says_why)
{
	static const struct {
		const char *line, *words;
	} bad[] = {
		{ "", "empty" },
		{ "\n", "empty" },
		{ " ssh-ed25519 x", "space" },
		{ "ssh-ed25519", "base64" },
		{ "ssh-ed25519 \n", "base64" },
		{ "ssh-ed25519 !!!!", "base64" },
		{ "ssh-ed25519 " ED "Jm5pLKJ9BzpB/tPHc8+X2lvxOk9TRyYC3fXcBE2kC9", "base64" },
		{ "ssh-ed25519 AAAA", "not of the type" },
		{ "ssh-ed25519 " ED "J5p", "cut short" },
		{ "ssh-ed25519 " ED "Jm5pLKJ9BzpB/tPHc8+X2lvxOk9TRyYC3fXcBE2kC9NAAAA",
			"after its end" },
		{ "ssh-rsa " ED "Jm5pLKJ9BzpB/tPHc8+X2lvxOk9TRyYC3fXcBE2kC9N", "not of the type" },
		{ "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQCx", "cut short" },
		{ "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAwEAAQ==", "2048 bits" },
		{ "ssh-dss AAAA", "not safe" },
		{ "command=\"x\" ssh-ed25519 AAAA", "not of the type" },
		{ "no-pty ssh-ed25519 AAAA", "not of the type" },
		{ "no-fun ssh-ed25519 AAAA", "'no-fun' of a key is not known" },
		{ "command=\"x ssh-ed25519 AAAA", "no type of key" },
		{ "cert-authority ssh-ed25519 AAAA", "not known" },
		{ "-----BEGIN OPENSSH PRIVATE KEY-----", "private" },
		{ "hello", "no type of key" },
		{ "ssh-ed25519 AAAA\nssh-ed25519 AAAA\n", "several lines" },
		{ "ssh-ed25519 AAAA\r\n", "carriage return" },
	};
	struct authkey key;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct err err = { 0 };

		cr_expect_eq(authkey_parse(bad[i].line, &key, &err), ERR_USAGE, "%s", bad[i].line);
		cr_expect(strstr(err.text, bad[i].words), "%s: %s", bad[i].line, err.text);
	}
}

Test(authkey, bounds_the_line)
{
	char *line = xcalloc(1, AUTHKEY_LINE_MAX + 2);
	struct authkey key;
	struct err err;

	memset(line, 'A', AUTHKEY_LINE_MAX + 1);
	memcpy(line, "ssh-rsa ", 8);
	cr_assert_eq(authkey_parse(line, &key, &err), ERR_USAGE);
	cr_assert(strstr(err.text, "longer than"), "%s", err.text);
	line[AUTHKEY_LINE_MAX] = '\0';
	cr_assert_eq(authkey_parse(line, &key, &err), ERR_USAGE);
	free(line);
}

Test(authkey, options_are_kept_in_one_form)
{
	static const char line[] = "NO-pty,command=\"echo \\\"a b\\\", x\",from=\"192.0.2.0/24,::1\" "
				   "ssh-ed25519 " ED "Jm5pLKJ9BzpB/tPHc8+X2lvxOk9TRyYC3fXcBE2kC9N me";
	struct authkey key;
	struct err err = { 0 };

	cr_assert_eq(authkey_parse(line, &key, &err), 0, "%s", err.text);
	cr_assert_str_eq(key.options,
			 "from=\"192.0.2.0/24,::1\",no-pty,command=\"echo \\\"a b\\\", x\"");
	cr_assert_str_eq(key.comment, "me");
	cr_assert_eq(authkey_restrict(&key, "restrict,expiry-time=\"20270131Z\"", &err), 0);
	cr_assert_str_eq(key.options, "from=\"192.0.2.0/24,::1\",expiry-time=\"20270131000000Z\","
				      "restrict,command=\"echo \\\"a b\\\", x\"");
	cr_assert_eq(authkey_restrict(&key, "nonsense", &err), ERR_USAGE);
	cr_assert(strstr(key.options, "restrict"));
}
