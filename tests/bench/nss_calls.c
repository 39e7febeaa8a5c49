/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For tests/bench/nss: makes calls and prints how long one of them took, in microseconds.
 *
 *   bench-nss CALL FIRST COUNT N    N calls, for random ones of COUNT names that are FIRST and six
 *                                   digits, or of COUNT numbers from FIRST on; says whether they are
 *                                   there. The same N calls come before, unless N is 1
 *   bench-nss publish CONFIG N      write the snapshot of accounts anew, N times
 */
#include <dlfcn.h>
#include <err.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "provision/store/accounts.h"
#include "provision/store/store.h"

typedef enum nss_status module_fn(const char *, struct passwd *, char *, size_t, int *);

/* One call; whether it found somebody. */
typedef bool call_fn(const char *name, uint32_t number);

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static bool call_getpwnam(const char *name, uint32_t number)
{
	return getpwnam(name) != NULL;
}

static bool call_getpwuid(const char *name, uint32_t number)
{
	return getpwuid(number) != NULL;
}

static bool call_getgrgid(const char *name, uint32_t number)
{
	return getgrgid(number) != NULL;
}

static bool call_groups(const char *name, uint32_t number)
{
	gid_t groups[8];
	int n = 8;

	return getgrouplist(name, number, groups, &n) == 1;
}

static module_fn *find(void *library, const char *symbol)
{
	module_fn *fn = library ? (module_fn *)dlsym(library, symbol) : NULL;

	if (!fn)
		errx(1, "%s", dlerror());
	return fn;
}

static bool call_module(module_fn *fn, const char *name)
{
	struct passwd pw;
	char buf[1024];
	int e;

	return fn(name, &pw, buf, sizeof(buf), &e) == NSS_STATUS_SUCCESS;
}

/* The functions themselves that the switch calls: libc's own for files, and ours. */
static bool call_files(const char *name, uint32_t number)
{
	static module_fn *fn;

	if (!fn)
		fn = find(dlopen("libc.so.6", RTLD_NOW), "_nss_files_getpwnam_r");
	return call_module(fn, name);
}

static bool call_vm2(const char *name, uint32_t number)
{
	static module_fn *fn;

	if (!fn)
		fn = find(dlopen("libnss_vm2.so.2", RTLD_NOW), "_nss_vm2_getpwnam_r");
	return call_module(fn, name);
}

static const struct {
	const char *name;
	call_fn *call;
} calls[] = {
	{ "getpwnam", call_getpwnam }, { "getpwuid", call_getpwuid }, { "getgrgid", call_getgrgid },
	{ "groups", call_groups },     { "files", call_files },	      { "vm2", call_vm2 },
};

/* Random ones of all there are; names are made beforehand, so that only the calls are timed. */
static double time_calls(call_fn *call, const char *first, uint32_t count, uint32_t n,
			 bool *ret_found)
{
	char(*names)[40] = calloc(n, sizeof(*names));
	uint32_t *numbers = calloc(n, sizeof(*numbers)), found = 0;
	unsigned int seed = 1;
	double start;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = (uint32_t)rand_r(&seed) % count;

		snprintf(names[i], sizeof(names[i]), "%s%06u", first, at);
		numbers[i] = (uint32_t)strtoul(first, NULL, 10) + at;
	}
	start = now_us();
	for (uint32_t i = 0; i < n; i++)
		found += call(names[i], numbers[i]);
	start = now_us() - start;
	free(names);
	free(numbers);
	if (found != 0 && found != n)
		errx(1, "%u of %u were found", found, n);
	*ret_found = found == n;
	return start / n;
}

static int time_publish(const char *file, uint32_t n)
{
	const struct config *config = NULL;
	struct store *store = NULL;
	struct err err = { 0 };
	double start;

	if (config_load(file, &config, &err) != 0 || store_open(config->database, &store, &err) != 0)
		errx(1, "%s", err.text);
	start = now_us();
	for (uint32_t i = 0; i < n; i++)
		if (accounts_publish(store, config, &err) != 0)
			errx(1, "%s", err.text);
	printf("%.2f\n", (now_us() - start) / n);
	store_close(store);
	config_free(config);
	return 0;
}

int main(int argc, char **argv)
{
	uint32_t count, n;
	bool found;
	double us;

	if (argc == 4 && !strcmp(argv[1], "publish"))
		return time_publish(argv[2], (uint32_t)strtoul(argv[3], NULL, 10));
	if (argc != 5)
		errx(2, "see tests/bench/nss");
	count = (uint32_t)strtoul(argv[3], NULL, 10);
	n = (uint32_t)strtoul(argv[4], NULL, 10);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (strcmp(argv[1], calls[i].name) != 0)
			continue;
		/* What a process does the first time is not what is asked for. */
		if (n > 1)
			time_calls(calls[i].call, argv[2], count, n, &found);
		us = time_calls(calls[i].call, argv[2], count, n, &found);
		printf("%.3f %s\n", us, found ? "found" : "unknown");
		return 0;
	}
	errx(2, "%s: unknown call", argv[1]);
}
