/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"
#include "provision/cli/replay.h"

#define HEADER "{\"version\": 2, \"width\": 80, \"height\": 24}\n"

static int replay(const char *cast, const struct replay *how, char *shown, size_t cap,
		  struct err *err)
{
	CLEANUP_FCLOSE FILE *in = fmemopen((void *)(uintptr_t)cast, strlen(cast), "r");
	CLEANUP_CLOSE int out = memfd_create("out", MFD_CLOEXEC);
	int r = replay_show(in, out, how, err);
	ssize_t n = pread(out, shown, cap - 1, 0);

	shown[n > 0 ? n : 0] = '\0';
	return r;
}

Test(replay, writes_all_at_once_elsewhere)
{
	const struct replay how = { .speed = 1 };
	char shown[256];
	struct err err = { 0 };

	cr_assert_eq(replay(HEADER "[0.1, \"o\", \"a\\u001b[6nb\\r\\n\"]\n[5000.0, \"i\", \"secret\"]\n"
				   "[9000, \"r\", \"80x24\"]\n[9999.5, \"o\", \"\\u0000c\"]\n[9999.6, \"o",
			    &how, shown, sizeof(shown), &err),
		     0, "%s", err.text);
	cr_assert_eq(memcmp(shown, "a\033[6nb\r\n\0c", 10), 0);
}

Test(replay, keeps_time_and_filters_on_a_terminal)
{
	const struct replay how = { .speed = 2, .max_idle = 0.1, .terminal = true };
	char shown[256];
	struct err err = { 0 };
	int64_t start = clock_ms(), took;

	cr_assert_eq(replay(HEADER "[1.0, \"o\", \"a\\u001b[6n\"]\n[100, \"o\", \"b\"]\n", &how, shown,
			    sizeof(shown), &err),
		     0);
	took = clock_ms() - start;
	cr_assert(str_starts(shown, "ab\0337"), "%s", shown);
	cr_assert(took >= 95 && took < 5000, "%ld ms", (long)took);
}

Test(replay, says_what_is_no_recording)
{
	const struct replay how = { .speed = 1 };
	char shown[64];
	struct err err = { 0 };

	cr_assert_eq(replay("hello\n", &how, shown, sizeof(shown), &err), ERR_FAILED);
	cr_assert(strstr(err.text, "line 1"), "%s", err.text);
	cr_assert_eq(replay(HEADER "[1]\n", &how, shown, sizeof(shown), &err), ERR_FAILED);
	cr_assert(strstr(err.text, "line 2"), "%s", err.text);
}
