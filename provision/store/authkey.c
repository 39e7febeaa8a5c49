/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/store/authkey.h"

#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/sshwire.h"
#include "provision/base/str.h"

/*
 * What stands in a key's blob after its type (RFC 4253 6.6, RFC 5656 3.1, RFC 8709 4,
 * PROTOCOL.u2f).
 */
enum part {
	END,
	RSA_E,
	RSA_N,
	CURVE,
	POINT,
	ED25519,
	APPLICATION
};

static const struct kind {
	const char *type;
	const char *curve;
	size_t point; /* bytes of an uncompressed point */
	enum part parts[4];
} kinds[] = {
	{ "ssh-ed25519", NULL, 0, { ED25519 } },
	{ "ecdsa-sha2-nistp256", "nistp256", 65, { CURVE, POINT } },
	{ "ecdsa-sha2-nistp384", "nistp384", 97, { CURVE, POINT } },
	{ "ecdsa-sha2-nistp521", "nistp521", 133, { CURVE, POINT } },
	{ "ssh-rsa", NULL, 0, { RSA_E, RSA_N } },
	{ "sk-ssh-ed25519@openssh.com", NULL, 0, { ED25519, APPLICATION } },
	{ "sk-ecdsa-sha2-nistp256@openssh.com", "nistp256", 65, { CURVE, POINT, APPLICATION } },
};

static const struct kind *find_kind(const char *type, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strlen(kinds[i].type) == len && !memcmp(kinds[i].type, type, len))
			return &kinds[i];
	return NULL;
}

/* NULL when the part is right, else what is wrong with the key. */
static const char *check_part(const struct kind *k, enum part part, const struct sshwire *p)
{
	bool positive = p->left > 0 && !(p->at[0] & 0x80);

	switch (part) {
	case ED25519:
		return p->left == 32 ? NULL : "its key is not of 32 bytes";
	case CURVE:
		return sshwire_is(p, k->curve) ? NULL : "its curve is not that of its type";
	case POINT:
		return p->left == k->point && p->at[0] == 4 ? NULL :
							      "its point is not of the curve's length";
	case RSA_E:
		return positive && (p->at[p->left - 1] & 1) && sshwire_bits(p) > 1 ?
			NULL :
			"its exponent makes no sense";
	case RSA_N:
		if (!positive)
			return "its modulus makes no sense";
		return sshwire_bits(p) >= AUTHKEY_RSA_MIN ? NULL : "it has less than 2048 bits";
	case APPLICATION:
		return p->left > 0 ? NULL : "its application is empty";
	case END:
		break;
	}
	return NULL;
}

static const char *check_blob(const struct kind *k, const unsigned char *p, size_t left)
{
	struct sshwire blob = { p, left }, part;

	if (!sshwire_string(&blob, &part) || !sshwire_is(&part, k->type))
		return "what it holds is not of the type that it says";
	for (size_t i = 0; i < ARRAY_LEN(k->parts) && k->parts[i] != END; i++) {
		const char *wrong;

		if (!sshwire_string(&blob, &part))
			return "it is cut short";
		wrong = check_part(k, k->parts[i], &part);
		if (wrong)
			return wrong;
	}
	return blob.left == 0 ? NULL : "there is something after its end";
}

static void copy_comment(const char *from, size_t len, char *ret, size_t size)
{
	size_t n = 0;

	while (len > 0 && n + 1 < size) {
		size_t sequence = utf8_len(from, len);

		if (sequence == 0 || (unsigned char)*from < 0x20 || *from == 0x7f) {
			ret[n++] = '?';
			sequence = 1;
		} else if (n + sequence < size) {
			memcpy(ret + n, from, sequence);
			n += sequence;
		} else {
			break;
		}
		from += sequence;
		len -= sequence;
	}
	ret[n] = '\0';
}

static int bad_type(const char *line, size_t len, struct err *err)
{
	if (str_starts(line, "ssh-dss"))
		return err_set(
			err, ERR_USAGE, "the key is of type ssh-dss, which is not safe any more");
	if (str_starts(line, "-----BEGIN"))
		return err_set(err, ERR_USAGE,
			"this is a private key or a certificate: give the .pub file's line");
	return err_set(err, ERR_USAGE,
		"'%.*s' is no type of key known here: give a line as in id_ed25519.pub",
		(int)(len < 40 ? len : 40), line);
}

