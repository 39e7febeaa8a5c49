/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/reserve.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

#include "provision/base/fd.h"
#include "provision/store/pool.h"

#define MIB (1024 * 1024)

uint64_t reserve_memory(void)
{
	char text[8192], *at;
	uint64_t kib = 0;

	if (fd_read_path(AT_FDCWD, "/proc/meminfo", text, sizeof(text)) <= 0)
		return 0;
	at = strstr(text, "\nMemAvailable:");
	return at && sscanf(at, "\nMemAvailable: %" SCNu64, &kib) == 1 ? kib * 1024 : 0;
}

uint64_t reserve_disk(const struct config *config)
{
	struct statvfs fs;

	return statvfs(config->guests, &fs) == 0 ? (uint64_t)fs.f_bavail * fs.f_frsize : 0;
}

/* Of a resource in units of its own; nothing is known of it when there is 0. */
static int check(const char *what, const char *unit, const char *setting, uint64_t available,
	uint64_t wanted, uint64_t reserve, struct err *err)
{
	if (available == 0 || available >= wanted + reserve)
		return 0;
	return err_set(err, ERR_BUSY,
		"the host has not enough %s for another guest: %" PRIu64 " %s available, %" PRIu64
		" for the guest, %" PRIu64 " in reserve (host.%s)",
		what, available, unit, wanted, reserve, setting);
}

int reserve_check(const struct config *config, struct store *store, const struct limits *limits,
	struct err *err)
{
	struct store_counts counts;
	struct pool4 pool = { 0 };
	int r = store_count(store, &counts, err);

	if (r == 0)
		r = pool4_parse(config->pool4, &pool, err);
	if (r == 0)
		r = check("memory", "MiB", "reserve-memory", reserve_memory() / MIB,
			limits->memory / MIB, config->reserve_memory / MIB, err);
	if (r == 0)
		r = check("space for files", "MiB", "reserve-disk", reserve_disk(config) / MIB,
			limits->disk / MIB, config->reserve_disk / MIB, err);
	/* The pools themselves say when they are full. */
	if (r == 0 && config->reserve_addresses && pool.count > counts.addresses4)
		r = check("addresses", "of them", "reserve-addresses",
			pool.count - counts.addresses4, 1, config->reserve_addresses, err);
	if (r == 0 && config->reserve_ranges && config->guest_count > counts.guests)
		r = check("ranges of uids", "of them", "reserve-ranges",
			config->guest_count - counts.guests, 1, config->reserve_ranges, err);
	return r;
}
