/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/oci.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <linux/openat2.h>
#include <nettle/sha2.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"

#define INDEXES_MAX 4 /* in each other */
#define BLOCK	    (1 << 18)
/* Of a name in a layout that is shown: image-spec's, and no control character among them. */
#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:@/+"

static const struct {
	const char *type;
	enum oci_kind kind;
} types[] = {
	{ "application/vnd.oci.image.index.v1+json", OCI_INDEX },
	{ "application/vnd.docker.distribution.manifest.list.v2+json", OCI_INDEX },
	{ "application/vnd.oci.image.manifest.v1+json", OCI_MANIFEST },
	{ "application/vnd.docker.distribution.manifest.v2+json", OCI_MANIFEST },
	{ "application/vnd.oci.image.layer.v1.tar", OCI_LAYER },
	{ "application/vnd.oci.image.layer.v1.tar+gzip", OCI_LAYER },
	{ "application/vnd.oci.image.layer.v1.tar+zstd", OCI_LAYER },
	{ "application/vnd.docker.image.rootfs.diff.tar", OCI_LAYER },
	{ "application/vnd.docker.image.rootfs.diff.tar.gzip", OCI_LAYER },
};

static int bad(struct err *err, const char *why)
{
	return err_set(err, ERR_FAILED, "this is no OCI image that VM2 reads: %s", why);
}

static void put_json(json_t **j)
{
	json_decref(*j);
}
#define CLEANUP_JSON __attribute__((cleanup(put_json)))

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* --- documents --- */

static int read_blob(const json_t *object, struct oci_blob *ret, struct err *err)
{
	const char *digest = text_of(object, "digest"), *type = text_of(object, "mediaType");
	const json_t *size = json_object_get(object, "size");
	size_t i = 0;

	while (i < ARRAY_LEN(types) && strcmp(types[i].type, type) != 0)
		i++;
	if (i == ARRAY_LEN(types))
		return err_set(err, ERR_FAILED, "the image holds a '%.100s', which VM2 does not know",
			       type);
	if (!str_starts(digest, "sha256:") || strlen(digest) != 7 + 64 ||
	    strspn(digest + 7, "0123456789abcdef") != 64)
		return bad(err, "a digest in it is no SHA-256");
	if (!json_is_integer(size) || json_integer_value(size) < 0)
		return bad(err, "a blob in it has no size");
	ret->kind = types[i].kind;
	ret->size = (uint64_t)json_integer_value(size);
	memcpy(ret->hex, digest + 7, sizeof(ret->hex));
	return 0;
}

static json_t *parse(const char *text, size_t len)
{
	json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);

	if (root && !json_is_object(root)) {
		json_decref(root);
		root = NULL;
	}
	return root;
}

/* What an image is called in a layout (image-spec, annotations.md): "" when it is not. */
static const char *name_of(const json_t *object)
{
	return text_of(json_object_get(object, "annotations"), "org.opencontainers.image.ref.name");
}

/*
 * Signatures and attestations stand beside images in an index, with a platform that is none. What has none
 * at all, as skopeo writes them, can be told by its name alone.
 */
static bool fits(const json_t *object, const char *architecture, const char *image)
{
	const json_t *platform = json_object_get(object, "platform");

	if (image && strcmp(name_of(object), image))
		return false;
	if (!platform)
		return image || *name_of(object);
	return !strcmp(text_of(platform, "os"), "linux") &&
	       !strcmp(text_of(platform, "architecture"), architecture);
}

/* Why none was taken, with the names that there are, as far as they are names. */
static int none_fits(const json_t *list, const char *architecture, const char *image, bool several,
		     struct err *err)
{
	CLEANUP_BUF struct buf names = { 0 };
	const json_t *item;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, item)
	{
		const char *name = name_of(item);

		if (*name && strspn(name, NAME_CHARACTERS) == strlen(name))
			buf_printf(&names, "%s%s", names.len ? ", " : "", name);
	}
	if (several)
		return err_set(err, ERR_USAGE,
			       "the index names several images: say which, by --image: %s",
			       names.len ? names.data : "their names are none that can be given");
	return err_set(err, ERR_FAILED,
		       "the index names %zu images%s%s, and none%s for Linux on %s",
		       json_array_size(list), names.len ? ": " : "", names.len ? names.data : "",
		       image ? " of that name" : "", architecture);
}

int oci_pick(const char *text, size_t len, const char *architecture, const char *image,
	     struct oci_blob *ret, struct err *err)
{
	CLEANUP_JSON json_t *root = parse(text, len);
	const json_t *list = json_object_get(root, "manifests"), *found = NULL, *item;
	struct oci_blob blob;
	bool several = false;
	size_t i;
	int r;

	if (!json_is_array(list) || !json_array_size(list))
		return bad(err, "its index names no image");
	if (json_array_size(list) == 1 && !image)
		found = json_array_get(list, 0);
	json_array_foreach((json_t *)(uintptr_t)list, i, item)
	{
		if (found == item || !fits(item, architecture, image))
			continue;
		/* One image may have several names, and one architecture several variants without. */
		several = several || (found && *name_of(item) &&
				      strcmp(text_of(item, "digest"), text_of(found, "digest")));
		found = found ? found : item;
	}
	if (!found || several)
		return none_fits(list, architecture, image, several, err);
	r = read_blob(found, &blob, err);
	if (r == 0 && blob.kind == OCI_LAYER)
		r = bad(err, "its index names no image");
	if (r == 0)
		*ret = blob;
	return r;
}

