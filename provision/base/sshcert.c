/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/sshcert.h"

#include <stdlib.h>
#include <string.h>

#include "provision/base/cleanup.h"

#define SUFFIX "-cert-v01@openssh.com"

/* PROTOCOL.certkeys: SSH_CERT_TYPE_USER. */
#define TYPE_USER 1

/* What stands between nonce and serial: so many strings, the second of which is an RSA modulus. */
static const struct kind {
	const char *type;
	int parts;
	bool rsa;
} kinds[] = {
	{ "ssh-ed25519" SUFFIX, 1, false },
	{ "ecdsa-sha2-nistp256" SUFFIX, 2, false },
	{ "ecdsa-sha2-nistp384" SUFFIX, 2, false },
	{ "ecdsa-sha2-nistp521" SUFFIX, 2, false },
	{ "ssh-rsa" SUFFIX, 2, true },
	{ "sk-ssh-ed25519" SUFFIX, 2, false },
	{ "sk-ecdsa-sha2-nistp256" SUFFIX, 3, false },
};

/* An extension permits; what is not permitted is forbidden. */
static const struct {
	const char *name;
	unsigned int no;
} permits[] = {
	{ "permit-pty", KEYOPTS_NO_PTY },
	{ "permit-port-forwarding", KEYOPTS_NO_FORWARDING },
	{ "permit-agent-forwarding", KEYOPTS_NO_AGENT },
	{ "permit-X11-forwarding", KEYOPTS_NO_X11 },
	{ "permit-user-rc", KEYOPTS_NO_RC },
};

static int broken(struct err *err, const char *why)
{
	return err_set(err, ERR_USAGE, "the certificate is broken: %s", why);
}

static const struct kind *find_kind(const struct sshwire *type)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (sshwire_is(type, kinds[i].type))
			return &kinds[i];
	return NULL;
}

bool sshcert_type(const char *type)
{
	size_t n = strcspn(type, " ");

	return n > strlen(SUFFIX) && !strncmp(type + n - strlen(SUFFIX), SUFFIX, strlen(SUFFIX));
}

/* Bytes as a text of ours; NULL when it is too long or holds what no text does. */
static char *text_of(const struct sshwire *s, size_t most)
{
	if (s->left > most)
		return NULL;
	for (size_t i = 0; i < s->left; i++)
		if (s->at[i] < ' ' || s->at[i] == 0x7f)
			return NULL;
	return xasprintf("%.*s", (int)s->left, (const char *)s->at);
}

/* --- options: packed pairs of a name and a value, each name once and in order --- */

struct pair {
	struct sshwire name, value;
};

/* The next pair of a list, which ends with it. ERR_USAGE for what is none. */
static int next_pair(struct sshwire *list, struct sshwire *last, struct pair *ret, struct err *err)
{
	size_t least;
	int order;

	if (!sshwire_string(list, &ret->name) || !sshwire_string(list, &ret->value))
		return broken(err, "an option is cut short");
	least = ret->name.left < last->left ? ret->name.left : last->left;
	order = least ? memcmp(last->at, ret->name.at, least) : 0;
	if (last->at && (order > 0 || (order == 0 && last->left >= ret->name.left)))
		return broken(err, "an option stands twice, or not in its place");
	*last = ret->name;
	return 0;
}

/* A value that is a string itself, and nothing after it. */
static char *inner_text(const struct sshwire *value)
{
	struct sshwire rest = *value, text;

	return sshwire_string(&rest, &text) && rest.left == 0 ? text_of(&text, KEYOPTS_MAX / 2) : NULL;
}

/* Have it read as an option of a key: one parser for both. */
static int add_option(struct sshcert *c, const char *name, const struct sshwire *value,
		      struct err *err)
{
	CLEANUP_FREE char *text = inner_text(value);
	CLEANUP_BUF struct buf b = { 0 };

	if (!text)
		return broken(err, "an option's value is no text");
	if (!strcmp(name, "command") && c->options.command)
		return broken(err, "it has two commands");
	buf_printf(&b, "%s=\"", name);
	for (const char *p = text; *p; p++)
		buf_printf(&b, "%s%c", *p == '"' ? "\\" : "", *p);
	buf_puts(&b, "\"");
	return keyopts_add(b.data, &c->options, err);
}

static int take_critical(struct sshcert *c, const struct pair *p, struct err *err)
{
	if (sshwire_is(&p->name, "force-command"))
		return add_option(c, "command", &p->value, err);
	if (sshwire_is(&p->name, "source-address"))
		return add_option(c, "from", &p->value, err);
	if (sshwire_is(&p->name, "verify-required") && p->value.left == 0) {
		c->options.verify = true;
		return 0;
	}
	return err_set(err, ERR_USAGE, "the certificate has a critical option that is not known here");
}

static int take_extension(struct sshcert *c, const struct pair *p, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(permits); i++)
		if (sshwire_is(&p->name, permits[i].name))
			c->options.no &= ~permits[i].no;
	if (sshwire_is(&p->name, "no-touch-required"))
		c->options.touchless = true;
	return 0;
}

static int take_pairs(struct sshcert *c, struct sshwire list,
		      int (*take)(struct sshcert *c, const struct pair *p, struct err *err),
		      struct err *err)
{
	struct sshwire last = { 0 };
	struct pair pair;
	int r = 0;

	while (r == 0 && list.left) {
		r = next_pair(&list, &last, &pair, err);
		if (r == 0)
			r = take(c, &pair, err);
	}
	return r;
}

