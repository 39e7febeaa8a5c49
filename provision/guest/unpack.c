/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

#define BLOCK (1 << 20)
#define PROGRESS_MS 2000
/* image-spec, layer.md, "Whiteouts" */
#define WHITEOUT	".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"

struct reader {
	const struct unpack *u;
	struct archive *in;
	struct place *place;
	struct content content;
	bool summing; /* whether the sum of contents is wanted */
	uint64_t skipped;
	int64_t told;
};

static void reader_end(struct reader *r)
{
	archive_read_free(r->in);
	place_free(r->place);
}
#define CLEANUP_READER __attribute__((cleanup(reader_end)))

static int fault(struct reader *r, struct err *err)
{
	const char *why = archive_error_string(r->in);

	return err_set(err, ERR_FAILED, "the archive cannot be read: %.200s", why ? why : "it ends early");
}

/* No filter that would run a program, and no format but tar. */
static int reader_begin(struct reader *r, int in, bool strict, struct err *err)
{
	static int (*const filters[])(struct archive *) = {
		archive_read_support_filter_gzip,     archive_read_support_filter_bzip2,
		archive_read_support_filter_xz,	      archive_read_support_filter_lzma,
		archive_read_support_filter_zstd,     archive_read_support_filter_lz4,
		archive_read_support_filter_compress,
	};
	const struct place_limits limits = { r->u->bytes, r->u->entries, strict };

	r->told = clock_ms();
	r->place = place_new(r->u->root, &limits);
	r->in = archive_read_new();
	if (!r->in)
		return err_sys(err, ENOMEM, "cannot read the archive");
	for (size_t i = 0; i < ARRAY_LEN(filters); i++)
		filters[i](r->in);
	if (archive_read_support_format_tar(r->in) != ARCHIVE_OK ||
	    archive_read_open_fd(r->in, in, BLOCK) != ARCHIVE_OK)
		return fault(r, err);
	return 0;
}

/* *ret is NULL at the end. */
static int next(struct reader *r, struct archive_entry **ret, struct err *err)
{
	int n = archive_read_next_header(r->in, ret);

	if (n == ARCHIVE_EOF)
		*ret = NULL;
	/* A warning is about names in a character set that is not ours: they are taken as bytes. */
	return n == ARCHIVE_OK || n == ARCHIVE_WARN || n == ARCHIVE_EOF ? 0 : fault(r, err);
}

static void tell(struct reader *r)
{
	char text[128];

	if (clock_ms() - r->told < PROGRESS_MS)
		return;
	r->told = clock_ms();
	snprintf(text, sizeof(text), "%" PRIu64 " MiB, %" PRIu64 " files", place_bytes(r->place) >> 20,
		 place_entries(r->place));
	r->u->progress(text);
}

/* --- one entry --- */

/* 0 for what no guest has. */
static char type_of(struct archive_entry *e)
{
	if (archive_entry_hardlink(e))
		return 'h';
	switch (archive_entry_filetype(e)) {
	case AE_IFREG:
		return 'f';
	case AE_IFDIR:
		return 'd';
	case AE_IFLNK:
		return 'l';
	case AE_IFIFO:
		return 'p';
	default:
		return 0;
	}
}

static uint32_t id_of(la_int64_t id)
{
	return id < 0 || id > UINT32_MAX ? UINT32_MAX : (uint32_t)id;
}

static void fill(struct archive_entry *e, char type, const char *path, struct node *n)
{
	long ns = archive_entry_mtime_nsec(e);

	n->type = type;
	n->path = path;
	n->mode = archive_entry_perm(e) & 07777;
	n->uid = id_of(archive_entry_uid(e));
	n->gid = id_of(archive_entry_gid(e));
	n->mtime = archive_entry_mtime(e);
	n->mtime_ns = ns < 0 || ns > 999999999 ? 0 : (uint32_t)ns;
	if (type == 'f' && archive_entry_size(e) > 0)
		n->size = (uint64_t)archive_entry_size(e);
	if (type == 'l') {
		n->target = archive_entry_symlink(e);
		n->mode = 0777;
	}
}

static int read_data(struct reader *r, struct node *n, struct err *err)
{
	const void *data;
	la_int64_t at;
	size_t len;
	int status, out = 0;

	memset(&r->content, 0, sizeof(r->content));
	while (out == 0 && (status = archive_read_data_block(r->in, &data, &len, &at)) == ARCHIVE_OK) {
		if (!len)
			continue;
		if (at < 0 || (uint64_t)at + len > n->size)
			return err_set(err, ERR_FAILED, "'%.200s' is longer than it says", n->path);
		out = place_data(r->place, (uint64_t)at, data, len, err);
		if (r->summing)
			content_add(&r->content, (uint64_t)at, data, len);
		tell(r);
	}
	if (out == 0 && status != ARCHIVE_EOF)
		out = fault(r, err);
	content_end(&r->content, n->content);
	return out;
}

static int read_xattrs(struct reader *r, struct archive_entry *e, struct err *err)
{
	const char *name;
	const void *value;
	size_t len;
	int out = 0;

	archive_entry_xattr_reset(e);
	while (out == 0 && archive_entry_xattr_next(e, &name, &value, &len) == ARCHIVE_OK)
		if (name && value)
			out = place_xattr(r->place, name, value, len, err);
	return out;
}

