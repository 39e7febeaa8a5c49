/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who is locked out, and one-time codes. */
#include <string.h>
#include <time.h>

#include "provision/store/lockout.h"
#include "provision/store/rules.h"
#include "provision/store/totp.h"
#include "tests/unit/store/place.h"

/* One try of a password that is wrong, or right. Returns what the lock said. */
static enum lockout_state try_once(struct place *p, const char *tenant, const char *source, bool right)
{
	struct lockout_try t;

	cr_assert_eq(lockout_begin(p->store, p->config, tenant, source, &t, &p->err), 0, "%s",
		     p->err.text);
	right = right && t.state == LOCKOUT_NONE;
	cr_assert_eq(lockout_end(p->store, &t, right ? LOCKOUT_RIGHT : LOCKOUT_WRONG, &p->err), 0);
	return t.state;
}

Test(lockout, counts_sources_by_what_one_customer_has)
{
	static const char *const cases[][2] = {
		{ "192.0.2.7", "192.0.2.7" },
		{ "::ffff:192.0.2.7", "192.0.2.7" },
		{ "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::" },
		{ "2001:db8:1:2::", "2001:db8:1:2::" },
		{ NULL, "local" },
		{ "", "local" },
		{ "host.example", "host.example" },
		{ "\n", "?" },
		{ "a b", "a" },
	};
	char got[LOCKOUT_SOURCE_SIZE];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		lockout_source(cases[i][0], got);
		cr_expect_str_eq(got, cases[i][1]);
	}
}

Test(lockout, a_thousand_from_one_source_lock_that_source)
{
	PLACE(p, "");
	struct lockout l;
	int judged = 0;

	cr_assert_eq(add_tenant(&p, "acme"), 0);
	cr_assert_eq(add_tenant(&p, "other"), 0);
	for (int i = 0; i < 1000; i++)
		judged += try_once(&p, "acme", "192.0.2.1", false) == LOCKOUT_NONE;
	cr_expect_eq(judged, 3);
	/* Whatever name it tries, there or not; and it may be told. */
	cr_expect_eq(try_once(&p, "other", "192.0.2.1", true), LOCKOUT_SOURCE);
	cr_expect_eq(try_once(&p, "nobody-here", "192.0.2.1", true), LOCKOUT_SOURCE);
	/* Others find that account locked, but not the others' accounts. */
	cr_expect_eq(try_once(&p, "acme", "192.0.2.2", true), LOCKOUT_TENANT);
	cr_expect_eq(try_once(&p, "other", "192.0.2.2", true), LOCKOUT_NONE);
	cr_assert_eq(lockout_get(p.store, p.config, "acme", &l, &p.err), 0);
	cr_expect_eq(l.failures, 3);
	cr_expect(l.until > time(NULL) + 500 && l.until <= time(NULL) + 600);
	cr_assert_eq(lockout_clear(p.store, "acme", NULL, &p.err), 0);
	cr_expect_eq(try_once(&p, "acme", "192.0.2.2", true), LOCKOUT_NONE);
	cr_expect_eq(try_once(&p, "acme", "192.0.2.1", true), LOCKOUT_SOURCE);
	cr_assert_eq(lockout_clear(p.store, "acme", "192.0.2.1", &p.err), 0);
	cr_expect_eq(try_once(&p, "acme", "192.0.2.1", true), LOCKOUT_NONE);
}

Test(lockout, a_thousand_sources_do_not_lock_the_owner_out)
{
	PLACE(p, "");
	char source[32];
	struct lockout l;
	int judged = 0;

	cr_assert_eq(add_tenant(&p, "acme"), 0);
	cr_assert_eq(lockout_note_source(p.store, "acme", "203.0.113.9", &p.err), 0);
	for (int i = 0; i < 1000; i++) {
		snprintf(source, sizeof(source), "198.51.%d.%d", i / 250, i % 250);
		judged += try_once(&p, "acme", source, false) == LOCKOUT_NONE;
	}
	cr_expect_eq(judged, 3);
	cr_expect_eq(try_once(&p, "acme", "198.18.0.1", true), LOCKOUT_TENANT);
	/* From where it always comes, and from the host itself. */
	cr_expect_eq(try_once(&p, "acme", "203.0.113.9", false), LOCKOUT_NONE);
	cr_expect_eq(try_once(&p, "acme", NULL, false), LOCKOUT_NONE);
	cr_expect_eq(try_once(&p, "acme", "203.0.113.9", true), LOCKOUT_NONE);
	cr_assert_eq(lockout_get(p.store, p.config, "acme", &l, &p.err), 0);
	cr_expect_eq(l.known, 1);
	cr_expect_eq(l.locked_known, 0);
	/* It has typed the password three times wrong itself. */
	for (int i = 0; i < 3; i++)
		cr_expect_eq(try_once(&p, "acme", "203.0.113.9", false), LOCKOUT_NONE);
	cr_expect_eq(try_once(&p, "acme", "203.0.113.9", true), LOCKOUT_SOURCE);
	cr_assert_eq(lockout_get(p.store, p.config, "acme", &l, &p.err), 0);
	cr_expect_eq(l.locked_known, 1);
}

