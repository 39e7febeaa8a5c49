/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a guest's first process says reaches its parent, whenever it ends. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "provision/guest/child.h"

static const int none[INSIDE_FDS] = { -1, -1, -1 };

static struct child talk(int *ret_its)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	*ret_its = pair[1];
	return (struct child){ pair[0], 5 };
}

static void end_with(int its, int code)
{
	struct inside_report report = { 0 };

	err_set(&report.err, code, "cannot set the host name");
	cr_assert_eq(send(its, &report, sizeof(report), MSG_NOSIGNAL), sizeof(report));
	close(its);
}

Test(child, says_why_it_ended_before_a_word)
{
	struct err err = { 0 };
	struct child child;
	int its;

	child = talk(&its);
	end_with(its, -EPERM);
	cr_expect_eq(child_tell(&child, none, &err), -EPERM);
	cr_expect_str_eq(err.text, "cannot set the host name");
}

/* One that it never read. An error of 1 is an error, too. */
Test(child, says_why_it_ended_with_a_word_unread)
{
	const int codes[] = { -EPERM, ERR_FAILED };

	for (int i = 0; i < 2; i++) {
		struct err err = { 0 };
		struct inside_report report;
		struct child child;
		bool ended = true;
		int its, fd;

		child = talk(&its);
		cr_expect_eq(child_tell(&child, none, &err), 0);
		end_with(its, codes[i]);
		cr_expect_eq(child_receive(&child, &report, &ended, &fd, &err), codes[i]);
		cr_expect_str_eq(err.text, "cannot set the host name");
		cr_expect(!ended);
	}
}

Test(child, that_says_nothing_has_ended)
{
	struct err err = { 0 };
	struct inside_report report;
	struct child child;
	bool ended = false;
	int its, fd;

	child = talk(&its);
	close(its);
	cr_expect_eq(child_receive(&child, &report, &ended, &fd, &err), 0);
	cr_expect(ended);
	cr_expect_eq(child_tell(&child, none, &err), ERR_FAILED);
	cr_expect(strstr(err.text, "died"));
}