/* `path` and `target` are below the tree. The node's line is added to `line` when it is wanted. */
static int take(struct reader *r, struct archive_entry *e, char type, const char *path,
		const char *target, struct buf *line, struct err *err)
{
	struct node n = { 0 };
	int out;

	fill(e, type, path, &n);
	if (type == 'h')
		n.target = target;
	if ((type == 'h' || type == 'l') && !n.target)
		return err_set(err, ERR_FAILED, "'%.200s' is a link to nothing", path);
	out = place_begin(r->place, &n, err);
	if (out == 0 && type == 'f')
		out = read_data(r, &n, err);
	if (out == 0 && type != 'h')
		out = read_xattrs(r, e, err);
	if (out == 0)
		out = place_end(r->place, err);
	if (out == 0 && line)
		node_line(&n, line);
	buf_free(&n.xattrs);
	tell(r);
	return out;
}

/* --- a guest's export --- */

static int bad(struct err *err, const char *why)
{
	return err_set(err, ERR_FAILED, "this is no whole export of a guest: %s", why);
}

/* A small file of the archive, whole; NUL added. */
static int read_text(struct reader *r, struct archive_entry *e, char *text, size_t cap,
		     size_t *ret_len, struct err *err)
{
	la_int64_t size = archive_entry_size(e);
	la_ssize_t n;

	if (archive_entry_filetype(e) != AE_IFREG || archive_entry_hardlink(e) || size < 0 ||
	    (uint64_t)size >= cap)
		return bad(err, "its manifest or its sum cannot be");
	n = archive_read_data(r->in, text, cap - 1);
	if (n != size)
		return n < 0 ? fault(r, err) : bad(err, "it ends early");
	text[n] = '\0';
	*ret_len = (size_t)n;
	return 0;
}

/* Said before a byte is written, that it will not fit. */
static int check_manifest(const struct reader *r, const char *text, size_t len, struct err *err)
{
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	json_int_t format = 0, entries = -1, bytes = -1;
	int bound = json_unpack(root, "{s:I, s:I, s:I}", "format", &format, "entries", &entries, "bytes",
				&bytes);

	json_decref(root);
	if (bound != 0 || entries < 0 || bytes < 0)
		return bad(err, "its manifest is none");
	if (format != PACK_FORMAT)
		return err_set(err, ERR_FAILED,
			       "the export has format %lld and this VM2 reads %d: use a newer one",
			       (long long)format, PACK_FORMAT);
	if ((uint64_t)bytes > r->u->bytes || (uint64_t)entries > r->u->entries)
		return err_set(err, ERR_FAILED,
			       "the guest has %lld MiB in %lld files: there is room for %" PRIu64
			       " MiB in %" PRIu64,
			       (long long)bytes >> 20, (long long)entries, r->u->bytes >> 20,
			       r->u->entries);
	return 0;
}

static int read_manifest(struct reader *r, struct sha256_ctx *hash, struct err *err)
{
	CLEANUP_FREE char *text = xcalloc(1, PACK_MANIFEST_MAX);
	struct archive_entry *e = NULL;
	size_t len = 0;
	int n = next(r, &e, err);

	if (n != 0)
		return n;
	if (!e || !archive_entry_pathname(e) || strcmp(archive_entry_pathname(e), PACK_MANIFEST))
		return bad(err, "it does not begin with " PACK_MANIFEST);
	n = read_text(r, e, text, PACK_MANIFEST_MAX, &len, err);
	if (n == 0)
		n = check_manifest(r, text, len, err);
	sha256_update(hash, len, (const uint8_t *)text);
	return n;
}

/* The path below PACK_TREE, or NULL for what is not there. */
static const char *below_tree(const char *path)
{
	if (!path || !str_starts(path, PACK_TREE))
		return NULL;
	path += strlen(PACK_TREE);
	return *path == '/' ? path + 1 : *path ? NULL : path;
}

static int take_strict(struct reader *r, struct archive_entry *e, struct sha256_ctx *hash,
		       struct err *err)
{
	CLEANUP_BUF struct buf line = { 0 };
	CLEANUP_FREE char *path = NULL, *target = NULL;
	const char *from = below_tree(archive_entry_pathname(e));
	const char *link = archive_entry_hardlink(e);
	char type = type_of(e);
	int n;

	if (!from || !type || (link && !below_tree(link)))
		return bad(err, "there is something in it that does not belong there");
	n = place_path(r->place, from, &path, err);
	if (n == 0 && link)
		n = place_path(r->place, below_tree(link), &target, err);
	if (n == 0)
		n = take(r, e, type, path, target, &line, err);
	if (n == 0)
		sha256_update(hash, line.len, (const uint8_t *)line.data);
	return n;
}

static int check_sum(struct reader *r, struct archive_entry *e, struct sha256_ctx *hash,
		     struct err *err)
{
	char text[128], sum[SUM_TEXT_SIZE];
	CLEANUP_BUF struct buf wanted = { 0 };
	size_t len = 0;
	int n = read_text(r, e, text, sizeof(text), &len, err);

