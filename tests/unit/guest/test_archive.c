/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Trees into archives and back, and what a hostile archive can do: nothing. */
#include <archive.h>
#include <archive_entry.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/guest/oci.h"
#include "provision/guest/unpack.h"
#include "provision/guest/walk.h"

#define ROOM (64 << 20)

/* A folder of the test's own: where/tree is what is unpacked to, where/outside is not. */
struct place_of {
	char path[64];
	int dir, tree;
};

static void set_up(struct place_of *p)
{
	snprintf(p->path, sizeof(p->path), "/var/tmp/vm2-archive-XXXXXX");
	cr_assert(mkdtemp(p->path));
	p->dir = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(mkdirat(p->dir, "tree", 0755) == 0 && mkdirat(p->dir, "outside", 0755) == 0);
	p->tree = openat(p->dir, "tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(p->tree, 0);
}

static void take_down(struct place_of *p)
{
	close(p->tree);
	close(p->dir);
	fd_remove_tree(AT_FDCWD, p->path);
}
#define PLACE __attribute__((cleanup(take_down)))

static void root_only(void)
{
	if (geteuid() != 0)
		cr_skip_test("owners take root");
	umask(0);
}

TestSuite(archive, .init = root_only, .timeout = 60);

static void say(const char *text)
{
	(void)text;
}

/* --- trees --- */

static int add_content(void *data, uint64_t at, const void *bytes, size_t len, struct err *err)
{
	(void)err;
	content_add(data, at, bytes, len);
	return 0;
}

static int list_one(void *data, struct walk_entry *e, struct err *err)
{
	struct content *c = xcalloc(1, sizeof(*c));

	if (e->node.type == 'f')
		cr_assert_eq(walk_content(e, add_content, c, err), 0);
	content_end(c, e->node.content);
	node_line(&e->node, data);
	free(c);
	return 0;
}

static char *list(int tree)
{
	struct buf out = { 0 };
	struct err err = { 0 };

	cr_assert_eq(walk_tree(tree, list_one, &out, NULL, &err), 0, "%s", err.text);
	return out.data;
}

static void write_file(int tree, const char *name, const char *text)
{
	int fd = openat(tree, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	cr_assert(fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0, "%s", name);
	close(fd);
}

static void write_sparse(int tree)
{
	int fd = openat(tree, "d/sparse", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	cr_assert(fd >= 0 && pwrite(fd, "middle", 6, 5 << 20) == 6 && ftruncate(fd, 9000000000) == 0);
	close(fd);
	fd = openat(tree, "d/hole", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert(fd >= 0 && ftruncate(fd, 1 << 20) == 0);
	close(fd);
}

/* All that a guest can have, and a socket and a device, which do not travel. */
static void furnish(int tree)
{
	static const char caps[20] = { 0, 0, 0, 2, 0, 32 };
	const struct timespec times[2] = { { 1, 0 }, { 1234567890, 123456789 } };
	CLEANUP_CLOSE int d = -1;

	cr_assert(mkdirat(tree, "d", 02775) == 0 && mkdirat(tree, "d/\xff\n name", 0700) == 0);
	write_file(tree, "d/\xff\n name/f", "odd");
	write_file(tree, "d/a", "text");
	write_file(tree, "d/empty", "");
	write_sparse(tree);
	d = openat(tree, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(fchownat(d, "a", 33, 65535, 0) == 0 && fchmodat(d, "a", 04755, 0) == 0);
	cr_assert(linkat(d, "a", d, "b", 0) == 0 && symlinkat("../no/where", d, "l") == 0);
	cr_assert(symlinkat("\xe4", d, "latin") == 0 && mkfifoat(d, "p", 0640) == 0);
	cr_assert(mknodat(d, "null", S_IFCHR | 0666, (1 << 8) | 3) == 0);
	cr_assert(mknodat(d, "s", S_IFSOCK | 0666, 0) == 0);
	cr_assert(fsetxattr(d, "user.k", "v\0w", 3, 0) == 0);
	cr_assert(fsetxattr(d, "user.overlay.opaque", "y", 1, 0) == 0);
	{
		CLEANUP_CLOSE int a = openat(d, "empty", O_RDONLY | O_CLOEXEC);

		cr_assert(fsetxattr(a, "security.capability", caps, sizeof(caps), 0) == 0);
		cr_assert(fsetxattr(a, "user.z", "", 0, 0) == 0 && fsetxattr(a, "user.a", "1", 1, 0) == 0);
	}
	cr_assert(utimensat(d, "a", times, 0) == 0 && futimens(d, times) == 0);
	cr_assert(fchown(tree, 7, 8) == 0);
}

static int packed(int tree)
{
	const struct pack_facts facts = { "acme", "debian", "", "overlay", "small", "1" };
	int fd = memfd_create("export", MFD_CLOEXEC);
	struct err err = { 0 };

	cr_assert_eq(pack_guest(tree, fd, &facts, say, &err), 0, "%s", err.text);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static int unpacked(int tree, int in, uint64_t bytes, struct err *err)
{
	const struct unpack u = { tree, bytes, 1000, say };

	return unpack_guest(&u, in, err);
}

Test(archive, a_guest_comes_back_as_it_was)
{
	PLACE struct place_of from = { 0 }, to = { 0 };
	CLEANUP_FREE char *before = NULL, *after = NULL;
	struct err err = { 0 };
	struct stat st, other;
	int file;

	set_up(&from);
	set_up(&to);
	furnish(from.tree);
	file = packed(from.tree);
	cr_assert(fstat(file, &st) == 0 && st.st_size < 20000, "%lld bytes", (long long)st.st_size);
	cr_assert_eq(unpacked(to.tree, file, ROOM, &err), 0, "%s", err.text);
	before = list(from.tree);
	after = list(to.tree);
	cr_assert_str_eq(before, after);
	cr_assert(fstatat(to.tree, "d/a", &st, 0) == 0 && fstatat(to.tree, "d/b", &other, 0) == 0);
	cr_assert(st.st_ino == other.st_ino && (st.st_mode & 07777) == 04755 && st.st_gid == 65535);
	cr_assert(st.st_mtim.tv_sec == 1234567890 && st.st_mtim.tv_nsec == 123456789);
	cr_assert(fstatat(to.tree, "d/sparse", &st, 0) == 0 && st.st_size == 9000000000);
	cr_assert_lt(st.st_blocks, 1000);
	cr_assert(fstatat(to.tree, "d/null", &st, 0) < 0 && fstatat(to.tree, "d/s", &st, 0) < 0);
	close(file);
}

static int copy_all(int from, int to, off_t size)
{
	off_t at = 0;

	while (at < size)
		if (copy_file_range(from, &at, to, NULL, (size_t)(size - at), 0) <= 0)
			return -1;
	return 0;
}

/* Cut at any place, or with any byte changed, it is refused; what never changes is past its end. */
Test(archive, what_is_not_whole_is_refused)
{
	PLACE struct place_of from = { 0 };
	CLEANUP_FREE char *before = NULL;
	struct err err = { 0 };
	struct stat st;
	char byte;
	int file, step;

	set_up(&from);
	furnish(from.tree);
	before = list(from.tree);
	file = packed(from.tree);
	cr_assert_eq(fstat(file, &st), 0);
	step = (int)st.st_size / 60;
	for (int i = 0; i < (int)st.st_size; i += step) {
		PLACE struct place_of cut = { 0 }, changed = { 0 };
		int copy = memfd_create("copy", MFD_CLOEXEC);

		set_up(&cut);
		set_up(&changed);
		cr_assert_eq(copy_all(file, copy, st.st_size), 0);
		cr_assert(pread(copy, &byte, 1, i) == 1);
		byte ^= 0x55;
		cr_assert(pwrite(copy, &byte, 1, i) == 1 && lseek(copy, 0, SEEK_SET) == 0);
		/* Or the byte meant nothing: one of a header that libarchive passes over. */
		if (unpacked(changed.tree, copy, ROOM, &err) == 0) {
			CLEANUP_FREE char *after = list(changed.tree);

			cr_expect_str_eq(after, before, "byte %d", i);
		}
		byte ^= 0x55;
		cr_assert(pwrite(copy, &byte, 1, i) == 1 && ftruncate(copy, i) == 0);
		cr_assert_eq(lseek(copy, 0, SEEK_SET), 0);
		cr_expect_neq(unpacked(cut.tree, copy, ROOM, &err), 0, "cut at %d", i);
		close(copy);
	}
	close(file);
}

Test(archive, a_guest_for_which_there_is_no_room_is_refused_first)
{
	PLACE struct place_of from = { 0 }, to = { 0 };
	struct err err = { 0 };
	struct stat st;
	int file;

	set_up(&from);
	set_up(&to);
	furnish(from.tree);
	file = packed(from.tree);
	cr_assert_eq(unpacked(to.tree, file, 1000, &err), ERR_FAILED);
	cr_assert(strstr(err.text, "room"), "%s", err.text);
	cr_assert(fstatat(to.tree, "d", &st, 0) < 0);
	close(file);
}

/* --- hostile tarballs --- */

struct tar {
	struct archive *a;
	int fd;
};

static struct tar tar_begin(void)
{
	struct tar t = { archive_write_new(), memfd_create("tar", MFD_CLOEXEC) };

	cr_assert_eq(archive_write_set_format_pax(t.a), ARCHIVE_OK);
	cr_assert_eq(archive_write_add_filter_gzip(t.a), ARCHIVE_OK);
	cr_assert_eq(archive_write_open_fd(t.a, t.fd), ARCHIVE_OK);
	return t;
}

static void tar_add(struct tar *t, unsigned int type, const char *path, const char *target, int uid)
{
	struct archive_entry *e = archive_entry_new();

	archive_entry_set_pathname(e, path);
	archive_entry_set_filetype(e, type ? type : AE_IFREG);
	archive_entry_set_perm(e, 0755);
	archive_entry_set_uid(e, uid);
	if (type == AE_IFREG)
		archive_entry_set_size(e, 4);
	if (type == AE_IFLNK)
		archive_entry_set_symlink(e, target);
	if (!type)
		archive_entry_set_hardlink(e, target);
	cr_assert_eq(archive_write_header(t->a, e), ARCHIVE_OK, "%s", archive_error_string(t->a));
	if (type == AE_IFREG)
		cr_assert_eq(archive_write_data(t->a, "evil", 4), 4);
	archive_entry_free(e);
}

static int tar_end(struct tar *t)
{
	cr_assert_eq(archive_write_free(t->a), ARCHIVE_OK);
	lseek(t->fd, 0, SEEK_SET);
	return t->fd;
}

static int unpack_into(struct place_of *p, struct tar *t, struct err *err)
{
	const struct unpack u = { p->tree, ROOM, 1000, say };
	int fd = tar_end(t), r = unpack_tar(&u, fd, err);

	close(fd);
	return r;
}

static void outside_is_empty(const struct place_of *p)
{
	CLEANUP_CLOSEDIR DIR *dir = fdopendir(openat(p->dir, "outside", O_RDONLY | O_DIRECTORY));
	struct dirent *e;

	while ((e = readdir(dir)))
		cr_assert(e->d_name[0] == '.', "%s", e->d_name);
}

Test(archive, no_path_leads_out)
{
	static const char *const paths[] = { "../outside/f", "a/../../outside/f", "..", "a/.." };
	struct err err = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		PLACE struct place_of p = { 0 };
		struct tar t = tar_begin();

		set_up(&p);
		tar_add(&t, AE_IFREG, paths[i], NULL, 0);
		cr_expect_neq(unpack_into(&p, &t, &err), 0, "%s", paths[i]);
		outside_is_empty(&p);
	}
}

/* A link within the tree is followed within it, as the system that it is a part of would. */
Test(archive, links_lead_nowhere_else)
{
	PLACE struct place_of p = { 0 };
	struct tar t = tar_begin();
	CLEANUP_FREE char *absolute = NULL;
	struct err err = { 0 };
	struct stat st;

	set_up(&p);
	absolute = xasprintf("%s/outside", p.path);
	tar_add(&t, AE_IFDIR, "./", NULL, 0);
	tar_add(&t, AE_IFDIR, "usr/lib", NULL, 0);
	tar_add(&t, AE_IFLNK, "lib", "usr/lib", 0);
	tar_add(&t, AE_IFREG, "lib/in", NULL, 5);
	tar_add(&t, AE_IFREG, "/made/by/itself", NULL, 0);
	tar_add(&t, AE_IFCHR, "dev/null", NULL, 0);
	cr_assert_eq(unpack_into(&p, &t, &err), 0, "%s", err.text);
	cr_assert(fstatat(p.tree, "usr/lib/in", &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_uid == 5);
	cr_assert(fstatat(p.tree, "made/by/itself", &st, AT_SYMLINK_NOFOLLOW) == 0);
	cr_assert(fstatat(p.tree, "dev/null", &st, AT_SYMLINK_NOFOLLOW) < 0);
	for (int i = 0; i < 2; i++) {
		t = tar_begin();
		tar_add(&t, AE_IFLNK, "out", i ? absolute : "../outside", 0);
		tar_add(&t, AE_IFREG, "out/f", NULL, 0);
		unpack_into(&p, &t, &err);
		outside_is_empty(&p);
	}
}

Test(archive, a_hard_link_is_one_within_the_tree)
{
	static const char *const targets[] = { "../outside/f", "/etc/passwd", "out/passwd" };
	struct err err = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		PLACE struct place_of p = { 0 };
		struct tar t = tar_begin();

		set_up(&p);
		tar_add(&t, AE_IFLNK, "out", "/etc", 0);
		tar_add(&t, 0, "link", targets[i], 0);
		cr_expect_neq(unpack_into(&p, &t, &err), 0, "%s", targets[i]);
	}
}

Test(archive, owners_and_sizes_have_bounds)
{
	PLACE struct place_of p = { 0 };
	struct unpack small = { .bytes = 7, .entries = 2, .progress = say };
	struct err err = { 0 };
	struct tar t = tar_begin();
	int fd;

	set_up(&p);
	tar_add(&t, AE_IFREG, "f", NULL, 65536);
	cr_assert_eq(unpack_into(&p, &t, &err), ERR_FAILED);
	cr_assert(strstr(err.text, "65536"), "%s", err.text);
	small.root = p.tree;
	t = tar_begin();
	tar_add(&t, AE_IFREG, "a", NULL, 0);
	tar_add(&t, AE_IFREG, "b", NULL, 0);
	fd = tar_end(&t);
	cr_assert_eq(unpack_tar(&small, fd, &err), ERR_FAILED);
	cr_assert(strstr(err.text, "may take"), "%s", err.text);
	small.bytes = 100;
	small.entries = 1;
	lseek(fd, 0, SEEK_SET);
	cr_assert_eq(unpack_tar(&small, fd, &err), ERR_FAILED);
	close(fd);
}

/* Whiteouts hide what lies below, wherever in the layer they stand, and nothing of the layer. */
Test(archive, layers)
{
	PLACE struct place_of p = { 0 };
	struct unpack u = { .bytes = ROOM, .entries = 1000, .progress = say };
	struct err err = { 0 };
	struct tar t = tar_begin();
	struct stat st;
	int fd;

	set_up(&p);
	u.root = p.tree;
	tar_add(&t, AE_IFREG, "etc/old", NULL, 0);
	tar_add(&t, AE_IFREG, "etc/kept", NULL, 0);
	tar_add(&t, AE_IFREG, "opt/a/below", NULL, 0);
	fd = tar_end(&t);
	cr_assert_eq(unpack_layer(&u, fd, &err), 0, "%s", err.text);
	close(fd);
	t = tar_begin();
	tar_add(&t, AE_IFREG, "opt/a/above", NULL, 0);
	tar_add(&t, AE_IFREG, "opt/a/.wh..wh..opq", NULL, 0);
	tar_add(&t, AE_IFREG, "etc/.wh.old", NULL, 0);
	fd = tar_end(&t);
	cr_assert_eq(unpack_layer(&u, fd, &err), 0, "%s", err.text);
	close(fd);
	cr_assert(fstatat(p.tree, "etc/old", &st, 0) < 0 && fstatat(p.tree, "opt/a/below", &st, 0) < 0);
	cr_assert(fstatat(p.tree, "etc/kept", &st, 0) == 0 && fstatat(p.tree, "opt/a/above", &st, 0) == 0);
	cr_assert(fstatat(p.tree, "etc/.wh.old", &st, 0) < 0);
	t = tar_begin();
	tar_add(&t, AE_IFREG, "etc/.wh...", NULL, 0);
	fd = tar_end(&t);
	cr_assert_neq(unpack_layer(&u, fd, &err), 0);
	close(fd);
}

/* --- images --- */

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define BLOB(kind, more)                                                                        \
	"{\"mediaType\": \"application/vnd.oci.image." kind "\", \"digest\": \"sha256:" HEX       \
	"\", \"size\": 3" more "}"
#define ON(arch) ", \"platform\": {\"os\": \"linux\", \"architecture\": \"" arch "\"}"

static int pick(const char *text, struct oci_blob *ret)
{
	return oci_pick(text, strlen(text), "arm64", NULL, ret, NULL);
}

Test(image, an_index_names_one)
{
	struct oci_blob b = { 0 };

	cr_assert_eq(pick("{\"manifests\": [" BLOB("manifest.v1+json", "") "]}", &b), 0);
	cr_assert(b.kind == OCI_MANIFEST && b.size == 3 && !strcmp(b.hex, HEX));
	cr_assert_eq(pick("{\"manifests\": [" BLOB("manifest.v1+json", ON("amd64")) ", "
			  BLOB("index.v1+json", ON("arm64")) "]}", &b), 0);
	cr_assert_eq(b.kind, OCI_INDEX);
	cr_assert_eq(pick("{\"manifests\": [" BLOB("manifest.v1+json", ON("amd64")) ", "
			  BLOB("index.v1+json", "") "]}", &b), ERR_FAILED);
	cr_assert_eq(pick("{\"manifests\": [" BLOB("layer.v1.tar", "") "]}", &b), ERR_FAILED);
	cr_assert_eq(pick("{\"manifests\": []}", &b), ERR_FAILED);
	cr_assert_eq(pick("[]", &b), ERR_FAILED);
	cr_assert_eq(pick("", &b), ERR_FAILED);
}

#define CALLED(name) ", \"annotations\": {\"org.opencontainers.image.ref.name\": \"" name "\"}"
#define OTHER(more)                                                                             \
	"{\"mediaType\": \"application/vnd.oci.image.manifest.v1+json\", \"digest\": \"sha256:" \
	"fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210\", \"size\": 4" more "}"

/* skopeo adds images to a layout that is there, and says nothing of what they are for. */
Test(image, a_name_tells_one_of_several)
{
	static const char two[] = "{\"manifests\": [" BLOB(
		"manifest.v1+json", CALLED("v1")) ", " OTHER(CALLED("v2")) "]}",
			  same[] = "{\"manifests\": [" BLOB(
				  "manifest.v1+json", CALLED("v1")) ", " BLOB("manifest.v1+json",
									      CALLED("also")) "]}",
			  odd[] = "{\"manifests\": [" OTHER(CALLED("\\u001b[31m")) ", " BLOB(
				  "manifest.v1+json", CALLED("v1")) "]}";
	struct oci_blob b = { 0 };
	struct err err = { 0 };

	cr_assert_eq(oci_pick(two, strlen(two), "arm64", NULL, &b, &err), ERR_USAGE);
	cr_assert_str_eq(err.text, "the index names several images: say which, by --image: v1, v2");
	cr_assert_eq(oci_pick(two, strlen(two), "arm64", "v2", &b, NULL), 0);
	cr_assert_eq(b.size, 4);
	cr_assert_eq(oci_pick(two, strlen(two), "arm64", "v1", &b, NULL), 0);
	cr_assert_eq(b.size, 3);
	cr_assert_eq(oci_pick(two, strlen(two), "arm64", "v3", &b, NULL), ERR_FAILED);
	/* Two names of one image. */
	cr_assert_eq(pick(same, &b), 0);
	cr_assert_eq(oci_pick(odd, strlen(odd), "arm64", NULL, &b, &err), ERR_USAGE);
	cr_assert_str_eq(err.text, "the index names several images: say which, by --image: v1");
}

Test(image, a_digest_is_no_path)
{
	static const char text[] = "{\"manifests\": [{\"mediaType\": "
				   "\"application/vnd.oci.image.manifest.v1+json\", \"size\": 1, "
				   "\"digest\": \"sha256:../../../../../etc/passwd\"}]}";
	struct oci_blob b = { 0 };

	cr_assert_eq(pick(text, &b), ERR_FAILED);
}

Test(image, layers_come_in_order)
{
	static const char text[] = "{\"layers\": [" BLOB("layer.v1.tar", "") ", "
				   BLOB("layer.v1.tar+zstd", "") "]}";
	struct oci_blob *layers = NULL;
	size_t n = 0;

	cr_assert_eq(oci_layers(text, strlen(text), &layers, &n, NULL), 0);
	cr_assert_eq(n, 2);
	free(layers);
}
