/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/cli/command.h"

static const struct column columns[] = {
	{ "tenant", "TENANT", COLUMN_TEXT, false },
	{ "protocol", "PROTOCOL", COLUMN_TEXT, false },
	{ "host_port", "HOST PORT", COLUMN_NUMBER, false },
	{ "guest_port", "GUEST PORT", COLUMN_NUMBER, false },
	{ "address4", "ADDRESS4", COLUMN_TEXT, false },
	{ "address6", "ADDRESS6", COLUMN_TEXT, false },
	{ "created", "CREATED", COLUMN_TIME, false },
	{ 0 },
};

static const struct option_spec change_options[] = {
	{ "dry-run", OPTION_FLAG, NULL, "dry_run", "check and show it, but change nothing", false },
	{ 0 },
};

static const struct verb verbs[] = {
	{ .name = "add", .help = "Lead a port of the host to a port (the same if not given) of a guest.",
	  .usage = "TENANT tcp|udp HOSTPORT[:GUESTPORT]", .op = "publish.add",
	  .words = { "tenant", "protocol", "port" }, .min_words = 3, .max_words = 3,
	  .options = change_options, .columns = columns, .shape = TABLE_ONE },
	{ .name = "list", .help = "List published ports: a tenant's, or all.", .usage = "[TENANT]",
	  .op = "publish.list", .words = { "tenant" }, .max_words = 1, .columns = columns,
	  .shape = TABLE_MANY },
	{ .name = "remove", .help = "Publish a port no more; connections that came by it end.",
	  .usage = "TENANT tcp|udp HOSTPORT", .op = "publish.remove",
	  .words = { "tenant", "protocol", "port" }, .min_words = 3, .max_words = 3,
	  .options = change_options, .columns = columns, .shape = TABLE_ONE },
	{ 0 },
};

const struct noun noun_publish = { "publish", "Ports of the host that lead to guests.", verbs };
