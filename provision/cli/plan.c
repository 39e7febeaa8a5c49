/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/command.h"

static const struct column columns[] = {
	{ "name", "NAME", COLUMN_TEXT, false },
	{ "cpu", "CPU%", COLUMN_LIMIT, false },
	{ "memory", "MEMORY", COLUMN_SIZE_LIMIT, false },
	{ "disk", "DISK", COLUMN_SIZE_LIMIT, false },
	{ "processes", "PROCESSES", COLUMN_LIMIT, false },
	{ "recording", "RECORDING", COLUMN_TEXT, false },
	{ "tenants", "TENANTS", COLUMN_NUMBER, false },
	{ 0 },
};

static const struct option_spec add_options[] = {
	{ "cpu", OPTION_NUMBER, "PERCENT", "cpu", "of one processor: 200 is two of them", false },
	{ "memory", OPTION_SIZE, "SIZE", "memory", "like 512M or 4G", false },
	{ "disk", OPTION_SIZE, "SIZE", "disk", "of the guest's own files, or unlimited", false },
	{ "processes", OPTION_NUMBER, "N", "processes", "and threads, at one time", false },
	{ "recording", OPTION_TEXT, "WHEN", "recording",
	  "required (no record, no session) or best-effort", false },
	{ 0 },
};

static const struct verb verbs[] = {
	{ .name = "add", .help = "Make a plan. What is not given, or 0, has no limit.",
	  .usage = "NAME", .op = "plan.add", .words = { "name" }, .min_words = 1, .max_words = 1,
	  .options = add_options },
	{ .name = "list", .help = "List the plans.", .op = "plan.list", .columns = columns,
	  .shape = TABLE_MANY },
	{ 0 },
};

const struct noun noun_plan = { "plan", "Named limits: what a tenant's guest may use.", verbs };
