/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file that libnss_vm2 reads. Its sums are put right first (the sums only find accidents; whoever
 * can write the file can write them): the head's, and those of all lines that there are.
 */
#define CORPUS "snapshot"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "nss_vm2/snapshot_read.h"
#include "provision/base/fd.h"

/* As the format says; whatever lies outside of the file is left. */
static void put_right(unsigned char *p, size_t size)
{
	uint32_t head;

	if (size < HEAD_STRINGS)
		return;
	head = get_u32(p + HEAD_LEN);
	if (head < HEAD_STRINGS || head > size || head % 4 != 0)
		return;
	put_u64(p + HEAD_TOTAL, size);
	put_u32(p + HEAD_SUM, sum_head(p, head));
	for (uint32_t i = 0; head + (size_t)(i + 1) * LINE_SIZE <= size; i++) {
		unsigned char *line = p + head + (size_t)i * LINE_SIZE;

		put_u32(line + LINE_SUM, sum_line(line, get_u32(p + HEAD_GENERATION), i));
	}
}

static void look_up(const struct snapshot_reader *r)
{
	static const char *const names[] = { "acme", "b", "zz-top", "nobody" };
	struct snapshot_record record;
	char last[SNAPSHOT_NAME_MAX + 1] = "", inside[SNAPSHOT_NAME_MAX + 1];
	uint32_t place = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (snapshot_by_name(r, names[i], &record) == 0)
			NEVER(strcmp(record.name, names[i]) || !snapshot_uid_ok(record.uid));
	for (uint32_t uid = 0; uid < 4; uid++) {
		if (snapshot_by_uid(r, 1879048192 + uid, &record) == 0)
			NEVER(record.uid != 1879048192 + uid);
		snapshot_by_guest_uid(r, 603979776 + uid * SNAPSHOT_RANGE, &record);
	}
	snapshot_by_uid(r, 0, &record);
	/* A walk ends: each name comes after the one before. */
	while (snapshot_after(r, last, &place, &record) == 0) {
		NEVER(strcmp(record.name, last) <= 0);
		NEVER(!snapshot_name_ok(record.name, strlen(record.name)));
		for (uint32_t id = 0; id < 4; id++)
			if (snapshot_inside(r, &record, id, inside) == 0)
				NEVER(!snapshot_inside_ok(inside, strlen(inside)));
		memcpy(last, record.name, sizeof(last));
	}
	snapshot_verify(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char *copy = malloc(size + 1);
	struct snapshot_reader *r = calloc(1, sizeof(*r));
	int fd = memfd_create("snapshot", MFD_CLOEXEC);
	struct snapshot_window window;
	char path[64];

	memcpy(copy, data, size);
	put_right(copy, size);
	NEVER(fd < 0 || fd_write_all(fd, copy, size) < 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (snapshot_open(path, &window, r) == 0) {
		look_up(r);
		snapshot_close(r);
	}
	close(fd);
	free(r);
	free(copy);
	return 0;
}
