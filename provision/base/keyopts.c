/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/base/keyopts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "provision/base/cleanup.h"
#include "provision/base/prefix.h"

/* RFC 1035, 2.3.4. */
#define HOST_MAX 255

static const struct {
	const char *name;
	unsigned int bit;
} flags[] = {
	{ "pty", KEYOPTS_NO_PTY },
	{ "port-forwarding", KEYOPTS_NO_FORWARDING },
	{ "agent-forwarding", KEYOPTS_NO_AGENT },
	{ "X11-forwarding", KEYOPTS_NO_X11 },
	{ "user-rc", KEYOPTS_NO_RC },
};

#define ALL (KEYOPTS_NO_PTY | KEYOPTS_NO_FORWARDING | KEYOPTS_NO_AGENT | KEYOPTS_NO_X11 | KEYOPTS_NO_RC)

size_t keyopts_span(const char *line)
{
	bool quoted = false;
	size_t n = 0;

	for (; line[n] && (quoted || (line[n] != ' ' && line[n] != '\t')); n++) {
		if (line[n] == '\\' && line[n + 1] == '"')
			n++;
		else if (line[n] == '"')
			quoted = !quoted;
	}
	return n;
}

/* --- values --- */

static int set_from(struct keyopts *o, const char *value, struct err *err)
{
	CLEANUP_FREE char *copy = xstrdup(value);
	char *rest = copy, *word;
	struct prefix p;

	while ((word = strsep(&rest, ",")))
		if (!prefix_parse(word, &p))
			return err_set(err, ERR_USAGE,
				       "from: '%.60s' is neither an address nor a prefix such as "
				       "192.0.2.0/24 (names are not looked up)", word);
	free(o->from);
	o->from = xstrdup(value);
	return 0;
}

static int set_command(struct keyopts *o, const char *value, struct err *err)
{
	bool inside = str_starts(value, "internal-sftp");

	/* With words behind it a stock sshd would serve the host's own files. */
	if (!*value || (inside && value[strlen("internal-sftp")]))
		return err_set(err, ERR_USAGE, "command: '%.40s' cannot be run: give a command of the "
			       "guest's, or internal-sftp alone", value);
	free(o->command);
	o->command = xstrdup(inside ? KEYOPTS_SFTP : value);
	return 0;
}

/* [HOST:]PORT, [ADDR]:PORT; PORT may be *. Where the port begins, or NULL. */
static const char *port_of(const char *value)
{
	const char *colon = strrchr(value, ':'), *port = colon ? colon + 1 : value;
	uint64_t n;

	if (strcmp(port, "*") && (parse_u64(port, UINT16_MAX, &n) < 0 || n == 0))
		return NULL;
	if (colon == value || port - value > HOST_MAX || strpbrk(value, " ,\""))
		return NULL;
	return port;
}

static int set_permit(struct keyopts *o, const char *value, struct err *err)
{
	const char *port = port_of(value);

	if (!port || port == value)
		return err_set(err, ERR_USAGE, "permitopen: '%.60s' is not HOST:PORT or HOST:*", value);
	buf_printf(&o->permit, "%s ", value);
	return 0;
}

static int set_listen(struct keyopts *o, const char *value, struct err *err)
{
	if (!port_of(value))
		return err_set(err, ERR_USAGE, "permitlisten: '%.60s' is not [HOST:]PORT", value);
	buf_printf(&o->listen, "%s ", value);
	return 0;
}

/* Digits at *p: `n` of them as a number, -1 when they are not. */
static int take_digits(const char **p, int n)
{
	int value = 0;

	for (; n > 0; n--, ++*p) {
		if (**p < '0' || **p > '9')
			return -1;
		value = value * 10 + (**p - '0');
	}
	return value;
}

