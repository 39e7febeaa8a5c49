/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/sshwire.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* n bytes as a number, the highest first. */
static bool take_number(struct sshwire *w, size_t n, uint64_t *ret)
{
	if (w->left < n)
		return false;
	*ret = 0;
	for (size_t i = 0; i < n; i++)
		*ret = *ret << 8 | w->at[i];
	w->at += n;
	w->left -= n;
	return true;
}

bool sshwire_u8(struct sshwire *w, uint8_t *ret)
{
	uint64_t n;

	if (!take_number(w, 1, &n))
		return false;
	*ret = (uint8_t)n;
	return true;
}

bool sshwire_u32(struct sshwire *w, uint32_t *ret)
{
	uint64_t n;

	if (!take_number(w, 4, &n))
		return false;
	*ret = (uint32_t)n;
	return true;
}

bool sshwire_u64(struct sshwire *w, uint64_t *ret)
{
	return take_number(w, 8, ret);
}

bool sshwire_string(struct sshwire *w, struct sshwire *ret)
{
	struct sshwire ahead = *w;
	uint32_t n;

	if (!sshwire_u32(&ahead, &n) || n > ahead.left)
		return false;
	*ret = (struct sshwire){ ahead.at, n };
	w->at = ahead.at + n;
	w->left = ahead.left - n;
	return true;
}

bool sshwire_is(const struct sshwire *string, const char *text)
{
	return string->left == strlen(text) && !memcmp(string->at, text, string->left);
}

size_t sshwire_bits(const struct sshwire *number)
{
	const unsigned char *p = number->at;
	size_t n = number->left, bits;

	while (n > 0 && *p == 0) {
		p++;
		n--;
	}
	bits = n * 8;
	for (unsigned char top = n ? *p : 0x80; !(top & 0x80); top = (unsigned char)(top << 1))
		bits--;
	return bits;
}

int sshwire_decode(const char *text, size_t len, unsigned char *out)
{
	size_t n = 0, pad = 0;

	if (len == 0 || len % 4 != 0)
		return -1;
	while (pad < 2 && text[len - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < len; i += 4) {
		uint32_t group = 0;
		size_t have = i + 4 == len ? 4 - pad : 4;

		for (size_t j = 0; j < 4; j++) {
			const char *at = j < have ? strchr(alphabet, text[i + j]) : alphabet;

			if (!at || !text[i + j])
				return -1;
			group = group << 6 | (uint32_t)(at - alphabet);
		}
		if ((have == 3 && group & 0xff) || (have == 2 && group & 0xffff))
			return -1;
		for (size_t j = 0; j + 1 < have; j++)
			out[n++] = (unsigned char)(group >> (16 - 8 * j));
	}
	return (int)n;
}

void sshwire_encode(const void *data, size_t len, struct buf *b)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i += 3) {
		size_t have = len - i < 3 ? len - i : 3;
		uint32_t group = (uint32_t)p[i] << 16 | (have > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
			(have > 2 ? p[i + 2] : 0);
		char four[4] = { '=', '=', '=', '=' };

		for (size_t j = 0; j <= have; j++)
			four[j] = alphabet[group >> (18 - 6 * j) & 63];
		buf_add(b, four, sizeof(four));
	}
}
