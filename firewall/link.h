/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Virtual interfaces: one routed veth per guest, by rtnetlink. Host side INSTANCE-<number>, guest
 * side eth0 in the guest's network namespace, link-local next hops, no bridge: no tenant shares a
 * layer-2 segment with another.
 */
#ifndef VM2_FIREWALL_LINK_H
#define VM2_FIREWALL_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "provision/base/err.h"

/* Next hops that guests use; the same on every link (RFC 3927, RFC 4291 2.5.6). */
#define LINK_GATEWAY4 "169.254.1.1"
#define LINK_GATEWAY6 "fe80::1"

/* Each guest's own link-local address: its link is its alone, so all can have the same. */
#define LINK_GUEST6 "fe80::2"

/* What a link is. Strings belong to the caller. */
struct link_spec {
	const char *instance; /* prefix of the host side's name, at most 8 bytes */
	uint32_t number;      /* of the guest */
	const char *address4; /* the guest's, or NULL */
	const char *address6; /* the guest's, or NULL */
	uint32_t mtu;	      /* bytes */
	const char *more;     /* further addresses, separated by spaces, or NULL */
};

/*
 * The host side's name, "INSTANCE-<number>" (IFNAMSIZ bytes); "" when it would be longer than an
 * interface's name can be.
 */
void link_name(const char *instance, uint32_t number, char ret[16]);

/*
 * The host side's interface index is chosen here too, so that rules know a guest by it: loading four bytes
 * costs a packet less than a name. The bits of LINK_INDEX_MASK say the instance, and are never all zero: the
 * kernel counts up from 1. The others say the number.
 */
#define LINK_INDEX_MASK 0x7ff00000U
#define LINK_NUMBER_MAX 0x000fffffU

/* What all indexes of an instance's guests begin with; two instances share one in 1 of 2,047 cases. */
uint32_t link_index_base(const char *instance);

/* The number (to LINK_NUMBER_MAX) of the guest that has this index, in *ret; false: no guest of this base has. */
bool link_number(uint32_t base, uint32_t index, uint32_t *ret);

/* The link's MACs, which follow from the number: guest side or host side. */
void link_mac(uint32_t number, bool guest_side, uint8_t ret[6]);

/*
 * link_begin(): make the pair, give the guest side to the network namespace netns_fd as eth0 with its addresses,
 * a deterministic MAC, default routes and loopback up. No packet passes. An older link of the same
 * name is replaced.
 * link_open(): give the host side its next-hop addresses, strict reverse-path filter and the routes to
 * the guest, and set it up. The rules of the guest must be in the kernel before (rules_add_guest).
 * link_at_work(): wait until its addresses are; some do not come at once.
 * link_up(): the three.
 * All are called in the host's network namespace. On failure nothing is left. proc is a proc, and best one of the
 * caller's own: what is looked at in there stays in the host's memory as long as there is the link. *ret (NULL on
 * failure) is to be freed.
 * Where either side has IPv6 disabled (disable_ipv6), the link comes up with IPv4 alone.
 * ERR_USAGE for a name or address that cannot be; -EEXIST when the address is another link's, or
 * the guest has an eth0 already; else 0 or -errno.
 *
 * What it leaves to the set-up of the host: net.ipv4.ip_forward=1 (for the host's own interfaces)
 * and net.ipv6.conf.all.forwarding=1, which Linux has for all interfaces at once only. The kernel
 * takes the greater of net.ipv4.conf.all.rp_filter and the link's own 1, so a host with 2 there
 * (loose) leaves spoofing to the rules, which stop it either way.
 */
struct link_begun;
int link_begin(const struct link_spec *spec, int netns_fd, int proc, struct link_begun **ret,
	       struct err *err);
int link_open(struct link_begun *begun, struct err *err);
void link_at_work(struct link_begun *begun);
void link_begun_free(struct link_begun *begun);
int link_up(const struct link_spec *spec, int netns_fd, struct err *err);

/*
 * Give a guest that has a link, and an address of the same family, one more; or take it away. netns_fd
 * as above, or a pidfd of a process in the namespace. add: its rules must be in the kernel before; an
 * address that is routed elsewhere is -EEXIST. remove: not there is success.
 */
int link_add_address(const char *instance, uint32_t number, int netns_fd, const char *address,
	struct err *err);
int link_remove_address(const char *instance, uint32_t number, int netns_fd, const char *address,
	struct err *err);

/*
 * Call fn with each single address that the host has a route to by a guest's link: what a guest has. A change
 * begins with the route or ends with it, so that where one was cut short, it shows here. 0 or -errno.
 */
int link_each_address(const char *instance,
	void (*fn)(void *data, uint32_t number, const char *address), void *data, struct err *err);

/*
 * Have both sides of a link have this MTU; netns_fd as above. A guest that took its side away, or has no
 * link, is success.
 */
int link_set_mtu(
	const char *instance, uint32_t number, int netns_fd, uint32_t mtu, struct err *err);

/* What of a link somebody changed. */
enum link_fault {
	LINK_CHANGED,
	LINK_FURTHER, /* the route to one of the further addresses alone */
};

/*
 * Compare the host side of a link, found by its index, with what link_up() made: name, up, MAC, MTU, being nobody's
 * port, settings, its own addresses, neighbours, and where the host would send what is for the guest. fn gets each
 * difference in words ("it is down"; while it is down, that alone). 0; -ENODEV: there is none; or -errno.
 */
int link_verify(const struct link_spec *spec,
		void (*fn)(void *data, enum link_fault fault, const char *what), void *data,
		struct err *err);

/*
 * Have the host side again as link_up() made it, without a moment in which what is right is away (but for another
 * name, before which it is set down). Routes that lead elsewhere are replaced; those of further addresses are let be,
 * since they may be on their way to another. netns_fd as for link_add_address(). The rules of the guest must be in the kernel. -ENODEV as above.
 */
int link_mend(const struct link_spec *spec, int netns_fd, struct err *err);

/* Whether there is one, by its index or its name. */
bool link_there(const char *instance, uint32_t number);

/*
 * A socket that gets to know what is done to links: *ret, to be closed. link_watch_read() calls fn with the number of
 * each guest of which the link was changed, or lost something, by whomever, more than once perhaps, until nothing is
 * left to read; -ENOBUFS: more was done than could be followed. A route that is replaced by another's it does not see.
 */
int link_watch_open(int *ret, struct err *err);
int link_watch_read(int watch, const char *instance, void (*fn)(void *data, uint32_t number),
		    void *data);

/* Delete the host side, and with it the pair and its routes. Not there is success. */
int link_down(const char *instance, uint32_t number, struct err *err);

#endif
