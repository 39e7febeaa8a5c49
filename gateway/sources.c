/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gateway/sources.h"

#include "provision/base/str.h"

void sources_init(struct sources *s, uint64_t max)
{
	*s = (struct sources){ .of = xcalloc(max, sizeof(*s->of)), .max = max };
}

void sources_add(struct sources *s, pid_t pid, uint64_t source)
{
	if (s->n < s->max)
		s->of[s->n++] = (struct sources_one){ pid, source };
}

void sources_drop(struct sources *s, pid_t pid)
{
	for (uint64_t i = 0; i < s->n; i++) {
		if (s->of[i].pid != pid)
			continue;
		s->of[i] = s->of[--s->n];
		return;
	}
}

uint64_t sources_count(const struct sources *s, uint64_t source)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < s->n; i++)
		n += s->of[i].source == source;
	return n;
}
