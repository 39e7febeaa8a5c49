/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A fuzzer is a file that defines CORPUS, then includes this, then says what one input does. With the
 * option "fuzz" it becomes a program of libFuzzer: BUILD/tests/fuzz/fuzz-NAME tests/fuzz/corpus/NAME.
 * Without, it is a unit test that tries each file of its corpus and their neighbours.
 */
#ifndef VM2_TESTS_FUZZ_H
#define VM2_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must never be: the fuzzer stops here. */
#define NEVER(condition)         \
	do {                     \
		if (condition)   \
			abort(); \
	} while (0)

#ifndef VM2_FUZZ
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* So many of an input's bytes are tried; a fuzzer whose inputs take long defines fewer. */
#ifndef NEIGHBOURS
#define NEIGHBOURS 600
#endif

/* The input itself, cut at each length, and with each byte turned over: no more than a second's work. */
static void try_input(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size + 1);

	LLVMFuzzerTestOneInput(data, size);
	for (size_t i = 0; i < size && i < NEIGHBOURS; i++) {
		memcpy(copy, data, size);
		copy[i] ^= 0xff;
		LLVMFuzzerTestOneInput(copy, size);
		memcpy(copy, data, size);
		LLVMFuzzerTestOneInput(copy, i);
	}
	free(copy);
}

Test(corpus, replays)
{
	static uint8_t data[65536];
	DIR *dir = opendir(SOURCE_ROOT "/tests/fuzz/corpus/" CORPUS);
	struct dirent *de;
	int n = 0;

	cr_assert(dir);
	while ((de = readdir(dir))) {
		char path[512];
		FILE *f;
		size_t size;

		if (de->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), SOURCE_ROOT "/tests/fuzz/corpus/" CORPUS "/%s", de->d_name);
		f = fopen(path, "re");
		cr_assert(f, "%s", path);
		size = fread(data, 1, sizeof(data), f);
		fclose(f);
		try_input(data, size);
		n++;
	}
	closedir(dir);
	cr_assert_gt(n, 0);
}
#endif

#endif
