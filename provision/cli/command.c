/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/command.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "provision/base/cleanup.h"

/* Between two signs of life of vm2d; a slow verb waits as long as it takes. */
#define TIMEOUT_MS 60000

/* --- options --- */

const char *command_option(const struct cli *cli, const char *name)
{
	for (int i = cli->n_options - 1; i >= 0; i--)
		if (!strcmp(cli->options[i].spec->name, name))
			return cli->options[i].value ? cli->options[i].value : "";
	return NULL;
}

const char *command_next_option(const struct cli *cli, const char *name, int *pos)
{
	while (*pos < cli->n_options) {
		const struct option *o = &cli->options[(*pos)++];

		if (!strcmp(o->spec->name, name))
			return o->value;
	}
	return NULL;
}

/* --- requests --- */

void command_fill(const struct cli *cli, struct msg *request)
{
	const struct verb *v = cli->verb;

	msg_add(request, "op", v->op);
	if (v->shape == TABLE_MANY)
		msg_add(request, "many", "1");
	for (int i = 0; i < cli->n_words && i < VERB_WORDS && v->words[i]; i++)
		msg_add(request, v->words[i], cli->words[i]);
	for (int i = 0; i < cli->n_options; i++) {
		const struct option *o = &cli->options[i];

		if (!o->spec->field)
			continue;
		if (o->spec->kind == OPTION_NUMBER || o->spec->kind == OPTION_SIZE)
			msg_add_u64(request, o->spec->field, o->number);
		else
			msg_add(request, o->spec->field, o->spec->kind == OPTION_FLAG ? "1" : o->value);
	}
}

struct progress {
	bool terminal, quiet, shown;
	void (*row)(void *data, const struct msg *row);
	void *data;
};

static void show_progress(void *data, const char *text)
{
	struct progress *p = data;
	CLEANUP_BUF struct buf b = { 0 };

	if (p->quiet)
		return;
	text_escape(&b, text);
	/* A line that changes in place: return to its start, write, erase what was longer. */
	if (p->terminal)
		fprintf(stderr, "\r%.200s\033[K", b.data ? b.data : "");
	else
		fprintf(stderr, "%s\n", b.data ? b.data : "");
	fflush(stderr);
	p->shown = p->terminal;
}

static void pass_row(void *data, const struct msg *row)
{
	struct progress *p = data;

	if (p->row)
		p->row(p->data, row);
}

int command_call(struct cli *cli, const struct msg *request, void (*row)(void *, const struct msg *),
		 void *data, struct msg *reply, struct err *err)
{
	struct progress progress = { isatty(STDERR_FILENO), cli->quiet, false, row, data };
	struct client_sink sink = { pass_row, show_progress, &progress };
	int r = client_call(cli->config->socket, request, cli->verb->slow ? 0 : TIMEOUT_MS, &sink,
			    reply, err);

	if (progress.shown)
		fprintf(stderr, "\r\033[K");
	return r;
}

static void add_row(void *data, const struct msg *row)
{
	table_add(data, row);
}

int command_request(struct cli *cli, const struct msg *request, struct err *err)
{
	struct table *t = table_new(cli->verb->columns, cli->verb->shape);
	int r = command_call(cli, request, cli->verb->shape == TABLE_NONE ? NULL : add_row, t, NULL,
			     err);

	if (r == 0 && cli->verb->shape == TABLE_NONE)
		command_done(cli);
	else if (r == 0 && cli->json)
		table_print_json(t, stdout);
	else if (r == 0 && (!cli->quiet || cli->verb->shape == TABLE_MANY))
		table_print(t, stdout, isatty(STDOUT_FILENO));
	table_free(t);
	return r;
}

void command_done(const struct cli *cli)
{
	if (cli->json)
		puts("{\"done\": true}");
}

void command_say(const struct cli *cli, const char *fmt, ...)
{
	va_list ap;

	if (cli->quiet || cli->json)
		return;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

int command_confirm(const struct cli *cli, struct err *err)
{
	char answer[16] = "";

	if (command_option(cli, "yes") || command_option(cli, "dry-run"))
		return 0;
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
		return err_set(err, ERR_USAGE,
			       "%s %s cannot be undone and there is no terminal to ask on: add --yes",
			       cli->noun->name, cli->verb->name);
	fprintf(stderr, "%s %s? [y/N] ", cli->verb->confirm, cli->n_words ? cli->words[0] : "");
	if (fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y'))
		return 0;
	return err_set(err, ERR_FAILED, "nothing was done: the answer was not yes");
}
