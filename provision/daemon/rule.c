/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tenants' own rules of the firewall: an ordered list, of which the first that matches decides. */
#include <stdio.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/daemon/fence.h"
#include "provision/daemon/handlers.h"
#include "provision/daemon/life.h"

#define PORT_MAX  65535
#define RULES_MAX 64 /* of one tenant */

static int one_of(struct request *r, const char *key, const char *const *words, const char **ret)
{
	CLEANUP_BUF struct buf all = { 0 };
	int n = msg_need(&r->in, key, ret, &r->err);

	if (n != 0)
		return n;
	for (size_t i = 0; words[i]; i++) {
		if (!strcmp(words[i], *ret))
			return 0;
		buf_printf(&all, "%s%s", i ? ", " : "", words[i]);
	}
	return err_set(&r->err, ERR_USAGE, "'%.20s' is no %s: %s", *ret, key, all.data);
}

static int parse_number(struct request *r, const char *text, uint64_t max, const char *what,
	uint64_t *ret)
{
	if (parse_u64(text, max, ret) < 0 || *ret == 0)
		return err_set(&r->err, ERR_USAGE, "'%.20s' is no %s: 1 to %lu", text, what,
			(unsigned long)max);
	return 0;
}

/* PORT, or FIRST-LAST */
static int parse_ports(struct request *r, const char *text, struct store_rule *rule)
{
	size_t len = strcspn(text, "-");
	uint64_t first = 0, last = 0;
	char low[8];
	int n;

	if (len == 0 || len >= sizeof(low))
		return err_set(&r->err, ERR_USAGE, "'%.20s' is no port: 1 to %d", text, PORT_MAX);
	memcpy(low, text, len);
	low[len] = '\0';
	n = parse_number(r, low, PORT_MAX, "port", &first);
	if (n == 0)
		n = parse_number(r, text[len] ? text + len + 1 : low, PORT_MAX, "port", &last);
	if (n == 0 && first > last)
		n = err_set(&r->err, ERR_USAGE, "ports %s: the first is greater than the last", text);
	rule->first_port = (uint16_t)first;
	rule->last_port = (uint16_t)last;
	return n;
}

static int copy(struct request *r, const char *key, char *to, size_t size)
{
	const char *text = "";
	int n = request_text(r, key, size - 1, &text);

	snprintf(to, size, "%s", text);
	return n;
}

static int parse_position(struct request *r, uint32_t *ret)
{
	const char *text = msg_get(&r->in, "position");
	uint64_t number = 0;
	int n = text ? parse_number(r, text, RULES_MAX, "position", &number) : 0;

	*ret = (uint32_t)number;
	return n;
}

static int parse(struct request *r, struct store_rule *rule)
{
	static const char *const directions[] = { "in", "out", "peer", NULL };
	static const char *const verdicts[] = { "allow", "deny", NULL };
	static const char *const protocols[] = { "tcp", "udp", "icmp", "any", NULL };
	const char *tenant = NULL, *direction = NULL, *verdict = NULL, *protocol = NULL;
	int n = request_name(r, "tenant", &tenant);

	*rule = (struct store_rule){ 0 };
	if (n == 0)
		n = one_of(r, "direction", directions, &direction);
	if (n == 0)
		n = one_of(r, "verdict", verdicts, &verdict);
	if (n == 0)
		n = one_of(r, "protocol", protocols, &protocol);
	if (n == 0 && msg_get(&r->in, "port"))
		n = parse_ports(r, msg_get(&r->in, "port"), rule);
	/* None is all: one that a script left empty is not to open a guest to everybody. */
	if (n == 0 && !*(msg_get(&r->in, "prefix") ?: "-"))
		n = err_set(&r->err, ERR_USAGE, "'' is no prefix: write ADDRESS/BITS, or no --prefix for all");
	if (n == 0)
		n = copy(r, "prefix", rule->prefix, sizeof(rule->prefix));
	if (n == 0)
		n = copy(r, "comment", rule->comment, sizeof(rule->comment));
	if (n == 0)
		n = parse_position(r, &rule->position);
	if (n != 0)
		return n;
	snprintf(rule->tenant, sizeof(rule->tenant), "%s", tenant);
	snprintf(rule->direction, sizeof(rule->direction), "%s", direction);
	snprintf(rule->verdict, sizeof(rule->verdict), "%s", verdict);
	snprintf(rule->protocol, sizeof(rule->protocol), "%s", protocol);
	return 0;
}

static int send_rule(void *data, const struct store_rule *rule)
{
	CLEANUP_MSG struct msg row = { 0 };
	char ports[16] = "";

	if (rule->last_port)
		snprintf(ports, sizeof(ports),
			rule->first_port == rule->last_port ? "%u" : "%u-%u", rule->first_port,
			rule->last_port);
	request_row_begin(&row);
	msg_add(&row, "tenant", rule->tenant);
	msg_add_u64(&row, "position", rule->position);
	msg_add(&row, "direction", rule->direction);
	msg_add(&row, "verdict", rule->verdict);
	msg_add(&row, "protocol", rule->protocol);
	msg_add(&row, "port", ports);
	msg_add(&row, "prefix", rule->prefix);
	msg_add(&row, "comment", rule->comment);
	msg_add_i64(&row, "created", rule->created);
	return request_row(data, &row);
}

