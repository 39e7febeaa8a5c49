/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/cli/command.h"
#include "provision/cli/password.h"
#include "provision/cli/publickey.h"
#include "provision/cli/totp.h"

static const struct column columns[] = {
	{ "name", "NAME", COLUMN_TEXT, false },
	{ "plan", "PLAN", COLUMN_TEXT, false },
	{ "state", "STATE", COLUMN_TEXT, false },
	{ "guest", "GUEST", COLUMN_TEXT, false },
	{ "address4", "ADDRESS4", COLUMN_TEXT, false },
	{ "address6", "ADDRESS6", COLUMN_TEXT, false },
	{ "created", "CREATED", COLUMN_TIME, false },
	{ "last_login", "LAST LOGIN", COLUMN_TIME, false },
	{ 0 },
};

static const struct column show_columns[] = {
	{ "name", "name", COLUMN_TEXT, false },
	{ "plan", "plan", COLUMN_TEXT, false },
	{ "owner", "owner", COLUMN_TEXT, false },
	{ "template", "template", COLUMN_TEXT, false },
	{ "state", "state", COLUMN_TEXT, false },
	{ "suspended_reason", "reason", COLUMN_TEXT, false },
	{ "guest", "guest", COLUMN_TEXT, false },
	{ "address4", "address4", COLUMN_TEXT, false },
	{ "address6", "address6", COLUMN_TEXT, false },
	{ "uid", "uid", COLUMN_NUMBER, false },
	{ "uid_base", "guest's uids from", COLUMN_NUMBER, false },
	{ "keys", "keys", COLUMN_NUMBER, false },
	{ "password", "password", COLUMN_BOOL, false },
	{ "totp", "one-time codes", COLUMN_BOOL, false },
	{ "failures", "wrong passwords", COLUMN_NUMBER, false },
	{ "locked_until", "locked until", COLUMN_TIME, false },
	{ "expires", "expires", COLUMN_TIME, false },
	{ "password_days", "password's days", COLUMN_LIMIT, false },
	{ "change_password", "must be changed", COLUMN_BOOL, false },
	{ "sources", "may come from", COLUMN_TEXT, false },
	{ "hours", "may come at", COLUMN_TEXT, false },
	{ "known_sources", "known sources", COLUMN_NUMBER, false },
	{ "locked_sources", "locked of these", COLUMN_NUMBER, false },
	{ "created", "created", COLUMN_TIME, false },
	{ "last_login", "last login", COLUMN_TIME, false },
	LIMITS(LIMIT_LINE)
	{ "nameservers", "nameservers", COLUMN_TEXT, false },
	{ "search", "search", COLUMN_TEXT, false },
	{ "accept_env", "variables that clients may set", COLUMN_TEXT, false },
	{ "own", "not as in its plan", COLUMN_TEXT, false },
	{ 0 },
};

static void add_key(void *data, const char *line)
{
	msg_add(data, "key", line);
}

static int set_password(struct cli *cli, const char *password, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };
	int r;

	msg_add(&request, "op", "tenant.passwd");
	msg_add(&request, "name", cli->words[0]);
	msg_add(&request, "password", password);
	r = command_call(cli, &request, NULL, NULL, NULL, err);
	if (request.data.data)
		explicit_bzero(request.data.data, request.data.len);
	return r;
}

/* The tenant and the password are two requests: without the second the first is taken back. */
static int add_with_password(struct cli *cli, const struct msg *request, struct err *err)
{
	char password[PASSWORD_MAX] = "";
	CLEANUP_MSG struct msg undo = { 0 };
	int r = password_read(cli->words[0], password, err);

	if (r == 0)
		r = command_call(cli, request, NULL, NULL, NULL, err);
	if (r == 0) {
		r = set_password(cli, password, err);
		if (r != 0) {
			err_wrap(err, "the tenant %s was not added", cli->words[0]);
			msg_add(&undo, "op", "tenant.remove");
			msg_add(&undo, "name", cli->words[0]);
			command_call(cli, &undo, NULL, NULL, NULL, NULL);
		}
	}
	explicit_bzero(password, sizeof(password));
	return r;
}

static int show(struct cli *cli, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };

	msg_add(&request, "op", "tenant.show");
	msg_add(&request, "name", cli->words[0]);
	return command_request(cli, &request, err);
}

static int add(struct cli *cli, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };
	const char *file;
	int pos = 0, r;

	command_fill(cli, &request);
	while ((file = command_next_option(cli, "key", &pos))) {
		r = publickey_read(file, add_key, &request, err);
		if (r != 0)
			return r;
	}
	if (!command_option(cli, "password-stdin"))
		return command_request(cli, &request, err);
	r = add_with_password(cli, &request, err);
	return r != 0 ? r : show(cli, err);
}

static int passwd(struct cli *cli, struct err *err)
{
	char password[PASSWORD_MAX] = "";
	int r = 0;

	if (!command_option(cli, "remove"))
		r = password_read(cli->words[0], password, err);
	if (r == 0)
		r = set_password(cli, password[0] ? password : NULL, err);
	explicit_bzero(password, sizeof(password));
	if (r == 0)
		command_done(cli);
	return r;
}