/* YYYYMMDD[HHMM[SS]][Z], also with dashes in the date. Without Z the host's own time. */
static int64_t parse_time(const char *p)
{
	bool dashes = strlen(p) > 7 && p[4] == '-' && p[7] == '-';
	struct tm tm = { .tm_isdst = -1 }, was;
	int64_t t;

	tm.tm_year = take_digits(&p, 4) - 1900;
	p += dashes;
	tm.tm_mon = take_digits(&p, 2) - 1;
	p += dashes;
	tm.tm_mday = take_digits(&p, 2);
	if (*p && *p != 'Z') {
		tm.tm_hour = take_digits(&p, 2);
		tm.tm_min = tm.tm_hour < 0 ? -1 : take_digits(&p, 2);
		if (*p && *p != 'Z')
			tm.tm_sec = tm.tm_min < 0 ? -1 : take_digits(&p, 2);
	}
	was = tm;
	if (strcmp(p, "") && strcmp(p, "Z"))
		return -1;
	t = *p ? timegm(&tm) : mktime(&tm);
	/* 31 February, 25 o'clock: what had to be moved was none. */
	if (was.tm_year < 70 || tm.tm_mon != was.tm_mon || tm.tm_mday != was.tm_mday ||
	    was.tm_hour < 0 || was.tm_hour > 23 || was.tm_min < 0 || was.tm_min > 59 ||
	    was.tm_sec < 0 || was.tm_sec > 59)
		return -1;
	return t;
}

static int set_expires(struct keyopts *o, const char *value, struct err *err)
{
	int64_t t = strlen(value) < 8 ? -1 : parse_time(value);

	if (t <= 0)
		return err_set(err, ERR_USAGE, "expiry-time: '%.40s' is no time such as 20270131 or "
			       "202701311200Z", value);
	if (o->expires == 0 || t < o->expires)
		o->expires = t;
	return 0;
}

/* --- the list --- */

static const struct {
	const char *name;
	int (*set)(struct keyopts *o, const char *value, struct err *err);
} values[] = {
	{ "from", set_from },
	{ "command", set_command },
	{ "permitopen", set_permit },
	{ "permitlisten", set_listen },
	{ "expiry-time", set_expires },
};

static int set_flag(struct keyopts *o, const char *name, struct err *err)
{
	bool no = !strncasecmp(name, "no-", 3);

	if (!strcasecmp(name, "restrict")) {
		o->no |= ALL;
		return 0;
	}
	if (!strcasecmp(name, "no-touch-required")) {
		o->touchless = true;
		return 0;
	}
	if (!strcasecmp(name, "verify-required")) {
		o->verify = true;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		if (strcasecmp(name + (no ? 3 : 0), flags[i].name))
			continue;
		o->no = no ? o->no | flags[i].bit : o->no & ~flags[i].bit;
		return 0;
	}
	return err_set(err, ERR_USAGE, "the option '%.40s' of a key is not known here", name);
}

static int set_one(struct keyopts *o, const char *name, const char *value, struct err *err)
{
	if (!value)
		return set_flag(o, name, err);
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		if (!strcasecmp(name, values[i].name))
			return values[i].set(o, value, err);
	return err_set(err, ERR_USAGE, "the option '%.40s' of a key is not known here", name);
}

/* A value in quotes, after its first one; \" stands for a quote. What comes behind it, or NULL. */
static const char *take_value(const char *p, struct buf *ret)
{
	for (; *p && *p != '"'; p++) {
		if (*p == '\\' && p[1] == '"')
			p++;
		buf_add(ret, p, 1);
	}
	if (!ret->data)
		buf_puts(ret, "");
	return *p ? p + 1 : NULL;
}

static int take_one(struct keyopts *o, const char **p, struct err *err)
{
	CLEANUP_BUF struct buf name = { 0 }, value = { 0 };
	size_t len = strcspn(*p, ",=");

	buf_add(&name, *p, len);
	*p += len;
	if (**p != '=')
		return set_one(o, name.data ?: "", NULL, err);
	if ((*p)[1] != '"' || !(*p = take_value(*p + 2, &value)))
		return err_set(err, ERR_USAGE, "the option '%.40s' of a key needs a value in quotes",
			       name.data ?: "");
	return set_one(o, name.data ?: "", value.data, err);
}

int keyopts_parse(const char *text, struct keyopts *ret, struct err *err)
{
	*ret = (struct keyopts){ 0 };
	return keyopts_add(text, ret, err);
}

int keyopts_add(const char *text, struct keyopts *o, struct err *err)
{
	const char *p = text;
	int r = 0;

	if (strlen(text) > KEYOPTS_MAX)
		return err_set(err, ERR_USAGE, "the options of a key are longer than %d bytes", KEYOPTS_MAX);
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return err_set(err, ERR_USAGE, "the options of a key hold a control character");
	while (r == 0 && *p) {
		r = take_one(o, &p, err);
		if (r == 0 && *p && *p != ',')
			r = err_set(err, ERR_USAGE, "between options of a key there is a comma, not '%.20s'", p);
		else if (r == 0 && *p && !*++p)
			r = err_set(err, ERR_USAGE, "the options of a key end with a comma");
	}
	return r;
}