Test(lockout, ends_by_itself_and_is_not_prolonged)
{
	PLACE(p, "[login]\ninterval = 2\nunlock-time = 2");
	struct timespec pause = { .tv_nsec = 50000000 };
	int64_t deadline = time(NULL) + 30;

	cr_assert_eq(add_tenant(&p, "acme"), 0);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(try_once(&p, "acme", "192.0.2.1", false), LOCKOUT_NONE);
	cr_assert_eq(try_once(&p, "acme", "192.0.2.1", false), LOCKOUT_SOURCE);
	/* The tries below are made all the time, and it ends all the same. */
	while (try_once(&p, "acme", "192.0.2.1", true) != LOCKOUT_NONE) {
		cr_assert(time(NULL) < deadline);
		nanosleep(&pause, NULL);
	}
}

Test(lockout, can_be_turned_off_and_forgets_what_was_right)
{
	PLACE(p, "[login]\ndeny = 0");
	struct lockout_try t;

	cr_assert_eq(add_tenant(&p, "acme"), 0);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(try_once(&p, "acme", "192.0.2.1", false), LOCKOUT_NONE);
	cr_assert_eq(lockout_begin(p.store, p.config, "acme", "192.0.2.1", &t, &p.err), 0);
	cr_assert(t.rows[0] && t.rows[1]);
	cr_assert_eq(lockout_end(p.store, &t, LOCKOUT_UNDONE, &p.err), 0);
}

Test(lockout, parallel_tries_are_all_counted)
{
	PLACE(p, "");
	struct lockout_try t[4];

	cr_assert_eq(add_tenant(&p, "acme"), 0);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(lockout_begin(p.store, p.config, "acme", "192.0.2.1", &t[i], &p.err), 0);
	cr_expect_eq(t[2].state, LOCKOUT_NONE);
	cr_expect_eq(t[3].state, LOCKOUT_SOURCE);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(lockout_end(p.store, &t[i], LOCKOUT_UNDONE, &p.err), 0);
	cr_expect_eq(try_once(&p, "acme", "192.0.2.1", true), LOCKOUT_NONE);
}

Test(lockout, knows_the_newest_sources_of_a_tenant)
{
	PLACE(p, "");
	char source[32];
	struct lockout l;

	cr_assert_eq(add_tenant(&p, "acme"), 0);
	for (int i = 0; i < 40; i++) {
		snprintf(source, sizeof(source), "192.0.2.%d", i);
		cr_assert_eq(lockout_note_source(p.store, "acme", source, &p.err), 0);
	}
	cr_assert_eq(lockout_get(p.store, p.config, "acme", &l, &p.err), 0);
	cr_expect_eq(l.known, 32);
	cr_expect_eq(lockout_note_source(p.store, "nobody", "192.0.2.1", &p.err), ERR_NOT_FOUND);
	cr_expect_eq(store_tenant_remove(p.store, "acme", &p.err), 0, "%s", p.err.text);
}

/* RFC 6238, appendix B: the last six of its eight digits. */
Test(totp, computes_the_codes_of_the_standard)
{
	static const unsigned char secret[] = "12345678901234567890";
	static const struct {
		uint64_t time;
		const char *code;
	} cases[] = { { 59, "287082" }, { 1111111109, "081804" }, { 1111111111, "050471" },
		      { 1234567890, "005924" }, { 2000000000, "279037" }, { 20000000000, "353130" } };
	char code[7], text[17];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		totp_code(secret, cases[i].time / TOTP_STEP_SECONDS, code);
		cr_expect_str_eq(code, cases[i].code);
	}
	/* RFC 4648, section 10. */
	totp_base32((const unsigned char *)"foobar", 6, text);
	cr_expect_str_eq(text, "MZXW6YTBOI");
	totp_base32((const unsigned char *)"f", 1, text);
	cr_expect_str_eq(text, "MY");
}

