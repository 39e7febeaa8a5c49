/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/session/leaf.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* Add "key":"value", with what must stand before it. NULL is left out. */
static void add(struct buf *b, const char *key, const char *value)
{
	if (!value)
		return;
	buf_puts(b, b->len ? "," : "{");
	buf_json(b, key);
	buf_puts(b, ":");
	buf_json(b, value);
}

static void add_number(struct buf *b, const char *key, uint64_t value)
{
	buf_printf(b, "%s\"%s\":%" PRIu64, b->len ? "," : "{", key, value);
}

static void add_time(struct buf *b, int64_t now)
{
	time_t t = (time_t)now;
	char text[32];
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	add(b, "time", text);
}

static void add_command(struct buf *b, const struct order *o)
{
	CLEANUP_BUF struct buf words = { 0 };
	const char *command = o->command;
	size_t len;

	for (char **word = o->argv; word && *word; word++) {
		if (word != o->argv)
			buf_puts(&words, " ");
		buf_puts(&words, *word);
	}
	if (words.len > 0)
		command = words.data;
	if (!command)
		return;
	len = strlen(command);
	buf_puts(b, b->len ? ",\"command\":" : "{\"command\":");
	buf_json_n(b, command, len < LEAF_COMMAND_MAX ? len : LEAF_COMMAND_MAX);
	if (len > LEAF_COMMAND_MAX)
		add_number(b, "command_bytes", len);
}

void leaf_open(struct buf *b, const struct order *o, int64_t now)
{
	add_command(b, o);
	add(b, "credential", o->credential);
	add(b, "kind", o->kind);
	add(b, "session", o->session);
	add(b, "source", o->source);
	add(b, "tenant", o->tenant);
	add_time(b, now);
	add(b, "type", "open");
	add(b, "via", o->via);
	buf_puts(b, "}");
}

static void add_recording(struct buf *b, const struct leaf_close *c)
{
	buf_printf(b, ",\"recording\":{\"bytes\":%" PRIu64 ",\"cut\":%s,\"sha256\":\"",
		   c->recording_bytes, c->cut ? "true" : "false");
	for (size_t i = 0; i < sizeof(c->recording_digest); i++)
		buf_printf(b, "%02x", c->recording_digest[i]);
	buf_puts(b, "\"}");
}

void leaf_close(struct buf *b, const struct order *o, const struct leaf_close *c, int64_t now)
{
	char name[16];

	add_number(b, "bytes_in", c->bytes_in);
	add_number(b, "bytes_out", c->bytes_out);
	add(b, "error", c->error);
	add(b, "kind", o->kind);
	if (c->recorded)
		add_recording(b, c);
	add(b, "session", o->session);
	if (c->status.signal)
		add(b, "signal", status_signal_name(c->status.signal, name));
	else if (!c->error)
		add_number(b, "status", (uint64_t)c->status.exit);
	add(b, "tenant", o->tenant);
	add_time(b, now);
	add(b, "type", "close");
	add(b, "via", o->via);
	buf_puts(b, "}");
}

void leaf_forward(struct buf *b, const struct order *o, const struct leaf_forward *f, int64_t now)
{
	if (f->end) {
		add_number(b, "bytes_in", f->bytes_in);
		add_number(b, "bytes_out", f->bytes_out);
	}
	add(b, "direction", f->inbound ? "from-guest" : "to-guest");
	add(b, "session", o->session);
	add(b, "target", f->target);
	add(b, "tenant", o->tenant);
	add_time(b, now);
	add(b, "type", f->end ? "forward-close" : "forward-open");
	add(b, "via", o->via);
	buf_puts(b, "}");
}
