/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/command.h"

static const struct column columns[] = {
	{ "name", "NAME", COLUMN_TEXT, false },
	LIMITS(LIMIT_COLUMN)
	{ "nameservers", "NAMESERVERS", COLUMN_TEXT, false },
	{ "search", "SEARCH", COLUMN_TEXT, false },
	{ "accept_env", "ACCEPT-ENV", COLUMN_TEXT, false },
	{ "tenants", "TENANTS", COLUMN_NUMBER, false },
	{ 0 },
};

static const struct option_spec options[] = {
	LIMITS(OPTION_LIMIT)
	{ "nameservers", OPTION_TEXT, "ADDRESSES", "nameservers", "for resolv.conf, up to 3; none: network.dns", false },
	{ "search", OPTION_TEXT, "DOMAINS", "search", "the same, up to 6", false },
	{ "accept-env", OPTION_TEXT, "PATTERNS", "accept_env",
	  "variables that clients may set, beside vm2.conf's: like 'GIT_* TZ'; none", false },
	{ "dry-run", OPTION_FLAG, NULL, "dry_run", "check and show it, but change nothing", false },
	{ 0 },
};

static const struct option_spec remove_options[] = {
	{ "dry-run", OPTION_FLAG, NULL, "dry_run", "check whether it can be, but change nothing", false },
	{ 0 },
};

#define ONE_NAME .usage = "NAME", .words = { "name" }, .min_words = 1, .max_words = 1

static const struct verb verbs[] = {
	{ .name = "add", .help = "Make a plan. What is not given, or none, has no limit.", ONE_NAME,
	  .op = "plan.add", .options = options, .columns = columns, .shape = TABLE_ONE },
	{ .name = "list", .help = "List the plans.", .op = "plan.list", .columns = columns,
	  .shape = TABLE_MANY },
	{ .name = "set", .help = "Change a plan; running guests have it at once.", ONE_NAME,
	  .op = "plan.set", .options = options, .columns = columns, .shape = TABLE_ONE, .slow = true },
	{ .name = "remove", .help = "Forget a plan that no tenant has.", ONE_NAME,
	  .op = "plan.remove", .options = remove_options },
	{ 0 },
};

const struct noun noun_plan = { "plan", "Named limits: what a tenant's guest may use.", verbs };
