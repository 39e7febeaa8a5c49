/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gateway/starting.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

/* So many are drawn to find a crowded source: whoever has many connections is drawn often. */
#define DRAWS 8

void starting_init(struct starting *s, uint64_t max)
{
	*s = (struct starting){ .of = xcalloc(max, sizeof(*s->of)), .max = max };
}

uint64_t starting_source(const struct sockaddr_storage *address)
{
	const struct sockaddr_in *four = (const struct sockaddr_in *)address;
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)address;
	uint32_t mapped;
	uint64_t network;

	if (address->ss_family == AF_INET)
		return ntohl(four->sin_addr.s_addr);
	if (address->ss_family != AF_INET6)
		return 0;
	if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
		memcpy(&mapped, &six->sin6_addr.s6_addr[12], sizeof(mapped));
		return ntohl(mapped);
	}
	memcpy(&network, six->sin6_addr.s6_addr, sizeof(network));
	return network;
}

void starting_add(struct starting *s, const struct starting_one *one)
{
	s->of[s->n++] = *one;
}

void starting_reaped(struct starting *s, pid_t pid)
{
	for (uint64_t i = 0; i < s->n; i++) {
		if (s->of[i].pid == pid)
			s->of[i].pid = 0;
	}
}

bool starting_drops(const struct starting *s, uint64_t from, uint64_t rate, uint32_t lot)
{
	if (from == 0 || s->n < from)
		return false;
	return s->n >= s->max || lot < rate + (100 - rate) * (s->n - from) / (s->max - from);
}

static uint64_t count(const struct starting *s, uint64_t source)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < s->n; i++)
		n += s->of[i].source == source;
	return n;
}

/* Where the oldest of a source is. */
static uint64_t oldest(const struct starting *s, uint64_t source)
{
	uint64_t at = 0;

	while (s->of[at].source != source)
		at++;
	return at;
}

/*
 * Where the oldest of a source with many connections is, *ret_count of them. Of sources with equally
 * many it is one that has waited long: who has just come is not sent away by a crowd from everywhere.
 */
static uint64_t crowded(const struct starting *s, uint64_t *ret_count)
{
	uint64_t most = 0, found = 0;

	for (int i = 0; i < DRAWS; i++) {
		uint64_t drawn = s->of[arc4random_uniform((uint32_t)s->n)].source;
		uint64_t n = count(s, drawn), at = oldest(s, drawn);

		if (n > most || (n == most && at < found)) {
			most = n;
			found = at;
		}
	}
	*ret_count = most;
	return found;
}

pid_t starting_evict(struct starting *s, uint64_t source, int64_t now)
{
	uint64_t most, at;
	pid_t pid;

	if (s->n == 0)
		return 0;
	at = crowded(s, &most);
	if (most <= count(s, source) && now - s->of[at].since < STARTING_PATIENCE_MS)
		return 0;
	pid = s->of[at].pid;
	fd_close(s->of[at].pipe);
	memmove(&s->of[at], &s->of[at + 1], (s->n - at - 1) * sizeof(*s->of));
	s->n--;
	/* One that has gone by itself in this moment leaves room as well. */
	return pid ? pid : -1;
}