/* --- the whole --- */

static int take_principals(struct sshcert *c, struct sshwire list, struct err *err)
{
	struct sshwire one;

	c->principals = xcalloc(SSHCERT_PRINCIPALS_MAX, sizeof(*c->principals));
	while (list.left) {
		char *text;

		if (!sshwire_string(&list, &one))
			return broken(err, "a principal is cut short");
		text = one.left ? text_of(&one, SSHCERT_PRINCIPAL_LEN) : NULL;
		if (!text || c->n_principals == SSHCERT_PRINCIPALS_MAX) {
			free(text);
			return broken(err, "a principal is no name, or they are too many");
		}
		c->principals[c->n_principals++] = text;
	}
	return 0;
}

/* The certified key itself is read by the SSH library: here it is counted, and measured. */
static int skip_key(const struct kind *k, struct sshwire *w, struct err *err)
{
	struct sshwire part;

	for (int i = 0; i < k->parts; i++) {
		if (!sshwire_string(w, &part))
			return broken(err, "its key is cut short");
		if (k->rsa && i == 1 && sshwire_bits(&part) < SSHCERT_RSA_MIN)
			return err_set(err, ERR_USAGE, "the certified key has less than 2048 bits");
	}
	return 0;
}

static void set_id(struct sshcert *c, const struct sshwire *id)
{
	size_t n = id->left < SSHCERT_ID_LEN ? id->left : SSHCERT_ID_LEN;

	/* It is shown in logs and lists: plain ASCII only. */
	for (size_t i = 0; i < n; i++)
		c->id[i] = id->at[i] > ' ' && id->at[i] < 0x7f ? (char)id->at[i] : '?';
	c->id[n] = '\0';
}

static int take_body(struct sshcert *c, struct sshwire *w, struct err *err)
{
	struct sshwire id, principals, critical, extensions, reserved;
	uint32_t type;
	int r;

	if (!sshwire_u64(w, &c->serial) || !sshwire_u32(w, &type) || !sshwire_string(w, &id) ||
	    !sshwire_string(w, &principals) || !sshwire_u64(w, &c->after) ||
	    !sshwire_u64(w, &c->before) || !sshwire_string(w, &critical) ||
	    !sshwire_string(w, &extensions) || !sshwire_string(w, &reserved) ||
	    !sshwire_string(w, &c->ca))
		return broken(err, "it is cut short");
	if (type != TYPE_USER)
		return err_set(err, ERR_USAGE, "the certificate is not that of a user");
	set_id(c, &id);
	for (size_t i = 0; i < ARRAY_LEN(permits); i++)
		c->options.no |= permits[i].no;
	r = take_principals(c, principals, err);
	if (r == 0)
		r = take_pairs(c, critical, take_critical, err);
	return r == 0 ? take_pairs(c, extensions, take_extension, err) : r;
}

int sshcert_parse(const unsigned char *blob, size_t len, struct sshcert *ret, struct err *err)
{
	struct sshwire w = { blob, len }, type, nonce;
	const struct kind *kind;
	int r;

	*ret = (struct sshcert){ 0 };
	if (len > SSHCERT_MAX)
		return broken(err, "it is too long");
	if (!sshwire_string(&w, &type) || !(kind = find_kind(&type)))
		return err_set(err, ERR_USAGE, "this is no certificate of a kind that is taken here");
	if (!sshwire_string(&w, &nonce))
		return broken(err, "it is cut short");
	r = skip_key(kind, &w, err);
	if (r == 0)
		r = take_body(ret, &w, err);
	if (r != 0)
		return r;
	ret->tbs = (struct sshwire){ blob, (size_t)(w.at - blob) };
	if (!sshwire_string(&w, &ret->signature) || w.left)
		return broken(err, "its signature is cut short, or not at its end");
	return 0;
}

int sshcert_parse_text(const char *text, unsigned char *blob, struct sshcert *ret, struct err *err)
{
	const char *base64 = strchr(text, ' ');
	size_t n = base64 ? strcspn(base64 + 1, " \n") : 0;
	struct sshwire w, type;
	int len;

	*ret = (struct sshcert){ 0 };
	len = n && n / 4 * 3 <= SSHCERT_MAX ? sshwire_decode(base64 + 1, n, blob) : -1;
	if (len < 0)
		return broken(err, "it is no base64, or too long");
	/* What the text says before is what was asked about. */
	w = (struct sshwire){ blob, (size_t)len };
	if (!sshwire_string(&w, &type) || type.left != (size_t)(base64 - text) ||
	    memcmp(type.at, text, type.left))
		return broken(err, "it is not of the type that it says");
	return sshcert_parse(blob, (size_t)len, ret, err);
}

int sshcert_usable(const struct sshcert *c, int64_t now, const char *source, struct err *err)
{
	if (now < 0 || (uint64_t)now < c->after || (uint64_t)now >= c->before)
		return err_set(err, ERR_DENIED, "the certificate is not valid at this time");
	if (!keyopts_from(&c->options, source))
		return err_set(err, ERR_DENIED, "the certificate is not for this source");
	return 0;
}

void sshcert_free(struct sshcert *c)
{
	for (size_t i = 0; i < c->n_principals; i++)
		free(c->principals[i]);
	free(c->principals);
	keyopts_free(&c->options);
	*c = (struct sshcert){ 0 };
}
