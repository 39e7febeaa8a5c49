/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of this host's network stands in the way of guests, or lets them do more than they should. It
 * is the administrator's: said here, never changed.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/cli/check.h"

#define CONF	   "/proc/sys/net/"
#define LIST_CHAINS "/usr/sbin/nft -j list chains 2>/dev/null"

/* A setting's first character; '\0' where it is not there. */
static char setting(const char *path)
{
	char text[16] = "";

	return fd_read_path(AT_FDCWD, path, text, sizeof(text)) > 0 ? text[0] : '\0';
}

static const char *name_of(const char *path)
{
	return path + strlen(CONF);
}

/*
 * Of `all` and a link's own the greater holds (ip-sysctl.rst): loose here is loose on guests' links,
 * which are strict themselves.
 */
static void rp_filter(const struct config *config, struct finding *f)
{
	const char *path = CONF "ipv4/conf/all/rp_filter";

	if (setting(path) == '2')
		found(f, CHECK_MISSING, "%s is 2, loose, on guests' links too: our rules alone stop "
		      "spoofing", name_of(path));
	else
		found(f, CHECK_OK, "strict on guests' links");
}

/* Either of `all` and a link's own is enough to have it on. */
static void proxy_arp(const struct config *config, struct finding *f)
{
	const char *paths[] = { CONF "ipv4/conf/all/proxy_arp", CONF "ipv6/conf/all/proxy_ndp" };

	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (setting(paths[i]) == '1') {
			found(f, CHECK_MISSING, "%s is 1: the host answers for others' addresses",
			      name_of(paths[i]));
			return;
		}
	found(f, CHECK_OK, "the host answers for its own addresses alone");
}

/* Where it is on a host that forwards, the link's own has to be on, too: guests' links never are. */
static void redirects(const struct config *config, struct finding *f)
{
	const char *path = CONF "ipv4/conf/all/accept_redirects";

	if (setting(path) == '1')
		found(f, CHECK_MISSING, "%s is 1: a neighbour may turn the host's routes", name_of(path));
	else
		found(f, CHECK_OK, "nobody turns the host's routes");
}

/* A host that forwards takes no router advertisements unless the interface is told 2. */
static void accept_ra(const struct config *config, struct finding *f)
{
	CLEANUP_FCLOSE FILE *routes = fopen("/proc/net/ipv6_route", "re");
	char line[256], device[32];
	unsigned int flags;

	while (routes && fgets(line, sizeof(line), routes)) {
		CLEANUP_FREE char *path = NULL;

		/* RTF_ADDRCONF | RTF_DEFAULT: a default route that an advertisement made. */
		if (sscanf(line, "%*s %*s %*s %*s %*s %*s %*s %*s %x %31s", &flags, device) != 2 ||
		    (flags & 0x50000) != 0x50000)
			continue;
		path = xasprintf(CONF "ipv6/conf/%s/accept_ra", device);
		if (setting(path) == '1') {
			found(f, CHECK_MISSING, "%.60s is 1: the default route by %.20s will end",
			      name_of(path), device);
			return;
		}
	}
	found(f, CHECK_OK, "no default route is lost by forwarding");
}

#define FRAGMENT_ROOM 2560 /* bytes that the kernel takes for one of 1,500 */

static uint64_t number(const char *path)
{
	char text[32] = "";
	uint64_t n = 0;

	if (fd_read_path(AT_FDCWD, path, text, sizeof(text)) > 0) {
		text[strcspn(text, "\n")] = '\0';
		(void)parse_u64(text, UINT64_MAX, &n);
	}
	return n;
}

/* That one guest takes no more than half of it. The settings for IPv6 are there with the table. */
static void reassembly(const struct config *config, struct finding *f)
{
	static const char *const of[][2] = {
		{ CONF "ipv4/ipfrag_high_thresh", CONF "ipv4/ipfrag_time" },
		{ CONF "netfilter/nf_conntrack_frag6_high_thresh", CONF "netfilter/nf_conntrack_frag6_timeout" },
	};

	found(f, CHECK_OK, "no guest's fragments leave the others' no room");
	if (!config->fragments) {
		found(f, CHECK_MISSING, "network.fragments is 0: one guest's fragments fill all the room there is");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(of); i++) {
		/* Twice as many as in a second come at once. */
		uint64_t taken = FRAGMENT_ROOM * config->fragments * (2 + number(of[i][1]));

		if (access(of[i][0], F_OK) == 0 && number(of[i][0]) < 2 * taken)
			found(f, CHECK_MISSING, "%s is %" PRIu64 ", and one guest may take %" PRIu64,
			      name_of(of[i][0]), number(of[i][0]), taken);
	}
}

static bool in_the_way(const json_t *chain, const struct config *config)
{
	const char *table = json_string_value(json_object_get(chain, "table"));
	const char *hook = json_string_value(json_object_get(chain, "hook"));
	const char *policy = json_string_value(json_object_get(chain, "policy"));
	const char *family = json_string_value(json_object_get(chain, "family"));

	if (!table || !hook || !policy || !family || strcmp(policy, "drop") != 0)
		return false;
	if (!strcmp(table, config->instance) && !strcmp(family, "inet"))
		return false;
	return !strcmp(hook, "forward") || !strcmp(hook, "prerouting") || !strcmp(hook, "postrouting");
}

/* What iptables-nft, ufw, firewalld and Docker make are tables like others. */
static void other_tables(const struct config *config, struct finding *f)
{
	FILE *nft = access("/usr/sbin/nft", X_OK) == 0 ? popen(LIST_CHAINS, "re") : NULL;
	json_t *all = nft ? json_loadf(nft, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
	const json_t *chain, *each;
	size_t i;

	found(f, all ? CHECK_OK : CHECK_UNKNOWN, "%s",
	      all ? "none drops what guests send" : "takes root, and nft, to see");
	json_array_foreach(json_object_get(all, "nftables"), i, each) {
		chain = json_object_get(each, "chain");
		if (!in_the_way(chain, config))
			continue;
		found(f, CHECK_MISSING, "table %.10s %.30s, chain %.30s: drops what it does not accept",
		      json_string_value(json_object_get(chain, "family")),
		      json_string_value(json_object_get(chain, "table")),
		      json_string_value(json_object_get(chain, "name")));
		break;
	}
	json_decref(all);
	if (nft)
		pclose(nft);
}

const struct check check_network[] = {
	{ "rp-filter", true, rp_filter, "sysctl net.ipv4.conf.all.rp_filter=1, if no other link needs it loose" },
	{ "proxy-arp", true, proxy_arp, "sysctl net.ipv4.conf.all.proxy_arp=0 net.ipv6.conf.all.proxy_ndp=0" },
	{ "redirects", true, redirects, "sysctl net.ipv4.conf.all.accept_redirects=0" },
	{ "accept-ra", true, accept_ra, "sysctl net.ipv6.conf.INTERFACE.accept_ra=2" },
	{ "reassembly", true, reassembly, "raise it, or lower network.fragments in vm2.conf" },
	{ "other-tables", true, other_tables,
	  "have it accept what comes in by, and leaves by, the interfaces of guests (vm2-*)" },
	{ 0 },
};
