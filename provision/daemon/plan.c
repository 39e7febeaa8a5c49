/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/daemon/handlers.h"
#include "provision/daemon/life.h"
#include "provision/guest/storage.h"

/* What nobody would hold the guests to is not promised. */
static int check_storage(struct request *r, const struct limits_part *part)
{
	const struct storage_driver *driver;
	const char *what, *why;

	if (!part->of.disk && !part->of.inodes)
		return 0;
	driver = storage_pick(r->config, &r->err);
	if (!driver)
		return r->err.code;
	why = storage_refuses(driver, r->config, &part->of, &what);
	return why ? err_set(&r->err, ERR_FAILED,
			     "the plan's %s cannot be kept: %s; or say --%s unlimited", what, why,
			     what) :
		     0;
}

int plan_limits(struct request *r, bool droppable, struct limits_part *ret)
{
	*ret = (struct limits_part){ 0 };
	for (size_t i = 0; i < LIMITS_COUNT; i++) {
		const struct limit *l = &limit_table[i];
		const char *text = msg_get(&r->in, l->name);
		uint64_t value = 0;
		int n;

		if (!text)
			continue;
		if (droppable && !strcmp(text, "plan")) {
			ret->dropped |= 1ULL << i;
			continue;
		}
		n = limit_parse(l, text, &value, &r->err);
		if (n != 0)
			return n;
		limit_set(l, &ret->of, value);
		ret->given |= 1ULL << i;
	}
	return check_storage(r, ret);
}

/* resolv.conf(5): MAXNS, and how many domains and bytes old resolvers take. */
#define NAMESERVERS_MAX 3
#define SEARCH_MAX	6

/* More than anybody writes; the text's own bound is that of check_words(). */
#define ACCEPT_ENV_MAX 32

static int check_words(struct request *r, const char *key, int max, bool (*fits)(const char *word),
	const char *what, const char **ret)
{
	const char *text = msg_get(&r->in, key);
	CLEANUP_FREE char *list = xstrdup(text ?: "");
	char *save = NULL;
	int n = 0;

	*ret = text;
	if (text && (!strcmp(text, "none") || !strcmp(text, "plan"))) {
		*ret = "";
		return 0;
	}
	if (strlen(list) > 256)
		return err_set(&r->err, ERR_USAGE, "%s: longer than 256 bytes", key);
	for (char *w = strtok_r(list, " ", &save); w; w = strtok_r(NULL, " ", &save), n++)
		if (!fits(w))
			return err_set(&r->err, ERR_USAGE, "%s: '%.64s' is %s", key, w, what);
	if (text && (n == 0 || n > max))
		return err_set(&r->err, ERR_USAGE, "%s: name 1 to %d, or none", key, max);
	return 0;
}

/* One that a guest can ask: those of loopback are itself. */
static bool is_nameserver(const char *word)
{
	struct in6_addr a6;
	struct in_addr a4;

	if (inet_pton(AF_INET, word, &a4) == 1)
		return (ntohl(a4.s_addr) >> 24) != 127 && a4.s_addr != 0;
	return inet_pton(AF_INET6, word, &a6) == 1 && !IN6_IS_ADDR_LOOPBACK(&a6) &&
		!IN6_IS_ADDR_UNSPECIFIED(&a6);
}

static bool is_domain(const char *word)
{
	return word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")] ==
		'\0' && word[0] != '.' && word[0] != '-' && !strstr(word, "..");
}

/* As in glob(7), of what names of variables are made of (environ(7)). */
static bool is_pattern(const char *word)
{
	return word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_*?[]!-")] ==
		'\0';
}

int plan_lists(struct request *r, struct store_lists_change *ret)
{
	int n = check_words(r, "nameservers", NAMESERVERS_MAX, is_nameserver,
		"no address that a guest can ask", &ret->nameservers);

	if (n == 0)
		n = check_words(r, "search", SEARCH_MAX, is_domain, "no domain", &ret->search);
	if (n == 0)
		n = check_words(r, "accept_env", ACCEPT_ENV_MAX, is_pattern, "no pattern of names",
			&ret->accept_env);
	return n;
}

bool plan_changes_lists(const struct store_lists_change *change)
{
	return change->nameservers || change->search || change->accept_env;
}

static void fill(char *list, size_t size, const char *change, const char *plan)
{
	if (change)
		snprintf(list, size, "%s", change[0] ? change : plan);
}