static void add_name(struct buf *b, const char *name)
{
	buf_printf(b, "%s%s", b->len ? "," : "", name);
}

static void add_value(struct buf *b, const char *name, const char *value)
{
	add_name(b, name);
	buf_puts(b, "=\"");
	for (; *value; value++)
		buf_printf(b, "%s%c", *value == '"' ? "\\" : "", *value);
	buf_puts(b, "\"");
}

/* Words with a space after each become an option each. */
static void add_words(struct buf *b, const char *name, const struct buf *words)
{
	CLEANUP_FREE char *copy = xstrdup(words->data ?: "");
	char *rest = copy, *word;

	while ((word = strsep(&rest, " ")))
		if (*word)
			add_value(b, name, word);
}

void keyopts_write(const struct keyopts *o, struct buf *b)
{
	char when[32];
	time_t expires = o->expires;
	struct tm tm;

	if (o->from)
		add_value(b, "from", o->from);
	if (o->expires && gmtime_r(&expires, &tm)) {
		strftime(when, sizeof(when), "%Y%m%d%H%M%SZ", &tm);
		add_value(b, "expiry-time", when);
	}
	if (o->no == ALL)
		add_name(b, "restrict");
	for (size_t i = 0; o->no != ALL && i < ARRAY_LEN(flags); i++) {
		CLEANUP_FREE char *name = xasprintf("no-%s", flags[i].name);

		if (o->no & flags[i].bit)
			add_name(b, name);
	}
	if (o->touchless)
		add_name(b, "no-touch-required");
	if (o->verify)
		add_name(b, "verify-required");
	add_words(b, "permitopen", &o->permit);
	add_words(b, "permitlisten", &o->listen);
	if (o->command)
		add_value(b, "command", o->command);
}

void keyopts_free(struct keyopts *o)
{
	free(o->from);
	free(o->command);
	buf_free(&o->permit);
	buf_free(&o->listen);
	*o = (struct keyopts){ 0 };
}

/* --- the questions --- */

bool keyopts_from(const struct keyopts *o, const char *source)
{
	CLEANUP_FREE char *copy = NULL;
	char *address, *colon;

	if (!o->from)
		return true;
	if (!source)
		return false;
	address = copy = xstrdup(source);
	colon = strrchr(address, ':');
	/* One colon, or one behind a bracket, is before a port. */
	if (colon && (address[0] == '[' || strchr(address, ':') == colon)) {
		*colon = '\0';
		if (address[0] == '[') {
			address[strlen(address) - 1] = '\0';
			address++;
		}
	}
	return prefix_listed(o->from, address);
}

/* One word of a list against what is asked for. */
static bool fits(const char *word, const char *host, uint64_t port)
{
	const char *at = port_of(word);
	char own[HOST_MAX + 1];
	size_t len;
	uint64_t n;

	if (!at || (strcmp(at, "*") && (parse_u64(at, UINT16_MAX, &n) < 0 || n != port)))
		return false;
	if (at == word)
		return true;
	len = (size_t)(at - word) - 1;
	if (len > 2 && word[0] == '[' && word[len - 1] == ']') {
		word++;
		len -= 2;
	}
	snprintf(own, sizeof(own), "%.*s", (int)len, word);
	return !strcasecmp(own, host);
}

static bool listed(const struct keyopts *o, const struct buf *words, const char *host, uint64_t port)
{
	CLEANUP_FREE char *copy = NULL;
	char *rest, *word;

	if (o->no & KEYOPTS_NO_FORWARDING)
		return false;
	if (!words->len)
		return true;
	rest = copy = xstrdup(words->data);
	while ((word = strsep(&rest, " ")))
		if (*word && fits(word, host, port))
			return true;
	return false;
}

bool keyopts_may_open(const struct keyopts *o, const char *host, uint64_t port)
{
	return listed(o, &o->permit, host, port);
}

bool keyopts_may_listen(const struct keyopts *o, const char *host, uint64_t port)
{
	return listed(o, &o->listen, *host ? host : "localhost", port);
}
