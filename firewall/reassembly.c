/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "firewall/reassembly.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"

/* net/ipv4/ip_fragment.c, net/ipv6/netfilter/nf_conntrack_reasm.c: ipv4_frags_init_net(), nf_ct_net_init() */
#define KERNELS_ROOM  "4194304"
#define KERNELS_TIME4 "30"
#define KERNELS_TIME6 "60"

/*
 * A fragment of 1,500 bytes takes some 2,500. At 1,000 a second, and twice that at once, one guest has 7,000
 * of them there for these 5 seconds, 18 MB. (Parts of one datagram come within one round trip; and waiting
 * longer is what mixes them up: RFC 4963.)
 */
#define ROOM "134217728"
#define TIME "5"

static const struct {
	const char *file, *name, *was, *is;
} settings[] = {
	{ "/proc/sys/net/ipv4/ipfrag_high_thresh", "net.ipv4.ipfrag_high_thresh", KERNELS_ROOM,
	  ROOM },
	{ "/proc/sys/net/ipv4/ipfrag_time", "net.ipv4.ipfrag_time", KERNELS_TIME4, TIME },
	{ "/proc/sys/net/netfilter/nf_conntrack_frag6_high_thresh",
	  "net.netfilter.nf_conntrack_frag6_high_thresh", KERNELS_ROOM, ROOM },
	{ "/proc/sys/net/netfilter/nf_conntrack_frag6_timeout",
	  "net.netfilter.nf_conntrack_frag6_timeout", KERNELS_TIME6, TIME },
};

int reassembly_provide(void (*fn)(void *data, const char *setting, const char *was, const char *is),
		       void *data, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
		char now[32] = "";
		int r;

		if (fd_read_path(AT_FDCWD, settings[i].file, now, sizeof(now)) < 0)
			continue;
		now[strcspn(now, "\n")] = '\0';
		if (strcmp(now, settings[i].was))
			continue;
		r = fd_write_path(AT_FDCWD, settings[i].file, settings[i].is);
		if (r < 0)
			return err_sys(err, -r, "cannot set %s = %s", settings[i].name,
				       settings[i].is);
		fn(data, settings[i].name, now, settings[i].is);
	}
	return 0;
}
