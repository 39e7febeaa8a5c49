/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/cli/command.h"
#include "provision/cli/publickey.h"

static const struct column columns[] = {
	{ "id", "ID", COLUMN_NUMBER, false },
	{ "type", "TYPE", COLUMN_TEXT, false },
	{ "fingerprint", "FINGERPRINT", COLUMN_TEXT, false },
	{ "comment", "COMMENT", COLUMN_TEXT, false },
	{ "options", "OPTIONS", COLUMN_TEXT, false },
	{ "created", "CREATED", COLUMN_TIME, false },
	{ 0 },
};

/* Options of `key add`, and those of authorized_keys that they become. */
static const struct {
	const char *name, *becomes;
} restrictions[] = {
	{ "restrict", "restrict" },
	{ "no-pty", "no-pty" },
	{ "no-port-forwarding", "no-port-forwarding" },
	{ "no-touch-required", "no-touch-required" },
	{ "verify-required", "verify-required" },
	{ "from", "from" },
	{ "expires", "expiry-time" },
	{ "permit-open", "permitopen" },
	{ "permit-listen", "permitlisten" },
	{ "command", "command" },
};

static const struct option_spec add_options[] = {
	{ "from", OPTION_TEXT, "PREFIXES", NULL, "may be used from there alone: 192.0.2.0/24,2001:db8::1", false },
	{ "expires", OPTION_TEXT, "TIME", NULL, "until then: 20270131 or 202701311200Z", false },
	{ "command", OPTION_TEXT, "COMMAND", NULL, "runs this whatever is asked for; internal-sftp: files alone", false },
	{ "permit-open", OPTION_TEXT, "HOST:PORT", NULL, "may forward to there alone", true },
	{ "permit-listen", OPTION_TEXT, "PORT", NULL, "may have this port forwarded alone", true },
	{ "no-pty", OPTION_FLAG, NULL, NULL, "may have no terminal", false },
	{ "no-port-forwarding", OPTION_FLAG, NULL, NULL, "may forward nothing", false },
	{ "restrict", OPTION_FLAG, NULL, NULL, "may neither: nothing but run commands", false },
	{ "no-touch-required", OPTION_FLAG, NULL, NULL, "its authenticator need not be touched", false },
	{ "verify-required", OPTION_FLAG, NULL, NULL, "its authenticator must know who touches it", false },
	{ "comment", OPTION_TEXT, "TEXT", "comment", "instead of the line's own", false },
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

static void add_quoted(struct buf *b, const char *value)
{
	buf_puts(b, "=\"");
	for (; *value; value++)
		buf_printf(b, "%s%c", *value == '"' ? "\\" : "", *value);
	buf_puts(b, "\"");
}

/* The options as they would stand before the key. */
static void write_options(const struct cli *cli, struct buf *b)
{
	for (int i = 0; i < cli->n_options; i++) {
		const struct option *o = &cli->options[i];

		for (size_t j = 0; j < ARRAY_LEN(restrictions); j++) {
			if (strcmp(o->spec->name, restrictions[j].name) != 0)
				continue;
			buf_printf(b, "%s%s", b->len ? "," : "", restrictions[j].becomes);
			if (o->value)
				add_quoted(b, o->value);
		}
	}
}

static int add_keys(struct cli *cli, const struct keys *keys, struct table *t, struct err *err)
{
	CLEANUP_BUF struct buf options = { 0 };

	write_options(cli, &options);
	for (size_t i = 0; i < keys->n; i++) {
		CLEANUP_MSG struct msg request = { 0 };
		int r;

		msg_add(&request, "op", cli->verb->op);
		msg_add(&request, "tenant", cli->words[0]);
		msg_add(&request, "key", keys->lines[i]);
		msg_add(&request, "options", options.data);
		msg_add(&request, "comment", command_option(cli, "comment"));
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
	  .options = add_options,
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
