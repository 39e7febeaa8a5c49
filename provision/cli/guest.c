/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>

#include "provision/api/terminal.h"
#include "provision/cli/command.h"
#include "provision/cli/console.h"
#include "provision/cli/transfer.h"

#define COMMON                                           \
	{ "name", "NAME", COLUMN_TEXT, false },          \
	{ "type", "TYPE", COLUMN_TEXT, false },          \
	{ "state", "STATE", COLUMN_TEXT, false },        \
	{ "pid", "PID", COLUMN_NUMBER, false },          \
	{ "address4", "ADDRESS4", COLUMN_TEXT, false },  \
	{ "address6", "ADDRESS6", COLUMN_TEXT, false },  \
	{ "interface", "INTERFACE", COLUMN_TEXT, false }, \
	{ "since", "SINCE", COLUMN_TIME, false },        \
	{ "memory", "MEMORY", COLUMN_SIZE, false },      \
	{ "memory_limit", "OF", COLUMN_SIZE_LIMIT, false }, \
	{ "processes", "PROCESSES", COLUMN_NUMBER, false }, \
	{ "processes_limit", "OF", COLUMN_LIMIT, false }, \
	{ "cpu_time", "CPU TIME", COLUMN_DURATION, false }, \
	{ "cpu_limit", "CPU%", COLUMN_LIMIT, false },       \
	{ "disk", "DISK", COLUMN_SIZE, false },             \
	{ "disk_limit", "OF", COLUMN_SIZE_LIMIT, false }

static const struct column columns[] = { COMMON, { 0 } };

static const struct column show_columns[] = {
	COMMON,
	{ "inodes", "INODES", COLUMN_NUMBER, false },
	{ "inodes_limit", "OF", COLUMN_LIMIT, false },
	{ "template", "TEMPLATE", COLUMN_TEXT, false },
	{ "uid_base", "UIDS FROM", COLUMN_NUMBER, false },
	{ "path", "PATH", COLUMN_TEXT, false },
	{ "cgroup", "CGROUP", COLUMN_TEXT, false },
	{ "created", "CREATED", COLUMN_TIME, false },
	{ "kills", "KILLED FOR MEMORY", COLUMN_NUMBER, false },
	{ "received_packets", "PACKETS RECEIVED", COLUMN_NUMBER, false },
	{ "received_bytes", "RECEIVED", COLUMN_SIZE, false },
	{ "sent_packets", "PACKETS SENT", COLUMN_NUMBER, false },
	{ "sent_bytes", "SENT", COLUMN_SIZE, false },
	{ "dropped", "DROPPED", COLUMN_NUMBER, false },
	{ "counted", "COUNTED", COLUMN_TIME, false },
	{ "month_bytes", "THIS MONTH", COLUMN_SIZE, false },
	{ "quota", "OF", COLUMN_SIZE_LIMIT, false },
	{ "quota_state", "QUOTA", COLUMN_TEXT, false },
	{ 0 },
};

static int session(struct cli *cli, const char *kind, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };

	msg_add(&request, "op", "session.open");
	msg_add(&request, "tenant", cli->words[0]);
	msg_add(&request, "kind", kind);
	msg_add(&request, "via", "exec");
	if (command_option(cli, "no-terminal"))
		msg_add(&request, "pty", "0");
	for (int i = 1; i < cli->n_words; i++)
		msg_add(&request, "argv", cli->words[i]);
	return terminal_session(cli->config->socket, &request, &cli->status, err);
}

static int exec(struct cli *cli, struct err *err)
{
	return session(cli, "exec", err);
}

static int shell(struct cli *cli, struct err *err)
{
	return session(cli, "shell", err);
}

static const struct option_spec exec_options[] = {
	{ "no-terminal", OPTION_FLAG, NULL, NULL, "do not give it one, even from a terminal", false },
	{ 0 },
};

static const struct column snapshot_columns[] = {
	{ "name", "NAME", COLUMN_TEXT, false },
	{ "created", "CREATED", COLUMN_TIME, false },
	{ "bytes", "SIZE", COLUMN_SIZE, false },
	{ "used", "IN USE", COLUMN_BOOL, false },
	{ 0 },
};

static const struct column snapshot_columns_one[] = {
	{ "name", "name", COLUMN_TEXT, false },
	{ "created", "created", COLUMN_TIME, false },
	{ "bytes", "size", COLUMN_SIZE, false },
	{ "pause", "stood still (us)", COLUMN_NUMBER, false },
	{ 0 },
};

