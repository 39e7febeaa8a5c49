/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who all the connections are from. */
#include <criterion/criterion.h>

#include "gateway/sources.h"

Test(sources, counts_and_forgets)
{
	struct sources s;

	sources_init(&s, 3);
	sources_add(&s, 11, 1);
	sources_add(&s, 12, 2);
	sources_add(&s, 13, 1);
	cr_expect_eq(sources_count(&s, 1), 2);
	cr_expect_eq(sources_count(&s, 2), 1);
	sources_add(&s, 14, 2);
	cr_expect_eq(sources_count(&s, 2), 1, "there was no room");
	sources_drop(&s, 11);
	sources_drop(&s, 99);
	cr_expect_eq(sources_count(&s, 1), 1);
	sources_add(&s, 14, 2);
	cr_expect_eq(sources_count(&s, 2), 2);
}
