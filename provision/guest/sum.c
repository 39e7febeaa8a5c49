/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/sum.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "provision/base/cleanup.h"

/* capabilities(7): struct vfs_cap_data of revision 2, as the host's root sees what a guest's set. */
#define CAPS_SIZE     20
#define CAPS_REVISION 2

static void put_u64(uint8_t out[8], uint64_t value)
{
	for (int i = 0; i < 8; i++)
		out[i] = (uint8_t)(value >> (56 - 8 * i));
}

/* The first byte is zero, and each equals the one before it. */
static bool all_zero(const uint8_t *data, size_t len)
{
	return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

static void begin(struct content *c)
{
	if (!c->begun)
		sha256_init(&c->hash);
	c->begun = true;
}

static void end_page(struct content *c)
{
	uint8_t number[8];

	begin(c);
	if (!all_zero(c->data, c->filled)) {
		put_u64(number, c->page);
		sha256_update(&c->hash, sizeof(number), number);
		/* A page at the file's end counts as one that is filled up with zeros. */
		memset(c->data + c->filled, 0, SUM_PAGE - c->filled);
		sha256_update(&c->hash, SUM_PAGE, c->data);
	}
	c->filled = 0;
}

void content_add(struct content *c, uint64_t at, const void *data, size_t len)
{
	const uint8_t *from = data;

	while (len) {
		uint64_t page = at / SUM_PAGE;
		size_t place = (size_t)(at % SUM_PAGE), part = SUM_PAGE - place;

		if (part > len)
			part = len;
		if (c->filled && page != c->page)
			end_page(c);
		if (place > c->filled)
			memset(c->data + c->filled, 0, place - c->filled);
		c->page = page;
		memcpy(c->data + place, from, part);
		c->filled = place + part;
		from += part;
		at += part;
		len -= part;
		if (c->filled == SUM_PAGE)
			end_page(c);
	}
}

void content_end(struct content *c, uint8_t ret[SHA256_DIGEST_SIZE])
{
	begin(c);
	if (c->filled)
		end_page(c);
	sha256_digest(&c->hash, SHA256_DIGEST_SIZE, ret);
	c->begun = false;
}

bool xattr_kept(const char *name, const void *value, size_t len)
{
	const uint8_t *v = value;

	if (str_starts(name, "user."))
		return !str_starts(name, "user.overlay.");
	if (!strcmp(name, "security.capability"))
		return len == CAPS_SIZE && v[3] == CAPS_REVISION;
	return !strcmp(name, "system.posix_acl_access") || !strcmp(name, "system.posix_acl_default");
}

void node_xattr(struct node *n, const char *name, const void *value, size_t len)
{
	uint8_t size[8];

	put_u64(size, len);
	buf_add(&n->xattrs, name, strlen(name) + 1);
	buf_add(&n->xattrs, size, sizeof(size));
	buf_add(&n->xattrs, value, len);
}

static void add_hex(struct buf *out, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		buf_printf(out, "%02x", data[i]);
}

/* A line is one entry whatever its name is, and words are words. */
static void add_name(struct buf *out, const char *name)
{
	buf_puts(out, " ");
	if (!*name)
		buf_puts(out, ".");
	for (; *name; name++) {
		if ((unsigned char)*name <= ' ' || *name == '\\' || *name == 0x7f)
			buf_printf(out, "\\%03o", (unsigned char)*name);
		else
			buf_add(out, name, 1);
	}
}

static void add_xattrs(const struct node *n, struct buf *out)
{
	struct sha256_ctx hash;
	uint8_t digest[SHA256_DIGEST_SIZE];

	if (!n->xattrs.len) {
		buf_puts(out, " -");
		return;
	}
	sha256_init(&hash);
	sha256_update(&hash, n->xattrs.len, (const uint8_t *)n->xattrs.data);
	sha256_digest(&hash, sizeof(digest), digest);
	buf_puts(out, " ");
	add_hex(out, digest, sizeof(digest));
}

void node_line(const struct node *n, struct buf *out)
{
	buf_printf(out, "%c", n->type);
	if (n->type != 'h')
		buf_printf(out, " %04o %" PRIu32 " %" PRIu32 " %" PRId64 ".%09" PRIu32,
			   (unsigned int)(n->mode & 07777), n->uid, n->gid, n->mtime, n->mtime_ns);
	if (n->type == 'f') {
		buf_printf(out, " %" PRIu64 " ", n->size);
		add_hex(out, n->content, sizeof(n->content));
	}
	if (n->type != 'h')
		add_xattrs(n, out);
	add_name(out, n->path);
	if (n->target)
		add_name(out, n->target);
	buf_puts(out, "\n");
}

void sum_text(struct sha256_ctx *hash, char ret[SUM_TEXT_SIZE])
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	CLEANUP_BUF struct buf text = { 0 };

	sha256_digest(hash, sizeof(digest), digest);
	buf_puts(&text, "sha256:");
	add_hex(&text, digest, sizeof(digest));
	memcpy(ret, text.data, SUM_TEXT_SIZE);
}
