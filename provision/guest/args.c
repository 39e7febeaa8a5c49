/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/args.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/str.h"

enum kind { TEXT, OPTIONAL, U32, U64 };

#define AT(field) offsetof(struct guest_args, field)

static const struct {
	const char *key;
	enum kind kind;
	size_t offset;
} words[] = {
	{ "number", U32, AT(spec.number) },
	{ "uid-base", U32, AT(spec.uid_base) },
	{ "template", OPTIONAL, AT(spec.template) },
	{ "driver", OPTIONAL, AT(spec.driver) },
	{ "address4", OPTIONAL, AT(spec.address4) },
	{ "address6", OPTIONAL, AT(spec.address6) },
	{ "more", OPTIONAL, AT(spec.more) },
	{ "instance", TEXT, AT(config.instance) },
	{ "run", TEXT, AT(config.run) },
	{ "guests", TEXT, AT(config.guests) },
	{ "templates", TEXT, AT(config.templates) },
	{ "pool4", TEXT, AT(config.pool4) },
	{ "pool6", TEXT, AT(config.pool6) },
	{ "mtu", U64, AT(config.mtu) },
	{ "start-timeout", U64, AT(config.start_timeout) },
	{ "stop-timeout", U64, AT(config.stop_timeout) },
	{ "init", TEXT, AT(init) },
	{ "lock", U64, AT(lock) },
	{ "failures", U64, AT(failures) },
	{ "program", U64, AT(program) },
	{ "keeper", U64, AT(keeper) },
	{ "init-pid", U64, AT(init_pid) },
	{ "console", U64, AT(console) },
	{ "stop-signal", U64, AT(stop_signal) },
	{ "listener", U64, AT(listener) },
	{ "notify", U64, AT(notify) },
	{ "ended", U64, AT(ended) },
};

_Static_assert(ARRAY_LEN(words) + 3 <= ARGS_MAX, "ARGS_MAX holds all words");

static uint64_t number_at(const struct guest_args *args, size_t i)
{
	const char *p = (const char *)args + words[i].offset;
	uint32_t small;
	uint64_t large;

	if (words[i].kind == U32) {
		memcpy(&small, p, sizeof(small));
		return small;
	}
	memcpy(&large, p, sizeof(large));
	return large;
}

void args_write(const struct guest_args *args, const char *program, char *argv[ARGS_MAX])
{
	int argc = 0;
	char *text;

	argv[argc++] = xstrdup(program);
	argv[argc++] = xstrdup(args->spec.name);
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (words[i].kind == U32 || words[i].kind == U64) {
			argv[argc++] = xasprintf("%s=%" PRIu64, words[i].key, number_at(args, i));
			continue;
		}
		memcpy(&text, (const char *)args + words[i].offset, sizeof(text));
		argv[argc++] = xasprintf("%s=%s", words[i].key, text ? text : "");
	}
	argv[argc] = NULL;
}

void args_free(char *argv[ARGS_MAX])
{
	for (int i = 0; argv[i]; i++)
		free(argv[i]);
}

static int read_word(struct guest_args *args, size_t i, const char *value, struct err *err)
{
	char *p = (char *)args + words[i].offset;
	uint64_t large;
	uint32_t small;

	if (words[i].kind == TEXT || words[i].kind == OPTIONAL) {
		if (words[i].kind == OPTIONAL && !*value)
			value = NULL;
		memcpy(p, &value, sizeof(value));
		return 0;
	}
	if (parse_u64(value, words[i].kind == U32 ? UINT32_MAX : UINT64_MAX, &large) < 0)
		return err_set(err, ERR_USAGE, "%s=%s: not a number", words[i].key, value);
	small = (uint32_t)large;
	if (words[i].kind == U32)
		memcpy(p, &small, sizeof(small));
	else
		memcpy(p, &large, sizeof(large));
	return 0;
}

int args_read(int argc, char **argv, struct guest_args *ret, struct err *err)
{
	struct guest_args args = { 0 };
	int r;

	if (argc != (int)ARRAY_LEN(words) + 2 || !name_valid(argv[1]))
		return err_set(err, ERR_USAGE, "vm2-guest is started by vm2d, not by hand");
	args.spec.name = argv[1];
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		const char *word = argv[i + 2];
		size_t len = strlen(words[i].key);

		if (strncmp(word, words[i].key, len) != 0 || word[len] != '=')
			return err_set(err, ERR_USAGE, "'%s' where %s= should be", word,
				       words[i].key);
		r = read_word(&args, i, word + len + 1, err);
		if (r)
			return r;
	}
	*ret = args;
	return 0;
}