int oci_layers(const char *text, size_t len, struct oci_blob **ret, size_t *ret_n, struct err *err)
{
	CLEANUP_JSON json_t *root = parse(text, len);
	const json_t *list = json_object_get(root, "layers"), *item;
	CLEANUP_FREE struct oci_blob *layers = NULL;
	size_t i, n = json_array_size(list);

	if (!json_is_array(list) || n == 0 || n > OCI_LAYERS_MAX)
		return bad(err, "its manifest has no layers, or too many");
	layers = xcalloc(n, sizeof(*layers));
	json_array_foreach((json_t *)(uintptr_t)list, i, item) {
		int r = read_blob(item, &layers[i], err);

		if (r == 0 && layers[i].kind != OCI_LAYER)
			r = bad(err, "a layer of it is none");
		if (r != 0)
			return r;
	}
	*ret = steal_ptr(&layers);
	*ret_n = n;
	return 0;
}

const char *oci_architecture(void)
{
	static const char *const names[][2] = {
		{ "x86_64", "amd64" },	{ "aarch64", "arm64" }, { "i686", "386" },
		{ "armv7l", "arm" },	{ "ppc64le", "ppc64le" }, { "s390x", "s390x" },
		{ "riscv64", "riscv64" },
	};
	struct utsname u;

	if (uname(&u) == 0)
		for (size_t i = 0; i < ARRAY_LEN(names); i++)
			if (!strcmp(u.machine, names[i][0]))
				return names[i][1];
	return "unknown";
}

/* --- files --- */

/* A regular file of the layout itself: no link, and nothing that would block. */
static int open_file(int layout, const char *path, struct stat *st, struct err *err)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	CLEANUP_CLOSE int fd = (int)syscall(SYS_openat2, layout, path, &how, sizeof(how));

	if (fd < 0 || fstat(fd, st) < 0)
		return err_sys(err, errno, "cannot open %s of the image", path);
	if (!S_ISREG(st->st_mode))
		return err_set(err, -EINVAL, "%s of the image is no file", path);
	return steal_fd(&fd);
}

static int check_digest(int fd, const struct oci_blob *blob, struct err *err)
{
	CLEANUP_FREE uint8_t *block = xcalloc(1, BLOCK);
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx hash;
	char hex[65];
	ssize_t n;

	sha256_init(&hash);
	while ((n = read(fd, block, BLOCK)) > 0)
		sha256_update(&hash, (size_t)n, block);
	if (n < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(err, errno, "cannot read blob %s", blob->hex);
	sha256_digest(&hash, sizeof(digest), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	return strcmp(hex, blob->hex) ? err_set(err, ERR_FAILED,
						"blob %s of the image was altered: its digest is %s",
						blob->hex, hex) :
					0;
}

static int open_blob(int layout, const struct oci_blob *blob, struct err *err)
{
	CLEANUP_FREE char *path = xasprintf("blobs/sha256/%s", blob->hex);
	struct stat st;
	CLEANUP_CLOSE int fd = open_file(layout, path, &st, err);
	int r;

	if (fd < 0)
		return fd;
	if ((uint64_t)st.st_size != blob->size) {
		err_set(err, ERR_FAILED, "blob %s has %lld bytes and not the %" PRIu64 " of the manifest",
			blob->hex, (long long)st.st_size, blob->size);
		return -EINVAL;
	}
	r = check_digest(fd, blob, err);
	return r == 0 ? steal_fd(&fd) : r < 0 ? r : -EINVAL;
}

/* A document, whole; *ret is to be freed. */
static int read_document(int fd, const char *what, char **ret, size_t *ret_len, struct err *err)
{
	CLEANUP_FREE char *text = xcalloc(1, OCI_JSON_MAX);
	ssize_t n = fd_read_file(fd, text, OCI_JSON_MAX);

	if (n < 0)
		return err_sys(err, (int)-n, "cannot read %s of the image", what);
	*ret = steal_ptr(&text);
	*ret_len = (size_t)n;
	return 0;
}

/* From index.json down to the manifest: its text. */
static int find_manifest(int layout, const char *image, char **ret, size_t *ret_len,
			 struct err *err)
{
	struct oci_blob blob = { .kind = OCI_INDEX };
	struct stat st;
	int fd = open_file(layout, "index.json", &st, err);

	for (int depth = 0; fd >= 0; depth++) {
		CLEANUP_FREE char *text = NULL;
		size_t len = 0;
		int r = read_document(fd, depth ? blob.hex : "index.json", &text, &len, err);

		fd = fd_close(fd);
		if (r == 0 && blob.kind == OCI_MANIFEST) {
			*ret = steal_ptr(&text);
			*ret_len = len;
			return 0;
		}
		if (r == 0 && depth == INDEXES_MAX)
			r = bad(err, "its indexes name each other");
		if (r == 0)
			r = oci_pick(text, len, oci_architecture(), depth ? NULL : image, &blob,
				     err);
		if (r != 0)
			return r;
		fd = open_blob(layout, &blob, err);
	}
	return fd;
}

int oci_each_layer(int layout, const char *image, int (*fn)(void *data, int fd, struct err *err),
		   void *data, struct err *err)
{
	CLEANUP_FREE struct oci_blob *layers = NULL;
	CLEANUP_FREE char *text = NULL;
	size_t len = 0, n = 0;
	int r = find_manifest(layout, image, &text, &len, err);

	if (r == 0)
		r = oci_layers(text, len, &layers, &n, err);
	for (size_t i = 0; r == 0 && i < n; i++) {
		CLEANUP_CLOSE int fd = open_blob(layout, &layers[i], err);

		r = fd < 0 ? fd : fn(data, fd, err);
	}
	return r;
}
