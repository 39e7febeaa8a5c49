/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/traffic.h"

/* Before <linux/in.h>, which yields to it. */
#include <netinet/in.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>

#include "firewall/link.h"
#include "firewall/listing.h"
#include "firewall/policy.h"
#include "firewall/ruleset.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

#define TRIES	   3

void traffic_free(struct traffic *t)
{
	free(t->of);
	*t = (struct traffic){ 0 };
}

static struct traffic_count *count_of(struct traffic *t, uint32_t number)
{
	if (number >= t->n) {
		uint32_t n = number + number / 2 + 16;

		t->of = reallocarray(t->of, n, sizeof(*t->of));
		if (!t->of)
			abort();
		memset(t->of + t->n, 0, (n - t->n) * sizeof(*t->of));
		t->n = n;
	}
	return &t->of[number];
}

struct reading {
	const struct policy *policy;
	struct traffic *traffic;
	void (*add)(struct traffic_count *c, uint64_t packets, uint64_t bytes);
};

static void add_sent(struct traffic_count *c, uint64_t packets, uint64_t bytes)
{
	c->sent_packets += packets;
	c->sent_bytes += bytes;
}

static void add_received(struct traffic_count *c, uint64_t packets, uint64_t bytes)
{
	c->received_packets += packets;
	c->received_bytes += bytes;
}

/* By IP and by ARP. */
static void add_dropped(struct traffic_count *c, uint64_t packets, uint64_t bytes)
{
	(void)bytes;
	c->dropped += packets;
}

/* Those first that others go on in (carry.h): what moves meanwhile is missed, and not counted twice. */
static const struct {
	const char *set;
	void (*add)(struct traffic_count *c, uint64_t packets, uint64_t bytes);
} sources[] = {
	{ POLICY_SENT, add_sent },	 { POLICY_RECEIVED, add_received },
	{ POLICY_PLAIN_SENT, add_sent }, { POLICY_PLAIN_RECEIVED, add_received },
	{ POLICY_DROPPED, add_dropped }, { POLICY_DROPPED_ARP, add_dropped },
};

/* nftnl_set_elem_foreach */
static int take_element(struct nftnl_set_elem *e, void *data)
{
	const struct reading *r = data;
	uint32_t key_len = 0, index, number;
	const void *key = nftnl_set_elem_get(e, NFTNL_SET_ELEM_KEY, &key_len);
	struct elements_count count;

	if (!key || key_len != sizeof(index) || !listing_count(e, &count) || !count.packets)
		return 0;
	memcpy(&index, key, sizeof(index));
	if (!link_number(r->policy->index, index, &number))
		return 0;
	r->add(count_of(r->traffic, number), count.packets, count.bytes);
	return 0;
}

static int read_sets(const struct policy *p, struct traffic *ret, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(sources); i++) {
		struct reading reading = { p, ret, sources[i].add };

		r = listing_elements(p, sources[i].set, take_element, &reading, err);
	}
	return r;
}

/* mnl_cb_t */
static int take_table(const struct nlmsghdr *msg, void *ret)
{
	struct nftnl_table *t = nftnl_table_alloc();

	if (!t)
		abort();
	if (nftnl_table_nlmsg_parse(msg, t) == 0)
		*(uint64_t *)ret = nftnl_table_get_u64(t, NFTNL_TABLE_HANDLE);
	nftnl_table_free(t);
	return MNL_CB_OK;
}

/* The kernel numbers the tables that it had since it was booted: this one's number. */
static int read_handle(const struct policy *p, uint64_t *ret, struct err *err)
{
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct nftnl_table *t = nftnl_table_alloc();
	struct nlmsghdr *msg;
	int r = netlink_open(&nl, NETLINK_NETFILTER, err);

	if (!t)
		abort();
	if (r == 0) {
		nftnl_table_set_str(t, NFTNL_TABLE_NAME, p->table);
		msg = nftnl_nlmsg_build_hdr(netlink_room(&nl, POLICY_ROOM, "look for it"),
			NFT_MSG_GETTABLE, NFPROTO_INET, NLM_F_ACK, nl.next_seq);
		nftnl_table_nlmsg_build_payload(msg, t);
		netlink_commit(&nl, msg);
		r = netlink_exchange(&nl, p->subject, take_table, ret, err);
	}
	nftnl_table_free(t);
	return r;
}

/* Which boot this is, as a number that is never 0: FNV-1a of random/boot_id. */
static uint64_t boot_number(void)
{
	char text[64] = "";
	uint64_t hash = 14695981039346656037ULL;

	(void)fd_read_path(AT_FDCWD, "/proc/sys/kernel/random/boot_id", text, sizeof(text));
	for (const char *c = text; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 1099511628211ULL;
	return hash | 1;
}

/* The same table before and after is the same table between. */
static int read_all(const struct policy *p, struct traffic *ret, struct err *err)
{
	uint64_t before = 0, after = 1;
	int r = 0;

	for (int i = 0; r == 0 && before != after && i < TRIES; i++) {
		traffic_free(ret);
		r = read_handle(p, &before, err);
		if (r == 0)
			r = read_sets(p, ret, err);
		if (r == 0)
			r = read_handle(p, &after, err);
	}
	if (r == 0 && before != after)
		return err_set(err, -EAGAIN, "%s: it is replaced again and again", p->subject);
	/* Each table of each boot has another. */
	ret->epoch = boot_number() + 2 * before;
	return r;
}

int traffic_read(const struct rules_base *base, struct traffic *ret, struct err *err)
{
	struct err why = { 0 };
	struct policy p;
	int r;

	if (policy_make(base, &p, err) != 0)
		return -EINVAL;
	r = read_all(&p, ret, &why);
	if (r == 0)
		return 0;
	traffic_free(ret);
	return r == -ENOENT ? 0 : err_set(err, r, "%s", why.text);
}
