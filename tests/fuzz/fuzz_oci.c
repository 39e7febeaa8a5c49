/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An image's index, or its manifest. */
#define CORPUS "oci"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "provision/guest/oci.h"

static void check(const struct oci_blob *b)
{
	NEVER(strlen(b->hex) != 64 || strspn(b->hex, "0123456789abcdef") != 64 || b->size > INT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct oci_blob blob = { 0 }, *layers = NULL;
	struct err err = { 0 };
	size_t n = 0;

	if (oci_pick((const char *)data, size, "amd64", NULL, &blob, &err) == 0) {
		check(&blob);
		NEVER(blob.kind == OCI_LAYER);
	} else {
		NEVER(!err.text[0] || strpbrk(err.text, "\n\033"));
	}
	err.text[0] = '\0';
	if (oci_layers((const char *)data, size, &layers, &n, &err) == 0) {
		NEVER(n == 0 || n > OCI_LAYERS_MAX);
		for (size_t i = 0; i < n; i++)
			check(&layers[i]);
	} else {
		NEVER(!err.text[0] || layers || n);
	}
	free(layers);
	return 0;
}
