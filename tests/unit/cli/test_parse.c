/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <string.h>

#include "provision/cli/command.h"

static const struct option_spec options[] = {
	{ "key", OPTION_TEXT, "FILE", NULL, "", true },
	{ "memory", OPTION_SIZE, "SIZE", "memory", "", false },
	{ "yes", OPTION_FLAG, NULL, NULL, "", false },
	{ 0 },
};

static const struct verb verbs[] = {
	{ .name = "add", .usage = "NAME", .op = "thing.add", .words = { "name" }, .min_words = 1,
	  .max_words = 1, .options = options },
	{ .name = "exec", .usage = "NAME CMD...", .min_words = 2, .max_words = 2, .rest = true },
	{ 0 },
};

static const struct noun nouns[] = { { "thing", "", verbs }, { 0 } };

static struct cli cli;
static struct err err;

static int parse(const char *line)
{
	static char text[256];
	char *argv[32] = { text }, *rest = text;
	int argc = 0;

	snprintf(text, sizeof(text), "%s", line);
	while ((argv[argc] = strsep(&rest, " ")))
		argc++;
	command_free(&cli);
	return command_parse(nouns, argc, argv, &cli, &err);
}

Test(parse, takes_options_anywhere)
{
	int pos = 0;

	cr_assert_eq(parse("vm2 --json thing --quiet add --key a x --memory=2M --key b --yes"), 0, "%s",
		     err.text);
	cr_assert(cli.json && cli.quiet && command_option(&cli, "yes"));
	cr_assert_str_eq(cli.words[0], "x");
	cr_assert_str_eq(command_next_option(&cli, "key", &pos), "a");
	cr_assert_str_eq(command_next_option(&cli, "key", &pos), "b");
	cr_assert_null(command_next_option(&cli, "key", &pos));
}

Test(parse, fills_a_request)
{
	CLEANUP_MSG struct msg request = { 0 };

	cr_assert_eq(parse("vm2 thing add x --memory 2M"), 0);
	command_fill(&cli, &request);
	cr_assert_str_eq(msg_get(&request, "op"), "thing.add");
	cr_assert_str_eq(msg_get(&request, "name"), "x");
	cr_assert_str_eq(msg_get(&request, "memory"), "2097152");
	cr_assert_null(msg_get(&request, "yes"));
}

Test(parse, leaves_a_command_alone)
{
	cr_assert_eq(parse("vm2 thing exec x ls --json -- -l"), 0, "%s", err.text);
	cr_assert_eq(cli.n_words, 5);
	cr_assert_not(cli.json);
	cr_assert_str_eq(cli.words[2], "--json");
	cr_assert_str_eq(cli.words[3], "--");
	cr_assert_eq(parse("vm2 thing exec x -- --help"), 0, "%s", err.text);
	cr_assert_eq(cli.n_words, 2);
	cr_assert_str_eq(cli.words[1], "--help");
}

Test(parse, points_to_the_help)
{
	static const char *const wrong[][2] = {
		{ "vm2", "vm2 --help" },
		{ "vm2 nothing", "vm2 --help" },
		{ "vm2 thing", "vm2 thing --help" },
		{ "vm2 thing fly", "vm2 thing --help" },
		{ "vm2 thing add", "vm2 thing add --help" },
		{ "vm2 thing add x y", "vm2 thing add --help" },
		{ "vm2 thing add x --wings", "vm2 thing add --help" },
		{ "vm2 thing add x -w", "vm2 thing add --help" },
		{ "vm2 thing add x --memory", "vm2 thing add --help" },
		{ "vm2 thing add x --memory 1X", "vm2 thing add --help" },
		{ "vm2 thing add x --memory 1 --memory 2", "vm2 thing add --help" },
		{ "vm2 thing add x --yes=1", "vm2 thing add --help" },
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		cr_assert_eq(parse(wrong[i][0]), ERR_USAGE, "%s", wrong[i][0]);
		cr_assert(strstr(err.text, wrong[i][1]), "%s: %s", wrong[i][0], err.text);
	}
}

Test(parse, help_needs_nothing_else)
{
	cr_assert_eq(parse("vm2 thing add --help"), 0);
	cr_assert(cli.help && cli.verb);
	cr_assert_eq(parse("vm2 --version"), 0);
	cr_assert(cli.version);
}
