/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/session/order.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "provision/base/cleanup.h"

/* What a plan can say at most (provision/base/limits.h). */
#define FORWARDS_MAX 100000

/* Terminal sizes are 16 bits in the kernel (struct winsize). */
static int read_numbers(struct order *o, struct err *err)
{
	uint64_t pty, record, started;
	struct {
		const char *key;
		uint64_t fallback;
		unsigned int *ret;
	} sizes[] = { { "cols", 80, &o->cols },
		      { "rows", 24, &o->rows },
		      { "xpixel", 0, &o->xpixel },
		      { "ypixel", 0, &o->ypixel } };
	int r;

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		uint64_t n;

		r = msg_get_u64(&o->msg, sizes[i].key, sizes[i].fallback, UINT16_MAX, &n, err);
		if (r != 0)
			return r;
		*sizes[i].ret = (unsigned int)n;
	}
	r = msg_get_u64(&o->msg, "pty", 0, 1, &pty, err);
	if (r == 0)
		r = msg_get_u64(&o->msg, "record", 0, 1, &record, err);
	if (r == 0)
		r = msg_get_u64(&o->msg, "started", 0, INT64_MAX, &started, err);
	if (r == 0)
		r = msg_get_u64(&o->msg, "forwards", 0, FORWARDS_MAX, &o->forwards, err);
	if (r != 0)
		return r;
	o->pty = pty;
	o->record = record;
	o->started = (int64_t)started;
	return 0;
}

static void read_words(struct order *o)
{
	const char *word;
	size_t pos = 0, n = 0;

	while (msg_next_value(&o->msg, "argv", &pos))
		n++;
	if (n == 0)
		return;
	o->argv = xcalloc(n + 1, sizeof(*o->argv));
	for (pos = n = 0; (word = msg_next_value(&o->msg, "argv", &pos));)
		o->argv[n++] = xstrdup(word);
}

static bool is_set(const struct order *o, const char *key)
{
	const char *value = msg_get(&o->msg, key);

	return value && strcmp(value, "1") == 0;
}

static int check(struct order *o, struct err *err)
{
	const char *recording = msg_get(&o->msg, "plan_recording");

	if (!name_valid(o->tenant))
		return err_set(err, ERR_USAGE, "the session's order names no valid tenant");
	if (strcmp(o->kind, "shell") != 0 && strcmp(o->kind, "exec") != 0 &&
	    strcmp(o->kind, "subsystem") != 0 && strcmp(o->kind, "forward") != 0)
		return err_set(err, ERR_USAGE, "'%s' is no kind of session", o->kind);
	if (strcmp(o->kind, "exec") == 0 && !o->command && !o->argv)
		return err_set(err, ERR_USAGE, "a session of kind exec needs a command");
	if (strcmp(o->kind, "subsystem") == 0 && (!o->command || strcmp(o->command, "sftp") != 0))
		return err_set(err, ERR_USAGE, "there is no subsystem '%s', only sftp",
			       o->command ? o->command : "");
	o->forward = strcmp(o->kind, "forward") == 0;
	if (o->forward && o->pty)
		return err_set(err, ERR_USAGE, "a session of kind forward has no terminal");
	o->no_uploads = is_set(o, "no_uploads");
	o->no_downloads = is_set(o, "no_downloads");
	o->x11_allowed = is_set(o, "x11_allowed");
	o->required = !recording || strcmp(recording, "best-effort") != 0;
	return 0;
}

static int take(struct order *o, struct err *err)
{
	int r = msg_need(&o->msg, "tenant", &o->tenant, err);

	if (r == 0)
		r = msg_need(&o->msg, "kind", &o->kind, err);
	if (r == 0)
		r = msg_need(&o->msg, "session", &o->session, err);
	if (r == 0)
		r = read_numbers(o, err);
	if (r != 0)
		return r;
	o->command = msg_get(&o->msg, "command");
	o->via = msg_get(&o->msg, "via");
	o->term = msg_get(&o->msg, "term");
	o->modes = msg_get(&o->msg, "modes");
	o->source = msg_get(&o->msg, "source");
	o->local = msg_get(&o->msg, "local");
	o->credential = msg_get(&o->msg, "credential");
	o->original = msg_get(&o->msg, "original");
	o->agent = msg_get(&o->msg, "agent");
	o->x11 = msg_get(&o->msg, "x11");
	o->config = msg_get(&o->msg, "config");
	if (o->config && !*o->config)
		o->config = NULL;
	read_words(o);
	return check(o, err);
}

int order_read(int fd, struct order *ret, struct err *err)
{
	struct order o = { 0 };
	CLEANUP_FREE char *text = NULL;
	struct stat st;
	ssize_t n;
	int r;

	if (fstat(fd, &st) < 0)
		return err_sys(err, errno, "cannot read the session's order");
	if (st.st_size <= 0 || st.st_size > MSG_MAX)
		return err_set(err, -EBADMSG, "the session's order is empty or too long");
	text = xcalloc(1, (size_t)st.st_size);
	n = pread(fd, text, (size_t)st.st_size, 0);
	if (n < 0)
		return err_sys(err, errno, "cannot read the session's order");
	r = msg_parse(&o.msg, text, (size_t)n);
	r = r < 0 ? err_set(err, r, "the session's order is no message") : take(&o, err);
	if (r != 0)
		order_free(&o);
	else
		*ret = o;
	return r;
}

void order_free(struct order *o)
{
	for (char **word = o->argv; word && *word; word++)
		free(*word);
	free(o->argv);
	o->argv = NULL;
	msg_free(&o->msg);
}

int order_await(void)
{
	CLEANUP_MSG struct msg m = { 0 };
	CLEANUP_CLOSE int init = -1;

	if (msg_recv(ORDER_FD_GO, &m, 0, NULL) != 0)
		return -ECANCELED;
	init = msg_take_fd(&m, 0);
	if (init < 0)
		return -EBADMSG;
	return dup3(init, ORDER_FD_INIT, O_CLOEXEC) < 0 ? -errno : 0;
}
