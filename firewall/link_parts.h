/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What makes a link and what looks after it have in common. Internal to the folder. */
#ifndef VM2_FIREWALL_LINK_PARTS_H
#define VM2_FIREWALL_LINK_PARTS_H

#include <net/if.h>

#include "firewall/address.h"
#include "firewall/link.h"
#include "firewall/netlink.h"
#include "firewall/route.h"

/* More further addresses than a guest can have. */
#define LINK_MORE_MAX 32

/* A setting of the host side's: /proc/sys/net/FAMILY/conf/INTERFACE/NAME. */
struct link_setting {
	const char *family;
	const char *name;
	const char *value;
	int index; /* IPV4_DEVCONF_... of <linux/ip.h>, or DEVCONF_... of <linux/ipv6.h> */
};

#define LINK_SETTINGS 12
extern const struct link_setting link_settings[LINK_SETTINGS];

/* A link that is made, or looked after. */
struct link {
	char name[IFNAMSIZ];
	struct route_side host, guest;
	struct address address4, address6;
	struct address gateway4, gateway6, local6; /* single addresses */
	int host_index, guest_index;
	struct address more[LINK_MORE_MAX]; /* further addresses */
	int n_more;
	bool has4, has6; /* an address of this family */
	bool ipv6;	 /* neither side has IPv6 disabled */
	bool again; /* it is there: what is missing is added, and routes of further addresses are let be */
};

/* The name in *ret (IFNAMSIZ bytes), or ERR_USAGE: an instance or a number that cannot be. */
int link_check_name(const char *instance, uint32_t number, char ret[16], struct err *err);

/* What spec says, as bytes; names of *ret are of *ret itself and of constants. 0 or ERR_USAGE. */
int link_prepare(const struct link_spec *spec, struct link *ret, struct err *err);

/* Write the settings; proc is of fd_proc(). 0 or -errno. */
int link_apply_settings(const struct link *l, int proc, struct err *err);

/* Set the host side up, with its addresses, neighbours and, last, routes: until then no packet finds the guest. */
int link_configure_host(const struct link *l, struct netlink *nl, struct err *err);

/* Until what link_configure_host() did is at work on both sides: no error, it comes in any case. */
void link_await(const struct link *l, struct netlink *host, int proc, int netns_fd);

/* Call fn with the first address, if it is of this family, and the further ones that are. */
void link_each_of(const struct link *l, struct netlink *nl, int family,
		  void (*fn)(const struct link *l, struct netlink *nl, const struct address *a));

#endif
