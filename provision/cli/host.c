/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>
#include <sys/stat.h>

#include "provision/base/cleanup.h"
#include "provision/cli/check.h"
#include "provision/cli/setup.h"

static const struct column status_columns[] = {
	{ "version", "version", COLUMN_TEXT, false },
	{ "instance", "instance", COLUMN_TEXT, false },
	{ "uptime", "up for", COLUMN_DURATION, false },
	{ "tenants", "tenants", COLUMN_NUMBER, false },
	{ "guests", "guests", COLUMN_NUMBER, false },
	{ "running", "running guests", COLUMN_NUMBER, false },
	{ "sessions", "open sessions", COLUMN_NUMBER, false },
	{ "templates", "templates", COLUMN_NUMBER, false },
	{ "workers", "workers", COLUMN_NUMBER, false },
	{ "pool4_used", "addresses used", COLUMN_NUMBER, false },
	{ "pool4_size", "addresses", COLUMN_NUMBER, false },
	{ "storage", "storage", COLUMN_TEXT, false },
	{ "memory_used", "memory of guests", COLUMN_SIZE, false },
	{ "memory_limits", "they may use", COLUMN_SIZE, false },
	{ "memory_available", "memory available", COLUMN_SIZE, false },
	{ "memory_reserve", "in reserve of it", COLUMN_SIZE, false },
	{ "disk_used", "files of guests", COLUMN_SIZE, false },
	{ "disk_limits", "they may use", COLUMN_SIZE, false },
	{ "disk_unlimited", "disk limits", COLUMN_TEXT, false },
	{ "disk_available", "disk available", COLUMN_SIZE, false },
	{ "disk_reserve", "in reserve of it", COLUMN_SIZE, false },
	{ "processes", "processes of guests", COLUMN_NUMBER, false },
	{ 0 },
};

static const struct column repair_columns[] = {
	{ "kind", "WHAT", COLUMN_TEXT, false },
	{ "name", "NAME", COLUMN_TEXT, false },
	{ "state", "STATE", COLUMN_TEXT, false },
	{ "outcome", "OUTCOME", COLUMN_TEXT, false },
	{ 0 },
};

static const struct option_spec repair_options[] = {
	{ "dry-run", OPTION_FLAG, NULL, "dry", "say what would be done, and do nothing", false },
	{ 0 },
};

static const struct column check_columns[] = {
	{ "name", "FACT", COLUMN_TEXT, false },
	{ "state", "STATE", COLUMN_TEXT, false },
	{ "needed", "NEEDED", COLUMN_BOOL, false },
	{ "found", "FOUND", COLUMN_TEXT, false },
	{ "advice", "WHAT TO DO", COLUMN_TEXT, false },
	{ 0 },
};

void found(struct finding *f, enum check_state state, const char *fmt, ...)
{
	va_list ap;

	f->state = state;
	va_start(ap, fmt);
	vsnprintf(f->text, sizeof(f->text), fmt, ap);
	va_end(ap);
}

/* Returns how many needed facts are missing. */
static int look(const struct check *checks, const struct config *config, struct table *t)
{
	static const char *const words[] = { "ok", "missing", "unknown" };
	int lacking = 0;

	for (; checks->name; checks++) {
		CLEANUP_MSG struct msg row = { 0 };
		struct finding f = { CHECK_UNKNOWN, "" };

		checks->probe(config, &f);
		msg_add(&row, "name", checks->name);
		msg_add(&row, "state", words[f.state]);
		msg_add(&row, "needed", checks->optional ? "0" : "1");
		msg_add(&row, "found", f.text);
		msg_add(&row, "advice", f.state == CHECK_MISSING ? checks->advice : NULL);
		table_add(t, &row);
		lacking += f.state == CHECK_MISSING && !checks->optional;
	}
	return lacking;
}

static int check(struct cli *cli, struct err *err)
{
	struct table *t = table_new(cli->verb->columns, cli->verb->shape);
	int lacking = look(check_kernel, cli->config, t) + look(check_setup, cli->config, t) +
		      look(check_network, cli->config, t);

	if (cli->json)
		table_print_json(t, stdout);
	else if (!cli->quiet)
		table_print(t, stdout, isatty(STDOUT_FILENO));
	table_free(t);
	if (lacking)
		return err_set(err, ERR_FAILED, "this host lacks %d thing%s that VM2 needs%s", lacking,
			       lacking == 1 ? "" : "s",
			       cli->quiet ? "; see vm2 host check" : "; the table says what to do");
	return 0;
}

/* Taking away under a running vm2d would leave its guests behind, and so would a mount over them. */
static int refuse_running(const struct config *config, const char *what, struct err *err)
{
	int fd = -1;

	if (client_connect(config->socket, &fd, NULL) != 0)
		return 0;
	fd_close(fd);
	return err_set(err, ERR_BUSY,
		       "vm2d still runs: stop the guests, vm2-gateway and vm2d before host setup %s",
		       what);
}

static int setup(struct cli *cli, struct err *err)
{
	struct setup s = { .cli = cli, .config = cli->config };
	bool down = command_option(cli, "remove");
	int r = 0;

	s.purge = command_option(cli, "purge");
	if (command_option(cli, "pool"))
		parse_size(command_option(cli, "pool"), &s.pool);
	if (command_option(cli, "pool") && !s.pool)
		return err_set(err, ERR_USAGE, "--pool takes a size like 100G");
	if (geteuid() != 0)
		return err_set(err, ERR_DENIED, "setting up the host takes root: run it with sudo");
	if (s.purge && !down)
		return err_set(err, ERR_USAGE, "--purge goes with --remove; see vm2 host setup --help");
	if (down && command_option(cli, "pool"))
		return err_set(err, ERR_USAGE, "--pool does not go with --remove");
	umask(022);
	if (down || s.pool)
		r = refuse_running(cli->config, down ? "--remove" : "--pool", err);
	if (r == 0)
		r = down ? setup_down(&s, err) : setup_up(&s, err);
	if (r == 0 && !s.n_changes)
		command_say(cli, down ? "there was nothing to remove" : "nothing was missing");
	if (r == 0 && cli->json)
		printf("{\"changes\": [%s]}\n", s.changes.data ? s.changes.data : "");
	buf_free(&s.changes);
	return r;
}

static const struct option_spec setup_options[] = {
	{ "pool", OPTION_SIZE, "SIZE", NULL, "put the guests on btrfs, in one file of that size", false },
	{ "remove", OPTION_FLAG, NULL, NULL, "take it back; tenants, recordings and settings stay", false },
	{ "purge", OPTION_FLAG, NULL, NULL, "with --remove: these too", false },
	{ 0 },
};

static const struct verb verbs[] = {
	{ .name = "setup", .help = "Make of this host what VM2 needs: only what is missing.",
	  .options = setup_options, .run = setup },
	{ .name = "check", .help = "Say what this host has and lacks, and what to do about it.",
	  .columns = check_columns, .shape = TABLE_MANY, .run = check },
	{ .name = "status", .help = "Say what runs.", .op = "host.status", .columns = status_columns,
	  .shape = TABLE_ONE },
	{ .name = "repair",
	  .help = "Bring host and database in line; lists what was lost, left or half done.",
	  .op = "host.repair", .options = repair_options, .columns = repair_columns,
	  .shape = TABLE_MANY, .slow = true },
	{ 0 },
};

const struct noun noun_host = { "host", "The real system that all guests run on.", verbs };
