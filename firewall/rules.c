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

#include "firewall/address.h"
#include "firewall/link.h"
#include "firewall/netlink.h"
#include "firewall/policy.h"
#include "firewall/restore.h"
#include "provision/base/cleanup.h"
#include "provision/base/str.h"

/* Elements of one message: their list's length is 16 bits (struct nlattr). */
#define ELEMENTS_MAX 512

/* A guest, checked: the key is its interface's name, zero-filled as the kernel has it. */
struct guest {
	char interface[IFNAMSIZ];
	struct address address4, address6;
};

static int check_guest(
	const struct policy *p, const struct rules_guest *g, struct guest *ret, struct err *err)
{
	struct guest c = { 0 };
	int r;

	link_name(p->table, g->number, c.interface);
	if (!*c.interface)
		return err_set(err, ERR_USAGE,
			"interface name %s-%u is longer than %d characters: "
			"use a shorter instance name",
			p->table, g->number, IFNAMSIZ - 1);
	r = address_parse(g->address4, AF_INET, &c.address4, err);
	if (!r)
		r = address_parse(g->address6, AF_INET6, &c.address6, err);
	if (r)
		return r;
	*ret = c;
	return 0;
}

static int check(const struct rules_base *base, struct policy *ret, struct err *err)
{
	return policy_make(base->instance, base->pool4, base->pool6, ret, err);
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

/* The elements of a set that guests are, as a list for one message; NULL when there are none. */
static struct nftnl_set *elements(
	const struct policy *p, const char *set, const struct guest *guests, uint32_t count)
{
	struct nftnl_set *s = nftnl_set_alloc();
	bool any = false;

	if (!s)
		abort();
	nftnl_set_set_str(s, NFTNL_SET_TABLE, p->table);
	nftnl_set_set_str(s, NFTNL_SET_NAME, set);
	for (uint32_t i = 0; i < count; i++) {
		const struct guest *g = &guests[i];
		const struct address *a = !strcmp(set, POLICY_SOURCE4) ? &g->address4 :
									 &g->address6;
		struct nftnl_set_elem *e;
		uint8_t key[IFNAMSIZ + 16];
		bool alone = !strcmp(set, POLICY_GUESTS);

		if (!alone && !a->family)
			continue;
		e = nftnl_set_elem_alloc();
		if (!e)
			abort();
		memcpy(key, g->interface, IFNAMSIZ);
		memcpy(key + IFNAMSIZ, a->bytes, 16);
		nftnl_set_elem_set(e, NFTNL_SET_ELEM_KEY, key, IFNAMSIZ + (alone ? 0 : a->len));
		nftnl_set_elem_add(s, e);
		any = true;
	}
	if (any)
		return s;
	nftnl_set_free(s);
	return NULL;
}

/* Add or delete (type) the elements that these guests are. */
static void put_elements(struct netlink *nl, const struct policy *p, uint16_t type,
	const struct guest *guests, uint32_t count)
{
	static const char *const names[] = { POLICY_SOURCE4, POLICY_SOURCE6, POLICY_GUESTS };
	bool new = type == NFT_MSG_NEWSETELEM;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct nftnl_set *s = elements(p, names[i], guests, count);
		struct nlmsghdr *msg;

		if (!s)
			continue;
		msg = nftnl_nlmsg_build_hdr(
			netlink_room(nl, POLICY_ROOM + count * POLICY_ELEMENT_ROOM,
				new ? "add a guest's elements" : "delete a guest's elements"),
			type, NFPROTO_INET, new ? NLM_F_CREATE : 0, nl->next_seq);
		nftnl_set_elems_nlmsg_build_payload(msg, s);
		netlink_commit(nl, msg);
		nftnl_set_free(s);
	}
}

static int open_batch(const struct rules_base *base, struct netlink *nl, struct err *err)
{
	int r = netlink_borrow(nl, base->run, err);

	if (!r)
		begin(nl);
	return r;
}

/* The whole table with these guests, in a batch that was begun. */
static int restore(struct netlink *nl, const struct policy *p, const struct guest *guests,
	uint32_t count, struct err *err)
{
	/* Added first, so that it can be deleted whether it was there or not. */
	policy_put_table(nl, p, NFT_MSG_NEWTABLE, 0);
	policy_put_table(nl, p, NFT_MSG_DELTABLE, 0);
	policy_put_table(
		nl, p, NFT_MSG_NEWTABLE, nl->own ? POLICY_TABLE_OWNER | POLICY_TABLE_PERSIST : 0);
	policy_put_contents(nl, p);
	for (uint32_t i = 0; i < count; i += ELEMENTS_MAX)
		put_elements(nl, p, NFT_MSG_NEWSETELEM, guests + i,
			count - i < ELEMENTS_MAX ? count - i : ELEMENTS_MAX);
	return commit(nl, p->subject, err);
}

int rules_restore_on(struct netlink *nl, const struct rules_base *base,
	const struct rules_guest *guests, uint32_t count, struct err *err)
{
	CLEANUP_FREE struct guest *checked = NULL;
	struct policy p;
	int r;

	r = check(base, &p, err);
	if (r)
		return r;
	checked = xcalloc((size_t)count + 1, sizeof(*checked));
	for (uint32_t i = 0; i < count; i++) {
		r = check_guest(&p, &guests[i], &checked[i], err);
		if (r)
			return r;
	}
	begin(nl);
	return restore(nl, &p, checked, count, err);
}

int rules_restore(const struct rules_base *base, const struct rules_guest *guests, uint32_t count,
	struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct policy p;
	int r = check(base, &p, err);

	if (!r)
		r = netlink_borrow(&nl, base->run, err);
	return r ? r : rules_restore_on(&nl, base, guests, count, err);
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

int rules_add_guest(const struct rules_base *base, const struct rules_guest *guest, struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct policy p;
	struct guest g;
	int r;

	r = check(base, &p, err);
	if (!r)
		r = check_guest(&p, guest, &g, err);
	if (!r)
		r = open_batch(base, &nl, err);
	if (r)
		return r;
	put_elements(&nl, &p, NFT_MSG_NEWSETELEM, &g, 1);
	return commit(&nl, p.subject, err);
}

int rules_remove_guest(
	const struct rules_base *base, const struct rules_guest *guest, struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct err why = { 0 };
	struct policy p;
	struct guest g;
	int r;

	r = check(base, &p, err);
	if (!r)
		r = check_guest(&p, guest, &g, err);
	if (!r)
		r = open_batch(base, &nl, err);
	if (r)
		return r;
	/* Added first, so that those that are missing do not keep the others. */
	put_elements(&nl, &p, NFT_MSG_NEWSETELEM, &g, 1);
	put_elements(&nl, &p, NFT_MSG_DELSETELEM, &g, 1);
	r = commit(&nl, p.subject, &why);
	if (r == -ENOENT)
		return 0;
	return r ? err_set(err, r, "%s", why.text) : 0;
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
