/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vm2-archive: reads and writes file trees and archives for vm2d's workers, so that no process with
 * the host's powers ever holds a parser of archives. It is given descriptors only:
 *
 *   0 what is read, 1 what is written, 2 lines for a person, the last one why it failed,
 *   3 the tree, which becomes this process's root; with unpack-oci, 0 is the image's folder
 *
 *   vm2-archive pack NAME TEMPLATE DIGEST DRIVER PLAN     the tree to 1, a guest's export
 *   vm2-archive unpack-guest BYTES                        0, a guest's export, to the tree
 *   vm2-archive unpack-tar BYTES                          0, a tarball, to the tree
 *   vm2-archive unpack-oci BYTES IMAGE                    0, the image of this name ("": any), to the tree
 *   vm2-archive list                                      the tree's lines (sum.h) to 1
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "build.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/guest/oci.h"
#include "provision/guest/pack.h"
#include "provision/guest/unpack.h"
#include "provision/guest/walk.h"

#define TREE	    3
#define ENTRIES_MAX 50000000
/* Decoders take what a file asks them to: zstd 128 MiB, xz 64 MiB as they are usually made. */
#define MEMORY_MAX (2ULL << 30)
#define OUT_MAX	   (1 << 16)

#define CAP(x) (1ULL << CAP_##x)
/* To read whatever is in a tree, and to write whatever may be in one. */
#define READER CAP(DAC_READ_SEARCH)
#define WRITER (CAP(CHOWN) | CAP(DAC_OVERRIDE) | CAP(FOWNER) | CAP(FSETID) | CAP(SETFCAP))

static void progress(const char *text)
{
	dprintf(2, "%s\n", text);
}

/* --- what this process gives up --- */

static int limit(int what, rlim_t value)
{
	const struct rlimit both = { value, value };

	return setrlimit((__rlimit_resource_t)what, &both);
}

static int keep_capabilities(uint64_t keep)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ (uint32_t)keep, (uint32_t)keep, 0 },
		{ (uint32_t)(keep >> 32), (uint32_t)(keep >> 32), 0 },
	};

	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap) < 0)
			return -1;
	return (int)syscall(SYS_capset, &head, data);
}

/*
 * Whatever a hostile archive makes of this process: it sees nothing but the tree and its descriptors,
 * has no network, cannot run a program with more than it has, and ends with vm2d's worker.
 */
