/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <limits.h>
#include <stdlib.h>

#include "provision/base/cleanup.h"
#include "provision/cli/command.h"

static const struct column columns[] = {
	{ "name", "NAME", COLUMN_TEXT, false },
	{ "suite", "SUITE", COLUMN_TEXT, false },
	{ "state", "STATE", COLUMN_TEXT, false },
	{ "bytes", "SIZE", COLUMN_SIZE, false },
	{ "created", "CREATED", COLUMN_TIME, false },
	{ 0 },
};

static const struct option_spec build_options[] = {
	{ "suite", OPTION_TEXT, "SUITE", "suite", "Debian's release (bookworm)", false },
	{ "include", OPTION_TEXT, "PKG,PKG", "include", "more packages", false },
	{ "variant", OPTION_TEXT, "VARIANT", "variant", "of mmdebstrap(1) (minbase)", false },
	{ "mirror", OPTION_TEXT, "URL", "mirror", "of Debian's packages (the host's own)", false },
	{ 0 },
};

/* vm2d works in another folder: a relative path means ours. */
static int import(struct cli *cli, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };
	CLEANUP_FREE char *path = realpath(cli->words[1], NULL);

	if (!path)
		return err_sys(err, errno, "cannot import %s", cli->words[1]);
	cli->words[1] = path;
	command_fill(cli, &request);
	return command_request(cli, &request, err);
}

static const struct option_spec remove_options[] = { OPTION_YES, { 0 } };

static const struct verb verbs[] = {
	{ .name = "build", .help = "Make a Debian template with mmdebstrap.", .usage = "NAME",
	  .op = "template.build", .words = { "name" }, .min_words = 1, .max_words = 1, .slow = true,
	  .options = build_options },
	{ .name = "import", .help = "Take a directory tree as a template.", .usage = "NAME TREE",
	  .op = "template.import", .words = { "name", "path" }, .min_words = 2, .max_words = 2,
	  .slow = true, .run = import },
	{ .name = "list", .help = "List the templates.", .op = "template.list", .columns = columns,
	  .shape = TABLE_MANY },
	{ .name = "remove", .help = "Remove a template that no guest stands on.", .usage = "NAME",
	  .op = "template.remove", .words = { "name" }, .min_words = 1, .max_words = 1, .slow = true,
	  .options = remove_options, .confirm = "remove the template" },
	{ 0 },
};

const struct noun noun_template = { "template", "The trees that new guests are made from.", verbs };
