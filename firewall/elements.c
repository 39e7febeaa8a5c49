/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/elements.h"

/* Before <linux/in.h>, which yields to it. */
#include <netinet/in.h>

#include <libnftnl/common.h>
#include <libnftnl/set.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>

/* Elements of one message: their list's length is 16 bits (struct nlattr). */
#define ELEMENTS_MAX 400

static void put_list(struct netlink *nl, uint16_t type, struct nftnl_set *s, size_t count)
{
	uint8_t family = policy_family(nftnl_set_get_str(s, NFTNL_SET_NAME));
	bool new = type == NFT_MSG_NEWSETELEM;
	struct nlmsghdr *msg =
		nftnl_nlmsg_build_hdr(netlink_room(nl, POLICY_ROOM + count * POLICY_ELEMENT_ROOM,
						   new ? "add elements" : "delete elements"),
				      type, family, new ? NLM_F_CREATE : 0, nl->next_seq);

	nftnl_set_elems_nlmsg_build_payload(msg, s);
	netlink_commit(nl, msg);
	nftnl_set_free(s);
}

static struct nftnl_set *begin_list(const struct policy *p, enum ruleset_set set)
{
	struct nftnl_set *s = nftnl_set_alloc();

	if (!s)
		abort();
	nftnl_set_set_str(s, NFTNL_SET_TABLE, p->table);
	nftnl_set_set_str(s, NFTNL_SET_NAME, ruleset_name(set));
	return s;
}

void elements_put_interface(struct netlink *nl, const struct policy *p, uint16_t type,
			    const char *set, uint32_t index, const struct elements_count *count)
{
	struct nftnl_set_elem *elem = nftnl_set_elem_alloc();
	struct nftnl_set *s = nftnl_set_alloc();

	if (!s || !elem)
		abort();
	nftnl_set_set_str(s, NFTNL_SET_TABLE, p->table);
	nftnl_set_set_str(s, NFTNL_SET_NAME, set);
	nftnl_set_elem_set(elem, NFTNL_SET_ELEM_KEY, &index, sizeof(index));
	if (count)
		nftnl_set_elem_add_expr(elem, expr_counter(count->packets, count->bytes));
	nftnl_set_elem_add(s, elem);
	put_list(nl, type, s, 1);
}

static void add_element(struct nftnl_set *s, const struct ruleset_element *e)
{
	struct nftnl_set_elem *elem = nftnl_set_elem_alloc();
	uint32_t data_len = ruleset_data_len(e->set);

	if (!elem)
		abort();
	nftnl_set_elem_set(elem, NFTNL_SET_ELEM_KEY, e->key, ruleset_key_len(e->set));
	if (ruleset_has_ranges(e->set)) {
		nftnl_set_elem_set(elem, NFTNL_SET_ELEM_KEY_END, e->key_end,
				   ruleset_key_len(e->set));
		nftnl_set_elem_set_u32(elem, NFTNL_SET_ELEM_VERDICT,
				       e->data[0] == NF_ACCEPT ? (uint32_t)NFT_RETURN : NF_DROP);
	} else if (data_len) {
		nftnl_set_elem_set(elem, NFTNL_SET_ELEM_DATA, e->data, data_len);
	}
	if (ruleset_unit(e->set))
		nftnl_set_elem_add_expr(elem, expr_limit(ruleset_unit(e->set), e->rate));
	nftnl_set_elem_add(s, elem);
}

void elements_put(struct netlink *nl, const struct policy *p, uint16_t type,
		  const struct ruleset *elements)
{
	for (int set = 0; set < RULESET_SETS; set++) {
		struct nftnl_set *s = NULL;
		size_t count = 0;

		for (size_t i = 0; i < elements->n; i++) {
			if (elements->of[i].set != set)
				continue;
			if (!s)
				s = begin_list(p, set);
			add_element(s, &elements->of[i]);
			if (++count < ELEMENTS_MAX)
				continue;
			put_list(nl, type, s, count);
			s = NULL;
			count = 0;
		}
		if (s)
			put_list(nl, type, s, count);
	}
}
