/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "provision/session/sftp.h"

/* The longest name of an extension that is looked at. */
#define NAME_MAX_LEN 64

/* What is left of a packet. */
struct reader {
	const uint8_t *at;
	size_t left;
};

static int get(struct reader *r, size_t bytes, uint64_t *ret)
{
	uint64_t n = 0;

	if (r->left < bytes)
		return -EBADMSG;
	for (size_t i = 0; i < bytes; i++)
		n = n << 8 | r->at[i];
	r->at += bytes;
	r->left -= bytes;
	*ret = n;
	return 0;
}

static int get32(struct reader *r, uint32_t *ret)
{
	uint64_t n;
	int e = get(r, 4, &n);

	if (e == 0)
		*ret = (uint32_t)n;
	return e;
}

static int get_string(struct reader *r, const uint8_t **ret, uint32_t *ret_len)
{
	uint32_t len;

	if (get32(r, &len) != 0 || len > r->left)
		return -EBADMSG;
	*ret = r->at;
	*ret_len = len;
	r->at += len;
	r->left -= len;
	return 0;
}

/* A string as C has them: without a NUL in it, and shorter than cap. */
static int get_text(struct reader *r, char *ret, size_t cap)
{
	const uint8_t *data;
	uint32_t len;

	if (get_string(r, &data, &len) != 0 || memchr(data, 0, len))
		return -EBADMSG;
	if (len >= cap)
		return -ENAMETOOLONG;
	memcpy(ret, data, len);
	ret[len] = '\0';
	return 0;
}

/* Extended attributes, which nobody has defined, come last: they are left where they are. */
static int get_attrs(struct reader *r, struct sftp_attrs *a)
{
	int e = get32(r, &a->flags);

	if (e == 0 && a->flags & SFTP_A_SIZE)
		e = get(r, 8, &a->size);
	if (e == 0 && a->flags & SFTP_A_OWNER)
		e = get32(r, &a->uid) ?: get32(r, &a->gid);
	if (e == 0 && a->flags & SFTP_A_MODE)
		e = get32(r, &a->mode);
	if (e == 0 && a->flags & SFTP_A_TIMES)
		e = get32(r, &a->atime) ?: get32(r, &a->mtime);
	return e;
}

static int get_handle(struct reader *r, uint32_t *ret)
{
	const uint8_t *data;
	uint32_t len;
	struct reader number = { .left = sizeof(*ret) };

	if (get_string(r, &data, &len) != 0)
		return -EBADMSG;
	/* One of another length is none of ours, but a request for all that. */
	*ret = SFTP_HANDLES_MAX;
	number.at = data;
	return len == sizeof(*ret) ? get32(&number, ret) : 0;
}

static int get_fields(struct reader *r, struct sftp_request *q)
{
	unsigned int path = 0, number = 0, handle = 0;
	int e = 0;

	for (const char *f = q->kind->fields; *f && e == 0; f++) {
		if (*f == 's')
			e = get_text(r, q->paths[path++], PATH_MAX);
		else if (*f == 'q')
			e = get(r, 8, &q->numbers[number++]);
		else if (*f == 'h')
			e = get_handle(r, &q->handles[handle++]);
		else if (*f == 'u')
			e = get32(r, &q->flags);
		else if (*f == 'd')
			e = get_string(r, &q->data, &q->data_len);
		else
			e = get_attrs(r, &q->attrs);
	}
	return e;
}

int sftp_decode(const struct sftp_kind *kinds, size_t n_kinds, const uint8_t *data, size_t len,
		struct sftp_request *ret)
{
	struct reader r = { data, len };
	char name[NAME_MAX_LEN] = "";
	uint64_t type;
	int e;

	memset(ret, 0, offsetof(struct sftp_request, paths));
	memset(ret->numbers, 0, sizeof(*ret) - offsetof(struct sftp_request, numbers));
	ret->paths[0][0] = ret->paths[1][0] = '\0';
	if (get(&r, 1, &type) != 0 || get32(&r, &ret->id) != 0)
		return -EBADMSG;
	if (type == SFTP_EXTENDED) {
		e = get_text(&r, name, sizeof(name));
		if (e != 0)
			return e == -ENAMETOOLONG ? 0 : e;
	}
	for (size_t i = 0; i < n_kinds; i++)
		if (kinds[i].type == type && (!kinds[i].name || strcmp(kinds[i].name, name) == 0))
			ret->kind = &kinds[i];
	return ret->kind ? get_fields(&r, ret) : 0;
}

uint8_t *sftp_room(struct sftp *s, size_t len)
{
	size_t need = s->out_len + len;

	if (need > s->out_cap) {
		s->out_cap = need + need / 2;
		s->out = realloc(s->out, s->out_cap);
		if (!s->out)
			abort();
	}
	return s->out + s->out_len;
}

static void put(struct sftp *s, uint64_t n, size_t bytes)
{
	uint8_t *at = sftp_room(s, bytes);

	for (size_t i = 0; i < bytes; i++)
		at[i] = (uint8_t)(n >> 8 * (bytes - 1 - i));
	s->out_len += bytes;
}

void sftp_put8(struct sftp *s, uint8_t n)
{
	put(s, n, 1);
}

void sftp_put32(struct sftp *s, uint32_t n)
{
	put(s, n, 4);
}

void sftp_put64(struct sftp *s, uint64_t n)
{
	put(s, n, 8);
}

void sftp_put_string(struct sftp *s, const void *data, size_t len)
{
	sftp_put32(s, (uint32_t)len);
	memcpy(sftp_room(s, len), data, len);
	s->out_len += len;
}

void sftp_put_text(struct sftp *s, const char *text)
{
	sftp_put_string(s, text, strlen(text));
}

void sftp_put_attrs(struct sftp *s, const struct stat *st)
{
	sftp_put32(s, SFTP_A_SIZE | SFTP_A_OWNER | SFTP_A_MODE | SFTP_A_TIMES);
	sftp_put64(s, (uint64_t)st->st_size);
	sftp_put32(s, st->st_uid);
	sftp_put32(s, st->st_gid);
	sftp_put32(s, st->st_mode);
	sftp_put32(s, (uint32_t)st->st_atime);
	sftp_put32(s, (uint32_t)st->st_mtime);
}

void sftp_begin(struct sftp *s, uint8_t type, uint32_t id)
{
	s->packet = s->out_len;
	sftp_put32(s, 0);
	sftp_put8(s, type);
	sftp_put32(s, id);
}

void sftp_finish(struct sftp *s)
{
	size_t len = s->out_len - s->packet - 4;

	for (int i = 0; i < 4; i++)
		s->out[s->packet + (size_t)i] = (uint8_t)(len >> (24 - 8 * i));
	s->replied = true;
}

static uint32_t status_of(int error)
{
	switch (error) {
	case -1:
		return SFTP_EOF;
	case 0:
		return SFTP_OK;
	case ENOENT:
	case ENOTDIR:
	case ELOOP:
	case EBADF:
		return SFTP_NO_SUCH_FILE;
	case EPERM:
	case EACCES:
		return SFTP_PERMISSION_DENIED;
	case EBADMSG:
		return SFTP_BAD_MESSAGE;
	case EOPNOTSUPP:
	case ENOSYS:
		return SFTP_OP_UNSUPPORTED;
	default:
		return SFTP_FAILURE;
	}
}

void sftp_reply_status(struct sftp *s, uint32_t id, int error)
{
	sftp_begin(s, SFTP_STATUS, id);
	sftp_put32(s, status_of(error));
	sftp_put_text(s, error < 0 ? "End of file" : strerror(error));
	sftp_put_text(s, "");
	sftp_finish(s);
}
