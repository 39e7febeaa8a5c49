/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "provision/audit/ledger.h"
#include "provision/audit/ledger_files.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

static char *make_folder(void)
{
	char *path = xstrdup("/tmp/vm2-ledger-XXXXXX");

	cr_assert_not_null(mkdtemp(path));
	return path;
}

static void remove_folder(char **path)
{
	cr_assert_eq(fd_remove_tree(AT_FDCWD, *path), 0);
	free(*path);
}
#define FOLDER CLEANUP(remove_folder) char *

static void append(const char *folder, uint64_t i, struct ledger_head *head)
{
	char leaf[64];
	struct err err = { 0 };
	int n = snprintf(leaf, sizeof(leaf), "{\"n\":%" PRIu64 ",\"type\":\"test\"}", i);

	cr_assert_eq(ledger_append(folder, leaf, (size_t)n, head, &err), 0, "%s", err.text);
}

static void hex(const unsigned char root[32], char ret[65])
{
	for (int i = 0; i < 32; i++)
		snprintf(ret + 2 * i, 3, "%02x", root[i]);
}

/* The leaves and roots that Certificate Transparency's own test suites use for RFC 6962. */
Test(tree, has_the_roots_of_rfc_6962)
{
	static const struct {
		const char *leaf;
		size_t len;
		const char *root;
	} steps[] = {
		{ "", 0, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" },
		{ "\0", 1, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125" },
		{ "\x10", 1, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77" },
		{ " !", 2, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7" },
		{ "01", 2, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4" },
		{ "@ABC", 4, "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef" },
		{ "PQRSTUVW", 8, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c" },
		{ "`abcdefghijklmno", 16,
		  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328" },
	};
	struct tree t = { 0 };
	unsigned char hash[32];
	char text[65];

	tree_root(&t, hash);
	hex(hash, text);
	cr_assert_str_eq(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		tree_hash_leaf(steps[i].leaf, steps[i].len, hash);
		cr_assert_eq(tree_add(&t, hash, NULL, NULL), 0);
		tree_root(&t, hash);
		hex(hash, text);
		cr_assert_str_eq(text, steps[i].root, "size %zu", i + 1);
	}
}

Test(ledger, names_tiles_as_tlog_tiles_does)
{
	char path[LEDGER_PATH_MAX];

	ledger_path(0, 7, path);
	cr_assert_str_eq(path, "tile/0/007");
	ledger_path(2, 1234067, path);
	cr_assert_str_eq(path, "tile/2/x001/x234/067");
	ledger_path(LEDGER_ENTRIES, 1000, path);
	cr_assert_str_eq(path, "tile/entries/x001/000");
	ledger_path(LEDGER_ENTRIES, UINT64_MAX / 256, path);
	cr_assert(strlen(path) < LEDGER_PATH_MAX - 1);
}

static int check_leaf(void *data, uint64_t index, const char *json, size_t len)
{
	uint64_t *seen = data;
	char want[64];
	int n = snprintf(want, sizeof(want), "{\"n\":%" PRIu64 ",\"type\":\"test\"}", index);

	cr_assert(len == (size_t)n && memcmp(json, want, len) == 0);
	(*seen)++;
	return 0;
}

Test(ledger, grows_over_tiles_and_verifies)
{
	FOLDER folder = make_folder();
	struct ledger_head head, read, noted = { 0 };
	struct err err = { 0 };
	struct tree t = { 0 };
	unsigned char hash[32];
	uint64_t seen = 0, synced = 0;
	char path[128], leaf[64];
	struct stat st;

	cr_assert_eq(ledger_read_head("/tmp/no-such-ledger", &head, &err), 0);
	cr_assert_eq(head.size, 0);
	for (uint64_t i = 0; i < 600; i++) {
		int n = snprintf(leaf, sizeof(leaf), "{\"n\":%" PRIu64 ",\"type\":\"test\"}", i);

		append(folder, i, &head);
		tree_hash_leaf(leaf, (size_t)n, hash);
		tree_add(&t, hash, NULL, NULL);
		tree_root(&t, hash);
		cr_assert_eq(head.size, i + 1);
		cr_assert_eq(memcmp(head.root, hash, 32), 0);
		if (i == 299)
			noted = head;
	}
	cr_assert_eq(ledger_read_head(folder, &read, &err), 0);
	cr_assert(read.size == 600 && memcmp(read.root, head.root, 32) == 0);
	cr_assert_eq(ledger_verify(folder, &read, &err), 0, "%s", err.text);
	cr_assert(read.size == 600 && memcmp(read.root, head.root, 32) == 0);
	cr_assert_eq(ledger_each(folder, 0, check_leaf, &seen, &err), 0);
	cr_assert_eq(seen, 600);
	cr_assert_eq(ledger_each(folder, 555, check_leaf, &seen, &err), 0);
	cr_assert_eq(seen, 645);
	snprintf(path, sizeof(path), "%s/tile/1/000", folder);
	cr_assert(stat(path, &st) == 0 && st.st_size == 64);
	cr_assert_eq(ledger_sync(folder, &synced, &err), 0, "%s", err.text);
	cr_assert_eq(synced, 600);
	cr_assert_eq(ledger_verify_head(folder, &noted, NULL, &err), 0, "%s", err.text);
	noted.root[0] ^= 1;
	cr_assert_eq(ledger_verify_head(folder, &noted, NULL, &err), ERR_FAILED);
	noted.size = 601;
	cr_assert_eq(ledger_verify_head(folder, &noted, NULL, &err), ERR_FAILED);
}

Test(ledger, refuses_leaves_without_length)
{
	FOLDER folder = make_folder();
	CLEANUP_FREE char *big = xcalloc(1, LEDGER_LEAF_MAX + 1);
	struct ledger_head head;
	struct err err;

	memset(big, 'x', LEDGER_LEAF_MAX + 1);
	cr_assert_eq(ledger_append(folder, "", 0, NULL, &err), ERR_USAGE);
	cr_assert_eq(ledger_append(folder, big, LEDGER_LEAF_MAX + 1, NULL, &err), ERR_USAGE);
	cr_assert_eq(ledger_append(folder, big, LEDGER_LEAF_MAX, NULL, &err), 0);
	append(folder, 1, NULL);
	cr_assert_eq(ledger_verify(folder, &head, &err), 0);
	cr_assert_eq(head.size, 2);
}

/* Cut `file` to each shorter length, append, and see that the ledger is whole again. */
static void tear(const char *file, uint64_t leaves, off_t from)
{
	FOLDER folder = make_folder();
	CLEANUP_FREE char *copy = xasprintf("%s.torn", folder);
	CLEANUP_FREE char *path = xasprintf("%s/%s", copy, file);
	CLEANUP_FREE char *cmd = xasprintf("rm -rf %s && cp -a %s %s", copy, folder, copy);
	struct ledger_head head;
	struct err err = { 0 };
	struct stat st;

	for (uint64_t i = 0; i < leaves; i++)
		append(folder, i, NULL);
	cr_assert_eq(system(cmd), 0);
	cr_assert_eq(stat(path, &st), 0, "%s", path);
	for (off_t len = from; len < st.st_size; len++) {
		cr_assert_eq(system(cmd), 0);
		cr_assert_eq(truncate(path, len), 0);
		append(copy, leaves, NULL);
		cr_assert_eq(ledger_verify(copy, &head, &err), 0, "%s at %ld: %s", file, (long)len,
			     err.text);
		/* Nothing that is still there is dropped; what is gone is owned up to ("lost"). */
		cr_assert_eq(head.size, leaves + 1, "%s at %ld: size %" PRIu64, file, (long)len,
			     head.size);
	}
	cr_assert_eq(fd_remove_tree(AT_FDCWD, copy), 0);
}

Test(ledger, repairs_a_torn_entry, .timeout = 60)
{
	/* The last entry is torn: the head had counted it, so "lost" takes its place. */
	tear("tile/entries/000", 3, 2 * (2 + 21));
}

Test(ledger, repairs_a_torn_hash, .timeout = 60)
{
	tear("tile/0/000", 3, 0);
}

Test(ledger, repairs_a_torn_level, .timeout = 60)
{
	tear("tile/1/000", 256, 0);
}

Test(ledger, repairs_a_torn_head, .timeout = 60)
{
	tear("head", 3, 0);
}

/* An append that is killed between any two of its writes: what it wrote beyond the head. */
Test(ledger, repairs_an_append_killed_anywhere, .timeout = 60)
{
	for (uint64_t before = 254; before < 258; before++) {
		for (size_t torn = 1; torn <= 24; torn++) {
			FOLDER folder = make_folder();
			CLEANUP_FREE char *head_path = xasprintf("%s/head", folder);
			CLEANUP_FREE char *path = xasprintf("%s/tile/entries/%03d", folder,
							    (int)(before / 256));
			char old[LEDGER_HEAD_MAX];
			struct ledger_head head;
			struct err err = { 0 };
			struct stat st;
			ssize_t n;

			for (uint64_t i = 0; i < before; i++)
				append(folder, i, NULL);
			n = fd_read_path(AT_FDCWD, head_path, old, sizeof(old));
			cr_assert(n > 0);
			append(folder, before, NULL);
			{
				CLEANUP_CLOSE int fd = open(head_path, O_WRONLY | O_TRUNC);

				cr_assert_eq(fd_write_all(fd, old, (size_t)n), 0);
			}
			cr_assert_eq(stat(path, &st), 0);
			cr_assert_eq(truncate(path, st.st_size - (off_t)torn + 1), 0);
			append(folder, before + (torn == 1), NULL);
			cr_assert_eq(ledger_verify(folder, &head, &err), 0, "%s", err.text);
			cr_assert_eq(head.size, before + 1 + (torn == 1));
		}
	}
}

static void flip(const char *folder, const char *file, off_t at)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s", folder, file);
	CLEANUP_CLOSE int fd = open(path, O_RDWR);
	char c;

	cr_assert_eq(pread(fd, &c, 1, at), 1);
	c ^= 1;
	cr_assert_eq(pwrite(fd, &c, 1, at), 1);
}

Test(ledger, tells_what_was_altered)
{
	FOLDER folder = make_folder();
	static const struct {
		const char *file;
		off_t at;
	} places[] = { { "tile/entries/000", 7 }, { "tile/entries/001", 3 }, { "tile/0/000", 40 },
		       { "tile/1/000", 1 },	  { "head", 30 },	     { "head", 12 },
		       { "tile/entries/000", 1 } };
	struct err err = { 0 };

	for (uint64_t i = 0; i < 300; i++)
		append(folder, i, NULL);
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		flip(folder, places[i].file, places[i].at);
		cr_assert_eq(ledger_verify(folder, NULL, &err), ERR_FAILED, "%s", places[i].file);
		flip(folder, places[i].file, places[i].at);
		cr_assert_eq(ledger_verify(folder, NULL, &err), 0, "%s", err.text);
	}
}

Test(ledger, takes_appends_of_eight_processes, .timeout = 60)
{
	FOLDER folder = make_folder();
	struct ledger_head head;
	struct err err = { 0 };
	pid_t pids[8];
	int status;

	for (int p = 0; p < 8; p++) {
		pids[p] = fork();
		if (pids[p] == 0) {
			for (int i = 0; i < 100; i++)
				if (ledger_append(folder, "{\"type\":\"test\"}", 15, NULL, &err) != 0)
					_exit(1);
			_exit(0);
		}
	}
	for (int p = 0; p < 8; p++) {
		cr_assert_eq(waitpid(pids[p], &status, 0), pids[p]);
		cr_assert_eq(status, 0);
	}
	cr_assert_eq(ledger_verify(folder, &head, &err), 0, "%s", err.text);
	cr_assert_eq(head.size, 800);
}