void plan_fill_lists(struct store_lists *lists, const struct store_lists_change *change,
	const struct store_lists *plan)
{
	fill(lists->nameservers, sizeof(lists->nameservers), change->nameservers,
		plan ? plan->nameservers : "");
	fill(lists->search, sizeof(lists->search), change->search, plan ? plan->search : "");
	fill(lists->accept_env, sizeof(lists->accept_env), change->accept_env,
		plan ? plan->accept_env : "");
}

void plan_add_limits(struct msg *row, const struct limits *limits)
{
	for (size_t i = 0; i < LIMITS_COUNT; i++) {
		const struct limit *l = &limit_table[i];
		CLEANUP_BUF struct buf text = { 0 };

		limit_print(l, limit_get(l, limits), &text);
		msg_add(row, l->name, text.data);
	}
}

void plan_add_lists(struct msg *row, const struct store_lists *lists)
{
	msg_add(row, "nameservers", lists->nameservers);
	msg_add(row, "search", lists->search);
	msg_add(row, "accept_env", lists->accept_env);
}

static int send_plan(void *data, const struct store_plan *p)
{
	CLEANUP_MSG struct msg row = { 0 };

	request_row_begin(&row);
	msg_add(&row, "name", p->name);
	plan_add_limits(&row, &p->limits);
	plan_add_lists(&row, &p->lists);
	msg_add_u64(&row, "tenants", p->tenants);
	return request_row(data, &row);
}

int plan_add(struct request *r)
{
	struct store_plan plan = { 0 };
	struct limits_part given;
	struct store_lists_change lists = { 0 };
	const char *name = NULL;
	int n = request_name(r, "name", &name);

	if (n == 0)
		n = plan_limits(r, false, &given);
	if (n == 0)
		n = plan_lists(r, &lists);
	if (n != 0)
		return n;
	snprintf(plan.name, sizeof(plan.name), "%s", name);
	limits_default(&plan.limits);
	limits_apply(&plan.limits, &given);
	plan_fill_lists(&plan.lists, &lists, NULL);
	if (store_plan_get(r->store, name, &plan, NULL) == 0)
		return err_set(&r->err, ERR_EXISTS, "there is a plan '%s' already", name);
	if (!msg_get(&r->in, "dry_run"))
		n = store_plan_add(r->store, &plan, &r->err);
	return n == 0 ? send_plan(r, &plan) : n;
}

/* The database first: a guest that starts meanwhile has the new ones, and none is missed. */
int plan_set(struct request *r)
{
	struct store_plan plan;
	struct limits_part change;
	struct store_lists_change lists = { 0 };
	const char *name = NULL;
	int n = request_name(r, "name", &name);

	if (n == 0)
		n = plan_limits(r, false, &change);
	if (n == 0)
		n = plan_lists(r, &lists);
	if (n == 0 && !change.given && !plan_changes_lists(&lists))
		return err_set(&r->err, ERR_USAGE, "plan '%s': nothing is to be changed", name);
	if (n == 0)
		n = store_plan_get(r->store, name, &plan, &r->err);
	if (n == 0 && !msg_get(&r->in, "dry_run")) {
		n = store_plan_change(r->store, name, &change, &r->err);
		if (n == 0)
			n = store_plan_lists(r->store, name, &lists, &r->err);
		if (n == 0)
			n = life_limit_all(r->config, r->store, name, &r->err);
	}
	if (n != 0)
		return n;
	limits_apply(&plan.limits, &change);
	plan_fill_lists(&plan.lists, &lists, NULL);
	return send_plan(r, &plan);
}

/* As store_plan_remove() would say. */
static int check_unused(struct request *r, const char *name)
{
	struct store_plan plan;
	int n = store_plan_get(r->store, name, &plan, &r->err);

	if (n == 0 && plan.tenants)
		return err_set(&r->err, ERR_BUSY,
			"plan '%s' is in use: give its tenants another (vm2 tenant set --plan)", name);
	return n;
}

int plan_remove(struct request *r)
{
	const char *name = NULL;
	int n = request_name(r, "name", &name);

	if (n == 0 && !strcmp(name, r->config->plan))
		return err_set(&r->err, ERR_BUSY,
			"plan '%s' is what tenants without one get (guest.plan in vm2.conf)", name);
	if (n == 0 && msg_get(&r->in, "dry_run"))
		return check_unused(r, name);
	return n == 0 ? store_plan_remove(r->store, name, &r->err) : n;
}

int plan_list(struct request *r)
{
	return store_plan_each(r->store, send_plan, r, &r->err);
}