static void decode(const char *text, unsigned char *ret)
{
	unsigned int bits = 0, n = 0;

	for (; *text; text++) {
		bits = bits << 5 | (unsigned int)(*text >= 'A' ? *text - 'A' : *text - '2' + 26);
		n += 5;
		if (n >= 8) {
			*ret++ = (unsigned char)(bits >> (n - 8));
			n -= 8;
		}
	}
}

Test(totp, takes_each_code_once)
{
	PLACE(p, "");
	unsigned char secret[TOTP_SECRET_LEN];
	const int64_t now = 1800000000;
	struct totp_new made;
	bool has = true;
	char code[7];

	cr_assert_eq(add_tenant(&p, "acme"), 0);
	cr_assert_eq(totp_has(p.store, "acme", &has, &p.err), 0);
	cr_assert_not(has);
	cr_assert_eq(totp_set(p.store, "acme", &made, &p.err), 0, "%s", p.err.text);
	cr_assert_eq(totp_has(p.store, "acme", &has, &p.err), 0);
	cr_assert(has);
	decode(made.secret, secret);
	totp_code(secret, (uint64_t)now / 30 - 2, code);
	cr_expect_eq(totp_take(p.store, "acme", code, now, &p.err), ERR_DENIED);
	totp_code(secret, (uint64_t)now / 30 + 2, code);
	cr_expect_eq(totp_take(p.store, "acme", code, now, &p.err), ERR_DENIED);
	totp_code(secret, (uint64_t)now / 30 - 1, code);
	cr_expect_eq(totp_take(p.store, "acme", code, now, &p.err), 0);
	cr_expect_eq(totp_take(p.store, "acme", code, now, &p.err), ERR_DENIED);
	totp_code(secret, (uint64_t)now / 30 + 1, code);
	cr_expect_eq(totp_take(p.store, "acme", code, now, &p.err), 0);
	/* One that is older than the last that was used. */
	totp_code(secret, (uint64_t)now / 30, code);
	cr_expect_eq(totp_take(p.store, "acme", code, now, &p.err), ERR_DENIED);
	cr_expect_eq(totp_take(p.store, "acme", "", now, &p.err), ERR_DENIED);
	cr_expect_eq(totp_take(p.store, "acme", "12345678901234567890", now, &p.err), ERR_DENIED);
	cr_expect_eq(totp_take(p.store, "nobody", code, now, &p.err), ERR_NOT_FOUND);
	/* Recovery codes: in any writing, once. */
	cr_expect_eq(totp_take(p.store, "acme", made.recovery[0], now, &p.err), 0);
	cr_expect_eq(totp_take(p.store, "acme", made.recovery[0], now, &p.err), ERR_DENIED);
	for (char *c = made.recovery[1]; *c; c++)
		*c = *c == '-' ? ' ' : *c >= 'a' ? (char)(*c - 'a' + 'A') : *c;
	cr_expect_eq(totp_take(p.store, "acme", made.recovery[1], now, &p.err), 0);
	cr_expect_eq(totp_remove(p.store, "acme", &p.err), 0);
	cr_expect_eq(totp_remove(p.store, "acme", &p.err), ERR_NOT_FOUND);
	cr_expect_eq(totp_take(p.store, "acme", made.recovery[2], now, &p.err), ERR_DENIED);
}

/* 2026-11-25 is a Wednesday. */
#define WEDNESDAY_0910 1795597800

static enum rules_verdict judge(const struct rules *rules, int64_t now, const char *source)
{
	struct rules_login login = { .now = now, .source = source, .password_set = now - 10 * 86400 };

	return rules_judge(rules, &login);
}

Test(rules, know_where_from)
{
	struct rules r = { 0 };
	struct err err;

	cr_expect_eq(judge(&r, WEDNESDAY_0910, "198.51.100.1"), RULES_OK);
	cr_assert_eq(rules_set_sources(&r, "192.0.2.0/25, 2001:db8::/33,203.0.113.7", &err), 0);
	cr_expect_str_eq(r.sources, "192.0.2.0/25 2001:db8::/33 203.0.113.7");
	cr_expect_eq(judge(&r, WEDNESDAY_0910, "192.0.2.127"), RULES_OK);
	cr_expect_eq(judge(&r, WEDNESDAY_0910, "::ffff:192.0.2.127"), RULES_OK);
	cr_expect_eq(judge(&r, WEDNESDAY_0910, "192.0.2.128"), RULES_SOURCE);
	cr_expect_eq(judge(&r, WEDNESDAY_0910, "203.0.113.7"), RULES_OK);
	cr_expect_eq(judge(&r, WEDNESDAY_0910, "203.0.113.8"), RULES_SOURCE);
	cr_expect_eq(judge(&r, WEDNESDAY_0910, "2001:db8:7fff::1"), RULES_OK);
	cr_expect_eq(judge(&r, WEDNESDAY_0910, "2001:db8:8000::1"), RULES_SOURCE);
	cr_expect_eq(judge(&r, WEDNESDAY_0910, "some.host"), RULES_SOURCE);
	cr_expect_eq(judge(&r, WEDNESDAY_0910, NULL), RULES_OK);
	cr_expect_eq(rules_set_sources(&r, "192.0.2.0/33", &err), ERR_USAGE);
	cr_expect_eq(rules_set_sources(&r, "home", &err), ERR_USAGE);
	cr_expect_str_eq(r.sources, "192.0.2.0/25 2001:db8::/33 203.0.113.7");
	cr_assert_eq(rules_set_sources(&r, "any", &err), 0);
	cr_expect_eq(judge(&r, WEDNESDAY_0910, "some.host"), RULES_OK);
}

