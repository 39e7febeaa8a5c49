/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Single rtnetlink(7) requests, each added to a batch. Computes only; internal to the folder. */
#ifndef VM2_FIREWALL_ROUTE_H
#define VM2_FIREWALL_ROUTE_H

#include "firewall/address.h"
#include "firewall/netlink.h"

/* One side of a pair to be made. */
struct route_side {
	const char *name;
	uint8_t mac[6];
	uint32_t index; /* of the host's side; 0: the kernel chooses */
};

/* Make a veth pair: host here, guest in the network namespace netns_fd; both down. */
void route_add_pair(struct netlink *nl, const struct route_side *host,
	const struct route_side *guest, int netns_fd, uint32_t mtu);

/* Delete an interface, and the other side of its pair with it. */
void route_delete_link(struct netlink *nl, const char *name);

/* Have an interface make no IPv6 address of its own (addrgenmode none). */
void route_no_own_address(struct netlink *nl, int ifindex);

void route_set_up(struct netlink *nl, int ifindex);
void route_set_down(struct netlink *nl, int ifindex);
void route_set_mtu(struct netlink *nl, int ifindex, uint32_t mtu);
void route_set_mac(struct netlink *nl, int ifindex, const uint8_t mac[6]);

/* Another name: before Linux 6.2 of an interface that is down only. */
void route_rename(struct netlink *nl, int ifindex, const char *name);

/* A port of a bridge, bond or the like no more. */
void route_set_free(struct netlink *nl, int ifindex);

/*
 * Ask for an interface that was set up. Linux lets it send only when a task in the background has
 * seen its carrier, which takes a second when much is going on, and drops what is sent before; who
 * asks has that done first (linkwatch_sync_dev(), Linux 6.7).
 */
void route_await_carrier(struct netlink *nl, int ifindex);

/* Add an address of a->prefix bits; an IPv6 one without duplicate detection. */
void route_add_address(struct netlink *nl, int ifindex, const struct address *a);

/*
 * Route `to` to the interface; by way of `via` when that is not NULL. to NULL: everything.
 * Refused (-EEXIST) where the same is routed already: an address is taken from nobody.
 */
void route_add_route(
	struct netlink *nl, int ifindex, const struct address *to, const struct address *via);

/* The same without `via`, where it is not refused: the one that leads elsewhere is replaced. */
void route_put_route(struct netlink *nl, int ifindex, const struct address *to);

/* Take them away again: an address, the route to one, a neighbour. */
void route_remove_address(struct netlink *nl, int ifindex, const struct address *a);
void route_remove_route(struct netlink *nl, int ifindex, const struct address *to);
void route_remove_neighbour(struct netlink *nl, int ifindex, const struct address *a);

/*
 * Ask how the namespace itself would reach an IPv6 address by this interface. Linux has an address that was added at
 * work only when a task in the background has put in the route to it (addrconf_dad_work()), which may be late
 * when much is going on: what comes for it before is lost, or sent back.
 */
void route_ask_local(struct netlink *nl, int ifindex, const struct address *a);

/* A reply (mnl_cb_t): add one to *(int *)count if it is the namespace's own. */
int route_count_local(const struct nlmsghdr *msg, void *count);

/* A permanent neighbour. */
void route_add_neighbour(
	struct netlink *nl, int ifindex, const struct address *a, const uint8_t mac[6]);

#endif
