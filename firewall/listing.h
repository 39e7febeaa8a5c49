/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel has in a set of the table. */
#ifndef VM2_FIREWALL_LISTING_H
#define VM2_FIREWALL_LISTING_H

#include <libnftnl/set.h>

#include "firewall/elements.h"
#include "firewall/policy.h"
#include "provision/base/err.h"

/*
 * Call fn (nftnl_set_elem_foreach(): it returns 0) with each element of the set of that name. 0; -ENOENT
 * when there is no such set, with nothing called; or -errno.
 */
int listing_elements(const struct policy *p, const char *set,
	int (*fn)(struct nftnl_set_elem *element, void *data), void *data, struct err *err);

/* The same by a socket that is open, with the one element of a set of interfaces. -ENOENT: there is none, or no such set. */
int listing_interface(struct netlink *nl, const struct policy *p, const char *set, uint32_t index,
		      int (*fn)(struct nftnl_set_elem *element, void *data), void *data,
		      struct err *err);

/* What an element's counter has counted; false: it has none. */
bool listing_count(struct nftnl_set_elem *element, struct elements_count *ret);

#endif
