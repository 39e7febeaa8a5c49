/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who has to leave when too many are logging in. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>

#include "gateway/starting.h"

static struct starting crowd(uint64_t max)
{
	struct starting s;

	starting_init(&s, max);
	return s;
}

static void add(struct starting *s, pid_t pid, uint64_t source, int64_t since)
{
	starting_add(s, &(struct starting_one){ -1, pid, source, since });
}

static uint64_t source_of(const char *text)
{
	struct sockaddr_storage a = { 0 };
	struct sockaddr_in *four = (struct sockaddr_in *)&a;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&a;

	if (inet_pton(AF_INET, text, &four->sin_addr) == 1)
		a.ss_family = AF_INET;
	else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1)
		a.ss_family = AF_INET6;
	return starting_source(&a);
}

Test(starting, tells_places_apart)
{
	cr_expect_eq(source_of("192.0.2.1"), 0xc0000201);
	cr_expect_eq(source_of("::ffff:192.0.2.1"), 0xc0000201);
	cr_expect_eq(source_of("2001:db8::1"), source_of("2001:db8::ffff:1"), "one network");
	cr_expect_neq(source_of("2001:db8::1"), source_of("2001:db8:0:1::1"));
	cr_expect_neq(source_of("::ffff:192.0.2.1"), source_of("::ffff:192.0.2.2"));
}

Test(starting, a_crowd_makes_room_for_a_stranger)
{
	struct starting s = crowd(100);

	for (int i = 0; i < 99; i++)
		add(&s, 1000 + i, 7, i);
	add(&s, 2000, 8, 0);
	cr_expect_eq(starting_evict(&s, 9, 100), 1000, "the crowd's oldest");
	cr_expect_eq(s.n, 99);
	cr_expect_eq(s.of[0].pid, 1001);
	cr_expect_eq(starting_evict(&s, 8, 100), 1001);
}

Test(starting, but_not_for_one_more_of_its_own)
{
	struct starting s = crowd(3);

	for (int i = 0; i < 3; i++)
		add(&s, 1000 + i, 7, 0);
	cr_expect_eq(starting_evict(&s, 7, STARTING_PATIENCE_MS - 1), 0);
	cr_expect_eq(s.n, 3);
	cr_expect_eq(starting_evict(&s, 7, STARTING_PATIENCE_MS), 1000, "it has waited long enough");
}

Test(starting, many_places_with_one_each)
{
	struct starting s = crowd(50);

	for (int i = 0; i < 50; i++)
		add(&s, 1000 + i, (uint64_t)i, 0);
	cr_expect_neq(starting_evict(&s, 77, 1), 0, "whoever comes anew has a chance");
	cr_expect_eq(starting_evict(&s, s.of[0].source, 1), 0, "a second of one place has none");
}

/* A crowd from everywhere: who came last, and may be about to log in, is not its victim. */
Test(starting, who_has_just_come_is_not_sent_away)
{
	struct starting s = crowd(100);

	for (int i = 0; i < 100; i++)
		add(&s, 1000 + i, (uint64_t)i, 0);
	for (int i = 0; i < 500; i++) {
		/* Newer than the last ten is none in eight draws of a hundred: a chance of 1 in 10^8. */
		pid_t gone = starting_evict(&s, (uint64_t)(1000 + i), 1);

		cr_assert(gone != 0 && gone < 1000 + i + 90, "%d of %d", gone, i);
		add(&s, 1100 + i, (uint64_t)(1000 + i), 0);
	}
}

Test(starting, signals_nobody_who_is_gone)
{
	struct starting s = crowd(2);

	add(&s, 1000, 7, 0);
	add(&s, 1001, 7, 0);
	starting_reaped(&s, 1000);
	cr_expect_eq(starting_evict(&s, 8, 1), -1);
	cr_expect_eq(s.n, 1);
	cr_expect_eq(starting_evict(&(struct starting){ 0 }, 8, 1), 0);
}

/* As drop_connection() of OpenSSH's sshd.c, with MaxStartups 10:30:100. */
Test(starting, lots_are_drawn_from_a_number_on)
{
	struct starting s = crowd(100);

	s.n = 9;
	cr_expect_not(starting_drops(&s, 10, 30, 0));
	s.n = 10;
	cr_expect(starting_drops(&s, 10, 30, 29));
	cr_expect_not(starting_drops(&s, 10, 30, 30));
	s.n = 55;
	cr_expect(starting_drops(&s, 10, 30, 64));
	cr_expect_not(starting_drops(&s, 10, 30, 65));
	s.n = 100;
	cr_expect(starting_drops(&s, 10, 30, 99), "full");
	cr_expect_not(starting_drops(&s, 0, 30, 0), "not asked for");
	cr_expect(starting_drops(&s, 200, 30, 99) == false, "more than there can be");
}
