/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/rules.h"

/* Before <linux/in.h>, which yields to it. */
#include <netinet/in.h>

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <libnftnl/set.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "firewall/carry.h"
#include "firewall/elements.h"
#include "firewall/link.h"
#include "firewall/listing.h"
#include "firewall/netlink.h"
#include "firewall/own.h"
#include "firewall/policy.h"
#include "firewall/restore.h"
#include "firewall/ruleset.h"
#include "firewall/traffic.h"
#include "provision/base/cleanup.h"
#include "provision/base/str.h"

static int check(const struct rules_base *base, struct policy *ret, struct err *err)
{
	return policy_make(base, ret, err);
}

static void begin(struct netlink *nl)
{
	netlink_commit(nl, nftnl_batch_begin(netlink_room(nl, 64, "begin"), nl->next_seq));
}

/*
 * Close the batch and send it: only now is any of it done, or none. Acknowledged is the last
 * request, which the kernel reaches after all others.
 */
static int commit(struct netlink *nl, const char *subject, struct err *err)
{
	netlink_want_ack(nl);
	netlink_commit(nl, nftnl_batch_end(netlink_room(nl, 64, "commit"), nl->next_seq));
	return netlink_exchange(nl, subject, NULL, NULL, err);
}

static int open_batch(const struct rules_base *base, struct netlink *nl, struct err *err)
{
	int r = netlink_borrow(nl, base->run, base->held, err);

	if (!r)
		begin(nl);
	return r;
}

int rules_check(const struct rules_base *base, struct err *err)
{
	struct policy p;

	return check(base, &p, err);
}

int rules_restore_on(struct netlink *nl, const struct rules_base *base,
	const struct rules_state *state, struct err *err)
{
	CLEANUP_RULESET struct ruleset elements = { 0 };
	struct err why = { 0 };
	struct policy p;
	int r;

	r = check(base, &p, err);
	if (!r)
		r = ruleset_make(&elements, &p, state, err);
	if (r)
		return r;
	p.publishes = ruleset_publishes(&elements);
	begin(nl);
	/* Added first, so that it can be deleted whether it was there or not. */
	policy_put_table(nl, &p, NFT_MSG_NEWTABLE, 0);
	policy_put_table(nl, &p, NFT_MSG_DELTABLE, 0);
	policy_put_table(nl, &p, NFT_MSG_NEWTABLE, nl->own);
	policy_put_contents(nl, &p);
	elements_put(nl, &p, NFT_MSG_NEWSETELEM, &elements);
	r = commit(nl, p.subject, &why);
	/* All that it names is in the batch itself: only a part of the kernel can be missing. */
	if (r == -ENOENT)
		return err_set(err, r, "%s: the kernel lacks a part of nftables (vm2 host check says which are needed)",
			why.text);
	return r ? err_set(err, r, "%s", why.text) : 0;
}

int rules_restore_state(
	const struct rules_base *base, const struct rules_state *state, struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct policy p;
	int r = check(base, &p, err);

	if (!r)
		r = netlink_borrow(&nl, base->run, base->held, err);
	return r ? r : rules_restore_on(&nl, base, state, err);
}

int rules_restore(const struct rules_base *base, const struct rules_guest *guests, uint32_t count,
	struct err *err)
{
	const struct rules_state state = { .guests = guests, .n_guests = count };

	return rules_restore_state(base, &state, err);
}

int rules_present(const struct rules_base *base, struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct err why = { 0 };
	uint32_t rule_count = 0;
	struct policy p;
	int r;

	r = check(base, &p, err);
	if (r)
		return -EINVAL;
	r = netlink_open(&nl, NETLINK_NETFILTER, err);
	if (r)
		return r;
	policy_put_chain_queries(&nl, &p);
	r = netlink_exchange(&nl, p.subject, policy_sum_rules, &rule_count, &why);
	if (r == -ENOENT)
		return 0;
	return r ? err_set(err, r, "%s", why.text) : rule_count == policy_rule_count(&p);
}

