/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the checker says of what it sees. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "provision/daemon/checker.h"

static char said[1024];

static void note(void *data, const struct finding *f)
{
	size_t len = strlen(said);

	cr_assert_str_eq(f->name, "acme");
	snprintf(said + len, sizeof(said) - len, "%s %s;", f->kind, f->state);
}

static const char *judge(struct facts f)
{
	f.name = "acme";
	said[0] = '\0';
	checker_judge(&f, note, NULL);
	return said;
}

#define STOPPED .tenant = true, .intent = STORE_GUEST_PRESENT, .range = true, .files = true, .lock = true
#define RUNNING \
	STOPPED, .folder = true, .state = true, .alive = true, .running = true, .cgroup = true, \
		.held = true, .interface = true
#define JUDGE(...) judge((struct facts){ __VA_ARGS__ })

Test(checker, is_content)
{
	cr_expect_str_eq(JUDGE(RUNNING), "");
	cr_expect_str_eq(JUDGE(STOPPED), "");
	/* Stopped from inside: its folder with console and log stays. */
	cr_expect_str_eq(JUDGE(STOPPED, .folder = true), "");
	/* A vm2-guest between two runs of its init. */
	cr_expect_str_eq(JUDGE(STOPPED, .folder = true, .alive = true), "");
	cr_expect_str_eq(JUDGE(.tenant = true, .lock = true), "");
}

Test(checker, finds_what_is_lost)
{
	cr_expect_str_eq(JUDGE(.tenant = true, .intent = STORE_GUEST_PRESENT, .range = true),
			 "files lost;");
	cr_expect_str_eq(JUDGE(.tenant = true, .intent = STORE_GUEST_PRESENT, .files = true),
			 "uids lost;");
	cr_expect_str_eq(JUDGE(STOPPED, .folder = true, .state = true, .alive = true, .running = true),
			 "cgroup lost;interface lost;");
	/* There, and its processes are elsewhere. */
	cr_expect_str_eq(JUDGE(STOPPED, .folder = true, .state = true, .alive = true, .running = true,
			       .cgroup = true, .interface = true),
			 "cgroup lost;");
}

Test(checker, finds_what_is_left)
{
	cr_expect_str_eq(JUDGE(.files = true, .snapshots = true, .making = true),
			 "files left;unfinished files left;snapshots left;");
	cr_expect_str_eq(JUDGE(.lock = true), "lock left;");
	cr_expect_str_eq(JUDGE(STOPPED, .folder = true, .state = true, .cgroup = true,
			       .interface = true),
			 "state left;cgroup left;interface left;");
	cr_expect_str_eq(JUDGE(.folder = true, .alive = true), "folder left;process left;");
	/* One whose folder is gone, and one beside the guest's own. */
	cr_expect_str_eq(JUDGE(STOPPED, .stray = true), "process left;");
	cr_expect_str_eq(JUDGE(RUNNING, .stray = true), "process left;");
}

Test(checker, finds_what_is_half_done)
{
	cr_expect_str_eq(JUDGE(.tenant = true, .intent = STORE_GUEST_CREATING, .range = true),
			 "row half;");
	cr_expect_str_eq(JUDGE(.tenant = true, .intent = STORE_GUEST_DESTROYING, .range = true),
			 "row half;");
}
