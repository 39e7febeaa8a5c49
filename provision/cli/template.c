/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/cli/command.h"

static const struct column columns[] = {
	{ "name", "NAME", COLUMN_TEXT, false },
	{ "suite", "SUITE", COLUMN_TEXT, false },
	{ "state", "STATE", COLUMN_TEXT, false },
	{ "bytes", "SIZE", COLUMN_SIZE, false },
	{ "created", "CREATED", COLUMN_TIME, false },
	{ "digest", "DIGEST", COLUMN_TEXT, false },
	{ 0 },
};

static const struct column verify_columns[] = {
	{ "name", "name", COLUMN_TEXT, false },
	{ "state", "state", COLUMN_TEXT, false },
	{ "digest", "digest", COLUMN_TEXT, false },
	{ 0 },
};

static const struct option_spec build_options[] = {
	{ "suite", OPTION_TEXT, "SUITE", "suite", "Debian's release (bookworm)", false },
	{ "include", OPTION_TEXT, "PKG,PKG", "include", "more packages", false },
	{ "variant", OPTION_TEXT, "VARIANT", "variant", "of mmdebstrap(1) (minbase)", false },
	{ "mirror", OPTION_TEXT, "URL", "mirror", "of Debian's packages (the host's own)", false },
	{ 0 },
};

static const struct option_spec import_options[] = {
	{ "image", OPTION_TEXT, "NAME", "image",
	  "of several in an OCI layout, its tag: skopeo's oci:PATH:NAME", false },
	{ 0 },
};

/* A directory or a file is opened here, and is what it is when vm2d gets it. */
static int import(struct cli *cli, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };
	const char *path = cli->words[1];
	CLEANUP_CLOSE int file = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	int r;

	if (file < 0 && strcmp(path, "-"))
		return err_sys(err, errno, "cannot import %s", path);
	command_fill(cli, &request);
	r = msg_add_fd(&request, file < 0 ? STDIN_FILENO : file);
	return r < 0 ? err_sys(err, -r, "cannot hand %s to vm2d", path) :
		       command_request(cli, &request, err);
}

static const struct option_spec remove_options[] = { OPTION_YES, { 0 } };

static const struct verb verbs[] = {
	{ .name = "build",
	  .help = "Make a Debian template with mmdebstrap.",
	  .usage = "NAME",
	  .op = "template.build",
	  .words = { "name" },
	  .min_words = 1,
	  .max_words = 1,
	  .slow = true,
	  .options = build_options },
	{ .name = "import",
	  .help = "Take a directory tree, a tarball or an OCI image layout.",
	  .usage = "NAME PATH",
	  .op = "template.import",
	  .words = { "name" },
	  .min_words = 2,
	  .max_words = 2,
	  .slow = true,
	  .run = import,
	  .options = import_options },
	{ .name = "list",
	  .help = "List the templates.",
	  .op = "template.list",
	  .columns = columns,
	  .shape = TABLE_MANY },
	{ .name = "verify",
	  .help = "Compare all of a template with what it was when it was made.",
	  .usage = "NAME",
	  .op = "template.verify",
	  .words = { "name" },
	  .min_words = 1,
	  .max_words = 1,
	  .slow = true,
	  .columns = verify_columns,
	  .shape = TABLE_ONE },
	{ .name = "remove",
	  .help = "Remove a template that no guest stands on.",
	  .usage = "NAME",
	  .op = "template.remove",
	  .words = { "name" },
	  .min_words = 1,
	  .max_words = 1,
	  .slow = true,
	  .options = remove_options,
	  .confirm = "remove the template" },
	{ 0 },
};

const struct noun noun_template = { "template", "The trees that new guests are made from.", verbs };
