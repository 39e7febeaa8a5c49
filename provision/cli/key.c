/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/cleanup.h"
#include "provision/cli/command.h"
#include "provision/cli/publickey.h"

static const struct column columns[] = {
	{ "id", "ID", COLUMN_NUMBER, false },
	{ "type", "TYPE", COLUMN_TEXT, false },
	{ "fingerprint", "FINGERPRINT", COLUMN_TEXT, false },
	{ "comment", "COMMENT", COLUMN_TEXT, false },
	{ "created", "CREATED", COLUMN_TIME, false },
	{ 0 },
};

struct keys {
	char **lines;
	size_t n;
};

static void add_line(void *data, const char *line)
{
	struct keys *keys = data;
	char **more = reallocarray(keys->lines, keys->n + 1, sizeof(*more));

	if (!more)
		abort();
	keys->lines = more;
	keys->lines[keys->n++] = xstrdup(line);
}

static void add_row(void *data, const struct msg *row)
{
	table_add(data, row);
}

static int add_keys(struct cli *cli, const struct keys *keys, struct table *t, struct err *err)
{
	for (size_t i = 0; i < keys->n; i++) {
		CLEANUP_MSG struct msg request = { 0 };
		int r;

		msg_add(&request, "op", cli->verb->op);
		msg_add(&request, "tenant", cli->words[0]);
		msg_add(&request, "key", keys->lines[i]);
		r = command_call(cli, &request, add_row, t, NULL, err);
		if (r != 0 && i > 0)
			err_wrap(err, "after %zu of %zu keys", i, keys->n);
		if (r != 0)
			return r;
	}
	return 0;
}

/* vm2 key add TENANT FILE: one request for each line that holds a key. */
static int add(struct cli *cli, struct err *err)
{
	struct keys keys = { 0 };
	struct table *t = table_new(cli->verb->columns, cli->verb->shape);
	int r = publickey_read(cli->words[1], add_line, &keys, err);

	if (r == 0)
		r = add_keys(cli, &keys, t, err);
	if (r == 0 && cli->json)
		table_print_json(t, stdout);
	else if (r == 0 && !cli->quiet)
		table_print(t, stdout, isatty(STDOUT_FILENO));
	for (size_t i = 0; i < keys.n; i++)
		free(keys.lines[i]);
	free(keys.lines);
	table_free(t);
	return r;
}

static const struct verb verbs[] = {
	{ .name = "add", .help = "Let the keys in FILE (- is standard input) log in.",
	  .usage = "TENANT FILE", .op = "key.add", .min_words = 2, .max_words = 2,
	  .columns = columns, .shape = TABLE_MANY, .run = add },
	{ .name = "list", .help = "List a tenant's keys.", .usage = "TENANT", .op = "key.list",
	  .words = { "tenant" }, .min_words = 1, .max_words = 1, .columns = columns,
	  .shape = TABLE_MANY },
	{ .name = "remove", .help = "Remove a key, by fingerprint (SHA256:...) or id.",
	  .usage = "TENANT KEY", .op = "key.remove", .words = { "tenant", "fingerprint" },
	  .min_words = 2, .max_words = 2 },
	{ 0 },
};

const struct noun noun_key = { "key", "The SSH keys that a tenant logs in with.", verbs };
