/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table read back: what differs from what it should be, and what its counters have seen. */
/* Before <linux/in.h>, which yields to it. */
#include <netinet/in.h>

#include <errno.h>
#include <libnftnl/common.h>
#include <libnftnl/object.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>

#include "firewall/listing.h"
#include "firewall/ruleset.h"
#include "provision/base/cleanup.h"

#define RULE_TEXT_MAX 4096
#define RULES_MAX     64 /* of one chain; more are unexpected anyway */

struct report {
	rules_drift_fn fn;
	void *data;
	int count;
	const struct policy *policy;
};

static void drift(struct report *report, const char *how, const char *what)
{
	report->count++;
	report->fn(report->data, how, what);
}

/* --- rules --- */

/*
 * The expressions of a rule as libnftnl writes them. What only the kernel says goes: the number of
 * an anonymous set, and that what has no timeout has none.
 */
static void rule_text(const struct nftnl_rule *r, char ret[RULE_TEXT_MAX])
{
	static const char none[] = " timeout 0ms";
	char *at = ret, *from;

	if (nftnl_rule_snprintf(ret, RULE_TEXT_MAX, r, NFTNL_OUTPUT_DEFAULT, 0) < 0)
		ret[0] = '\0';
	/* What comes before the first expression are the rule's handles. */
	from = strchr(ret, '[');
	memmove(ret, from ?: ret + strlen(ret), strlen(from ?: "") + 1);
	while ((from = strstr(ret, none)))
		memmove(from, from + strlen(none), strlen(from + strlen(none)) + 1);
	while ((at = strstr(at, "__set"))) {
		at += strlen("__set");
		from = at;
		while (strchr("0123456789%d", *from) && *from)
			from++;
		memmove(at, from, strlen(from) + 1);
	}
}

/* The rules of the kernel's, in order; those that were matched are NULL. */
struct rule_list {
	size_t n, cap;
	struct {
		char *chain, *text;
	} *of;
};

static void free_rules(struct rule_list *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->of[i].chain);
		free(l->of[i].text);
	}
	free(l->of);
}

/* mnl_cb_t */
static int take_rule(const struct nlmsghdr *msg, void *data)
{
	struct nftnl_rule *r = nftnl_rule_alloc();
	struct rule_list *l = data;
	char text[RULE_TEXT_MAX];

	if (!r)
		abort();
	if (nftnl_rule_nlmsg_parse(msg, r) == 0 && nftnl_rule_get_str(r, NFTNL_RULE_CHAIN)) {
		if (l->n == l->cap) {
			l->cap = l->cap ? 2 * l->cap : RULES_MAX;
			l->of = reallocarray(l->of, l->cap, sizeof(*l->of));
			if (!l->of)
				abort();
		}
		rule_text(r, text);
		l->of[l->n].chain = xstrdup(nftnl_rule_get_str(r, NFTNL_RULE_CHAIN));
		l->of[l->n++].text = xstrdup(text);
	}
	nftnl_rule_free(r);
	return MNL_CB_OK;
}

struct rule_walk {
	struct report *report;
	const struct rule_list *list;
	const char *chain;
	size_t next, number; /* where in the list, and of the chain's rules */
	bool differs;
};

/* The rest of the chain that was looked at last, which has more than it should. */
static void close_chain(struct rule_walk *w)
{
	char words[128];

	for (; w->chain && w->next < w->list->n; w->next++) {
		if (strcmp(w->list->of[w->next].chain, w->chain))
			continue;
		snprintf(words, sizeof(words), "chain %s: a rule more than it has, at place %zu",
			w->chain, ++w->number);
		drift(w->report, "unexpected", words);
	}
}

/* Rule for rule: one that was put before or taken out shifts the others, and is told once. */
static void compare_rule(void *data, const char *chain, struct nftnl_rule *rule)
{
	struct rule_walk *w = data;
	char text[RULE_TEXT_MAX], words[128];

	if (!w->chain || strcmp(w->chain, chain)) {
		if (!w->differs)
			close_chain(w);
		w->chain = chain;
		w->next = w->number = 0;
		w->differs = false;
	}
	if (w->differs)
		return;
	rule_text(rule, text);
	while (w->next < w->list->n && strcmp(w->list->of[w->next].chain, chain))
		w->next++;
	w->number++;
	snprintf(words, sizeof(words), "chain %s: rule %zu", chain, w->number);
	w->differs = w->next >= w->list->n || strcmp(w->list->of[w->next].text, text);
	if (w->next >= w->list->n)
		drift(w->report, "missing", words);
	else if (w->differs)
		drift(w->report, "changed", words);
	w->next++;
}