/* Add elements in a batch of their own. */
static int add_elements(const struct rules_base *base, const struct policy *p,
	const struct ruleset *elements, struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	int r = open_batch(base, &nl, err);

	if (r)
		return r;
	elements_put(&nl, p, NFT_MSG_NEWSETELEM, elements);
	return commit(&nl, p->subject, err);
}

/* Added first, so that those that are missing do not keep the others. */
static void put_removal(struct netlink *nl, const struct policy *p, const struct ruleset *elements)
{
	elements_put(nl, p, NFT_MSG_NEWSETELEM, elements);
	elements_put(nl, p, NFT_MSG_DELSETELEM, elements);
}

/* Delete elements in a batch of their own; those that are not there are success. */
static int remove_elements(const struct rules_base *base, const struct policy *p,
	const struct ruleset *elements, struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct err why = { 0 };
	int r = open_batch(base, &nl, err);

	if (r)
		return r;
	put_removal(&nl, p, elements);
	r = commit(&nl, p->subject, &why);
	if (r == -ENOENT)
		return 0;
	return r ? err_set(err, r, "%s", why.text) : 0;
}

/*
 * Have elements of a guest's go, and others come. plain: among those that go are what it had without a rate, so
 * what these counted is kept.
 */
static int change_guest(const struct rules_base *base, const struct policy *p, uint32_t number,
			const struct ruleset *gone, bool plain, const struct ruleset *come,
			struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct carry carry = { 0 };
	uint32_t index;
	int r = ruleset_index(p, number, &index, err);

	if (!r)
		r = netlink_borrow(&nl, base->run, base->held, err);
	/* The socket is ours alone now: nobody else moves them. */
	if (!r && plain)
		r = carry_read(&nl, p, index, &carry, err);
	if (r)
		return r;
	begin(&nl);
	carry_put(&nl, p, index, &carry);
	put_removal(&nl, p, gone);
	elements_put(&nl, p, NFT_MSG_NEWSETELEM, come);
	return commit(&nl, p->subject, err);
}

int rules_add_guest(const struct rules_base *base, const struct rules_guest *guest, struct err *err)
{
	CLEANUP_RULESET struct ruleset elements = { 0 }, rates = { 0 };
	bool rated = !ruleset_is_plain(guest);
	struct policy p;
	int r;

	r = check(base, &p, err);
	if (!r)
		r = ruleset_add_guest(&elements, &p, guest, err);
	if (!r)
		r = ruleset_add_rates(&rates, &p, guest, rated, err);
	return r ? r : change_guest(base, &p, guest->number, &rates, rated, &elements, err);
}

int rules_remove_guest(
	const struct rules_base *base, const struct rules_guest *guest, struct err *err)
{
	CLEANUP_RULESET struct ruleset elements = { 0 };
	const struct ruleset none = { 0 };
	struct err why = { 0 };
	struct policy p;
	int r = check(base, &p, err);

	if (!r)
		r = ruleset_add_identity(&elements, &p, guest, err);
	/* Whatever rates it has by now. */
	if (!r)
		r = ruleset_add_rates(&elements, &p, guest, true, err);
	if (r)
		return r;
	r = change_guest(base, &p, guest->number, &elements, true, &none, &why);
	return !r || r == -ENOENT ? 0 : err_set(err, r, "%s", why.text);
}

static int collect_address(const struct rules_base *base, uint32_t number, const char *address,
	struct policy *ret_policy, struct ruleset *ret, struct err *err)
{
	int r = check(base, ret_policy, err);

	return r ? r : ruleset_add_address(ret, ret_policy, number, address, err);
}

int rules_add_address(const struct rules_base *base, uint32_t number, const char *address,
	struct err *err)
{
	CLEANUP_RULESET struct ruleset elements = { 0 };
	struct policy p;
	int r = collect_address(base, number, address, &p, &elements, err);

