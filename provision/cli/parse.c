/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/cli/command.h"

const struct option_spec global_options[] = {
	{ "json", OPTION_FLAG, NULL, NULL, "print one JSON document", false },
	{ "quiet", OPTION_FLAG, NULL, NULL, "print nothing that was not asked for", false },
	{ "config", OPTION_TEXT, "FILE", NULL, "read FILE instead of " CONFIG_DEFAULT_PATH, false },
	{ "help", OPTION_FLAG, NULL, NULL, "print this and do nothing", false },
	{ 0 },
};

static const struct option_spec *find_in(const struct option_spec *specs, const char *name,
					 size_t len)
{
	for (; specs && specs->name; specs++)
		if (strlen(specs->name) == len && !strncmp(specs->name, name, len))
			return specs;
	return NULL;
}

/* "vm2", "vm2 tenant" or "vm2 tenant add": whose --help would have told. */
static const char *help_for(const struct cli *cli, char *text, size_t cap)
{
	snprintf(text, cap, "vm2%s%s%s%s --help", cli->noun ? " " : "",
		 cli->noun ? cli->noun->name : "", cli->verb ? " " : "",
		 cli->verb ? cli->verb->name : "");
	return text;
}

static int usage(const struct cli *cli, struct err *err, const char *what, const char *word)
{
	char help[128];

	return err_set(err, ERR_USAGE, "%s '%.80s'; see %s", what, word,
		       help_for(cli, help, sizeof(help)));
}

static int check_value(const struct cli *cli, struct option *o, struct err *err)
{
	char what[160];

	snprintf(what, sizeof(what), "--%s takes %s, not", o->spec->name,
		 o->spec->kind == OPTION_SIZE ? "a size like 512M or 20G" : "a whole number");
	if (o->spec->kind == OPTION_NUMBER && parse_u64(o->value, UINT64_MAX, &o->number) < 0)
		return usage(cli, err, what, o->value);
	if (o->spec->kind == OPTION_SIZE && !strcmp(o->value, "unlimited"))
		return 0;
	if (o->spec->kind == OPTION_SIZE && parse_size(o->value, &o->number) < 0)
		return usage(cli, err, what, o->value);
	return 0;
}

static void note_global(struct cli *cli, const struct option *o)
{
	if (!strcmp(o->spec->name, "json"))
		cli->json = true;
	else if (!strcmp(o->spec->name, "quiet"))
		cli->quiet = true;
	else if (!strcmp(o->spec->name, "help"))
		cli->help = true;
	else if (!strcmp(o->spec->name, "config"))
		cli->config_path = o->value;
}

/* argv[*i] starts with "--": take it, and its value where that is the next word. */
static int take_option(struct cli *cli, int argc, char **argv, int *i, struct err *err)
{
	const char *word = argv[*i] + 2, *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	struct option o = { find_in(global_options, word, len), equals ? equals + 1 : NULL, 0 };
	bool global = o.spec;
	int r;

	if (!o.spec && cli->verb)
		o.spec = find_in(cli->verb->options, word, len);
	if (!o.spec && !cli->noun && !strcmp(word, "version")) {
		cli->version = true;
		return 0;
	}
	if (!o.spec)
		return usage(cli, err, "there is no option", argv[*i]);
	if (o.spec->kind == OPTION_FLAG && o.value)
		return usage(cli, err, "this option takes no value:", argv[*i]);
	if (o.spec->kind != OPTION_FLAG && !o.value) {
		if (*i + 1 >= argc)
			return usage(cli, err, "a value is missing after", argv[*i]);
		o.value = argv[++*i];
	}
	r = check_value(cli, &o, err);
	if (r != 0)
		return r;
	if (!o.spec->repeat && command_option(cli, o.spec->name) && o.spec->kind != OPTION_FLAG)
		return usage(cli, err, "given twice:", argv[*i]);
	if (global)
		note_global(cli, &o);
	cli->options[cli->n_options++] = o;
	return 0;
}

static int take_word(struct cli *cli, const struct noun *nouns, const char *word, struct err *err)
{
	if (!cli->noun) {
		if (!strcmp(word, "help") && (cli->help = true))
			return 0;
		for (; nouns->name && strcmp(nouns->name, word); nouns++)
			;
		if (!nouns->name)
			return usage(cli, err, "there is no", word);
		cli->noun = nouns;
	} else if (!cli->verb) {
		const struct verb *v = cli->noun->verbs;

		if (!strcmp(word, "help") && (cli->help = true))
			return 0;
		while (v->name && strcmp(v->name, word))
			v++;
		if (!v->name)
			return usage(cli, err, "there is no verb", word);
		cli->verb = v;
	} else {
		cli->words[cli->n_words++] = word;
	}
	return 0;
}