	if (n != 0)
		return n;
	sum_text(hash, sum);
	buf_printf(&wanted, "%s %" PRIu64 "\n", sum, place_entries(r->place));
	if (strcmp(wanted.data, text))
		return bad(err, "it was altered since it was made (the checksum differs)");
	n = next(r, &e, err);
	return n == 0 && e ? bad(err, "it goes on after its end") : n;
}

int unpack_guest(const struct unpack *u, int in, struct err *err)
{
	CLEANUP_READER struct reader r = { .u = u, .summing = true };
	struct sha256_ctx hash;
	struct archive_entry *e;
	int n = reader_begin(&r, in, true, err);

	sha256_init(&hash);
	if (n == 0)
		n = read_manifest(&r, &hash, err);
	while (n == 0 && (n = next(&r, &e, err)) == 0) {
		if (!e)
			return bad(err, "it ends early");
		if (archive_entry_pathname(e) && !strcmp(archive_entry_pathname(e), PACK_SUM))
			break;
		n = take_strict(&r, e, &hash, err);
	}
	if (n == 0)
		n = check_sum(&r, e, &hash, err);
	return n == 0 ? place_finish(r.place, err) : n;
}

/* --- tarballs and layers --- */

static int take_loose(struct reader *r, struct archive_entry *e, struct err *err)
{
	CLEANUP_FREE char *path = NULL, *target = NULL;
	const char *name = archive_entry_pathname(e), *link = archive_entry_hardlink(e);
	char type = type_of(e);
	int n;

	if (!type) {
		r->skipped++;
		return 0;
	}
	if (!name)
		return err_set(err, ERR_FAILED, "the archive has a name that cannot be read");
	n = place_path(r->place, name, &path, err);
	if (n == 0 && link)
		n = place_path(r->place, link, &target, err);
	return n == 0 ? take(r, e, type, path, target, NULL, err) : n;
}

/* The last name of a path. */
static const char *last_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool is_whiteout(struct archive_entry *e)
{
	const char *name = archive_entry_pathname(e);

	return name && str_starts(last_name(name), WHITEOUT);
}

/* ".wh.NAME" removes NAME beside it, ".wh..wh..opq" all that is in its folder. */
static int apply_whiteout(struct reader *r, struct archive_entry *e, struct err *err)
{
	CLEANUP_FREE char *path = NULL, *hidden = NULL;
	const char *name;
	int folder, n = place_path(r->place, archive_entry_pathname(e), &path, err);

	if (n != 0)
		return n;
	name = last_name(path);
	folder = (int)(name - path);
	if (!strcmp(name, WHITEOUT_OPAQUE)) {
		if (folder)
			path[folder - 1] = '\0';
		return place_clear(r->place, folder ? path : "", err);
	}
	name += strlen(WHITEOUT);
	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return err_set(err, ERR_FAILED, "'%.200s' hides nothing that can be", path);
	hidden = xasprintf("%.*s%s", folder, path, name);
	return place_remove(r->place, hidden, err);
}

enum pass { ALL, WHITEOUTS, FILES };

static int read_pass(const struct unpack *u, int in, enum pass pass, struct reader *r, struct err *err)
{
	struct archive_entry *e;
	int n = reader_begin(r, in, false, err);

	while (n == 0 && (n = next(r, &e, err)) == 0 && e) {
		bool whiteout = pass != ALL && is_whiteout(e);

		if (pass == WHITEOUTS && whiteout)
			n = apply_whiteout(r, e, err);
		else if (pass != WHITEOUTS && !whiteout)
			n = take_loose(r, e, err);
	}
	if (n == 0 && pass != WHITEOUTS)
		n = place_finish(r->place, err);
	return n;
}

static void tell_skipped(const struct reader *r)
{
	char text[96];

	if (!r->skipped)
		return;
	snprintf(text, sizeof(text), "left out %" PRIu64 " device nodes and the like", r->skipped);
	r->u->progress(text);
}

int unpack_tar(const struct unpack *u, int in, struct err *err)
{
	CLEANUP_READER struct reader r = { .u = u };
	int n = read_pass(u, in, ALL, &r, err);

	if (n == 0 && !place_entries(r.place))
		return err_set(err, ERR_FAILED, "the archive is empty");
	if (n == 0)
		tell_skipped(&r);
	return n;
}

/* A whiteout is about the layers below, wherever in the archive it stands: they come first. */
int unpack_layer(struct unpack *u, int in, struct err *err)
{
	CLEANUP_READER struct reader whiteouts = { .u = u }, files = { .u = u };
	int n = read_pass(u, in, WHITEOUTS, &whiteouts, err);

	if (n == 0 && lseek(in, 0, SEEK_SET) < 0)
		n = err_sys(err, errno, "cannot read a layer again");
	if (n == 0)
		n = read_pass(u, in, FILES, &files, err);
	if (n != 0)
		return n;
	tell_skipped(&files);
	u->bytes -= place_bytes(files.place);
	u->entries -= place_entries(files.place);
	return 0;
}