static const struct option_spec add_options[] = {
	{ "key", OPTION_TEXT, "FILE", NULL, "public key(s) to log in with; - is standard input", true },
	{ "plan", OPTION_TEXT, "PLAN", "plan", "limits (the configuration's)", false },
	{ "owner", OPTION_TEXT, "NAME", "owner", "whose it is, of those who have several", false },
	{ "template", OPTION_TEXT, "NAME", "template", "of the guest (the configuration's)", false },
	{ "password-stdin", OPTION_FLAG, NULL, NULL, "set a password too, as passwd does", false },
	{ 0 },
};

static const struct option_spec set_options[] = {
	{ "plan", OPTION_TEXT, "PLAN", "plan", "the tenant's plan from now on", false },
	{ "owner", OPTION_TEXT, "NAME", "owner", "whose it is from now on, or: none", false },
	LIMITS(OPTION_LIMIT) /* "plan" takes one back */
	{ "nameservers", OPTION_TEXT, "ADDRESSES", "nameservers", "for resolv.conf, up to 3; plan: the plan's", false },
	{ "search", OPTION_TEXT, "DOMAINS", "search", "the same, up to 6", false },
	{ "accept-env", OPTION_TEXT, "PATTERNS", "accept_env",
	  "variables that clients may set: like 'GIT_* TZ'; plan: the plan's", false },
	{ "expires", OPTION_TEXT, "DATE", "expires", "when logins end: 2027-01-31, or never", false },
	{ "password-days", OPTION_NUMBER, "N", "password_days", "how old a password may be; 0: any",
	  false },
	{ "change-password", OPTION_NUMBER, "1|0", "change_password",
	  "whether it must be changed at the next login with it", false },
	{ "sources", OPTION_TEXT, "PREFIXES", "sources", "where logins may come from, or: any", false },
	{ "hours", OPTION_TEXT, "HOURS", "hours", "when they may: Wk0800-1800, or: any", false },
	{ "dry-run", OPTION_FLAG, NULL, "dry_run", "check and show it, but change nothing", false },
	{ 0 },
};

static const struct option_spec passwd_options[] = {
	{ "remove", OPTION_FLAG, NULL, NULL, "no login by password any more", false },
	{ 0 },
};

static const struct option_spec totp_options[] = {
	{ "remove", OPTION_FLAG, NULL, "remove", "ask for no code any more", false },
	{ 0 },
};

static const struct option_spec unlock_options[] = {
	{ "source", OPTION_TEXT, "ADDRESS", "source", "this source too, for whatever name", false },
	{ 0 },
};

#define DRY_RUN { "dry-run", OPTION_FLAG, NULL, "dry_run", "check whether it can be, but change nothing", false }

static const struct option_spec resume_options[] = {
	DRY_RUN,
	{ 0 },
};

static const struct option_spec suspend_options[] = {
	{ "reason", OPTION_TEXT, "TEXT", "reason", "told to the tenant who logs in", false },
	DRY_RUN,
	{ 0 },
};

static const struct option_spec remove_options[] = {
	OPTION_YES,
	DRY_RUN,
	{ "keep-guest", OPTION_FLAG, NULL, "keep", "export the guest before, to be imported later", false },
	{ 0 },
};

#define ONE_NAME .usage = "NAME", .words = { "name" }, .min_words = 1, .max_words = 1

static const struct verb verbs[] = {
	{ .name = "add", .help = "Add a tenant; the guest is made at the first login.", ONE_NAME,
	  .op = "tenant.add", .options = add_options, .columns = show_columns, .shape = TABLE_ONE,
	  .run = add },
	{ .name = "list", .help = "List the tenants.", .op = "tenant.list", .columns = columns,
	  .shape = TABLE_MANY },
	{ .name = "show", .help = "Show a tenant.", ONE_NAME, .op = "tenant.show",
	  .columns = show_columns, .shape = TABLE_ONE },
	{ .name = "set",
	  .help = "Another plan, or limits other than the plan's; the value \"plan\" takes one back.",
	  ONE_NAME, .op = "tenant.set", .options = set_options, .columns = show_columns,
	  .shape = TABLE_ONE, .slow = true },
	{ .name = "passwd", .help = "Set a password: asked twice, or a line of standard input.",
	  ONE_NAME, .op = "tenant.passwd", .options = passwd_options, .run = passwd },
	{ .name = "totp", .help = "Ask for a one-time code too: shows its secret, once.", ONE_NAME,
	  .op = "tenant.totp", .options = totp_options, .run = totp_run },
	{ .name = "unlock", .help = "Forget wrong passwords: the tenant may try again at once.",
	  ONE_NAME, .op = "tenant.unlock", .options = unlock_options },
	{ .name = "suspend", .help = "Let nobody in, end the sessions, stop the guest.", ONE_NAME,
	  .op = "tenant.suspend", .options = suspend_options },
	{ .name = "resume", .help = "Take a suspension back.", ONE_NAME, .op = "tenant.resume",
	  .options = resume_options },
	{ .name = "remove", .help = "Remove a tenant, the guest and its files.", ONE_NAME,
	  .op = "tenant.remove", .options = remove_options, .slow = true,
	  .confirm = "remove with the guest and all its files: the tenant" },
	{ 0 },
};

const struct noun noun_tenant = { "tenant", "Customers: a login name, keys, a plan and a guest.",
				  verbs };