	return r ? r : add_elements(base, &p, &elements, err);
}

int rules_remove_address(const struct rules_base *base, uint32_t number, const char *address,
	struct err *err)
{
	CLEANUP_RULESET struct ruleset elements = { 0 };
	struct policy p;
	int r = collect_address(base, number, address, &p, &elements, err);

	return r ? r : remove_elements(base, &p, &elements, err);
}

static int collect_ports(const struct rules_port *ports, uint32_t count, struct ruleset *ret,
	struct err *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < count; i++)
		r = ruleset_add_port(ret, &ports[i], err);
	return r;
}

/* In one batch with the chains that translate, which may not be there yet. */
static int publish(const struct rules_base *base, struct policy *p, const struct ruleset *elements,
	struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	bool anyhow = policy_translates(p);
	int r = elements->n ? open_batch(base, &nl, err) : 0;

	if (r || !elements->n)
		return r;
	p->publishes = true;
	if (!anyhow)
		policy_put_translation(&nl, p, true);
	elements_put(&nl, p, NFT_MSG_NEWSETELEM, elements);
	return commit(&nl, p->subject, err);
}

int rules_add_ports(const struct rules_base *base, const struct rules_port *ports, uint32_t count,
	struct err *err)
{
	CLEANUP_RULESET struct ruleset elements = { 0 };
	struct policy p;
	int r;

	r = check(base, &p, err);
	if (!r)
		r = collect_ports(ports, count, &elements, err);
	return r ? r : publish(base, &p, &elements, err);
}

/* The published ports that the kernel has beside some. */
struct others {
	const struct ruleset *but;
	enum ruleset_set set;
	uint32_t n;
};

/* nftnl_set_elem_foreach() */
static int take_other(struct nftnl_set_elem *e, void *data)
{
	struct others *o = data;
	uint32_t len = 0;
	const void *key = nftnl_set_elem_get(e, NFTNL_SET_ELEM_KEY, &len);

	for (size_t i = 0; key && i < o->but->n; i++)
		if (o->but->of[i].set == o->set && len == ruleset_key_len(o->set) &&
			!memcmp(o->but->of[i].key, key, len))
			return 0;
	o->n++;
	return 0;
}

/* Whether there are such; true, too, where it cannot be known. */
static bool publishes_others(const struct policy *p, const struct ruleset *but)
{
	static const enum ruleset_set sets[] = { RULESET_PUBLISH4, RULESET_PUBLISH6 };
	struct others others = { .but = but };

	for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
		others.set = sets[i];
		if (listing_elements(p, ruleset_name(sets[i]), take_other, &others, NULL) != 0)
			return true;
	}
	return others.n > 0;
}

/* In one batch with the chains that translate, if they are no more needed. Whose turn it is, is alone. */
static int unpublish(const struct rules_base *base, struct policy *p, const struct ruleset *elements,
	struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct err why = { 0 };
	int r = elements->n ? open_batch(base, &nl, err) : 0;

	if (r || !elements->n)
		return r;
	put_removal(&nl, p, elements);
	if (!policy_translates(p) && !publishes_others(p, elements))
		policy_put_translation(&nl, p, false);
	r = commit(&nl, p->subject, &why);
	return r == -ENOENT ? 0 : r ? err_set(err, r, "%s", why.text) : 0;
}

int rules_remove_ports(const struct rules_base *base, const struct rules_port *ports,
	uint32_t count, struct err *err)
{
	CLEANUP_RULESET struct ruleset elements = { 0 };
	struct policy p;
	int r;

	r = check(base, &p, err);
	if (!r)
		r = collect_ports(ports, count, &elements, err);
	if (!r)
		r = unpublish(base, &p, &elements, err);
	return r ? r : rules_end_published(ports, count, err);
}

/* --- siblings --- */

struct siblings {
	const struct policy *policy;
	uint32_t index;
	uint32_t *of; /* whom the kernel lets it reach */
	uint32_t n;
};

