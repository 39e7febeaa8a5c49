/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/audit/recording.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

struct recording {
	int fd;
	int64_t start;	       /* clock_ms() of second 0 */
	int64_t last;	       /* of the latest event: times never go back */
	uint64_t bytes;
	int failed;	       /* -errno of the write that ended it */
	struct sha256_ctx sha; /* of all bytes written */
	struct buf line;       /* kept, so that an event allocates nothing */
	unsigned char held[4]; /* the start of a UTF-8 sequence */
	size_t n_held;
};

/*
 * One line, one write. What a full disk took of half a line is cut off again, so that the
 * recording stays readable to its end.
 */
static int write_line(struct recording *r, struct err *err)
{
	int code = r->failed;

	if (code == 0)
		code = fd_write_all(r->fd, r->line.data, r->line.len);
	if (code < 0) {
		if (r->failed == 0 && ftruncate(r->fd, (off_t)r->bytes) < 0)
			r->failed = -errno;
		r->failed = code;
		return err_sys(err, -code, "cannot write the recording (is the disk full?)");
	}
	sha256_update(&r->sha, r->line.len, (const uint8_t *)r->line.data);
	r->bytes += r->line.len;
	return 0;
}

static void add_member(struct buf *b, const char *key, const char *value)
{
	if (!value)
		return;
	if (b->data[b->len - 1] != '{')
		buf_puts(b, ", ");
	buf_json(b, key);
	buf_puts(b, ": ");
	buf_json(b, value);
}

static void header_line(struct buf *b, const struct recording_header *h)
{
	buf_printf(b, "{\"version\": 2, \"width\": %u, \"height\": %u, \"timestamp\": %" PRId64,
		   h->cols, h->rows, h->started);
	if (h->title) {
		buf_puts(b, ", \"title\": ");
		buf_json(b, h->title);
	}
	buf_puts(b, ", \"env\": {");
	add_member(b, "SHELL", h->shell);
	add_member(b, "TERM", h->term);
	buf_puts(b, "}}\n");
}

int recording_create(int folder_fd, const struct recording_header *header, struct recording **ret,
		     struct err *err)
{
	struct recording *r;
	int code, fd;

	fd = openat(folder_fd, RECORDING_FIRST,
		    O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0440);
	if (fd < 0)
		return err_sys(err, errno, "cannot create the recording %s", RECORDING_FIRST);
	r = xcalloc(1, sizeof(*r));
	r->fd = fd;
	r->start = r->last = clock_ms();
	sha256_init(&r->sha);
	header_line(&r->line, header);
	code = write_line(r, err);
	if (code != 0) {
		unlinkat(folder_fd, RECORDING_FIRST, 0);
		recording_close(r);
		return code;
	}
	*ret = r;
	return 0;
}

static void begin_event(struct recording *r, int64_t now, char type)
{
	int64_t ms;

	r->last = now > r->last ? now : r->last;
	ms = r->last - r->start;
	r->line.len = 0;
	buf_printf(&r->line, "[%" PRId64 ".%03d, \"%c\", ", ms / 1000, (int)(ms % 1000), type);
}

/*
 * How many bytes at the end (0..3) are the start of a UTF-8 sequence whose rest is yet to come.
 * What only looks like one is harmless: it is judged again when the next bytes are there.
 */
static size_t unfinished(const unsigned char *s, size_t len)
{
	for (size_t k = 1; k <= 3 && k <= len; k++) {
		unsigned char c = s[len - k];
		size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

		if ((c & 0xc0) == 0x80)
			continue;
		return c >= 0xc2 && c <= 0xf4 && need > k ? k : 0;
	}
	return 0;
}

static int write_output(struct recording *r, int64_t now, const char *text, size_t len,
			struct err *err)
{
	begin_event(r, now, 'o');
	buf_json_n(&r->line, text, len);
	buf_puts(&r->line, "]\n");
	return write_line(r, err);
}

int recording_output(struct recording *r, int64_t now, const void *data, size_t len,
		     struct err *err)
{
	CLEANUP_BUF struct buf joined = { 0 };
	size_t rest;

	if (r->n_held > 0) {
		buf_add(&joined, r->held, r->n_held);
		buf_add(&joined, data, len);
		data = joined.data;
		len = joined.len;
	}
	rest = unfinished(data, len);
	memcpy(r->held, (const char *)data + len - rest, rest);
	r->n_held = rest;
	if (len == rest)
		return r->failed ? write_line(r, err) : 0;
	return write_output(r, now, data, len - rest, err);
}

int recording_resize(struct recording *r, int64_t now, unsigned int cols, unsigned int rows,
		     struct err *err)
{
	begin_event(r, now, 'r');
	buf_printf(&r->line, "\"%ux%u\"]\n", cols, rows);
	return write_line(r, err);
}

void recording_digest(const struct recording *r, unsigned char ret[32])
{
	struct sha256_ctx copy = r->sha;

	sha256_digest(&copy, SHA256_DIGEST_SIZE, ret);
}

uint64_t recording_bytes(const struct recording *r)
{
	return r->bytes;
}

int recording_finish(struct recording *r, struct err *err)
{
	size_t n = r->n_held;

	r->n_held = 0;
	return n > 0 ? write_output(r, r->last, (const char *)r->held, n, err) : 0;
}

struct recording *recording_close(struct recording *r)
{
	if (!r)
		return NULL;
	recording_finish(r, NULL);
	fd_close(r->fd);
	buf_free(&r->line);
	free(r);
	return NULL;
}
