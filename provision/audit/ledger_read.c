/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "provision/audit/ledger_files.h"
#include "provision/base/cleanup.h"
#include "provision/base/str.h"

int ledger_lock(int folder_fd, int operation)
{
	while (flock(folder_fd, operation) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

void ledger_path(int level, uint64_t n, char ret[LEDGER_PATH_MAX])
{
	char digits[24];
	size_t at = 0;
	int len;

	/* C2SP tlog-tiles: groups of three digits, all but the last one after an "x". */
	len = snprintf(digits, sizeof(digits), "%03" PRIu64, n);
	if (len % 3)
		len = snprintf(digits, sizeof(digits), "%0*" PRIu64, (len / 3 + 1) * 3, n);
	if (level == LEDGER_ENTRIES)
		at += (size_t)snprintf(ret, LEDGER_PATH_MAX, "tile/entries");
	else
		at += (size_t)snprintf(ret, LEDGER_PATH_MAX, "tile/%d", level);
	for (int i = 0; i < len; i += 3)
		at += (size_t)snprintf(ret + at, LEDGER_PATH_MAX - at, "/%s%.3s",
				       i + 3 < len ? "x" : "", digits + i);
}

int ledger_state_read(int folder_fd, struct ledger_state *ret)
{
	unsigned char raw[LEDGER_HEAD_MAX], check[TREE_HASH];
	CLEANUP_CLOSE int fd = openat(folder_fd, LEDGER_HEAD, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct ledger_state state = { 0 };
	uint64_t size, bytes;
	size_t len;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = pread(fd, raw, sizeof(raw), 0);
	if (n < 0)
		return -errno;
	if (n < LEDGER_HEAD_FIXED || memcmp(raw, LEDGER_MAGIC, 8) != 0)
		return -EBADMSG;
	memcpy(&size, raw + 8, 8);
	memcpy(&bytes, raw + 16, 8);
	state.tree.size = be64toh(size);
	state.bundle_bytes = be64toh(bytes);
	len = LEDGER_HEAD_FIXED + tree_nodes(state.tree.size) * (size_t)TREE_HASH;
	if ((size_t)n < len + LEDGER_HEAD_CHECK)
		return -EBADMSG;
	tree_hash_leaf(raw, len, check);
	if (memcmp(check, raw + len, LEDGER_HEAD_CHECK) != 0)
		return -EBADMSG;
	memcpy(state.tree.nodes, raw + LEDGER_HEAD_FIXED, len - LEDGER_HEAD_FIXED);
	*ret = state;
	return 0;
}

int64_t ledger_tile_read(int folder_fd, int level, uint64_t n, void *buf, size_t cap)
{
	char path[LEDGER_PATH_MAX];
	CLEANUP_CLOSE int fd = -1;
	size_t len = 0;

	ledger_path(level, n, path);
	fd = openat(folder_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	for (;;) {
		unsigned char more;
		ssize_t got = len < cap ? read(fd, (char *)buf + len, cap - len) : read(fd, &more, 1);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return (int64_t)len;
		if (len == cap)
			return -EFBIG;
		len += (size_t)got;
	}
}

int ledger_entry_next(const unsigned char *bundle, size_t len, size_t *pos, const char **ret_leaf,
		      size_t *ret_len)
{
	size_t n;

	if (*pos >= len)
		return 1;
	if (len - *pos < 2)
		return -EBADMSG;
	n = (size_t)bundle[*pos] << 8 | bundle[*pos + 1];
	if (len - *pos - 2 < n)
		return -EBADMSG;
	*ret_leaf = (const char *)bundle + *pos + 2;
	*ret_len = n;
	*pos += 2 + n;
	return 0;
}

/*
 * The folder and the state of the last finished append. The lock is held for that instant only:
 * leaves below a head never change, so reading goes on while others append.
 * *ret_fd is -1 when there is no ledger yet: then the state is empty.
 */
static int open_for_reading(const char *folder, int *ret_fd, struct ledger_state *ret,
			    struct err *err)
{
	CLEANUP_CLOSE int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	*ret_fd = -1;
	memset(ret, 0, sizeof(*ret));
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "cannot open the ledger %s", folder);
	r = ledger_lock(fd, LOCK_SH);
	if (r < 0)
		return err_sys(err, -r, "cannot lock the ledger %s", folder);
	r = ledger_state_read(fd, ret);
	ledger_lock(fd, LOCK_UN);
	if (r == -ENOENT && faccessat(fd, "tile", F_OK, 0) < 0)
		return 0;
	if (r == -ENOENT || r == -EBADMSG)
		return err_set(err, ERR_FAILED,
			       "%s/" LEDGER_HEAD " is %s: the next append repairs it, if only a crash "
			       "did this", folder, r == -ENOENT ? "missing" : "damaged");
	if (r < 0)
		return err_sys(err, -r, "cannot read %s/" LEDGER_HEAD, folder);
	*ret_fd = steal_fd(&fd);
	return 0;
}

int ledger_read_head(const char *folder, struct ledger_head *head, struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	struct ledger_state state;
	int r = open_for_reading(folder, &fd, &state, err);

	if (r != 0)
		return r;
	head->size = state.tree.size;
	tree_root(&state.tree, head->root);
	return 0;
}

/* What a walk over all leaves carries. */
struct walk {
	const char *folder;
	int fd;
	struct ledger_state state;
	unsigned char *bundle; /* room for the longest */
	struct err *err;
};

static void walk_free(struct walk *w)
{
	fd_close(w->fd);
	free(w->bundle);
}

/* Read bundle b into w->bundle, as far as the head goes. */
static int read_bundle(struct walk *w, uint64_t b, size_t *ret_len)
{
	int64_t n = ledger_tile_read(w->fd, LEDGER_ENTRIES, b, w->bundle, LEDGER_BUNDLE_MAX);
	bool last = b == w->state.tree.size / LEDGER_TILE;
	char path[LEDGER_PATH_MAX];

	ledger_path(LEDGER_ENTRIES, b, path);
	if (n < 0 && n != -EFBIG)
		return err_sys(w->err, (int)-n, "cannot read %s/%s", w->folder, path);
	if (n < 0 || (last && (uint64_t)n < w->state.bundle_bytes))
		return err_set(w->err, ERR_FAILED, "the ledger is altered: %s/%s is too %s",
			       w->folder, path, n < 0 ? "long" : "short");
	*ret_len = last ? (size_t)w->state.bundle_bytes : (size_t)n;
	return 0;
}

/* Call fn for the leaves of one bundle from `first` on. */
static int each_in_bundle(struct walk *w, uint64_t b, uint64_t first,
			  int (*fn)(void *, uint64_t, const char *, size_t), void *data)
{
	uint64_t index = b * LEDGER_TILE, end = index + LEDGER_TILE;
	size_t len = 0, pos = 0, n;
	const char *leaf;
	int r = read_bundle(w, b, &len);

	if (end > w->state.tree.size)
		end = w->state.tree.size;
	for (; r == 0 && index < end; index++) {
		if (ledger_entry_next(w->bundle, len, &pos, &leaf, &n) != 0)
			return err_set(w->err, ERR_FAILED,
				       "the ledger is altered: leaf %" PRIu64 " is not whole", index);
		if (index >= first)
			r = fn(data, index, leaf, n);
	}
	if (r == 0 && pos != len)
		return err_set(w->err, ERR_FAILED,
			       "the ledger is altered: bytes follow leaf %" PRIu64 " in its bundle", end);
	return r;
}

int ledger_each(const char *folder, uint64_t first,
		int (*fn)(void *data, uint64_t index, const char *json, size_t len), void *data,
		struct err *err)
{
	CLEANUP(walk_free) struct walk w = { .folder = folder, .fd = -1, .err = err };
	int r = open_for_reading(folder, &w.fd, &w.state, err);

	if (r != 0 || w.fd < 0)
		return r;
	w.bundle = xcalloc(1, LEDGER_BUNDLE_MAX);
	for (uint64_t b = first / LEDGER_TILE; r == 0 && b * LEDGER_TILE < w.state.tree.size; b++)
		r = each_in_bundle(&w, b, first, fn, data);
	return r;
}

/* What verifying carries: the tree as the leaves say, and one stored tile of each level. */
struct verify {
	struct walk walk;
	struct tree tree;
	const struct ledger_head *known;
	struct {
		uint64_t n;
		int64_t len; /* -1: not read yet */
		unsigned char hashes[LEDGER_TILE * TREE_HASH];
	} tiles[LEDGER_LEVELS];
};

static int compare_stored(void *data, unsigned int height, uint64_t index,
			  const unsigned char hash[TREE_HASH])
{
	struct verify *v = data;
	unsigned int level = height / 8;
	uint64_t n = index / LEDGER_TILE, at = index % LEDGER_TILE * TREE_HASH;

	if (height % 8 != 0 || level >= LEDGER_LEVELS)
		return 0;
	if (v->tiles[level].len < 0 || v->tiles[level].n != n) {
		v->tiles[level].n = n;
		v->tiles[level].len = ledger_tile_read(v->walk.fd, (int)level, n,
						       v->tiles[level].hashes,
						       sizeof(v->tiles[level].hashes));
	}
	if (v->tiles[level].len >= (int64_t)(at + TREE_HASH) &&
	    memcmp(v->tiles[level].hashes + at, hash, TREE_HASH) == 0)
		return 0;
	return err_set(v->walk.err, ERR_FAILED,
		       "the ledger is altered: leaves %" PRIu64 " to %" PRIu64
		       " do not have the hash that tile level %u holds for them",
		       index << height, ((index + 1) << height) - 1, level);
}

static int compare_known(struct verify *v)
{
	unsigned char root[TREE_HASH];

	if (!v->known || v->tree.size != v->known->size)
		return 0;
	tree_root(&v->tree, root);
	if (memcmp(root, v->known->root, TREE_HASH) == 0)
		return 0;
	return err_set(v->walk.err, ERR_FAILED,
		       "the ledger is altered: its first %" PRIu64 " leaves have another root than "
		       "the head that was noted", v->known->size);
}

static int verify_leaf(void *data, uint64_t index, const char *json, size_t len)
{
	struct verify *v = data;
	unsigned char hash[TREE_HASH];
	int r;

	tree_hash_leaf(json, len, hash);
	r = tree_add(&v->tree, hash, compare_stored, v);
	return r != 0 ? r : compare_known(v);
}

static int verify_all(struct verify *v)
{
	const struct tree *stored = &v->walk.state.tree;
	int r = compare_known(v);

	for (uint64_t b = 0; r == 0 && v->walk.fd >= 0 && b * LEDGER_TILE < stored->size; b++)
		r = each_in_bundle(&v->walk, b, 0, verify_leaf, v);
	if (r != 0)
		return r;
	if (memcmp(v->tree.nodes, stored->nodes, sizeof(stored->nodes[0]) * tree_nodes(stored->size)))
		return err_set(v->walk.err, ERR_FAILED, "the ledger is altered: %s/" LEDGER_HEAD
			       " is not the head of its leaves", v->walk.folder);
	if (v->known && v->known->size > stored->size)
		return err_set(v->walk.err, ERR_FAILED,
			       "the ledger is altered: it has %" PRIu64 " leaves, the head that was "
			       "noted has %" PRIu64, stored->size, v->known->size);
	return 0;
}

static void verify_free(struct verify **v)
{
	walk_free(&(*v)->walk);
	free(*v);
}

int ledger_verify_head(const char *folder, const struct ledger_head *known,
		       struct ledger_head *head, struct err *err)
{
	CLEANUP(verify_free) struct verify *v = xcalloc(1, sizeof(*v));
	int r;

	v->walk = (struct walk){ .folder = folder, .fd = -1, .err = err };
	v->known = known;
	for (int i = 0; i < LEDGER_LEVELS; i++)
		v->tiles[i].len = -1;
	r = open_for_reading(folder, &v->walk.fd, &v->walk.state, err);
	if (r != 0)
		return r;
	v->walk.bundle = xcalloc(1, LEDGER_BUNDLE_MAX);
	r = verify_all(v);
	if (r == 0 && head) {
		head->size = v->tree.size;
		tree_root(&v->tree, head->root);
	}
	return r;
}

int ledger_verify(const char *folder, struct ledger_head *head, struct err *err)
{
	return ledger_verify_head(folder, NULL, head, err);
}
