/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/store/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "provision/base/cleanup.h"
#include "provision/base/prefix.h"
#include "provision/store/db.h"

#define SEPARATORS " ,"
#define DAY_MINUTES (24 * 60)

/* --- sources --- */

static bool source_ok(const char *sources, const char *source)
{
	return !source || !*sources || prefix_listed(sources, source);
}

/* --- hours --- */

/* Days as bits, Sunday the lowest (tm_wday). */
static bool parse_day(const char *text, unsigned int *ret)
{
	static const struct {
		const char *name;
		unsigned int days;
	} names[] = { { "Su", 1 }, { "Mo", 2 }, { "Tu", 4 }, { "We", 8 }, { "Th", 16 }, { "Fr", 32 },
		      { "Sa", 64 }, { "Wk", 62 }, { "Wd", 65 }, { "Al", 127 } };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strncasecmp(text, names[i].name, 2)) {
			*ret |= names[i].days;
			return true;
		}
	return false;
}

static bool parse_minute(const char *text, int *ret)
{
	int hours, minutes;

	for (int i = 0; i < 4; i++)
		if (text[i] < '0' || text[i] > '9')
			return false;
	hours = (text[0] - '0') * 10 + text[1] - '0';
	minutes = (text[2] - '0') * 10 + text[3] - '0';
	*ret = hours * 60 + minutes;
	return minutes < 60 && *ret <= DAY_MINUTES;
}

struct span {
	unsigned int days;
	int from, to; /* minutes of the day; to <= from: into the next one */
};

static bool parse_span(const char *text, struct span *ret)
{
	struct span s = { 0 };

	while (parse_day(text, &s.days))
		text += 2;
	if (!s.days)
		s.days = 127;
	if (strlen(text) != 9 || text[4] != '-' || !parse_minute(text, &s.from) ||
	    !parse_minute(text + 5, &s.to))
		return false;
	*ret = s;
	return true;
}

static bool in_span(const struct span *s, int day, int minute)
{
	bool today = s->days & 1U << day, yesterday = s->days & 1U << (day + 6) % 7;

	if (s->from < s->to)
		return today && minute >= s->from && minute < s->to;
	return (today && minute >= s->from) || (yesterday && minute < s->to);
}

static bool hours_ok(const char *hours, int64_t now)
{
	CLEANUP_FREE char *copy = xstrdup(hours);
	time_t when = (time_t)now;
	char *rest = copy, *word;
	struct span span;
	struct tm tm;

	if (!*hours)
		return true;
	if (!localtime_r(&when, &tm))
		return false;
	while ((word = strsep(&rest, SEPARATORS)))
		if (*word && parse_span(word, &span) &&
		    in_span(&span, tm.tm_wday, tm.tm_hour * 60 + tm.tm_min))
			return true;
	return false;
}

/* --- the judge --- */

enum rules_verdict rules_judge(const struct rules *rules, const struct rules_login *login)
{
	int64_t age = login->now - login->password_set;

	if (rules->expires && login->now >= rules->expires)
		return RULES_EXPIRED;
	if (!source_ok(rules->sources, login->source))
		return RULES_SOURCE;
	if (!hours_ok(rules->hours, login->now))
		return RULES_HOURS;
	if (login->by_password &&
	    (rules->change || (rules->password_days && age >= (int64_t)rules->password_days * 86400)))
		return RULES_PASSWORD;
	return RULES_OK;
}

/* --- what staff says --- */

int rules_set_expires(struct rules *rules, const char *text, struct err *err)
{
	struct tm tm = { 0 };
	const char *end;

	if (!strcmp(text, "never")) {
		rules->expires = 0;
		return 0;
	}
	end = strptime(text, "%Y-%m-%d", &tm);
	if (!end || *end || timegm(&tm) <= 0)
		return err_set(err, ERR_USAGE, "'%.40s' is no date: write 2027-01-31, or never", text);
	rules->expires = timegm(&tm);
	return 0;
}

/* Words, each of which must pass; joined with spaces. "any": none. */
static int set_words(char *ret, size_t max, const char *text, bool (*ok)(const char *word),
		     const char *what, struct err *err)
{
	CLEANUP_FREE char *copy = xstrdup(text);
	CLEANUP_BUF struct buf joined = { 0 };
	char *rest = copy, *word;

	while (strcmp(text, "any") && (word = strsep(&rest, SEPARATORS))) {
		if (!*word)
			continue;
		if (!ok(word))
			return err_set(err, ERR_USAGE, "'%.60s' is %s", word, what);
		buf_printf(&joined, "%s%s", joined.len ? " " : "", word);
	}
	if (joined.len > max)
		return err_set(err, ERR_USAGE, "that is longer than %zu bytes", max);
	snprintf(ret, max + 1, "%s", joined.len ? joined.data : "");
	return 0;
}

static bool word_is_prefix(const char *word)
{
	struct prefix p;

	return prefix_parse(word, &p);
}

static bool word_is_span(const char *word)
{
	struct span s;

	return parse_span(word, &s);
}

int rules_set_sources(struct rules *rules, const char *text, struct err *err)
{
	return set_words(rules->sources, RULES_SOURCES_MAX, text, word_is_prefix,
			 "neither an address nor a prefix such as 192.0.2.0/24, nor: any", err);
}

int rules_set_hours(struct rules *rules, const char *text, struct err *err)
{
	return set_words(rules->hours, RULES_HOURS_MAX, text, word_is_span,
			 "no time such as Wk0800-1800 (Mo Tu We Th Fr Sa Su Wk Wd Al), nor: any", err);
}

/* --- in the database --- */

int rules_get(struct store *store, const char *tenant, struct rules *ret, struct err *err)
{
	CLEANUP_STATEMENT sqlite3_stmt *s = NULL;
	struct rules rules = { 0 };
	int r = db_prepare(store, &s, err,
		"SELECT r.expires, r.password_days, r.change, r.sources, r.hours FROM login_rule r"
		" JOIN tenant t ON t.id = r.tenant WHERE t.name = ?",
		"s", tenant);

	if (r == 0)
		r = db_step(store, s, err);
	if (r != 0 && r != 1)
		return r;
	if (r == 1) {
		rules.expires = sqlite3_column_int64(s, 0);
		rules.password_days = db_u64(s, 1);
		rules.change = sqlite3_column_int(s, 2);
		db_text(s, 3, rules.sources, sizeof(rules.sources));
		db_text(s, 4, rules.hours, sizeof(rules.hours));
	}
	*ret = rules;
	return 0;
}

int rules_put(struct store *store, const char *tenant, const struct rules *rules, struct err *err)
{
	int64_t id = 0;
	int r = db_tenant_id(store, tenant, &id, err);

	return r != 0 ? r :
			db_run(store, NULL, err,
				"INSERT OR REPLACE INTO login_rule VALUES (?, ?, ?, ?, ?, ?)",
				"iiiiss", id, rules->expires, (int64_t)rules->password_days,
				(int64_t)rules->change, rules->sources, rules->hours);
}