/* Those with rules that the table should not have, each once. */
static void tell_strange_chains(
	const struct policy *p, const struct rule_list *list, struct report *report)
{
	CLEANUP_FREE char *words = NULL;

	for (size_t i = 0; i < list->n; i++) {
		if (policy_has_chain(p, list->of[i].chain) ||
			(i > 0 && !strcmp(list->of[i].chain, list->of[i - 1].chain)))
			continue;
		free(words);
		words = xasprintf("chain %s", list->of[i].chain);
		drift(report, "unexpected", words);
	}
}

static int ask_rules(
	const struct policy *p, uint8_t family, struct rule_list *ret, struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct nftnl_rule *r = nftnl_rule_alloc();
	struct nlmsghdr *msg;
	int n = netlink_open(&nl, NETLINK_NETFILTER, err);

	if (!r)
		abort();
	if (n == 0) {
		nftnl_rule_set_str(r, NFTNL_RULE_TABLE, p->table);
		msg = nftnl_nlmsg_build_hdr(netlink_room(&nl, POLICY_ROOM, "list its rules"),
			NFT_MSG_GETRULE, family, NLM_F_DUMP, nl.next_seq);
		nftnl_rule_nlmsg_build_payload(msg, r);
		netlink_commit(&nl, msg);
		n = netlink_exchange(&nl, p->subject, take_rule, ret, err);
	}
	nftnl_rule_free(r);
	return n;
}

static int verify_rules(const struct policy *p, struct report *report, struct err *err)
{
	__attribute__((cleanup(free_rules))) struct rule_list list = { 0 };
	struct rule_walk walk = { .report = report, .list = &list };
	int r = ask_rules(p, NFPROTO_INET, &list, err);

	if (r == 0)
		r = ask_rules(p, NFPROTO_ARP, &list, err);

	if (r != 0)
		return r;
	policy_each_rule(p, compare_rule, &walk);
	if (!walk.differs)
		close_chain(&walk);
	tell_strange_chains(p, &list, report);
	return 0;
}

/* --- elements --- */

struct element_list {
	enum ruleset_set set;
	struct ruleset elements;
};

/* nftnl_set_elem_foreach */
static int take_element(struct nftnl_set_elem *e, void *data)
{
	struct element_list *l = data;
	struct ruleset_element *to;
	uint32_t key_len = 0, data_len = 0, rate_len = 0;
	const void *key = nftnl_set_elem_get(e, NFTNL_SET_ELEM_KEY, &key_len);
	const void *value = nftnl_set_elem_get(e, NFTNL_SET_ELEM_DATA, &data_len);

	const struct nftnl_expr *rate = nftnl_set_elem_get(e, NFTNL_SET_ELEM_EXPR, &rate_len);

	to = ruleset_add(&l->elements, l->set);
	to->rate = rate && ruleset_unit(l->set) ? expr_limit_of(rate) : 0;
	memcpy(to->key, key, key_len < sizeof(to->key) ? key_len : sizeof(to->key));
	if (ruleset_has_ranges(l->set)) {
		uint32_t end_len = 0;
		const void *end = nftnl_set_elem_get(e, NFTNL_SET_ELEM_KEY_END, &end_len);

		/* An end of its own only where it is another than the beginning. */
		memcpy(to->key_end, to->key, sizeof(to->key_end));
		if (end)
			memcpy(to->key_end, end,
				end_len < sizeof(to->key_end) ? end_len : sizeof(to->key_end));
		to->data[0] = nftnl_set_elem_get_u32(e, NFTNL_SET_ELEM_VERDICT) ==
				(uint32_t)NFT_RETURN ?
			NF_ACCEPT :
			(uint8_t)nftnl_set_elem_get_u32(e, NFTNL_SET_ELEM_VERDICT);
	} else if (value && ruleset_data_len(l->set))
		memcpy(to->data, value, data_len < sizeof(to->data) ? data_len : sizeof(to->data));
	return 0;
}

static void tell(struct report *report, const char *how, const struct ruleset_element *e)
{
	CLEANUP_BUF struct buf words = { 0 };

	ruleset_words(e, report->policy, &words);
	drift(report, how, words.data);
}

