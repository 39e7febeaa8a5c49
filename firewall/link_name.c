/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What follows from a guest's number: the name, the index and the addresses of its link. */
#include "firewall/link_parts.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "firewall/address.h"

void link_name(const char *instance, uint32_t number, char ret[16])
{
	if (snprintf(ret, IFNAMSIZ, "%s-%u", instance, number) >= IFNAMSIZ)
		ret[0] = '\0';
}

/* FNV-1a of 32 bits (RFC 9923) */
uint32_t link_index_base(const char *instance)
{
	uint32_t hash = 2166136261U, all = LINK_INDEX_MASK / (LINK_NUMBER_MAX + 1);

	for (const char *c = instance; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619U;
	return (1 + hash % all) * (LINK_NUMBER_MAX + 1);
}

bool link_number(uint32_t base, uint32_t index, uint32_t *ret)
{
	*ret = index & LINK_NUMBER_MAX;
	return (index & ~LINK_NUMBER_MAX) == base;
}

void link_mac(uint32_t number, bool guest_side, uint8_t ret[6])
{
	/* 0x02: locally administered, unicast (IEEE 802, 8.2). */
	const uint8_t mac[6] = { 0x02,	       guest_side ? 'g' : 'h',
				 number >> 24, number >> 16,
				 number >> 8,  number };

	memcpy(ret, mac, sizeof(mac));
}

int link_check_name(const char *instance, uint32_t number, char ret[IFNAMSIZ], struct err *err)
{
	int r = address_check_instance(instance, err);

	if (r)
		return r;
	link_name(instance, number, ret);
	if (!*ret)
		return err_set(err, ERR_USAGE,
			       "interface name %s-%u is longer than %d characters: "
			       "use a shorter instance name",
			       instance, number, IFNAMSIZ - 1);
	return number <= LINK_NUMBER_MAX ?
		       0 :
		       err_set(err, ERR_USAGE, "%s: a guest's number is at most %u", ret,
			       LINK_NUMBER_MAX);
}
