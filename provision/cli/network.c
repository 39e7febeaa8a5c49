/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What guests send and receive: now, and by the hour. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/cli/command.h"

#define INTERVAL_S  2
#define INTERVAL_MAX 3600
#define CLEAR	    "\033[H\033[J" /* to the corner, and erase what is below (ECMA-48 CUP, ED) */

static const struct column top_columns[] = {
	{ "tenant", "TENANT", COLUMN_TEXT, false },
	{ "interface", "INTERFACE", COLUMN_TEXT, false },
	{ "receives", "RECEIVES/S", COLUMN_SIZE, false },
	{ "sends", "SENDS/S", COLUMN_SIZE, false },
	{ "receives_packets", "PACKETS/S", COLUMN_NUMBER, false },
	{ "sends_packets", "PACKETS/S", COLUMN_NUMBER, false },
	{ "received_bytes", "RECEIVED", COLUMN_SIZE, false },
	{ "sent_bytes", "SENT", COLUMN_SIZE, false },
	{ "drops", "DROPS/S", COLUMN_NUMBER, false },
	{ "dropped", "DROPPED", COLUMN_NUMBER, false },
	{ 0 },
};

static const struct column history_columns[] = {
	{ "hour", "HOUR", COLUMN_TIME, false },
	{ "received_packets", "PACKETS IN", COLUMN_NUMBER, false },
	{ "received_bytes", "RECEIVED", COLUMN_SIZE, false },
	{ "sent_packets", "PACKETS OUT", COLUMN_NUMBER, false },
	{ "sent_bytes", "SENT", COLUMN_SIZE, false },
	{ "dropped", "DROPPED", COLUMN_NUMBER, false },
	{ 0 },
};

enum { RECEIVED_BYTES, SENT_BYTES, RECEIVED_PACKETS, SENT_PACKETS, DROPPED, VALUES };

static const char *const fields[VALUES] = { "received_bytes", "sent_bytes", "received_packets",
					     "sent_packets", "dropped" };
static const char *const rates[VALUES] = { "receives", "sends", "receives_packets",
					    "sends_packets", "drops" };

struct line {
	char tenant[NAME_LEN_MAX + 1], interface[16];
	uint64_t sum[VALUES], rate[VALUES]; /* rate: a second */
};

struct sample {
	struct line *of;
	size_t n, cap;
	int64_t at_ms;
};

static void free_sample(struct sample *s)
{
	free(s->of);
	*s = (struct sample){ 0 };
}

static void take_row(void *data, const struct msg *row)
{
	struct sample *s = data;
	const char *tenant = msg_get(row, "tenant"), *interface = msg_get(row, "interface");
	struct line *l;

	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 64;
		s->of = reallocarray(s->of, s->cap, sizeof(*s->of));
		if (!s->of)
			abort();
	}
	l = &s->of[s->n++];
	*l = (struct line){ 0 };
	snprintf(l->tenant, sizeof(l->tenant), "%s", tenant ? tenant : "");
	snprintf(l->interface, sizeof(l->interface), "%s", interface ? interface : "");
	for (int i = 0; i < VALUES; i++)
		msg_get_u64(row, fields[i], 0, UINT64_MAX, &l->sum[i], NULL);
}

static int take_sample(struct cli *cli, struct sample *ret, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };

	msg_add(&request, "op", cli->verb->op);
	ret->at_ms = clock_ms();
	return command_call(cli, &request, take_row, ret, NULL, err);
}

/* Both come ordered by name; one that was not there before has no rate yet. */
static void rate(struct sample *now, const struct sample *before)
{
	int64_t ms = now->at_ms - before->at_ms;
	size_t j = 0;

	for (size_t i = 0; ms > 0 && i < now->n; i++) {
		struct line *l = &now->of[i];

		while (j < before->n && strcmp(before->of[j].tenant, l->tenant) < 0)
			j++;
		if (j == before->n || strcmp(before->of[j].tenant, l->tenant) != 0)
			continue;
		for (int v = 0; v < VALUES; v++)
			if (l->sum[v] >= before->of[j].sum[v])
				l->rate[v] = (l->sum[v] - before->of[j].sum[v]) * 1000 /
					     (uint64_t)ms;
	}
}

/* The busiest first. */
static int compare(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	uint64_t left = x->rate[RECEIVED_BYTES] + x->rate[SENT_BYTES];
	uint64_t right = y->rate[RECEIVED_BYTES] + y->rate[SENT_BYTES];

	return left != right ? (left < right) - (left > right) : strcmp(x->tenant, y->tenant);
}

/* A copy is ordered: the next sample is compared with this one, by name. */
static void show(const struct cli *cli, const struct sample *s, bool live)
{
	struct line *lines = xcalloc(s->n + 1, sizeof(*lines));
	struct table *t = table_new(top_columns, TABLE_MANY);

	if (s->n) {
		memcpy(lines, s->of, s->n * sizeof(*lines));
		qsort(lines, s->n, sizeof(*lines), compare);
	}
	for (size_t i = 0; i < s->n; i++) {
		CLEANUP_MSG struct msg row = { 0 };

		msg_add(&row, "tenant", lines[i].tenant);
		msg_add(&row, "interface", lines[i].interface);
		for (int v = 0; v < VALUES; v++) {
			msg_add_u64(&row, fields[v], lines[i].sum[v]);
			msg_add_u64(&row, rates[v], lines[i].rate[v]);
		}
		table_add(t, &row);
	}
	if (live)
		fputs(CLEAR, stdout);
	if (cli->json)
		table_print_json(t, stdout);
	else
		table_print(t, stdout, isatty(STDOUT_FILENO));
	fflush(stdout);
	table_free(t);
	free(lines);
}

/* On a terminal until it is interrupted, elsewhere once. */
static int top(struct cli *cli, struct err *err)
{
	__attribute__((cleanup(free_sample))) struct sample before = { 0 }, now = { 0 };
	bool live = !cli->json && isatty(STDOUT_FILENO);
	const char *text = command_option(cli, "interval");
	uint64_t interval = INTERVAL_S;
	int r;

	if (text && (parse_u64(text, INTERVAL_MAX, &interval) < 0 || interval == 0))
		return err_set(err, ERR_USAGE, "--interval '%.20s' is not 1 to %d seconds", text,
			       INTERVAL_MAX);
	r = take_sample(cli, &before, err);
	while (r == 0) {
		sleep((unsigned int)interval);
		r = take_sample(cli, &now, err);
		if (r != 0)
			break;
		rate(&now, &before);
		show(cli, &now, live);
		if (!live)
			break;
		free_sample(&before);
		before = now;
		now = (struct sample){ 0 };
	}
	return r;
}

static const struct option_spec top_options[] = {
	{ "interval", OPTION_NUMBER, "SECONDS", NULL, "between two looks (2)", false },
	{ 0 },
};

static const struct option_spec history_options[] = {
	{ "hours", OPTION_NUMBER, "N", "hours", "as many as these, up to now (24)", false },
	{ 0 },
};

static const struct verb verbs[] = {
	{ .name = "top", .help = "What guests send and receive now, the busiest first.",
	  .op = "network.traffic", .options = top_options, .columns = top_columns,
	  .shape = TABLE_MANY, .run = top },
	{ .name = "history", .help = "What a tenant's guest sent and received, by the hour.",
	  .usage = "TENANT", .op = "network.history", .words = { "tenant" }, .min_words = 1,
	  .max_words = 1, .options = history_options, .columns = history_columns,
	  .shape = TABLE_MANY },
	{ 0 },
};

const struct noun noun_network = { "network", "What guests send and receive.", verbs };