static int check_words(const struct cli *cli, struct err *err)
{
	char help[128];

	if (cli->help || cli->version)
		return 0;
	help_for(cli, help, sizeof(help));
	if (!cli->noun || !cli->verb)
		return err_set(err, ERR_USAGE, "what is to be done? see %s", help);
	if (cli->n_words < cli->verb->min_words)
		return err_set(err, ERR_USAGE, "%s %s needs %s; see %s", cli->noun->name,
			       cli->verb->name, cli->verb->usage, help);
	if (cli->n_words > cli->verb->max_words && !cli->verb->rest)
		return usage(cli, err, "one argument too many:", cli->words[cli->verb->max_words]);
	return 0;
}

int command_parse(const struct noun *nouns, int argc, char **argv, struct cli *ret, struct err *err)
{
	bool only_words = false;
	int r = 0;

	*ret = (struct cli){ 0 };
	ret->words = xcalloc((size_t)argc + 1, sizeof(*ret->words));
	ret->options = xcalloc((size_t)argc + 1, sizeof(*ret->options));
	for (int i = 1; i < argc && r == 0; i++) {
		bool rest = ret->verb && ret->verb->rest && ret->n_words >= 1;

		if (!only_words && !strcmp(argv[i], "--"))
			only_words = true;
		else if (only_words || (rest && (only_words = true)))
			r = take_word(ret, nouns, argv[i], err);
		else if (str_starts(argv[i], "--"))
			r = take_option(ret, argc, argv, &i, err);
		else if (!strcmp(argv[i], "-h"))
			ret->help = true;
		else if (argv[i][0] == '-' && argv[i][1])
			r = usage(ret, err, "there is no option", argv[i]);
		else
			r = take_word(ret, nouns, argv[i], err);
	}
	return r != 0 ? r : check_words(ret, err);
}

void command_free(struct cli *cli)
{
	free(cli->words);
	free(cli->options);
	config_free(cli->config);
	*cli = (struct cli){ 0 };
}

/* --- help --- */

static void help_options(const struct option_spec *o)
{
	for (; o && o->name; o++) {
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s%s", o->name, o->value ? " " : "",
			 o->value ? o->value : "", o->repeat ? "..." : "");
		printf("  %-24s %s\n", left, o->help);
	}
}

static void help_verb(const struct cli *cli)
{
	const struct verb *v = cli->verb;

	printf("vm2 %s %s%s%s%s\n\n%s\n\n", cli->noun->name, v->name, v->options ? " [OPTIONS]" : "",
	       v->usage ? " " : "", v->usage ? v->usage : "", v->help);
	help_options(v->options);
	help_options(global_options);
}

static void help_noun(const struct noun *noun)
{
	printf("vm2 %s VERB [OPTIONS] [ARGUMENTS]\n\n%s\n\n", noun->name, noun->help);
	for (const struct verb *v = noun->verbs; v->name; v++) {
		char left[64];

		snprintf(left, sizeof(left), "%s%s%s", v->name, v->usage ? " " : "",
			 v->usage ? v->usage : "");
		printf("  %-24s %s\n", left, v->help);
	}
	printf("\nvm2 %s VERB --help tells a verb's options.\n", noun->name);
}

void command_help(const struct noun *nouns, const struct cli *cli)
{
	if (cli->verb) {
		help_verb(cli);
		return;
	}
	if (cli->noun) {
		help_noun(cli->noun);
		return;
	}
	printf("vm2 NOUN VERB [OPTIONS] [ARGUMENTS]\n\n");
	for (; nouns->name; nouns++) {
		printf("  %-10s", nouns->name);
		for (const struct verb *v = nouns->verbs; v->name; v++)
			printf("%s%s", v == nouns->verbs ? "" : ", ", v->name);
		printf("\n");
	}
	printf("\nEvery verb takes:\n");
	help_options(global_options);
	printf("\nvm2 NOUN --help and vm2 NOUN VERB --help tell more; vm2 --version; vm2(1).\n"
	       "Exit status: 0 done, 1 failed, 2 bad usage, 3 no such thing, 4 not allowed,\n"
	       "5 busy or unavailable, 6 already exists.\n");
}
