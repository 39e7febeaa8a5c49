/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Before <linux/in.h>, which yields to it. */
#include <netinet/in.h>

#include "firewall/listing.h"

#include <libnftnl/common.h>
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

int listing_elements(const struct policy *p, const char *set,
	int (*fn)(struct nftnl_set_elem *element, void *data), void *data, struct err *err)
{
	struct listing listing = { fn, data };
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct nftnl_set *s = nftnl_set_alloc();
	struct nlmsghdr *msg;
	int r = netlink_open(&nl, NETLINK_NETFILTER, err);

	if (!s)
		abort();
	if (r == 0) {
		nftnl_set_set_str(s, NFTNL_SET_TABLE, p->table);
		nftnl_set_set_str(s, NFTNL_SET_NAME, set);
		msg = nftnl_nlmsg_build_hdr(netlink_room(&nl, POLICY_ROOM, "list its elements"),
			NFT_MSG_GETSETELEM, policy_family(set), NLM_F_DUMP, nl.next_seq);
		nftnl_set_elems_nlmsg_build_payload(msg, s);
		netlink_commit(&nl, msg);
		r = netlink_exchange(&nl, p->subject, take_elements, &listing, err);
	}
	nftnl_set_free(s);
	return r;
}