/* Delete one instead of making one. */
static int snapshot(struct cli *cli, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };
	struct verb removal = *cli->verb;
	const struct verb *own = cli->verb;
	int r;

	if (!command_option(cli, "remove")) {
		command_fill(cli, &request);
		return command_request(cli, &request, err);
	}
	if (cli->n_words != 2)
		return err_set(err, ERR_USAGE, "remove which snapshot? See vm2 guest snapshots %s",
			       cli->words[0]);
	removal.op = "guest.unsnapshot";
	removal.shape = TABLE_NONE;
	cli->verb = &removal;
	command_fill(cli, &request);
	r = command_request(cli, &request, err);
	cli->verb = own;
	return r;
}

static const struct option_spec snapshot_options[] = {
	{ "remove", OPTION_FLAG, NULL, NULL, "delete the snapshot", false },
	{ 0 },
};

static const struct option_spec console_options[] = {
	{ "follow", OPTION_FLAG, NULL, NULL, "and what it says from now on, until interrupted", false },
	{ 0 },
};

static const struct option_spec restore_options[] = { OPTION_YES, { 0 } };

static const struct option_spec destroy_options[] = { OPTION_YES, { 0 } };

#define ONE_NAME .usage = "NAME", .words = { "name" }, .min_words = 1, .max_words = 1

static const struct verb verbs[] = {
	{ .name = "list", .help = "List the guests.", .op = "guest.list", .columns = columns,
	  .shape = TABLE_MANY },
	{ .name = "show", .help = "Show a guest.", ONE_NAME, .op = "guest.show",
	  .columns = show_columns, .shape = TABLE_ONE },
	{ .name = "start", .help = "Start a guest; it is made if it was not yet.", ONE_NAME,
	  .op = "guest.start", .slow = true },
	{ .name = "stop", .help = "Stop a guest; its files stay.", ONE_NAME, .op = "guest.stop",
	  .slow = true },
	{ .name = "restart", .help = "Stop a guest and start it again.", ONE_NAME,
	  .op = "guest.restart", .slow = true },
	{ .name = "destroy", .help = "Remove a guest and its files; the tenant stays.", ONE_NAME,
	  .op = "guest.destroy", .options = destroy_options, .slow = true,
	  .confirm = "remove with all its files: the guest" },
	{ .name = "snapshot", .help = "Keep a guest's files as they are now; it goes on running.",
	  .usage = "NAME [SNAPSHOT]", .words = { "name", "snapshot" }, .min_words = 1,
	  .max_words = 2, .op = "guest.snapshot", .options = snapshot_options, .slow = true,
	  .columns = snapshot_columns_one, .shape = TABLE_ONE, .run = snapshot },
	{ .name = "snapshots", .help = "List a guest's snapshots.", ONE_NAME,
	  .op = "guest.snapshots", .columns = snapshot_columns, .shape = TABLE_MANY },
	{ .name = "restore", .help = "Give a guest its files of a snapshot back; later ones are lost.",
	  .usage = "NAME SNAPSHOT", .words = { "name", "snapshot" }, .min_words = 2, .max_words = 2,
	  .op = "guest.restore", .options = restore_options, .slow = true,
	  .confirm = "lose what changed since, and end the sessions of the guest" },
	{ .name = "export", .help = "Write a guest into one file; - is standard output.",
	  .usage = "NAME FILE", .words = { "name" }, .min_words = 2, .max_words = 2,
	  .op = "guest.export", .slow = true, .run = transfer_export },
	{ .name = "import", .help = "Make a tenant's guest from an export; - is standard input.",
	  .usage = "NAME FILE", .words = { "name" }, .min_words = 2, .max_words = 2,
	  .op = "guest.import", .slow = true, .run = transfer_import },
	{ .name = "console", .help = "Print what a guest's console said: the last 64 to 128 KiB.", ONE_NAME,
	  .op = "guest.console", .options = console_options, .run = console_show },
	{ .name = "exec", .help = "Run a command in a guest as its root; its exit status is ours.",
	  .usage = "NAME [--] CMD...", .min_words = 2, .max_words = 2, .rest = true,
	  .options = exec_options, .run = exec },
	{ .name = "shell", .help = "A root shell in a guest.", .usage = "NAME", .min_words = 1,
	  .max_words = 1, .run = shell },
	{ 0 },
};

const struct noun noun_guest = { "guest", "The tenants' systems, by their tenants' names.", verbs };