/* nftnl_set_elem_foreach() */
static int take_sibling(struct nftnl_set_elem *e, void *data)
{
	struct siblings *s = data;
	uint32_t len = 0, key[2], number;
	const void *there = nftnl_set_elem_get(e, NFTNL_SET_ELEM_KEY, &len);

	if (!there || len != sizeof(key))
		return 0;
	memcpy(key, there, sizeof(key));
	if (key[0] != s->index || !link_number(s->policy->index, key[1], &number))
		return 0;
	s->of = reallocarray(s->of, s->n + 1, sizeof(*s->of));
	if (!s->of)
		abort();
	s->of[s->n++] = number;
	return 0;
}

/* What is in `a` and not in `b`, as both pairs of each. */
static int collect_siblings(const struct policy *p, uint32_t number, const uint32_t *a, uint32_t n_a,
	const uint32_t *b, uint32_t n_b, struct ruleset *ret, struct err *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < n_a; i++) {
		uint32_t j = 0;

		while (j < n_b && b[j] != a[i])
			j++;
		if (j < n_b)
			continue;
		r = ruleset_add_pair(ret, p, &(struct rules_pair){ number, a[i] }, err);
		if (r == 0)
			r = ruleset_add_pair(ret, p, &(struct rules_pair){ a[i], number }, err);
	}
	return r;
}

static int change_siblings(const struct rules_base *base, const struct policy *p, uint32_t number,
	const struct siblings *there, const uint32_t *others, uint32_t count, struct err *err)
{
	CLEANUP_RULESET struct ruleset gone = { 0 }, come = { 0 };
	CLEANUP_NETLINK struct netlink nl = { 0 };
	int r = collect_siblings(p, number, there->of, there->n, others, count, &gone, err);

	if (r == 0)
		r = collect_siblings(p, number, others, count, there->of, there->n, &come, err);
	if (r != 0 || (!gone.n && !come.n))
		return r;
	r = open_batch(base, &nl, err);
	if (r != 0)
		return r;
	/* Added first, so that the half that is not there does not keep the other. */
	elements_put(&nl, p, NFT_MSG_NEWSETELEM, &gone);
	elements_put(&nl, p, NFT_MSG_DELSETELEM, &gone);
	elements_put(&nl, p, NFT_MSG_NEWSETELEM, &come);
	return commit(&nl, p->subject, err);
}

int rules_set_siblings(const struct rules_base *base, uint32_t number, const uint32_t *others,
	uint32_t count, uint32_t **ret_gone, uint32_t *ret_n, struct err *err)
{
	struct policy p;
	struct siblings there = { .policy = &p };
	int r = check(base, &p, err);

	if (r != 0)
		return r;
	r = ruleset_index(&p, number, &there.index, err);
	if (r == 0)
		r = listing_elements(&p, POLICY_SIBLINGS, take_sibling, &there, err);
	if (r == 0)
		r = change_siblings(base, &p, number, &there, others, count, err);
	if (r != 0) {
		free(there.of);
		return r;
	}
	*ret_n = 0;
	for (uint32_t i = 0; i < there.n; i++) {
		uint32_t j = 0;

		while (j < count && others[j] != there.of[i])
			j++;
		if (j == count)
			there.of[(*ret_n)++] = there.of[i];
	}
	*ret_gone = there.of;
	return 0;
}

int rules_check_own(const struct rules_base *base, const struct rules_own *own, uint32_t count,
	struct err *err)
{
	struct policy p;
	int r = check(base, &p, err);

	return r ? r : own_check(&p, own, count, err);
}

static int collect_own(const struct rules_base *base, const struct rules_own *own, uint32_t count,
	struct policy *ret_policy, struct ruleset *ret, struct err *err)
{
	int r = check(base, ret_policy, err);

	return r ? r : own_add(ret, ret_policy, own, count, err);
}

