/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Before <linux/in.h>, which yields to it. */
#include <netinet/in.h>

#include "firewall/listing.h"

#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>

struct listing {
	int (*fn)(struct nftnl_set_elem *element, void *data);
	void *data;
};

/* mnl_cb_t */
static int take_elements(const struct nlmsghdr *msg, void *data)
{
	const struct listing *l = data;
	struct nftnl_set *s = nftnl_set_alloc();

	if (!s)
		abort();
	if (nftnl_set_elems_nlmsg_parse(msg, s) == 0)
		nftnl_set_elem_foreach(s, l->fn, l->data);
	nftnl_set_free(s);
	return MNL_CB_OK;
}

static void *must(void *p)
{
	return p ?: (abort(), NULL);
}

/* Ask for the elements of `s`, or for all of the set (flags: NLM_F_DUMP). */
static int ask(struct netlink *nl, const struct policy *p, struct nftnl_set *s, uint16_t flags,
	       struct listing *listing, struct err *err)
{
	uint8_t family = policy_family(nftnl_set_get_str(s, NFTNL_SET_NAME));
	struct nlmsghdr *msg =
		nftnl_nlmsg_build_hdr(netlink_room(nl, POLICY_ROOM, "list its elements"),
				      NFT_MSG_GETSETELEM, family, flags, nl->next_seq);

	nftnl_set_elems_nlmsg_build_payload(msg, s);
	netlink_commit(nl, msg);
	return netlink_exchange(nl, p->subject, take_elements, listing, err);
}

static struct nftnl_set *begin(const struct policy *p, const char *set)
{
	struct nftnl_set *s = must(nftnl_set_alloc());

	nftnl_set_set_str(s, NFTNL_SET_TABLE, p->table);
	nftnl_set_set_str(s, NFTNL_SET_NAME, set);
	return s;
}

int listing_elements(const struct policy *p, const char *set,
	int (*fn)(struct nftnl_set_elem *element, void *data), void *data, struct err *err)
{
	struct listing listing = { fn, data };
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct nftnl_set *s = begin(p, set);
	int r = netlink_open(&nl, NETLINK_NETFILTER, err);

	if (r == 0)
		r = ask(&nl, p, s, NLM_F_DUMP, &listing, err);
	nftnl_set_free(s);
	return r;
}

int listing_interface(struct netlink *nl, const struct policy *p, const char *set, uint32_t index,
		      int (*fn)(struct nftnl_set_elem *element, void *data), void *data,
		      struct err *err)
{
	struct listing listing = { fn, data };
	struct nftnl_set_elem *e = must(nftnl_set_elem_alloc());
	struct nftnl_set *s = begin(p, set);
	int r;

	nftnl_set_elem_set(e, NFTNL_SET_ELEM_KEY, &index, sizeof(index));
	nftnl_set_elem_add(s, e);
	r = ask(nl, p, s, NLM_F_ACK, &listing, err);
	nftnl_set_free(s);
	return r;
}

bool listing_count(struct nftnl_set_elem *element, struct elements_count *ret)
{
	uint32_t len = 0;
	const struct nftnl_expr *counter = nftnl_set_elem_get(element, NFTNL_SET_ELEM_EXPR, &len);

	if (!counter)
		return false;
	*ret = (struct elements_count){ nftnl_expr_get_u64(counter, NFTNL_EXPR_CTR_PACKETS),
					nftnl_expr_get_u64(counter, NFTNL_EXPR_CTR_BYTES) };
	return true;
}
