/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * OCI image layouts (image-spec: image-layout.md, image-index.md, manifest.md, layer.md), as skopeo
 * and buildah write them: a folder with index.json and blobs by their SHA-256. Every blob is checked
 * against its digest and size before it is read.
 */
#ifndef VM2_GUEST_OCI_H
#define VM2_GUEST_OCI_H

#include <stddef.h>
#include <stdint.h>

#include "provision/base/err.h"

/* image-spec, manifest.md: implementations should take at least 4 MiB. */
#define OCI_JSON_MAX   (4 << 20)
#define OCI_LAYERS_MAX 512

enum oci_kind { OCI_INDEX, OCI_MANIFEST, OCI_LAYER };

/* A blob that a document names. */
struct oci_blob {
	enum oci_kind kind;
	char hex[65]; /* of its SHA-256 */
	uint64_t size;
};

/*
 * Of an index: the blob for Linux on this architecture ("amd64"), or the only one there is. It may be
 * another index. With `image` (NULL: any) it is the one of that name (org.opencontainers.image.ref.name).
 * ERR_USAGE when names alone tell which, and the error has them; ERR_FAILED for what is no index or names none
 * that fits.
 */
int oci_pick(const char *text, size_t len, const char *architecture, const char *image,
	     struct oci_blob *ret, struct err *err);

/* Of a manifest: the layers, lowest first; *ret is to be freed. ERR_FAILED. */
int oci_layers(const char *text, size_t len, struct oci_blob **ret, size_t *ret_n, struct err *err);

/* What the specification calls the architecture of this machine. */
const char *oci_architecture(void);

/*
 * Open the layers of the image in the folder `layout` (of this name, or NULL), each checked: calls fn with
 * a descriptor for each, lowest first. What fn returns ends it when it is not 0.
 */
int oci_each_layer(int layout, const char *image, int (*fn)(void *data, int fd, struct err *err),
		   void *data, struct err *err);

#endif