int rules_add_own(const struct rules_base *base, const struct rules_own *own, uint32_t count,
	struct err *err)
{
	CLEANUP_RULESET struct ruleset elements = { 0 };
	struct policy p;
	int r = collect_own(base, own, count, &p, &elements, err);

	return r ? r : add_elements(base, &p, &elements, err);
}

int rules_remove_own(const struct rules_base *base, const struct rules_own *own, uint32_t count,
	struct err *err)
{
	CLEANUP_RULESET struct ruleset elements = { 0 };
	struct policy p;
	int r = collect_own(base, own, count, &p, &elements, err);

	return r ? r : remove_elements(base, &p, &elements, err);
}

/* What is in `a` and not in `b`; both are sorted. */
static void difference(const struct ruleset *a, const struct ruleset *b, struct ruleset *ret)
{
	for (size_t i = 0, j = 0; i < a->n; i++) {
		while (j < b->n && ruleset_compare(&b->of[j], &a->of[i]) < 0)
			j++;
		if (j == b->n || ruleset_compare(&b->of[j], &a->of[i]) != 0)
			*ruleset_add(ret, a->of[i].set) = a->of[i];
	}
}

/* Deleted first, since what comes may overlap what goes. */
static int change_elements(const struct rules_base *base, const struct policy *p,
	const struct ruleset *from, const struct ruleset *to, struct err *err)
{
	CLEANUP_RULESET struct ruleset gone = { 0 }, come = { 0 };
	CLEANUP_NETLINK struct netlink nl = { 0 };
	int r;

	difference(from, to, &gone);
	difference(to, from, &come);
	if (!gone.n && !come.n)
		return 0;
	r = open_batch(base, &nl, err);
	if (r)
		return r;
	elements_put(&nl, p, NFT_MSG_DELSETELEM, &gone);
	elements_put(&nl, p, NFT_MSG_NEWSETELEM, &come);
	return commit(&nl, p->subject, err);
}

int rules_change_own(const struct rules_base *base, const struct rules_own *from, uint32_t n_from,
	const struct rules_own *to, uint32_t n_to, struct err *err)
{
	CLEANUP_RULESET struct ruleset old = { 0 }, new = { 0 };
	struct policy p;
	int r;

	r = collect_own(base, from, n_from, &p, &old, err);
	if (!r)
		r = own_add(&new, &p, to, n_to, err);
	if (r)
		return r;
	ruleset_sort(&old);
	ruleset_sort(&new);
	return change_elements(base, &p, &old, &new, err);
}

int rules_remove(const struct rules_base *base, struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct policy p;
	int r;

	r = check(base, &p, err);
	if (!r)
		r = open_batch(base, &nl, err);
	if (r)
		return r;
	policy_put_table(&nl, &p, NFT_MSG_NEWTABLE, 0);
	policy_put_table(&nl, &p, NFT_MSG_DELTABLE, 0);
	return commit(&nl, p.subject, err);
}

int traffic_forget(const struct rules_base *base, uint32_t number, struct err *err)
{
	static const char *const sets[] = { POLICY_PLAIN_SENT, POLICY_PLAIN_RECEIVED,
					    POLICY_SENT,       POLICY_RECEIVED,
					    POLICY_DROPPED,    POLICY_DROPPED_ARP };
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct err why = { 0 };
	struct policy p;
	uint32_t index;
	int r = check(base, &p, err);

	if (!r)
		r = ruleset_index(&p, number, &index, err);
	if (!r)
		r = open_batch(base, &nl, err);
	if (r)
		return r;
	/* Added first, so that it can be deleted whether it is there or not. */
	for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
		elements_put_interface(&nl, &p, NFT_MSG_NEWSETELEM, sets[i], index, NULL);
		elements_put_interface(&nl, &p, NFT_MSG_DELSETELEM, sets[i], index, NULL);
	}
	r = commit(&nl, p.subject, &why);
	return r == -ENOENT ? 0 : r ? err_set(err, r, "%s", why.text) : 0;
}
