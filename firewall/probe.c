/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `vm2 host check` asks of the firewall; changes nothing. */
/* Before <linux/in.h>, which yields to it. */
#include <netinet/in.h>

#include <errno.h>
#include <fcntl.h>
#include <libnftnl/common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

#include "firewall/netlink.h"
#include "firewall/policy.h"
#include "firewall/route.h"
#include "firewall/rules.h"
#include "provision/base/cleanup.h"

/* Bare words: never the name of an instance, since '!' cannot be in one. */
#define PROBE_TABLE "vm2_probe!"

/* A batch that is not closed is checked by the kernel, whole, and then dropped (nft --check). */
static int check_table(void)
{
	static const struct rules_base base = { .instance = "probe",
		.pool4 = "10.0.0.0/8",
		.pool6 = "fd00::/8",
		.connections = 1,
		.new_connections = 1,
		.fragments = 1 };
	CLEANUP_NETLINK struct netlink nl = { 0 };
	struct policy p;
	int r;

	r = netlink_open(&nl, NETLINK_NETFILTER, NULL);
	if (r)
		return r;
	r = policy_make(&base, &p, NULL);
	if (r)
		return r;
	p.table = PROBE_TABLE;
	netlink_commit(&nl, nftnl_batch_begin(netlink_room(&nl, 64, "begin"), nl.next_seq));
	policy_put_table(&nl, &p, NFT_MSG_NEWTABLE, 0);
	policy_put_contents(&nl, &p);
	netlink_want_ack(&nl);
	return netlink_exchange(&nl, p.subject, NULL, NULL, NULL);
}

/* An interface cannot have this address, but only a kernel that knows veth looks at it. */
static int check_veth(void)
{
	static const struct route_side host = { "vm2-probe-host", { 0 } },
				       peer = { "vm2-probe-peer", { 0 } };
	CLEANUP_CLOSE int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	CLEANUP_NETLINK struct netlink nl = { 0 };
	int r;

	r = netlink_open(&nl, NETLINK_ROUTE, NULL);
	if (r)
		return r;
	route_add_pair(&nl, &host, &peer, own, 0);
	r = netlink_exchange(&nl, "veth", NULL, NULL, NULL);
	return r == -EADDRNOTAVAIL ? 0 : r;
}

const char *firewall_probe(void)
{
	int r = check_veth();

	if (r == -EPERM || r == -EACCES)
		return "not permitted to change interfaces: CAP_NET_ADMIN is missing";
	if (r < 0)
		return "the kernel has no veth interfaces: it needs CONFIG_VETH (modprobe veth)";
	r = check_table();
	if (r == -EPERM || r == -EACCES)
		return "not permitted to change nftables: CAP_NET_ADMIN is missing";
	if (r == -EPROTONOSUPPORT || r == -EINVAL)
		return "the kernel has no nftables: it needs CONFIG_NF_TABLES (modprobe nf_tables)";
	if (r < 0)
		return "the kernel lacks a part of nftables: it needs CONFIG_NF_TABLES_INET, "
		       "NF_TABLES_ARP, "
		       "NFT_CT, NFT_CONNLIMIT, NFT_LIMIT, NFT_FIB_INET, NFT_NAT and NFT_MASQ";
	return NULL;
}