/* Both are sorted: walk them side by side. */
static void compare_elements(struct report *report, enum ruleset_set set,
	const struct ruleset *wanted, const struct ruleset *there)
{
	size_t i = 0, j = 0;

	while (i < wanted->n && wanted->of[i].set < set)
		i++;
	while ((i < wanted->n && wanted->of[i].set == set) || j < there->n) {
		bool has_wanted = i < wanted->n && wanted->of[i].set == set;
		int order = !has_wanted	   ? 1 :
			j >= there->n	   ? -1 :
					     ruleset_compare(&wanted->of[i], &there->of[j]);

		if (order < 0 && !wanted->of[i].optional)
			tell(report, "missing", &wanted->of[i]);
		if (order > 0)
			tell(report, "unexpected", &there->of[j]);
		i += order <= 0;
		j += order >= 0;
	}
}

static int verify_set(const struct policy *p, enum ruleset_set set, const struct ruleset *wanted,
	struct report *report, struct err *err)
{
	struct element_list list = { .set = set };
	struct err why = { 0 };
	char words[64];
	int r = listing_elements(p, ruleset_name(set), take_element, &list, &why);

	if (r == 0) {
		ruleset_sort(&list.elements);
		compare_elements(report, set, wanted, &list.elements);
	}
	ruleset_free(&list.elements);
	if (r == -ENOENT) {
		snprintf(words, sizeof(words), "set %s", ruleset_name(set));
		drift(report, "missing", words);
		return 0;
	}
	return r ? err_set(err, r, "%s", why.text) : 0;
}

int rules_verify(const struct rules_base *base, const struct rules_state *state,
	rules_drift_fn fn, void *data, struct err *err)
{
	CLEANUP_RULESET struct ruleset wanted = { 0 };
	struct policy p;
	struct report report = { fn, data, 0, &p };
	int r = policy_make(base, &p, err);

	if (r == 0)
		r = ruleset_make(&wanted, &p, state, err);
	if (r != 0)
		return -EINVAL;
	ruleset_sort(&wanted);
	p.publishes = ruleset_publishes(&wanted);
	r = verify_rules(&p, &report, err);
	for (int set = 0; r == 0 && set < RULESET_SETS; set++)
		r = verify_set(&p, set, &wanted, &report, err);
	return r != 0 ? r : report.count;
}

/* --- counters --- */

struct counter_list {
	const struct policy *policy;
	void (*fn)(void *data, const struct rules_counter *c);
	void *data;
	struct err *err;
	int result;
};

/* mnl_cb_t */
static int take_counter(const struct nlmsghdr *msg, void *data)
{
	struct nftnl_obj *o = nftnl_obj_alloc();
	struct rules_counter *c = data;

	if (!o)
		abort();
	if (nftnl_obj_nlmsg_parse(msg, o) == 0) {
		c->packets = nftnl_obj_get_u64(o, NFTNL_OBJ_CTR_PKTS);
		c->bytes = nftnl_obj_get_u64(o, NFTNL_OBJ_CTR_BYTES);
	}
	nftnl_obj_free(o);
	return MNL_CB_OK;
}

static void ask_counter(void *data, uint8_t family, const char *name, const char *meaning)
{
	struct counter_list *l = data;
	struct rules_counter c = { name, meaning, 0, 0 };
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct nftnl_obj *o;
	struct nlmsghdr *msg;

	if (l->result == 0)
		l->result = netlink_open(&nl, NETLINK_NETFILTER, l->err);
	if (l->result != 0)
		return;
	o = nftnl_obj_alloc();
	if (!o)
		abort();
	nftnl_obj_set_str(o, NFTNL_OBJ_TABLE, l->policy->table);
	nftnl_obj_set_str(o, NFTNL_OBJ_NAME, name);
	nftnl_obj_set_u32(o, NFTNL_OBJ_TYPE, NFT_OBJECT_COUNTER);
	msg = nftnl_nlmsg_build_hdr(netlink_room(&nl, POLICY_ROOM, "read a counter"), NFT_MSG_GETOBJ,
		family, NLM_F_ACK, nl.next_seq);
	nftnl_obj_nlmsg_build_payload(msg, o);
	netlink_commit(&nl, msg);
	nftnl_obj_free(o);
	(void)netlink_exchange(&nl, l->policy->subject, take_counter, &c, NULL);
	l->fn(l->data, &c);
}

int rules_counters(const struct rules_base *base,
	void (*fn)(void *data, const struct rules_counter *c), void *data, struct err *err)
{
	struct policy p;
	struct counter_list list = { &p, fn, data, err, 0 };

	if (policy_make(base, &p, err) != 0)
		return -EINVAL;
	policy_each_counter(ask_counter, &list);
	return list.result;
}
