/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Bytes as SSH writes them (RFC 4251, 5), read without ever looking past their end, and the base64
 * of its key files. Computes only.
 */
#ifndef VM2_BASE_SSHWIRE_H
#define VM2_BASE_SSHWIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "provision/base/str.h"

/* What is left to read. A read that fails leaves it as it was. */
struct sshwire {
	const unsigned char *at;
	size_t left;
};

bool sshwire_u8(struct sshwire *w, uint8_t *ret);
bool sshwire_u32(struct sshwire *w, uint32_t *ret);
bool sshwire_u64(struct sshwire *w, uint64_t *ret);

/* A string: its bytes, which stay where they are. */
bool sshwire_string(struct sshwire *w, struct sshwire *ret);

/* Whether a string's bytes are those of a text. */
bool sshwire_is(const struct sshwire *string, const char *text);

/* The size in bits of the number in an mpint's bytes. */
size_t sshwire_bits(const struct sshwire *number);

/*
 * Strict base64: whole groups of four, padding only at the end, no stray bits. `out` has room for
 * len / 4 * 3 bytes. How many they are, or -1.
 */
int sshwire_decode(const char *text, size_t len, unsigned char *out);

/* The same back, appended. */
void sshwire_encode(const void *data, size_t len, struct buf *b);

#endif