/* The list with the rule at its place, which is the end when it names none. */
static int insert(struct request *r, const struct fence_rules *from, struct store_rule *rule,
	struct fence_rules *ret)
{
	uint32_t at = rule->position ? rule->position - 1 : from->n;

	if (from->n == RULES_MAX)
		return err_set(&r->err, ERR_FAILED, "'%s' has %d rules already, which is the most",
			rule->tenant, RULES_MAX);
	if (at > from->n)
		return err_set(&r->err, ERR_USAGE, "there is no place %u: '%s' has %u rules",
			rule->position, rule->tenant, from->n);
	ret->of = xcalloc(from->n + 1, sizeof(*ret->of));
	for (ret->n = 0; ret->n <= from->n; ret->n++) {
		ret->of[ret->n] = ret->n == at ? *rule : from->of[ret->n - (ret->n > at)];
		ret->of[ret->n].position = ret->n + 1;
		ret->of[ret->n].number = from->n ? from->of[0].number : 0;
	}
	*rule = ret->of[at];
	return 0;
}

/*
 * In the database first: whoever restores the table meanwhile has the change in it. What no longer allows
 * is a rule that denies and has come, or one that allowed and has gone: all others end no connection.
 */
static int put(struct request *r, const struct store_tenant *t, const struct fence_rules *from, bool ends)
{
	CLEANUP_FENCE_RULES struct fence_rules to = { 0 };
	int n = fence_rules_get(r->store, t->name, &to, &r->err);

	if (n == 0)
		n = fence_rules_change(r->config, r->store, &t->guest, from, &to, ends, &r->err);
	if (n != 0)
		err_wrap(&r->err, "it is in the database, but not in the kernel");
	return n;
}

static int add_locked(struct request *r, struct store_rule *rule)
{
	CLEANUP_FENCE_RULES struct fence_rules from = { 0 }, to = { 0 };
	struct store_tenant t;
	int n = store_tenant_get(r->store, rule->tenant, &t, &r->err);

	if (n == 0)
		n = fence_rules_get(r->store, rule->tenant, &from, &r->err);
	if (n == 0)
		n = insert(r, &from, rule, &to);
	if (n == 0)
		n = fence_rules_check(r->config, &to, &r->err);
	if (n != 0 || msg_get(&r->in, "dry_run"))
		return n;
	n = store_rule_add(r->store, rule, &r->err);
	return n == 0 ? put(r, &t, &from, !strcmp(rule->verdict, "deny")) : n;
}

int rule_add(struct request *r)
{
	CLEANUP_CLOSE int lock = -1;
	struct store_rule rule;
	int n = parse(r, &rule);

	if (n == 0)
		n = life_lock(r->config, rule.tenant, &lock, &r->err);
	if (n == 0)
		n = add_locked(r, &rule);
	return n == 0 ? send_rule(r, &rule) : n;
}

int rule_list(struct request *r)
{
	const char *tenant = NULL;
	int n = msg_get(&r->in, "tenant") ? request_name(r, "tenant", &tenant) : 0;

	return n == 0 ? store_rule_each(r->store, tenant, send_rule, r, &r->err) : n;
}

static int remove_locked(
	struct request *r, const char *tenant, uint32_t position, struct store_rule *ret)
{
	CLEANUP_FENCE_RULES struct fence_rules from = { 0 };
	struct store_tenant t;
	int n = store_tenant_get(r->store, tenant, &t, &r->err);

	if (n == 0)
		n = fence_rules_get(r->store, tenant, &from, &r->err);
	if (n == 0 && position > from.n)
		n = err_set(&r->err, ERR_NOT_FOUND, "'%s' has no rule %u: see vm2 rule list %s",
			tenant, position, tenant);
	if (n != 0)
		return n;
	*ret = from.of[position - 1];
	if (msg_get(&r->in, "dry_run"))
		return 0;
	n = store_rule_remove(r->store, tenant, position, &r->err);
	return n == 0 ? put(r, &t, &from, !strcmp(ret->verdict, "allow")) : n;
}

int rule_remove(struct request *r)
{
	CLEANUP_CLOSE int lock = -1;
	const char *tenant = NULL, *text = NULL;
	struct store_rule rule;
	uint32_t position = 0;
	int n = request_name(r, "tenant", &tenant);

	if (n == 0)
		n = msg_need(&r->in, "position", &text, &r->err);
	if (n == 0)
		n = parse_position(r, &position);
	if (n == 0)
		n = life_lock(r->config, tenant, &lock, &r->err);
	if (n == 0)
		n = remove_locked(r, tenant, position, &rule);
	return n == 0 ? send_rule(r, &rule) : n;
}
