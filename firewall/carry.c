/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/carry.h"

/* Before <linux/in.h>, which yields to it. */
#include <netinet/in.h>

#include <errno.h>
#include <linux/netfilter/nf_tables.h>

#include "firewall/listing.h"

static const struct {
	const char *plain, *kept;
} ways[CARRY_WAYS] = { { POLICY_PLAIN_SENT, POLICY_SENT },
		       { POLICY_PLAIN_RECEIVED, POLICY_RECEIVED } };

/* nftnl_set_elem_foreach() */
static int add_count(struct nftnl_set_elem *e, void *data)
{
	struct elements_count *sum = data, count;

	if (!listing_count(e, &count))
		return 0;
	sum->packets += count.packets;
	sum->bytes += count.bytes;
	return 0;
}

/* None there is success. */
static int add_of(struct netlink *nl, const struct policy *p, const char *set, uint32_t index,
		  struct elements_count *sum, struct err *err)
{
	struct err why = { 0 };
	int r = listing_interface(nl, p, set, index, add_count, sum, &why);

	return r == 0 || r == -ENOENT ? 0 : err_set(err, r, "%s", why.text);
}

int carry_read(struct netlink *nl, const struct policy *p, uint32_t index, struct carry *ret,
	       struct err *err)
{
	int r = 0;

	*ret = (struct carry){ 0 };
	for (int i = 0; r == 0 && i < CARRY_WAYS; i++) {
		r = add_of(nl, p, ways[i].plain, index, &ret->of[i], err);
		/* What is not to be carried stays where it is. */
		if (r == 0 && ret->of[i].packets)
			r = add_of(nl, p, ways[i].kept, index, &ret->of[i], err);
	}
	return r;
}

void carry_put(struct netlink *nl, const struct policy *p, uint32_t index, const struct carry *c)
{
	for (int i = 0; i < CARRY_WAYS; i++) {
		if (!c->of[i].packets)
			continue;
		/* Added first, so that it can be deleted whether it is there or not. */
		elements_put_interface(nl, p, NFT_MSG_NEWSETELEM, ways[i].kept, index, NULL);
		elements_put_interface(nl, p, NFT_MSG_DELSETELEM, ways[i].kept, index, NULL);
		elements_put_interface(nl, p, NFT_MSG_NEWSETELEM, ways[i].kept, index, &c->of[i]);
	}
}
