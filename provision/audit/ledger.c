/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Appending. The order of writes is: the entry, its hashes, the head. The head alone says what is
 * in the ledger; what lies beyond it is the torn end of an append that was killed.
 */
#include "provision/audit/ledger.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#include "provision/audit/ledger_files.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

/* Open a tile or bundle for reading and writing; it and its folders are made. */
static int open_tile(int folder_fd, int level, uint64_t n)
{
	char path[LEDGER_PATH_MAX];
	int fd;

	ledger_path(level, n, path);
	fd = openat(folder_fd, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	if (fd >= 0 || errno != ENOENT)
		return fd < 0 ? -errno : fd;
	for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdirat(folder_fd, path, 0750) < 0 && errno != EEXIST)
			return -errno;
		*slash = '/';
	}
	fd = openat(folder_fd, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
	return fd < 0 ? -errno : fd;
}

static int write_at(int fd, const void *data, size_t len, off_t at)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, data, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data = (const char *)data + n;
		len -= (size_t)n;
		at += n;
	}
	return 0;
}

/* Put a subtree's hash where tlog-tiles wants it: every eighth height is a level. */
static int store_hash(void *data, unsigned int height, uint64_t index,
		      const unsigned char hash[TREE_HASH])
{
	const int *folder_fd = data;
	CLEANUP_CLOSE int fd = -1;

	if (height % 8 != 0 || height / 8 >= LEDGER_LEVELS)
		return 0;
	fd = open_tile(*folder_fd, (int)(height / 8), index / LEDGER_TILE);
	if (fd < 0)
		return fd;
	return write_at(fd, hash, TREE_HASH, (off_t)(index % LEDGER_TILE * TREE_HASH));
}

static int write_head(int folder_fd, const struct ledger_state *state)
{
	unsigned char raw[LEDGER_HEAD_MAX], check[TREE_HASH];
	uint64_t size = htobe64(state->tree.size), bytes = htobe64(state->bundle_bytes);
	size_t nodes = tree_nodes(state->tree.size) * (size_t)TREE_HASH;
	size_t len = LEDGER_HEAD_FIXED + nodes;
	CLEANUP_CLOSE int fd = openat(folder_fd, LEDGER_HEAD,
				      O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);

	if (fd < 0)
		return -errno;
	memcpy(raw, LEDGER_MAGIC, 8);
	memcpy(raw + 8, &size, 8);
	memcpy(raw + 16, &bytes, 8);
	memcpy(raw + LEDGER_HEAD_FIXED, state->tree.nodes, nodes);
	tree_hash_leaf(raw, len, check);
	memcpy(raw + len, check, LEDGER_HEAD_CHECK);
	return write_at(fd, raw, len + LEDGER_HEAD_CHECK, 0);
}

