/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/cleanup.h"
#include "provision/cli/command.h"
#include "provision/cli/publickey.h"

static const struct column columns[] = {
	{ "id", "ID", COLUMN_NUMBER, false },
	{ "tenant", "TENANT", COLUMN_TEXT, false },
	{ "type", "TYPE", COLUMN_TEXT, false },
	{ "fingerprint", "FINGERPRINT", COLUMN_TEXT, false },
	{ "principals", "PRINCIPALS", COLUMN_TEXT, false },
	{ "comment", "COMMENT", COLUMN_TEXT, false },
	{ "created", "CREATED", COLUMN_TIME, false },
	{ 0 },
};

static const struct option_spec add_options[] = {
	{ "tenant", OPTION_TEXT, "NAME", "tenant", "for this tenant alone, not for all of this host", false },
	{ "principal", OPTION_TEXT, "NAME", "principal",
	  "certificates need this name, not the tenant's own", true },
	{ "comment", OPTION_TEXT, "TEXT", "comment", "instead of the line's own", false },
	{ 0 },
};

/* One file, one authority. */
static void keep_line(void *data, const char *line)
{
	char **kept = data;

	if (kept[0])
		kept[1] = kept[0];
	else
		kept[0] = xstrdup(line);
}

static int add(struct cli *cli, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };
	CLEANUP_FREE char *line = NULL;
	char *kept[2] = { 0 };
	int r = publickey_read(cli->words[0], keep_line, kept, err);

	line = kept[0];
	if (r == 0 && kept[1])
		r = err_set(err, ERR_USAGE, "%s holds several keys: give one authority at a time",
			    cli->words[0]);
	if (r != 0)
		return r;
	command_fill(cli, &request);
	msg_add(&request, "key", line);
	return command_request(cli, &request, err);
}

static const struct verb verbs[] = {
	{ .name = "add", .help = "Let in whom the authority with this public key certifies.",
	  .usage = "FILE", .op = "ca.add", .min_words = 1, .max_words = 1, .options = add_options,
	  .columns = columns, .shape = TABLE_ONE, .run = add },
	{ .name = "list", .help = "List the authorities: all, or those that count for a tenant.",
	  .usage = "[TENANT]", .op = "ca.list", .words = { "tenant" }, .max_words = 1,
	  .columns = columns, .shape = TABLE_MANY },
	{ .name = "remove", .help = "Let it certify nobody any more, by id or fingerprint (SHA256:...).",
	  .usage = "CA", .op = "ca.remove", .words = { "ca" }, .min_words = 1, .max_words = 1 },
	{ 0 },
};

const struct noun noun_ca = { "ca", "Authorities whose SSH certificates let tenants in.", verbs };
