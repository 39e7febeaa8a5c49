/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/replay.h"

#include <jansson.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/cli/screen.h"

/* An event is at most what one read from a terminal gave, in JSON: far below this. */
#define LINE_MAX_BYTES (1 << 20)

static void cleanup_json(json_t **j)
{
	json_decref(*j);
}
#define CLEANUP_JSON __attribute__((cleanup(cleanup_json)))

/* Signals that end a replay; blocked while it runs, so that waiting for time finds them too. */
static void end_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGHUP);
	sigaddset(set, SIGQUIT);
}

/* Wait. False when the person had enough. */
static bool wait_seconds(double seconds)
{
	struct timespec t;
	sigset_t set;

	if (!(seconds > 0))
		seconds = 0;
	if (seconds > 1e6)
		seconds = 1e6;
	t.tv_sec = (time_t)seconds;
	t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
	end_signals(&set);
	return sigtimedwait(&set, NULL, &t) < 0;
}

static int check_header(const char *line, struct err *err)
{
	CLEANUP_JSON json_t *header = json_loads(line, 0, NULL);

	if (json_integer_value(json_object_get(header, "version")) != 2)
		return err_set(err, ERR_FAILED, "this is no asciicast v2: its first line says no such");
	return 0;
}

struct state {
	const struct replay *how;
	int out;
	double shown_until; /* seconds of the recording */
	struct screen screen;
	bool enough;
};

static int show(struct state *s, const char *text, size_t len, struct err *err)
{
	CLEANUP_BUF struct buf b = { 0 };
	int r;

	if (s->how->terminal)
		screen_filter(&s->screen, text, len, &b);
	else
		buf_add(&b, text, len);
	r = b.len ? fd_write_all(s->out, b.data, b.len) : 0;
	return r < 0 ? err_sys(err, -r, "cannot write the replay") : 0;
}

static int event(struct state *s, const char *line, struct err *err)
{
	CLEANUP_JSON json_t *e = json_loads(line, JSON_ALLOW_NUL, NULL);
	const char *kind = json_string_value(json_array_get(e, 1));
	json_t *data = json_array_get(e, 2);
	double when = json_number_value(json_array_get(e, 0)), pause = when - s->shown_until;

	if (!kind || !json_is_string(data) || !json_is_number(json_array_get(e, 0)))
		return err_set(err, ERR_FAILED, "this is no event of an asciicast");
	if (strcmp(kind, "o"))
		return 0;
	if (s->how->max_idle > 0 && pause > s->how->max_idle)
		pause = s->how->max_idle;
	s->shown_until = when;
	if (s->how->terminal && !wait_seconds(pause / s->how->speed)) {
		s->enough = true;
		return 0;
	}
	return show(s, json_string_value(data), json_string_length(data), err);
}

static int play(FILE *in, struct state *s, struct err *err)
{
	CLEANUP_FREE char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	int r = 0;

	for (unsigned long number = 1; r == 0 && !s->enough; number++) {
		len = getline(&line, &cap, in);
		if (len < 0 && ferror(in))
			return err_sys(err, errno, "cannot read the recording");
		if (len > LINE_MAX_BYTES)
			return err_set(err, ERR_FAILED, "line %lu is too long for an asciicast", number);
		/* What lacks its line feed was cut off by a crash; all before it is whole. */
		if (len < 0 || (line[len - 1] != '\n' && number > 1))
			break;
		r = number == 1 ? check_header(line, err) : event(s, line, err);
		if (r == ERR_FAILED)
			err_wrap(err, "cannot replay: line %lu", number);
	}
	return r;
}

int replay_show(FILE *in, int out, const struct replay *how, struct err *err)
{
	struct state s = { .how = how, .out = out };
	sigset_t set, before;
	int r;

	end_signals(&set);
	if (how->terminal)
		sigprocmask(SIG_BLOCK, &set, &before);
	r = play(in, &s, err);
	if (how->terminal) {
		fd_write_all(out, SCREEN_RESET, strlen(SCREEN_RESET));
		sigprocmask(SIG_SETMASK, &before, NULL);
	}
	return r;
}