/* The length of a tile or bundle, 0 when it is not there, or -errno. */
static int64_t tile_length(int folder_fd, int level, uint64_t n)
{
	char path[LEDGER_PATH_MAX];
	struct stat st;

	ledger_path(level, n, path);
	if (fstatat(folder_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	return S_ISREG(st.st_mode) ? st.st_size : -EBADMSG;
}

/* Whether the files end where the head says. */
static bool ends_match(int folder_fd, const struct ledger_state *state)
{
	uint64_t size = state->tree.size;

	if (tile_length(folder_fd, LEDGER_ENTRIES, size / LEDGER_TILE) !=
	    (int64_t)state->bundle_bytes)
		return false;
	for (int level = 0; level < LEDGER_LEVELS && (level == 0 || size > 0); level++) {
		if (tile_length(folder_fd, level, size / LEDGER_TILE) !=
		    (int64_t)(size % LEDGER_TILE * TREE_HASH))
			return false;
		size /= LEDGER_TILE;
	}
	return true;
}

/* During a repair: as store_hash, but a different hash that is there already is evidence, kept. */
static int restore_hash(void *data, unsigned int height, uint64_t index,
			const unsigned char hash[TREE_HASH])
{
	static const unsigned char nothing[TREE_HASH];
	const int *folder_fd = data;
	unsigned char stored[TREE_HASH];
	CLEANUP_CLOSE int fd = -1;

	if (height % 8 != 0 || height / 8 >= LEDGER_LEVELS)
		return 0;
	fd = open_tile(*folder_fd, (int)(height / 8), index / LEDGER_TILE);
	if (fd < 0)
		return fd;
	if (pread(fd, stored, TREE_HASH, (off_t)(index % LEDGER_TILE * TREE_HASH)) == TREE_HASH &&
	    memcmp(stored, nothing, TREE_HASH) != 0)
		return memcmp(stored, hash, TREE_HASH) == 0 ? 0 : -EBADMSG;
	return write_at(fd, hash, TREE_HASH, (off_t)(index % LEDGER_TILE * TREE_HASH));
}

/* Add the whole entries of bundle b to the state. -EBADMSG when it is torn but not the last. */
static int rebuild_bundle(int *folder_fd, uint64_t b, bool last, unsigned char *room,
			  struct ledger_state *state)
{
	int64_t n = ledger_tile_read(*folder_fd, LEDGER_ENTRIES, b, room, LEDGER_BUNDLE_MAX);
	unsigned char hash[TREE_HASH];
	size_t pos = 0, len;
	const char *leaf;
	int count = 0, r = 0;

	if (n < 0)
		return (int)n;
	for (; count < LEDGER_TILE && r == 0; count++) {
		if (ledger_entry_next(room, (size_t)n, &pos, &leaf, &len) != 0)
			break;
		tree_hash_leaf(leaf, len, hash);
		r = tree_add(&state->tree, hash, restore_hash, folder_fd);
	}
	if (r == 0 && !last && (count < LEDGER_TILE || pos != (size_t)n))
		r = -EBADMSG;
	state->bundle_bytes = count < LEDGER_TILE ? pos : 0;
	return r;
}

/* Cut tiles and bundle to where the state ends. */
static int cut_ends(int folder_fd, const struct ledger_state *state)
{
	uint64_t size = state->tree.size;

	for (int level = LEDGER_ENTRIES; level < LEDGER_LEVELS; level++) {
		uint64_t n = size / LEDGER_TILE;
		uint64_t keep = level == LEDGER_ENTRIES ? state->bundle_bytes
							: size % LEDGER_TILE * TREE_HASH;
		int64_t len = tile_length(folder_fd, level, n);
		CLEANUP_CLOSE int fd = -1;

		if (len > (int64_t)keep) {
			fd = open_tile(folder_fd, level, n);
			if (fd < 0 || ftruncate(fd, (off_t)keep) < 0)
				return fd < 0 ? fd : -errno;
		}
		if (level >= 0)
			size = n;
	}
	return 0;
}

/* Find out anew, from the entries, what is in the ledger; finish and cut what a crash left torn. */
static int rebuild(int folder_fd, struct ledger_state *ret)
{
	CLEANUP_FREE unsigned char *room = xcalloc(1, LEDGER_BUNDLE_MAX);
	struct ledger_state state = { 0 };
	bool last = false;
	int r = 0;

	for (uint64_t b = 0; r == 0 && !last; b++) {
		last = tile_length(folder_fd, LEDGER_ENTRIES, b + 1) <= 0;
		r = rebuild_bundle(&folder_fd, b, last, room, &state);
	}
	if (r == 0)
		r = cut_ends(folder_fd, &state);
	if (r == 0)
		r = write_head(folder_fd, &state);
	if (r == 0)
		*ret = state;
	return r;
}

/* Put an entry behind the last one, and the head behind it. On failure nothing is in the ledger. */
static int put_leaf(int folder_fd, struct ledger_state *state, const char *leaf, size_t len)
{
	struct ledger_state next = *state;
	unsigned char prefix[2] = { (unsigned char)(len >> 8), (unsigned char)len };
	struct iovec parts[2] = { { prefix, 2 }, { (void *)(uintptr_t)leaf, len } };
	unsigned char hash[TREE_HASH];
	CLEANUP_CLOSE int fd = open_tile(folder_fd, LEDGER_ENTRIES, state->tree.size / LEDGER_TILE);
	ssize_t n;
	int r = 0;

	if (fd < 0)
		return fd;
	n = pwritev(fd, parts, 2, (off_t)state->bundle_bytes);
	if (n != (ssize_t)(len + 2))
		r = n < 0 ? -errno : -ENOSPC;
	tree_hash_leaf(leaf, len, hash);
	if (r == 0)
		r = tree_add(&next.tree, hash, store_hash, &folder_fd);
	next.bundle_bytes = next.tree.size % LEDGER_TILE ? state->bundle_bytes + 2 + len : 0;
	if (r == 0)
		r = write_head(folder_fd, &next);
	if (r == 0)
		*state = next;
	else if (ftruncate(fd, (off_t)state->bundle_bytes) < 0)
		return -errno;
	return r;
}

/* Say in the ledger itself that an earlier head counted more than is there now. */
static int put_lost(int folder_fd, struct ledger_state *state, const struct ledger_state *before)
{
	CLEANUP_BUF struct buf b = { 0 };
	unsigned char root[TREE_HASH];
	time_t now = time(NULL);
	char when[32];
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	tree_root(&before->tree, root);
	buf_printf(&b, "{\"found\":%" PRIu64 ",\"root\":\"", state->tree.size);
	for (int i = 0; i < TREE_HASH; i++)
		buf_printf(&b, "%02x", root[i]);
	buf_printf(&b, "\",\"size\":%" PRIu64 ",\"time\":\"%s\",\"type\":\"lost\"}",
		   before->tree.size, when);
	return put_leaf(folder_fd, state, b.data, b.len);
}

/* The state to append to, repaired if need be. */
static int load(int folder_fd, struct ledger_state *ret)
{
	struct ledger_state head = { 0 };
	int r = ledger_state_read(folder_fd, &head);

	if (r == 0 && ends_match(folder_fd, &head)) {
		*ret = head;
		return 0;
	}
	if (r < 0 && r != -ENOENT && r != -EBADMSG)
		return r;
	r = rebuild(folder_fd, ret);
	if (r == 0 && head.tree.size > ret->tree.size)
		r = put_lost(folder_fd, ret, &head);
	return r;
}

static int open_folder(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (fd < 0 && errno == ENOENT) {
		r = fd_mkdirs(folder, 0750);
		if (r < 0)
			return r;
		fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

int ledger_append(const char *folder, const char *json, size_t len, struct ledger_head *head,
		  struct err *err)
{
	CLEANUP_CLOSE int fd = -1;
	struct ledger_state state;
	int r;

	if (len == 0 || len > LEDGER_LEAF_MAX)
		return err_set(err, ERR_USAGE, "a ledger's leaf has 1 to %d bytes, not %zu",
			       LEDGER_LEAF_MAX, len);
	fd = open_folder(folder);
	r = fd < 0 ? fd : ledger_lock(fd, LOCK_EX);
	if (r == 0)
		r = load(fd, &state);
	if (r == -EBADMSG)
		return err_set(err, r, "the ledger %s is damaged in its middle, not by a torn write: "
			       "see what 'vm2 audit verify' says, then put back a copy", folder);
	if (r == 0)
		r = put_leaf(fd, &state, json, len);
	if (r < 0)
		return err_sys(err, -r, "cannot append to the ledger %s", folder);
	if (head) {
		head->size = state.tree.size;
		tree_root(&state.tree, head->root);
	}
	return 0;
}

static int sync_file(int folder_fd, const char *path)
{
	CLEANUP_CLOSE int fd = openat(folder_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return fsync(fd) < 0 ? -errno : 0;
}

/* A tile, and each folder on the way to it. */
static int sync_tile(int folder_fd, int level, uint64_t n)
{
	char path[LEDGER_PATH_MAX], *slash;
	int r;

	ledger_path(level, n, path);
	r = sync_file(folder_fd, path);
	while (r == 0 && (slash = strrchr(path, '/'))) {
		*slash = '\0';
		r = sync_file(folder_fd, path);
	}
	return r;
}

int ledger_sync(const char *folder, uint64_t *synced, struct err *err)
{
	CLEANUP_CLOSE int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct ledger_state state = { 0 };
	int r;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(err, errno, "cannot open the ledger %s", folder);
	r = ledger_lock(fd, LOCK_SH);
	if (r == 0)
		r = ledger_state_read(fd, &state);
	ledger_lock(fd, LOCK_UN);
	/* Nothing there, or a torn head: the next append repairs it, the next call syncs that. */
	if (r == -ENOENT || r == -EBADMSG || (r == 0 && state.tree.size == *synced))
		return 0;
	for (int level = LEDGER_ENTRIES; r == 0 && level < LEDGER_LEVELS; level++) {
		unsigned int shift = level > 0 ? 8 * (unsigned int)level : 0;
		uint64_t n = (*synced >> shift) / LEDGER_TILE;

		for (; r == 0 && n <= (state.tree.size >> shift) / LEDGER_TILE; n++)
			r = sync_tile(fd, level, n);
	}
	if (r == 0)
		r = sync_file(fd, LEDGER_HEAD);
	if (r == 0)
		r = fsync(fd) < 0 ? -errno : 0;
	if (r < 0)
		return err_sys(err, -r, "cannot sync the ledger %s", folder);
	*synced = state.tree.size;
	return 0;
}