static int confine(uint64_t keep, struct err *err)
{
	if (fchdir(TREE) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return err_sys(err, errno, "cannot go into the tree");
	if (unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		return err_sys(err, errno, "cannot leave the host's namespaces");
	if (limit(RLIMIT_CORE, 0) < 0 || limit(RLIMIT_AS, MEMORY_MAX) < 0)
		return err_sys(err, errno, "cannot set limits");
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    keep_capabilities(keep) < 0)
		return err_sys(err, errno, "cannot give capabilities up");
	return 0;
}

/* --- what it can do --- */

static int pack(char **words, struct err *err)
{
	const struct pack_facts facts = { words[0], words[1], words[2], words[3], words[4],
					  VM2_VERSION };
	int r = confine(READER, err);

	return r == 0 ? pack_guest(TREE, 1, &facts, progress, err) : r;
}

static int bounds(const char *bytes, struct unpack *u, struct err *err)
{
	*u = (struct unpack){ .root = TREE, .entries = ENTRIES_MAX, .progress = progress };
	return parse_u64(bytes, UINT64_MAX, &u->bytes) < 0 ?
		       err_set(err, ERR_USAGE, "'%s' is no number of bytes", bytes) :
		       0;
}

static int unpack_one(char **words, int (*unpack)(const struct unpack *, int, struct err *),
		      struct err *err)
{
	struct unpack u;
	int r = bounds(words[0], &u, err);

	if (r == 0)
		r = confine(WRITER, err);
	return r == 0 ? unpack(&u, 0, err) : r;
}

static int run_unpack_guest(char **words, struct err *err)
{
	return unpack_one(words, unpack_guest, err);
}

static int run_unpack_tar(char **words, struct err *err)
{
	return unpack_one(words, unpack_tar, err);
}

/* What is left of the bounds comes back through a pipe. */
static void __attribute__((noreturn)) layer_child(struct unpack *u, int fd, int back)
{
	struct err err = { 0 };
	int r;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The image's folder is the host's: a layer's reader does not have it. */
	close(0);
	r = confine(WRITER, &err);
	if (r == 0)
		r = unpack_layer(u, fd, &err);
	if (r != 0)
		dprintf(2, "%s\n", err.text);
	if (r == 0 && write(back, u, sizeof(*u)) != sizeof(*u))
		r = ERR_FAILED;
	_exit(r != 0);
}

static int take_layer(void *data, int fd, struct err *err)
{
	struct unpack *u = data, left;
	CLEANUP_CLOSE int in = -1, out = -1;
	int pipes[2], status = 1;
	pid_t pid;

	progress("unpacking a layer");
	if (pipe2(pipes, O_CLOEXEC) < 0)
		return err_sys(err, errno, "cannot make a pipe");
	in = pipes[0];
	out = pipes[1];
	pid = fork();
	if (pid < 0)
		return err_sys(err, errno, "cannot fork");
	if (pid == 0)
		layer_child(u, fd, out);
	out = fd_close(out);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (status != 0 || read(in, &left, sizeof(left)) != sizeof(left) || left.bytes > u->bytes ||
	    left.entries > u->entries)
		return err_set(err, ERR_FAILED, "%s", ""); /* the child has said why */
	u->bytes = left.bytes;
	u->entries = left.entries;
	return 0;
}

static int run_unpack_oci(char **words, struct err *err)
{
	struct unpack u;
	int r = bounds(words[0], &u, err);

	return r == 0 ? oci_each_layer(0, *words[1] ? words[1] : NULL, take_layer, &u, err) : r;
}

static int add_content(void *data, uint64_t at, const void *bytes, size_t len, struct err *err)
{
	(void)err;
	content_add(data, at, bytes, len);
	return 0;
}

static int list_entry(void *data, struct walk_entry *e, struct err *err)
{
	CLEANUP_FREE struct content *c = xcalloc(1, sizeof(*c));
	struct buf *out = data;
	int r = 0;

	if (e->node.type == 'f') {
		r = walk_content(e, add_content, c, err);
		content_end(c, e->node.content);
	}
	if (r == 0)
		node_line(&e->node, out);
	if (r == 0 && out->len > OUT_MAX) {
		r = fd_write_all(1, out->data, out->len);
		out->len = 0;
	}
	return r < 0 ? err_sys(err, -r, "cannot write the list") : r;
}

static int list(char **words, struct err *err)
{
	CLEANUP_BUF struct buf out = { 0 };
	int r = confine(READER, err);

	(void)words;
	if (r == 0)
		r = walk_tree(TREE, list_entry, &out, NULL, err);
	if (r == 0 && out.len)
		r = fd_write_all(1, out.data, out.len);
	return r;
}

static const struct {
	const char *name;
	int words;
	int (*run)(char **words, struct err *err);
} modes[] = {
	{ "pack", 5, pack },
	{ "unpack-guest", 1, run_unpack_guest },
	{ "unpack-tar", 1, run_unpack_tar },
	{ "unpack-oci", 2, run_unpack_oci },
	{ "list", 0, list },
};

int main(int argc, char **argv)
{
	struct err err = { 0 };
	int r = err_set(&err, ERR_USAGE, "vm2-archive is run by vm2d");

	/* Names in UTF-8 stay what they are, whatever the archive says that they were written in. */
	setlocale(LC_CTYPE, "C.UTF-8");
	umask(0);
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; argc > 1 && i < ARRAY_LEN(modes); i++)
		if (!strcmp(modes[i].name, argv[1]) && argc == 2 + modes[i].words)
			r = modes[i].run(argv + 2, &err);
	if (r != 0 && err.text[0])
		dprintf(2, "%s\n", err.text);
	return err_exit_status(r);
}