int authkey_restrict(struct authkey *key, const char *options, struct err *err)
{
	CLEANUP_FREE char *both =
		xasprintf("%s%s%s", key->options, *key->options && *options ? "," : "", options);
	CLEANUP_KEYOPTS struct keyopts parsed = { 0 };
	CLEANUP_BUF struct buf text = { 0 };
	int r = keyopts_parse(both, &parsed, err);

	if (r != 0)
		return r;
	keyopts_write(&parsed, &text);
	if (text.len > KEYOPTS_MAX)
		return err_set(err, ERR_USAGE, "the options of a key are longer than %d bytes",
			KEYOPTS_MAX);
	snprintf(key->options, sizeof(key->options), "%s", text.data ? text.data : "");
	return 0;
}

void authkey_comment(struct authkey *key, const char *comment)
{
	copy_comment(comment, strlen(comment), key->comment, sizeof(key->comment));
}

/*
 * What stands before the type, when a type follows it: *line is moved behind. A word that is
 * neither is left where it is.
 */
static int take_options(const char **line, struct authkey *ret, struct err *err)
{
	size_t n = strcspn(*line, " \t\n"), span = keyopts_span(*line), blank;
	CLEANUP_FREE char *options = NULL;

	ret->options[0] = '\0';
	if (find_kind(*line, n) || !(*line)[span])
		return 0;
	blank = strspn(*line + span, " \t");
	if (!find_kind(*line + span + blank, strcspn(*line + span + blank, " \t\n")))
		return 0;
	options = xasprintf("%.*s", (int)span, *line);
	*line += span + blank;
	return authkey_restrict(ret, options, err);
}

int authkey_parse(const char *line, struct authkey *ret, struct err *err)
{
	size_t len = strlen(line), n;
	const struct kind *kind;
	const char *wrong, *whole = line;
	int blob, r;

	if (len > AUTHKEY_LINE_MAX)
		return err_set(err, ERR_USAGE, "the key is longer than %d bytes", AUTHKEY_LINE_MAX);
	if (len > 0 && line[len - 1] == '\n')
		len--;
	if (memchr(line, '\n', len))
		return err_set(err, ERR_USAGE, "the key has several lines: give one key at a time");
	if (memchr(line, '\r', len))
		return err_set(err, ERR_USAGE,
			"the key has a carriage return in it: give it with Unix line ends");
	n = strcspn(line, " \t\n");
	if (n == 0)
		return err_set(err, ERR_USAGE, "the key is empty or starts with a space");
	r = take_options(&line, ret, err);
	if (r != 0)
		return r;
	len -= (size_t)(line - whole);
	n = strcspn(line, " \t\n");
	kind = find_kind(line, n);
	if (!kind)
		return bad_type(line, n, err);
	memcpy(ret->type, line, n);
	ret->type[n] = '\0';
	n += strspn(line + n, " \t");
	line += n;
	len = len > n ? len - n : 0;
	n = strcspn(line, " \t\n");
	blob = sshwire_decode(line, n < len ? n : len, ret->blob);
	if (blob < 0)
		return err_set(err, ERR_USAGE, "the %s key is no valid base64", ret->type);
	ret->len = (size_t)blob;
	wrong = check_blob(kind, ret->blob, ret->len);
	if (wrong)
		return err_set(err, ERR_USAGE, "the %s key is broken: %s", ret->type, wrong);
	n += strspn(line + n, " \t");
	copy_comment(line + n, len > n ? len - n : 0, ret->comment, sizeof(ret->comment));
	return 0;
}

void authkey_fingerprint(const void *blob, size_t len, char ret[64])
{
	unsigned char digest[SHA256_DIGEST_SIZE];
	CLEANUP_BUF struct buf text = { 0 };
	struct sha256_ctx context;

	sha256_init(&context);
	sha256_update(&context, len, blob);
	sha256_digest(&context, sizeof(digest), digest);
	sshwire_encode(digest, sizeof(digest), &text);
	/* 32 bytes are 43 characters and one of padding. */
	snprintf(ret, 64, "SHA256:%.43s", text.data);
}
