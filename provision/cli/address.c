/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/command.h"

static const struct column columns[] = {
	{ "tenant", "TENANT", COLUMN_TEXT, false },
	{ "address", "ADDRESS", COLUMN_TEXT, false },
	{ "kind", "KIND", COLUMN_TEXT, false },
	{ 0 },
};

#define DRY_RUN { "dry-run", OPTION_FLAG, NULL, "dry_run", "check and show it, but change nothing", false }

static const struct option_spec add_options[] = {
	{ "move", OPTION_FLAG, NULL, "move", "take it from the tenant that has it", false },
	DRY_RUN,
	{ 0 },
};

static const struct option_spec remove_options[] = { DRY_RUN, { 0 } };

static const struct verb verbs[] = {
	{ .name = "add", .help = "Give a guest a further address: this one, or a free one of the prefix.",
	  .usage = "TENANT ADDRESS|CIDR", .op = "address.add", .words = { "tenant", "address" },
	  .min_words = 2, .max_words = 2, .options = add_options, .columns = columns,
	  .shape = TABLE_ONE },
	{ .name = "list", .help = "List addresses: a tenant's, or all.", .usage = "[TENANT]",
	  .op = "address.list", .words = { "tenant" }, .max_words = 1, .columns = columns,
	  .shape = TABLE_MANY },
	{ .name = "remove", .help = "Take a further address away; its connections end.",
	  .usage = "TENANT ADDRESS", .op = "address.remove", .words = { "tenant", "address" },
	  .min_words = 2, .max_words = 2, .options = remove_options, .columns = columns,
	  .shape = TABLE_ONE },
	{ 0 },
};

const struct noun noun_address = { "address", "Further addresses of guests.", verbs };
