/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vm2: the command of staff and auditors. */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "build.h"
#include "provision/cli/command.h"

static int run(struct cli *cli, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };
	int r = config_load(cli->config_path, &cli->config, err);

	if (r != 0)
		return r;
	if (cli->verb->confirm) {
		r = command_confirm(cli, err);
		if (r != 0)
			return r;
	}
	if (cli->verb->run)
		return cli->verb->run(cli, err);
	command_fill(cli, &request);
	return command_request(cli, &request, err);
}

int main(int argc, char **argv)
{
	const struct noun nouns[] = { noun_host, noun_template, noun_plan, noun_tenant, noun_key, noun_ca,
				      noun_guest, noun_address, noun_publish, noun_rule, noun_firewall, noun_network, noun_session, { 0 } };
	struct err err = { 0 };
	struct cli cli;
	int r, status;

	signal(SIGPIPE, SIG_IGN);
	r = command_parse(nouns, argc, argv, &cli, &err);
	if (r == 0 && cli.version)
		puts("vm2 " VM2_VERSION);
	else if (r == 0 && cli.help)
		command_help(nouns, &cli);
	else if (r == 0)
		r = run(&cli, &err);
	status = r == 0 ? cli.status : err_exit_status(r);
	command_free(&cli);
	/* A full disk or a closed pipe must not look like success. */
	if (fflush(stdout) != 0 && r == 0) {
		r = err_sys(&err, errno, "cannot write the output");
		status = ERR_FAILED;
	}
	if (r != 0)
		fprintf(stderr, "vm2: %s\n", err.text);
	return status;
}
