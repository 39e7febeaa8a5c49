/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/cleanup.h"
#include "provision/cli/command.h"

static const struct column show_columns[] = {
	{ "what", "WHAT", COLUMN_TEXT, false },
	{ "verdict", "IS", COLUMN_TEXT, false },
	{ "counter", "COUNTER", COLUMN_TEXT, false },
	{ "packets", "PACKETS", COLUMN_NUMBER, false },
	{ "bytes", "SIZE", COLUMN_SIZE, false },
	{ 0 },
};

static const struct column plan_columns[] = {
	{ "difference", "DIFFERENCE", COLUMN_TEXT, false },
	{ "what", "WHAT", COLUMN_TEXT, false },
	{ 0 },
};

struct rows {
	struct table *table;
	int n;
};

static void add_row(void *data, const struct msg *row)
{
	struct rows *rows = data;

	rows->n++;
	table_add(rows->table, row);
}

static int ask_plan(struct cli *cli, int *ret, struct err *err)
{
	struct rows rows = { table_new(cli->verb->columns, TABLE_MANY), 0 };
	CLEANUP_MSG struct msg request = { 0 };
	int r;

	msg_add(&request, "op", "firewall.plan");
	r = command_call(cli, &request, add_row, &rows, NULL, err);
	if (r == 0 && cli->json)
		table_print_json(rows.table, stdout);
	else if (r == 0 && rows.n)
		table_print(rows.table, stdout, isatty(STDOUT_FILENO));
	table_free(rows.table);
	*ret = rows.n;
	return r;
}

static int plan(struct cli *cli, struct err *err)
{
	int n = 0, r = ask_plan(cli, &n, err);

	if (r == 0 && n == 0)
		command_say(cli, "the kernel has what the database means");
	return r;
}

static int verify(struct cli *cli, struct err *err)
{
	int n = 0, r = ask_plan(cli, &n, err);

	if (r == 0 && n > 0)
		return err_set(err, ERR_FAILED,
			       "the firewall differs from the database in %d place%s: "
			       "vm2 firewall restore",
			       n, n == 1 ? "" : "s");
	return r;
}

static int restore(struct cli *cli, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };
	int r;

	if (command_option(cli, "dry-run"))
		return plan(cli, err);
	msg_add(&request, "op", "firewall.restore");
	r = command_call(cli, &request, NULL, NULL, NULL, err);
	if (r == 0)
		command_done(cli);
	return r;
}

static const struct option_spec restore_options[] = {
	{ "dry-run", OPTION_FLAG, NULL, NULL, "show what it would change, but change nothing", false },
	{ 0 },
};

static const struct verb verbs[] = {
	{ .name = "show", .help = "Show the policy in words, and what was dropped.",
	  .op = "firewall.show", .columns = show_columns, .shape = TABLE_MANY },
	{ .name = "plan", .help = "Show how the kernel's table differs from the database.",
	  .columns = plan_columns, .shape = TABLE_MANY, .run = plan },
	{ .name = "verify", .help = "The same; exit status 1 when there is a difference.",
	  .columns = plan_columns, .shape = TABLE_MANY, .run = verify },
	{ .name = "restore", .help = "Put the whole table into the kernel anew, and restore links.",
	  .options = restore_options, .columns = plan_columns, .run = restore },
	{ 0 },
};

const struct noun noun_firewall = { "firewall", "The rules that guests' packets pass.", verbs };
