/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/quota.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "provision/audit/ledger.h"
#include "provision/base/cleanup.h"
#include "provision/base/log.h"
#include "provision/daemon/life.h"
#include "provision/daemon/names.h"
#include "provision/store/traffic.h"

/* A byte a second, which no packet is: nothing passes (firewall/policy.h, POLICY_LEAST). */
#define BLOCKED_BITS 8

static const char *const words[] = { [LIMITS_BEYOND_LOG] = "log",
	[LIMITS_BEYOND_THROTTLE] = "throttle",
	[LIMITS_BEYOND_BLOCK] = "block" };

uint64_t quota_used(const struct store_tenant *t, int64_t now)
{
	return t->month == store_month(now) ? t->month_bytes : 0;
}

static bool is_beyond(const struct store_tenant *t, int64_t now)
{
	return t->limits.quota && quota_used(t, now) > t->limits.quota;
}

/* The lesser of two rates, of which 0 is none. */
static uint64_t lesser(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

void quota_rates(const struct store_tenant *t, uint64_t *ret_up, uint64_t *ret_down)
{
	uint64_t most = 0;

	if (t->beyond && t->limits.beyond == LIMITS_BEYOND_THROTTLE)
		most = t->limits.throttle;
	else if (t->beyond && t->limits.beyond == LIMITS_BEYOND_BLOCK)
		most = BLOCKED_BITS;
	*ret_up = lesser(t->limits.up, most);
	*ret_down = lesser(t->limits.down, most);
}

const char *quota_state(const struct store_tenant *t)
{
	if (!t->limits.quota)
		return "";
	return t->beyond ? words[t->limits.beyond] : "within";
}

/* Canonical JSON: sorted keys, no spaces. */
static int note(const struct config *config, const struct store_tenant *t, bool beyond, int64_t now,
	struct err *err)
{
	CLEANUP_BUF struct buf leaf = { 0 };
	time_t seconds = now;
	char text[32];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	buf_printf(&leaf, "{\"change\":\"%s\",\"quota\":%" PRIu64 ",\"tenant\":",
		beyond ? words[t->limits.beyond] : "lifted", t->limits.quota);
	buf_json(&leaf, t->name);
	buf_printf(&leaf, ",\"time\":\"%s\",\"type\":\"quota\",\"used\":%" PRIu64 "}", text,
		quota_used(t, now));
	return ledger_append(config->ledger, leaf.data, leaf.len, NULL, err);
}

int quota_decide(const struct config *config, struct store *store, const struct store_tenant *t,
	struct err *err)
{
	int64_t now = time(NULL);
	bool beyond = is_beyond(t, now);
	int r;

	if (beyond == t->beyond)
		return 0;
	r = note(config, t, beyond, now, err);
	if (r == 0)
		r = store_traffic_beyond(store, t->name, beyond, err);
	if (r == 0)
		log_notice("'%s' %s its quota of %" PRIu64 " bytes a month: %" PRIu64 " are used%s%s",
			t->name, beyond ? "is beyond" : "is within", t->limits.quota,
			quota_used(t, now), beyond ? "; " : "",
			beyond ? words[t->limits.beyond] : "");
	return r;
}

static bool has_changed(const struct store_tenant *t, const void *now)
{
	return is_beyond(t, *(const int64_t *)now) != t->beyond || t->beyond != t->held;
}

/* Whoever holds a tenant's lock does not keep the others waiting: the next round comes soon. */
void quota_keep(const struct config *config, struct store *store)
{
	CLEANUP_NAMES struct names names = { 0 };
	const int64_t now = time(NULL);
	struct err err = { 0 };

	if (names_collect(store, has_changed, &now, &names, &err) != 0)
		log_warn("cannot look for quotas that are used up: %s", err.text);
	for (size_t i = 0; i < names.n; i++) {
		int r = life_limit_within(config, store, names.of[i], 0, &err);

		if (r != 0 && r != ERR_BUSY && r != ERR_NOT_FOUND)
			log_warn("the quota of '%s' is not in force: %s", names.of[i], err.text);
	}
}
