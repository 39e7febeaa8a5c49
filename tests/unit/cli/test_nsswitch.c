/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>

#include "provision/cli/nsswitch.h"

static const char debian[] = "# /etc/nsswitch.conf\n\npasswd:         files systemd\n"
			     "group:\t\tfiles systemd  # a word\nshadow:         files\n"
			     "gshadow:        files\nhosts:          files dns\n";

Test(nsswitch, adds_after_files)
{
	CLEANUP_BUF struct buf out = { 0 };

	cr_assert(nsswitch_add(debian, &out));
	cr_assert_str_eq(out.data, "# /etc/nsswitch.conf\n\npasswd:         files vm2 systemd\n"
				   "group:\t\tfiles vm2 systemd  # a word\nshadow:         files vm2\n"
				   "gshadow:        files\nhosts:          files dns\n");
}

Test(nsswitch, adds_once)
{
	CLEANUP_BUF struct buf once = { 0 };
	CLEANUP_BUF struct buf twice = { 0 };

	nsswitch_add(debian, &once);
	cr_assert_not(nsswitch_add(once.data, &twice));
	cr_assert_str_eq(once.data, twice.data);
}

Test(nsswitch, keeps_actions_with_their_service)
{
	CLEANUP_BUF struct buf out = { 0 };

	nsswitch_add("passwd: files [NOTFOUND=continue] nis\ngroup:files[SUCCESS=merge] systemd\n"
		     "shadow:\ninitgroups: db files\n",
		     &out);
	cr_assert_str_eq(out.data, "passwd: files [NOTFOUND=continue] nis vm2\n"
				   "group:files[SUCCESS=merge] systemd vm2\nshadow: vm2\n"
				   "initgroups: db files vm2\n");
}

Test(nsswitch, comes_back_byte_by_byte)
{
	static const char *const texts[] = {
		debian,
		"",
		"hosts: files",
		"passwd: files\n# vm2 is fine",
		"passwd:\tcompat\t \ngroup: files # vm2\nshadow:files\n\n\n",
		"  passwd : files\nnot a line\n\n group: a b\nshadow: files\ninitgroups: files\n",
		"passwd: nis\ngroup: files [!SUCCESS=return] nis",
		"\n",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		CLEANUP_BUF struct buf with = { 0 };
		CLEANUP_BUF struct buf back = { 0 };

		cr_assert(nsswitch_add(texts[i], &with));
		cr_assert(nsswitch_remove(with.data, &back));
		cr_assert_str_eq(back.data ? back.data : "", texts[i], "text %zu", i);
	}
}

Test(nsswitch, removes_nothing_of_others)
{
	CLEANUP_BUF struct buf out = { 0 };

	cr_assert_not(nsswitch_remove("passwd: files # vm2\nhosts: vm2 dns\n", &out));
	cr_assert_str_eq(out.data, "passwd: files # vm2\nhosts: vm2 dns\n");
}
