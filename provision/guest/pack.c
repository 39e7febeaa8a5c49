/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/guest/walk.h"

/* A file with more holes is stored with the later ones filled. */
#define EXTENTS_MAX 65536
/* Never touched, so it costs no memory: what is fed to libarchive where a file has a hole. */
#define ZEROS (64 << 20)
#define PROGRESS_MS 2000

struct pack {
	struct archive *out;
	struct archive_entry *entry;
	const uint8_t *zeros;
	struct sha256_ctx hash;
	uint64_t entries, bytes;
	uint64_t all_entries, all_bytes;
	uint64_t at; /* in the file that is being written */
	struct content content;
	pack_progress_fn progress;
	int64_t told;
};

static int fault(struct pack *p, struct err *err)
{
	const char *why = archive_error_string(p->out);

	return err_set(err, ERR_FAILED, "cannot write the export: %s", why ? why : "it ended early");
}

static void tell(struct pack *p)
{
	char text[128];

	if (clock_ms() - p->told < PROGRESS_MS)
		return;
	p->told = clock_ms();
	snprintf(text, sizeof(text), "%" PRIu64 " of %" PRIu64 " MiB, %" PRIu64 " of %" PRIu64 " files",
		 p->bytes >> 20, p->all_bytes >> 20, p->entries, p->all_entries);
	p->progress(text);
}

/* --- data --- */

