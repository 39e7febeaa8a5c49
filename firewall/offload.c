/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/offload.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "provision/base/cleanup.h"
#include "provision/base/str.h"

#define FEATURE "tx-udp-segmentation" /* netdev_features_strings of the kernel */

static int ask(int socket, const char *interface, void *data)
{
	struct ifreq request = { .ifr_data = data };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	return ioctl(socket, SIOCETHTOOL, &request) < 0 ? -errno : 0;
}

static int count_features(int socket, const char *interface, uint32_t *ret)
{
	union {
		struct ethtool_sset_info info;
		uint32_t words[sizeof(struct ethtool_sset_info) / sizeof(uint32_t) + 1];
	} set = { .info = { .cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ULL << ETH_SS_FEATURES } };
	int r = ask(socket, interface, &set);

	*ret = set.words[sizeof(set.info) / sizeof(uint32_t)];
	return r;
}

/* Which of the kernel's features it is; *ret is count if it is none. */
static int find_feature(int socket, const char *interface, uint32_t count, uint32_t *ret)
{
	CLEANUP_FREE struct ethtool_gstrings *names =
		xcalloc(1, sizeof(*names) + (size_t)count * ETH_GSTRING_LEN);
	int r;

	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_FEATURES;
	names->len = count;
	r = ask(socket, interface, names);
	if (r < 0)
		return r;
	*ret = 0;
	while (*ret < count && strncmp((const char *)names->data + (size_t)*ret * ETH_GSTRING_LEN,
				       FEATURE, ETH_GSTRING_LEN))
		++*ret;
	return 0;
}

static int switch_off(int socket, const char *interface, uint32_t count, uint32_t feature)
{
	uint32_t blocks = (count + 31) / 32;
	CLEANUP_FREE struct ethtool_sfeatures *set =
		xcalloc(1, sizeof(*set) + blocks * sizeof(set->features[0]));

	set->cmd = ETHTOOL_SFEATURES;
	set->size = blocks;
	set->features[feature / 32].valid = 1U << feature % 32;
	return ask(socket, interface, set);
}

int offload_no_datagrams(int socket, const char *interface, struct err *err)
{
	uint32_t count = 0, feature = 0;
	int r = count_features(socket, interface, &count);

	if (r == 0)
		r = find_feature(socket, interface, count, &feature);
	if (r == 0 && feature < count)
		r = switch_off(socket, interface, count, feature);
	return r < 0 ? err_sys(err, -r, "%s: cannot switch %s off", interface, FEATURE) : 0;
}
