/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/command.h"

static const struct column columns[] = {
	{ "tenant", "TENANT", COLUMN_TEXT, false },
	{ "position", "POSITION", COLUMN_NUMBER, false },
	{ "direction", "DIRECTION", COLUMN_TEXT, false },
	{ "verdict", "VERDICT", COLUMN_TEXT, false },
	{ "protocol", "PROTOCOL", COLUMN_TEXT, false },
	{ "port", "PORT", COLUMN_TEXT, false },
	{ "prefix", "PREFIX", COLUMN_TEXT, false },
	{ "comment", "COMMENT", COLUMN_TEXT, false },
	{ "created", "CREATED", COLUMN_TIME, true },
	{ 0 },
};

#define DRY_RUN { "dry-run", OPTION_FLAG, NULL, "dry_run", "check and show it, but change nothing", false }

static const struct option_spec add_options[] = {
	{ "port", OPTION_TEXT, "FIRST[-LAST]", "port", "that is served, of tcp or udp; any if not given",
	  false },
	{ "prefix", OPTION_TEXT, "CIDR", "prefix", "of the other side's addresses; any if not given", false },
	{ "position", OPTION_NUMBER, "N", "position", "put it before the one that is there; else it is the last",
	  false },
	{ "comment", OPTION_TEXT, "TEXT", "comment", "for people", false },
	DRY_RUN,
	{ 0 },
};

static const struct option_spec remove_options[] = { DRY_RUN, { 0 } };

static const struct verb verbs[] = {
	{ .name = "add",
	  .help = "Allow or deny new connections to a guest (in), from it (out) or to other guests (peer).",
	  .usage = "TENANT in|out|peer allow|deny tcp|udp|icmp|any", .op = "rule.add",
	  .words = { "tenant", "direction", "verdict", "protocol" }, .min_words = 4, .max_words = 4,
	  .options = add_options, .columns = columns, .shape = TABLE_ONE },
	{ .name = "list", .help = "List rules in order: a tenant's, or all. The first that matches decides.",
	  .usage = "[TENANT]", .op = "rule.list", .words = { "tenant" }, .max_words = 1,
	  .columns = columns, .shape = TABLE_MANY },
	{ .name = "remove", .help = "Forget the rule at a position; those after it move up.",
	  .usage = "TENANT POSITION", .op = "rule.remove", .words = { "tenant", "position" },
	  .min_words = 2, .max_words = 2, .options = remove_options, .columns = columns,
	  .shape = TABLE_ONE },
	{ 0 },
};

const struct noun noun_rule = { "rule", "Tenants' own rules of the firewall.", verbs };
