/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "provision/cli/apparmor.h"

Test(apparmor, a_guest_may_all_but_what_is_denied)
{
	static const char *const lines[] = {
		"profile vm2-guest flags=(attach_disconnected,mediate_deleted) {\n",
		"\tfile,\n",
		"\tmount,\n",
		"@{mnt}=/ /dev/.vm2/\n",
		"\tdeny @{mnt}proc/kcore rwklx,\n",
		"\tdeny @{mnt}proc/kmsg rwklx,\n",
		"\tdeny @{mnt}proc/sysrq-trigger rwklx,\n",
		"\tdeny @{mnt}sys/kernel/debug/** rwklx,\n",
		"\tdeny @{mnt}sys/firmware/** rwklx,\n",
		"\tdeny @{mnt}proc/sys/vm/** wklx,\n",
		"\tdeny @{mnt}sys/kernel/** wklx,\n",
		"\tdeny @{mnt}sys/module/** wklx,\n",
		"\tdeny @{mnt}proc/sys/kernel/{core_pattern,",
		"\tdeny mount fstype=(debugfs, ",
	};
	CLEANUP_BUF struct buf text = { 0 };
	int open = 0;

	apparmor_profile(&text);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		cr_expect(strstr(text.data, lines[i]), "%s", lines[i]);
	/* Whole: each brace is closed, and each rule ends with a comma. */
	for (const char *p = text.data; *p; p++) {
		open += (*p == '{') - (*p == '}');
		if (*p == '\n' && p > text.data && open == 1 && p[-1] != '{')
			cr_expect_eq(p[-1], ',', "%.40s", p - 30);
	}
	cr_expect_eq(open, 0);
	cr_expect_str_eq(text.data + text.len - 3, "\n}\n");
}
