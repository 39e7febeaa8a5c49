/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/carry.h"

#include <stdbool.h>
#include <string.h>

/* One word of a command line, up to a space. */
struct word {
	const char *at;
	size_t len;
};

static bool next_word(const char **at, struct word *ret)
{
	*at += strspn(*at, " \t");
	ret->at = *at;
	ret->len = strcspn(*at, " \t");
	*at += ret->len;
	return ret->len > 0;
}

static bool is(const struct word *w, const char *text)
{
	return strlen(text) == w->len && !memcmp(w->at, text, w->len);
}

/* The program's name without its path. */
static struct word base_of(struct word w)
{
	const char *slash = memrchr(w.at, '/', w.len);

	if (slash) {
		w.len -= (size_t)(slash + 1 - w.at);
		w.at = slash + 1;
	}
	return w;
}

/* scp's other end: -t (to) or -f (from), alone or among other letters. */
static unsigned int scp_ways(const char *at)
{
	unsigned int ways = 0;
	struct word w;

	while (next_word(&at, &w) && w.at[0] == '-' && !is(&w, "--")) {
		if (memchr(w.at, 't', w.len))
			ways |= CARRY_UP;
		if (memchr(w.at, 'f', w.len))
			ways |= CARRY_DOWN;
	}
	return ways;
}

/* rsync's other end, which sends when it is told to. */
static unsigned int rsync_ways(const char *at)
{
	bool server = false, sender = false;
	struct word w;

	while (next_word(&at, &w)) {
		server |= is(&w, "--server");
		sender |= is(&w, "--sender");
	}
	return !server ? 0 : sender ? CARRY_DOWN : CARRY_UP;
}

unsigned int carry_ways(const char *command)
{
	struct word w;

	if (!next_word(&command, &w))
		return 0;
	w = base_of(w);
	if (is(&w, "scp"))
		return scp_ways(command);
	if (is(&w, "rsync"))
		return rsync_ways(command);
	return is(&w, "sftp-server") ? CARRY_UP | CARRY_DOWN : 0;
}
