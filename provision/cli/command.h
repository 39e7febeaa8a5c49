/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the `vm2` command is made of: nouns with verbs, each verb a line of a table that says how it
 * is called, what it asks vm2d for, and how the answer is shown. Most verbs need nothing else.
 */
#ifndef VM2_CLI_COMMAND_H
#define VM2_CLI_COMMAND_H

#include <stdbool.h>

#include "provision/api/client.h"
#include "provision/base/config.h"
#include "provision/base/limits.h"
#include "provision/cli/table.h"

/* A size may be "unlimited", which is 0. */
enum option_kind { OPTION_FLAG, OPTION_TEXT, OPTION_NUMBER, OPTION_SIZE };

/* An option: --NAME, or --NAME VALUE. */
struct option_spec {
	const char *name;
	enum option_kind kind;
	const char *value; /* what the help calls its value; NULL for a flag */
	const char *field; /* the request's field that it becomes; NULL: the verb looks at it itself */
	const char *help;
	bool repeat; /* may be given several times */
};

#define VERB_WORDS 4

struct cli;

struct verb {
	const char *name;
	const char *help;	    /* one line */
	const char *usage;	    /* its arguments, as the help shows them */
	const char *op;		    /* the request, see provision/api/PROTOCOL */
	const char *words[VERB_WORDS]; /* the fields that the arguments become */
	int min_words, max_words;
	bool rest;		    /* words after the first are taken as they are (guest exec) */
	bool slow;		    /* may take longer than a minute between two signs of life */
	const struct option_spec *options; /* ends with a NULL name; may be NULL */
	const struct column *columns; /* how rows are shown; ends with a NULL field; may be NULL */
	enum table_shape shape;
	const char *confirm; /* the question before it is done; the first argument follows it */
	/* What to do instead of command_request(), NULL for that. Returns as an err.h function;
	 * an exit status of something else's goes to cli->status. */
	int (*run)(struct cli *cli, struct err *err);
};

struct noun {
	const char *name;
	const char *help;
	const struct verb *verbs; /* ends with a NULL name */
};

/* One option as it was given; number holds the value of numbers and sizes. */
struct option {
	const struct option_spec *spec;
	const char *value;
	uint64_t number;
};

/* A call of the program, parsed. */
struct cli {
	const struct noun *noun;
	const struct verb *verb;
	const char **words; /* what follows the verb, NULL-terminated */
	int n_words;
	struct option *options;
	int n_options;
	bool json, quiet, help, version;
	const char *config_path;     /* --config, or NULL */
	const struct config *config; /* loaded before a verb runs */
	int status;		     /* exit status when all went well */
};

/* Options that every verb has; ends with a NULL name. */
extern const struct option_spec global_options[];

/*
 * Take argv apart. ret's arrays are to be freed with command_free(), also after an error.
 * ERR_USAGE with a pointer to --help for what the tables do not know.
 */
int command_parse(const struct noun *nouns, int argc, char **argv, struct cli *ret, struct err *err);
void command_free(struct cli *cli);

/* The value of an option (the last one given), or NULL; whether a flag was given. */
const char *command_option(const struct cli *cli, const char *name);
/* Walk the values of a repeated option: *pos starts at 0; NULL at the end. */
const char *command_next_option(const struct cli *cli, const char *name, int *pos);

/* Print help for what was given: all nouns, one noun's verbs, or one verb. */
void command_help(const struct noun *nouns, const struct cli *cli);

/* Put the op, the arguments and the options with a field into a request. */
void command_fill(const struct cli *cli, struct msg *request);

/* Ask vm2d and show the answer as the verb's table says. */
int command_request(struct cli *cli, const struct msg *request, struct err *err);

/*
 * Ask vm2d, with rows to row (may be NULL) and progress to stderr: a line that changes on a
 * terminal, plain lines elsewhere, nothing with --quiet. reply as in client_call().
 */
int command_call(struct cli *cli, const struct msg *request, void (*row)(void *, const struct msg *),
		 void *data, struct msg *reply, struct err *err);

/* One line on stdout about what was done; nothing with --quiet or --json. */
void command_say(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* {"done": true} with --json, for a verb that has nothing else to show. */
void command_done(const struct cli *cli);

/*
 * Ask before something that cannot be undone, unless --yes was given. ERR_USAGE when there is no
 * terminal to ask on, ERR_FAILED when the answer is not yes.
 */
int command_confirm(const struct cli *cli, struct err *err);

/* The limits of a plan (provision/base/limits.h) as options, and as columns. */
#define OPTION_LIMIT(name, kind, least, greatest, standard, words, value, title, help) \
	{ #name, OPTION_TEXT, value, #name, help, false },
#define COLUMN_LIMIT_NUMBER COLUMN_LIMIT
#define COLUMN_LIMIT_SIZE   COLUMN_SIZE_LIMIT
#define COLUMN_LIMIT_TIME   COLUMN_LIMIT
#define COLUMN_LIMIT_RATE   COLUMN_RATE_LIMIT
#define COLUMN_LIMIT_WORD   COLUMN_TEXT
#define LIMIT_COLUMN(name, kind, least, greatest, standard, words, value, title, help) \
	{ #name, title, COLUMN_LIMIT_##kind, false },
#define LIMIT_LINE(name, kind, ...) { #name, #name, COLUMN_LIMIT_##kind, false },

#define OPTION_YES { "yes", OPTION_FLAG, NULL, NULL, "do not ask", false }

extern const struct noun noun_host, noun_template, noun_plan, noun_tenant, noun_key, noun_ca, noun_guest,
	noun_address, noun_publish, noun_rule, noun_firewall, noun_network, noun_session;

#endif
