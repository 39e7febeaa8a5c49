/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gateway/penalty.h"

#include <stddef.h>

#include "provision/base/cleanup.h"

static const struct {
	char reason;
	int seconds;
} costs[] = {
	{ PENALTY_NO_LOGIN, 1 },
	{ PENALTY_FAILED, 5 },
	{ PENALTY_LATE, 10 },
	{ PENALTY_BROKEN, 90 },
};

static int cost_ms(char reason)
{
	for (size_t i = 0; i < ARRAY_LEN(costs); i++)
		if (costs[i].reason == reason)
			return costs[i].seconds * 1000;
	return 0;
}

/* The source's own place, or one that may be had: a new one, or that whose time is over first. */
static struct penalty *place(struct penalties *p, uint64_t source)
{
	struct penalty *first = &p->of[0];

	for (uint32_t i = 0; i < p->n; i++) {
		if (p->of[i].source == source)
			return &p->of[i];
		if (p->of[i].until < first->until)
			first = &p->of[i];
	}
	if (p->n < PENALTY_SOURCES)
		first = &p->of[p->n++];
	*first = (struct penalty){ .source = source };
	return first;
}

void penalty_add(struct penalties *p, uint64_t source, char reason, int64_t now)
{
	int cost = cost_ms(reason);
	struct penalty *one;

	if (!cost)
		return;
	one = place(p, source);
	if (one->until <= now)
		*one = (struct penalty){ .source = source, .until = now };
	one->until += cost;
	if (one->until > now + PENALTY_MOST_S * 1000)
		one->until = now + PENALTY_MOST_S * 1000;
	if (one->until >= now + PENALTY_LEAST_S * 1000)
		one->closed = true;
}

bool penalty_closed(const struct penalties *p, uint64_t source, int64_t now)
{
	for (uint32_t i = 0; i < p->n; i++)
		if (p->of[i].source == source)
			return p->of[i].closed && p->of[i].until > now;
	return false;
}
