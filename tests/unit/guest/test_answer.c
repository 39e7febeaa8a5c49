/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "provision/guest/answer.h"
#include "provision/guest/asked.h"

Test(answer, a_plans_disk_is_shown)
{
	struct statfs fs = {
		.f_bsize = 4096, .f_blocks = 1 << 20, .f_bfree = 1 << 19, .f_bavail = 1 << 18
	};

	answer_show(&fs, 200 << 20, 150 << 20);
	cr_expect_eq(fs.f_blocks, 51200);
	cr_expect_eq(fs.f_bfree, 38400);
	cr_expect_eq(fs.f_bavail, 38400);
}

Test(answer, no_more_is_left_than_the_file_system_has)
{
	struct statfs fs = { .f_bsize = 4096, .f_blocks = 1 << 20, .f_bfree = 100, .f_bavail = 50 };

	answer_show(&fs, 200 << 20, 150 << 20);
	/* What is used stays what it is. */
	cr_expect_eq(fs.f_blocks - fs.f_bfree, 12800);
	cr_expect_eq(fs.f_bavail, 50);
}

Test(answer, who_deleted_of_the_template_has_the_disk_and_not_more)
{
	struct statfs fs = {
		.f_bsize = 4096, .f_blocks = 1 << 20, .f_bfree = 1 << 19, .f_bavail = 1 << 18
	};

	answer_show(&fs, 200 << 20, 300 << 20);
	cr_expect_eq(fs.f_bfree, 51200);
	answer_show(&fs, 200 << 20, 0);
	cr_expect_eq(fs.f_bfree, 0);
	cr_expect_eq(fs.f_bavail, 0);
}

/* As Linux 6.18 writes it. */
#define STATUS(name, groups)                                                                               \
	"Name:\t" name                                                                                     \
	"\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t7\nNgid:\t0\nPid:\t7\nPPid:\t1\n"                    \
	"TracerPid:\t0\nUid:\t1\t2\t3\t603980776\nGid:\t5\t6\t7\t603980777\nFDSize:\t64\nGroups:\t" groups \
	" \n"                                                                                              \
	"NStgid:\t7\t7\n"

Test(answer, the_asker_is_read)
{
	struct asker asker;

	cr_assert_eq(asked_read_status(STATUS("df", "4 603980804"), &asker), 0);
	cr_expect_eq(asker.uid, 603980776);
	cr_expect_eq(asker.gid, 603980777);
	cr_assert_eq(asker.n_groups, 2);
	cr_expect_eq(asker.groups[0], 4);
	cr_expect_eq(asker.groups[1], 603980804);
	/* The kernel writes a line's end in a name as \n. */
	cr_assert_eq(asked_read_status(STATUS("\\nUid:\\t0\\t0", ""), &asker), 0);
	cr_expect_eq(asker.uid, 603980776);
	cr_expect_eq(asker.n_groups, 0);
}

Test(answer, more_groups_than_there_is_room_for)
{
	char many[1024] = "", text[2048];
	struct asker asker;

	for (int i = 0; i < ASKER_GROUPS + 40; i++)
		strcat(many, "12 ");
	snprintf(text, sizeof(text), "\nUid:\t1\t1\t1\t1\nGid:\t1\t1\t1\t1\nGroups:\t%s\n", many);
	cr_assert_eq(asked_read_status(text, &asker), 0);
	cr_expect_eq(asker.n_groups, ASKER_GROUPS);
}

Test(answer, what_is_cut_is_nobody)
{
	static const char whole[] = STATUS("df", "4");
	struct asker asker = { .uid = 99 };
	char text[sizeof(whole)];

	for (size_t n = 0; n < (size_t)(strstr(whole, "Groups:") - whole) + 7; n++) {
		memcpy(text, whole, n);
		text[n] = '\0';
		cr_assert_eq(asked_read_status(text, &asker), -EBADMSG, "%zu bytes", n);
		cr_assert_eq(asker.uid, 99);
	}
	/* A group whose number goes on is another. */
	cr_assert_eq(asked_read_status("\nUid:\t1\t1\t1\t1\nGid:\t1\t1\t1\t1\nGroups:\t4 12", &asker), 0);
	cr_expect_eq(asker.n_groups, 1);
}
