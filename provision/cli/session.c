/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/cli/command.h"
#include "provision/cli/replay.h"

#define COLUMNS(in_detail)                                    \
	{ "id", "ID", COLUMN_TEXT, false },                   \
	{ "tenant", "TENANT", COLUMN_TEXT, false },           \
	{ "kind", "KIND", COLUMN_TEXT, false },               \
	{ "started", "STARTED", COLUMN_TIME, false },         \
	{ "ended", "ENDED", COLUMN_TIME, in_detail },         \
	{ "state", "STATE", COLUMN_TEXT, false },             \
	{ "status", "STATUS", COLUMN_NUMBER, false },         \
	{ "signal", "SIGNAL", COLUMN_TEXT, in_detail },       \
	{ "recorded", "RECORDED", COLUMN_BOOL, false },       \
	{ "via", "VIA", COLUMN_TEXT, in_detail },             \
	{ "source", "SOURCE", COLUMN_TEXT, false },           \
	{ "credential", "CREDENTIAL", COLUMN_TEXT, in_detail }, \
	{ "bytes_in", "IN", COLUMN_SIZE, in_detail },         \
	{ "bytes_out", "OUT", COLUMN_SIZE, in_detail },       \
	{ "command", "COMMAND", COLUMN_TEXT, false }

static const struct column columns[] = { COLUMNS(true), { 0 } };

static int positive(const struct cli *cli, const char *option, double fallback, double *ret,
		    struct err *err)
{
	const char *text = command_option(cli, option);
	char *end = NULL;

	*ret = fallback;
	if (!text)
		return 0;
	*ret = strtod(text, &end);
	if (!*text || *end || !isfinite(*ret) || *ret <= 0)
		return err_set(err, ERR_USAGE, "--%s takes a number above 0, not '%.80s'", option, text);
	return 0;
}

static int copy(int from, int to, struct err *err)
{
	char data[65536];
	ssize_t n;

	while ((n = read(from, data, sizeof(data))) != 0) {
		int r = n < 0 ? -errno : fd_write_all(to, data, (size_t)n);

		if (r < 0 && r != -EINTR)
			return err_sys(err, -r, "cannot copy the recording");
	}
	return 0;
}

static int copy_to_file(int from, const char *path, struct err *err)
{
	CLEANUP_CLOSE int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r;

	if (to < 0)
		return err_sys(err, errno, "cannot write %s", path);
	r = copy(from, to, err);
	if (r == 0 && fsync(to) < 0 && errno != EINVAL)
		r = err_sys(err, errno, "cannot write %s", path);
	if (r != 0)
		unlink(path);
	return r;
}

static int show_recording(const struct cli *cli, int *fd, struct err *err)
{
	struct replay how = { .terminal = isatty(STDOUT_FILENO) };
	CLEANUP_FCLOSE FILE *in = NULL;
	int r = positive(cli, "speed", 1, &how.speed, err);

	if (r == 0)
		r = positive(cli, "max-idle", 0, &how.max_idle, err);
	if (r != 0)
		return r;
	in = fdopen(*fd, "r");
	if (!in)
		return err_sys(err, errno, "cannot read the recording");
	*fd = -1;
	return replay_show(in, STDOUT_FILENO, &how, err);
}

static int replay(struct cli *cli, struct err *err)
{
	CLEANUP_MSG struct msg request = { 0 };
	CLEANUP_MSG struct msg reply = { 0 };
	CLEANUP_CLOSE int fd = -1;
	const char *output = command_option(cli, "output");
	int r;

	command_fill(cli, &request);
	r = command_call(cli, &request, NULL, NULL, &reply, err);
	if (r != 0)
		return r;
	fd = msg_take_fd(&reply, 0);
	if (fd < 0)
		return err_set(err, ERR_FAILED, "vm2d did not hand out the recording of %s",
			       cli->words[0]);
	if (output)
		return copy_to_file(fd, output, err);
	if (command_option(cli, "raw"))
		return copy(fd, STDOUT_FILENO, err);
	return show_recording(cli, &fd, err);
}

static const struct option_spec list_options[] = {
	{ "tenant", OPTION_TEXT, "NAME", "tenant", "only this tenant's", false },
	{ "limit", OPTION_NUMBER, "N", "limit", "only the latest N", false },
	{ 0 },
};

static const struct option_spec replay_options[] = {
	{ "speed", OPTION_TEXT, "N", NULL, "N times as fast as it happened", false },
	{ "max-idle", OPTION_TEXT, "SECONDS", NULL, "no pause longer than that", false },
	{ "raw", OPTION_FLAG, NULL, NULL, "print the asciicast itself", false },
	{ "output", OPTION_TEXT, "FILE", NULL, "write the asciicast to FILE, which must not exist", false },
	{ 0 },
};

static const struct verb verbs[] = {
	{ .name = "list", .help = "List sessions, the latest first.", .op = "session.list",
	  .options = list_options, .columns = columns, .shape = TABLE_MANY },
	{ .name = "show", .help = "Show a session.", .usage = "ID", .op = "session.show",
	  .words = { "id" }, .min_words = 1, .max_words = 1, .columns = columns,
	  .shape = TABLE_ONE },
	{ .name = "replay",
	  .help = "Show what a session's terminal showed: on a terminal as it happened, else at once.",
	  .usage = "ID", .op = "session.read", .words = { "id" }, .min_words = 1, .max_words = 1,
	  .options = replay_options, .run = replay },
	{ 0 },
};

const struct noun noun_session = { "session", "What happened in the guests, and its recordings.",
				   verbs };