static int feed(struct pack *p, const void *data, uint64_t len, struct err *err)
{
	const uint8_t *from = data;

	while (len) {
		la_ssize_t n = archive_write_data(p->out, from, len);

		if (n <= 0)
			return fault(p, err);
		from += n;
		p->at += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int feed_hole(struct pack *p, uint64_t until, struct err *err)
{
	int r = 0;

	while (r == 0 && p->at < until)
		r = feed(p, p->zeros, until - p->at > ZEROS ? ZEROS : until - p->at, err);
	return r;
}

static int take_data(void *data, uint64_t at, const void *bytes, size_t len, struct err *err)
{
	struct pack *p = data;
	int r = feed_hole(p, at, err);

	if (r == 0)
		r = feed(p, bytes, len, err);
	if (r == 0)
		content_add(&p->content, at, bytes, len);
	p->bytes += len;
	tell(p);
	return r;
}

/* Tells libarchive where data is, for a file that has holes. */
static int add_extents(struct pack *p, const struct walk_entry *e, struct err *err)
{
	off_t at = 0, end, size = e->st.st_size;
	int n = 0;

	if ((uint64_t)e->st.st_blocks * 512 >= (uint64_t)size)
		return 0;
	while (at < size && (at = lseek(e->fd, at, SEEK_DATA)) >= 0) {
		end = lseek(e->fd, at, SEEK_HOLE);
		if (end < 0)
			break;
		if (end > size || ++n == EXTENTS_MAX)
			end = size;
		archive_entry_sparse_add_entry(p->entry, at, end - at);
		at = end;
	}
	if (at < 0 && errno != ENXIO)
		return err_sys(err, errno, "cannot read %s", e->node.path);
	/* Nothing but a hole: an empty extent at its end says so. */
	if (n == 0)
		archive_entry_sparse_add_entry(p->entry, size, 0);
	return 0;
}

/* --- entries --- */

static void describe(struct pack *p, const struct walk_entry *e)
{
	static const struct {
		char type;
		unsigned int file;
	} types[] = { { 'f', AE_IFREG }, { 'd', AE_IFDIR }, { 'l', AE_IFLNK }, { 'p', AE_IFIFO },
		      { 'h', AE_IFREG } };
	CLEANUP_FREE char *path = xasprintf("%s%s%s", PACK_TREE, *e->node.path ? "/" : "", e->node.path);
	const struct node *n = &e->node;

	archive_entry_clear(p->entry);
	archive_entry_set_pathname(p->entry, path);
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (types[i].type == n->type)
			archive_entry_set_filetype(p->entry, types[i].file);
	archive_entry_set_perm(p->entry, n->mode);
	archive_entry_set_uid(p->entry, n->uid);
	archive_entry_set_gid(p->entry, n->gid);
	archive_entry_set_mtime(p->entry, n->mtime, n->mtime_ns);
	if (n->type == 'f')
		archive_entry_set_size(p->entry, (la_int64_t)n->size);
	if (n->type == 'l')
		archive_entry_set_symlink(p->entry, n->target);
	for (size_t i = 0; i < e->n_xattrs; i++)
		archive_entry_xattr_add_entry(p->entry, e->xattrs[i].name, e->xattrs[i].value,
					      e->xattrs[i].len);
}

static int write_file(struct pack *p, struct walk_entry *e, struct err *err)
{
	int r;

	p->at = 0;
	memset(&p->content, 0, sizeof(p->content));
	r = walk_content(e, take_data, p, err);
	if (r == 0)
		r = feed_hole(p, e->node.size, err);
	content_end(&p->content, e->node.content);
	return r;
}

static int write_entry(void *data, struct walk_entry *e, struct err *err)
{
	CLEANUP_BUF struct buf line = { 0 };
	struct pack *p = data;
	int r = 0;

	describe(p, e);
	if (e->node.type == 'h') {
		CLEANUP_FREE char *target = xasprintf("%s/%s", PACK_TREE, e->node.target);

		archive_entry_set_hardlink(p->entry, target);
	}
	if (e->node.type == 'f')
		r = add_extents(p, e, err);
	if (r == 0 && archive_write_header(p->out, p->entry) != ARCHIVE_OK)
		r = fault(p, err);
	if (r == 0 && e->node.type == 'f')
		r = write_file(p, e, err);
	if (r != 0)
		return r;
	node_line(&e->node, &line);
	sha256_update(&p->hash, line.len, (const uint8_t *)line.data);
	p->entries++;
	tell(p);
	return 0;
}

static int count_entry(void *data, struct walk_entry *e, struct err *err)
{
	struct pack *p = data;
	uint64_t used = (uint64_t)e->st.st_blocks * 512;

	(void)err;
	p->all_entries++;
	if (e->node.type == 'f')
		p->all_bytes += used < e->node.size ? used : e->node.size;
	return 0;
}

/* --- the file --- */

static int write_text(struct pack *p, const char *name, const struct buf *text, struct err *err)
{
	archive_entry_clear(p->entry);
	archive_entry_set_pathname(p->entry, name);
	archive_entry_set_filetype(p->entry, AE_IFREG);
	archive_entry_set_perm(p->entry, 0644);
	archive_entry_set_mtime(p->entry, time(NULL), 0);
	archive_entry_set_size(p->entry, (la_int64_t)text->len);
	if (archive_write_header(p->out, p->entry) != ARCHIVE_OK)
		return fault(p, err);
	return feed(p, text->data, text->len, err);
}

static void manifest(const struct pack *p, const struct pack_facts *f, struct buf *out)
{
	const struct {
		const char *key, *value;
	} words[] = { { "name", f->name },     { "template", f->template },
		      { "template_digest", f->digest }, { "driver", f->driver },
		      { "plan", f->plan },     { "vm2", f->version } };

	buf_printf(out, "{\"format\": %d", PACK_FORMAT);
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		buf_printf(out, ", \"%s\": ", words[i].key);
		buf_json(out, words[i].value);
	}
	buf_printf(out, ", \"created\": %lld, \"entries\": %" PRIu64 ", \"bytes\": %" PRIu64 "}\n",
		   (long long)time(NULL), p->all_entries, p->all_bytes);
}

static int write_all(struct pack *p, int root, const struct pack_facts *facts, struct err *err)
{
	CLEANUP_BUF struct buf text = { 0 }, sum = { 0 };
	char hash[SUM_TEXT_SIZE];
	uint64_t skipped = 0;
	int r;

	manifest(p, facts, &text);
	sha256_update(&p->hash, text.len, (const uint8_t *)text.data);
	r = write_text(p, PACK_MANIFEST, &text, err);
	if (r == 0)
		r = walk_tree(root, write_entry, p, &skipped, err);
	if (r != 0)
		return r;
	sum_text(&p->hash, hash);
	buf_printf(&sum, "%s %" PRIu64 "\n", hash, p->entries);
	r = write_text(p, PACK_SUM, &sum, err);
	return r == 0 && archive_write_close(p->out) != ARCHIVE_OK ? fault(p, err) : r;
}

/*
 * hdrcharset: names are bytes. xattrheader: the one way that star and GNU tar know, too.
 * bytes_in_last_block: no padding, as for a pipe.
 */
static int open_out(struct pack *p, int out, struct err *err)
{
	p->out = archive_write_new();
	p->entry = archive_entry_new();
	if (!p->out || !p->entry)
		return err_sys(err, ENOMEM, "cannot begin the export");
	if (archive_write_set_format_pax(p->out) != ARCHIVE_OK ||
	    archive_write_add_filter_zstd(p->out) != ARCHIVE_OK ||
	    archive_write_set_options(p->out, "hdrcharset=BINARY,xattrheader=SCHILY") != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(p->out, 1) != ARCHIVE_OK ||
	    archive_write_open_fd(p->out, out) != ARCHIVE_OK)
		return fault(p, err);
	return 0;
}

int pack_guest(int root, int out, const struct pack_facts *facts, pack_progress_fn progress,
	       struct err *err)
{
	struct pack *p = xcalloc(1, sizeof(*p));
	void *zeros = mmap(NULL, ZEROS, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r;

	p->progress = progress;
	p->told = clock_ms();
	p->zeros = zeros;
	sha256_init(&p->hash);
	r = zeros == MAP_FAILED ? err_sys(err, errno, "cannot get memory") :
				  walk_tree(root, count_entry, p, NULL, err);
	if (r == 0)
		r = open_out(p, out, err);
	if (r == 0)
		r = write_all(p, root, facts, err);
	/* What is half written must not be ended as if it were whole. */
	if (p->out && r != 0)
		archive_write_fail(p->out);
	archive_write_free(p->out);
	archive_entry_free(p->entry);
	if (zeros != MAP_FAILED)
		munmap(zeros, ZEROS);
	free(p);
	return r;
}