Test(rules, know_when)
{
	struct rules r = { 0 };
	struct err err;

	setenv("TZ", "UTC", 1);
	tzset();
	cr_assert_eq(rules_set_hours(&r, "Wk0910-1700", &err), 0);
	cr_expect_eq(judge(&r, WEDNESDAY_0910, NULL), RULES_OK);
	cr_expect_eq(judge(&r, WEDNESDAY_0910 - 1, NULL), RULES_HOURS);
	cr_expect_eq(judge(&r, WEDNESDAY_0910 + 4 * 86400, NULL), RULES_HOURS);
	/* Over midnight: Tuesday's night lasts until Wednesday's morning. */
	cr_assert_eq(rules_set_hours(&r, "Tu2200-1000", &err), 0);
	cr_expect_eq(judge(&r, WEDNESDAY_0910, NULL), RULES_OK);
	cr_expect_eq(judge(&r, WEDNESDAY_0910 + 86400, NULL), RULES_HOURS);
	cr_assert_eq(rules_set_hours(&r, "sasu0000-2400 0900-0930", &err), 0);
	cr_expect_eq(judge(&r, WEDNESDAY_0910, NULL), RULES_OK);
	cr_expect_eq(judge(&r, WEDNESDAY_0910 + 4 * 86400 + 3600, NULL), RULES_OK);
	cr_expect_eq(rules_set_hours(&r, "Xx0900-1000", &err), ERR_USAGE);
	cr_expect_eq(rules_set_hours(&r, "0960-1000", &err), ERR_USAGE);
	cr_expect_eq(rules_set_hours(&r, "9-10", &err), ERR_USAGE);
	cr_assert_eq(rules_set_hours(&r, "any", &err), 0);
	cr_assert_eq(rules_set_expires(&r, "2026-11-25", &err), 0);
	cr_expect_eq(judge(&r, WEDNESDAY_0910, NULL), RULES_EXPIRED);
	cr_expect_eq(judge(&r, WEDNESDAY_0910 - 86400, NULL), RULES_OK);
	cr_expect_eq(rules_set_expires(&r, "tomorrow", &err), ERR_USAGE);
	cr_expect_eq(rules_set_expires(&r, "2026-11-25x", &err), ERR_USAGE);
	cr_assert_eq(rules_set_expires(&r, "never", &err), 0);
	cr_expect_eq(judge(&r, WEDNESDAY_0910, NULL), RULES_OK);
}

Test(rules, know_how_old_a_password_may_be)
{
	PLACE(p, "");
	struct rules r = { .password_days = 10 }, got;
	struct rules_login login = { .now = 20 * 86400, .password_set = 10 * 86400 + 1 };

	cr_expect_eq(rules_judge(&r, &login), RULES_OK);
	login.by_password = true;
	cr_expect_eq(rules_judge(&r, &login), RULES_OK);
	login.now++;
	cr_expect_eq(rules_judge(&r, &login), RULES_PASSWORD);
	login.by_password = false;
	r.change = true;
	cr_expect_eq(rules_judge(&r, &login), RULES_OK);
	cr_assert_eq(add_tenant(&p, "acme"), 0);
	cr_assert_eq(rules_get(p.store, "acme", &got, &p.err), 0);
	cr_expect_eq(got.password_days, 0);
	cr_assert_eq(rules_put(p.store, "acme", &r, &p.err), 0);
	cr_assert_eq(rules_get(p.store, "acme", &got, &p.err), 0);
	cr_expect(got.change && got.password_days == 10);
	cr_expect_eq(rules_put(p.store, "nobody", &r, &p.err), ERR_NOT_FOUND);
	cr_expect_eq(store_tenant_remove(p.store, "acme", &p.err), 0, "%s", p.err.text);
}
