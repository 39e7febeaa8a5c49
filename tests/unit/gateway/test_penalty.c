/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sources that are not served for a while. */
#include <criterion/criterion.h>

#include "gateway/penalty.h"

static struct penalties p;

Test(penalty, adds_up_and_passes)
{
	penalty_add(&p, 1, PENALTY_FAILED, 1000);
	penalty_add(&p, 1, PENALTY_FAILED, 1000);
	cr_expect_not(penalty_closed(&p, 1, 1000), "ten seconds are few");
	penalty_add(&p, 1, PENALTY_FAILED, 1000);
	cr_expect(penalty_closed(&p, 1, 1000));
	cr_expect_not(penalty_closed(&p, 2, 1000), "another has done nothing");
	/* Once closed, until all of it has passed. */
	cr_expect(penalty_closed(&p, 1, 15999));
	cr_expect_not(penalty_closed(&p, 1, 16000));
	penalty_add(&p, 1, PENALTY_FAILED, 17000);
	cr_expect_not(penalty_closed(&p, 1, 17000), "what has passed is forgotten");
}

Test(penalty, who_fails_now_and_then_is_served)
{
	for (int64_t now = 0; now < 3600000; now += 6000) {
		penalty_add(&p, 1, PENALTY_FAILED, now);
		cr_assert_not(penalty_closed(&p, 1, now));
	}
}

Test(penalty, has_an_end)
{
	for (int i = 0; i < 1000; i++)
		penalty_add(&p, 1, PENALTY_BROKEN, 5);
	cr_expect(penalty_closed(&p, 1, PENALTY_MOST_S * 1000));
	cr_expect_not(penalty_closed(&p, 1, PENALTY_MOST_S * 1000 + 5));
	penalty_add(&p, 3, 'x', 5);
	cr_expect_eq(p.n, 1, "a byte that is no reason");
}

Test(penalty, a_flood_of_sources_forgets_the_lightest)
{
	for (int i = 0; i < 10; i++)
		penalty_add(&p, 1, PENALTY_BROKEN, 0);
	for (uint64_t source = 2; source < 3 * PENALTY_SOURCES; source++)
		penalty_add(&p, source, PENALTY_NO_LOGIN, 0);
	cr_expect_eq(p.n, PENALTY_SOURCES);
	cr_expect(penalty_closed(&p, 1, 1));
}
