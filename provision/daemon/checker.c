/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/checker.h"

#include "provision/base/cleanup.h"

#define PRESENT (f->intent == STORE_GUEST_PRESENT)
#define NO_ROW	(f->intent == STORE_GUEST_NONE)

void checker_judge(const struct facts *f, finding_fn fn, void *data)
{
	const struct {
		bool wrong;
		const char *kind, *state;
	} rules[] = {
		{ !NO_ROW && !PRESENT, "row", "half" },
		{ !NO_ROW && !f->range, "uids", "lost" },
		{ PRESENT && !f->files, "files", "lost" },
		{ NO_ROW && f->files, "files", "left" },
		{ f->making, "unfinished files", "left" },
		{ NO_ROW && f->snapshots, "snapshots", "left" },
		{ f->folder && NO_ROW, "folder", "left" },
		{ f->state && !f->running, "state", "left" },
		{ f->lock && !f->tenant, "lock", "left" },
		{ (f->alive && NO_ROW) || f->stray, "process", "left" },
		{ f->running && !f->held, "cgroup", "lost" },
		{ f->cgroup && !f->alive, "cgroup", "left" },
		{ f->running && !f->interface, "interface", "lost" },
		{ f->interface && !f->alive, "interface", "left" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		const struct finding finding = { rules[i].kind, f->name, rules[i].state };

		if (rules[i].wrong)
			fn(data, &finding);
	}
}
