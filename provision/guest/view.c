/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/view.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"
#include "provision/guest/run.h"

static int compare(const void *a, const void *b)
{
	const pid_t *one = a, *other = b;

	return (*one > *other) - (*one < *other);
}

static void add_supervisors(struct guest_view *view, FILE *procs)
{
	size_t cap = 0;
	pid_t pid;

	while (fscanf(procs, "%d", &pid) == 1) {
		if (view->n_supervisors == cap) {
			cap = cap ? 2 * cap : 64;
			view->supervisors = reallocarray(view->supervisors, cap, sizeof(pid));
			if (!view->supervisors)
				abort();
		}
		view->supervisors[view->n_supervisors++] = pid;
	}
}

/* All are in each tree of version 1, and in one of the two of version 2. The last is read soonest. */
static void find_supervisors(struct guest_view *view)
{
	for (size_t i = ARRAY_LEN(view->groups.dirs); view->n_supervisors == 0 && i-- > 0;) {
		int fd = openat(view->groups.dirs[i], CGROUP_SUPERVISORS "/cgroup.procs", O_RDONLY | O_CLOEXEC);
		CLEANUP_FCLOSE FILE *procs = fd < 0 ? NULL : fdopen(fd, "r");

		if (procs)
			add_supervisors(view, procs);
	}
	if (view->n_supervisors)
		qsort(view->supervisors, view->n_supervisors, sizeof(pid_t), compare);
}

void guest_view_open(const struct config *config, struct guest_view *ret)
{
	CLEANUP_FREE char *run = xasprintf("%s/guests", config->run);

	*ret = (struct guest_view){ .cgroups = cgroup_pick(NULL),
				    .groups = { { -1, -1, -1, -1 } },
				    .run = open(run, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	if (ret->cgroups)
		ret->cgroups->view(config->instance, &ret->groups);
	find_supervisors(ret);
}

void guest_view_close(struct guest_view *view)
{
	cgroup_view_close(&view->groups);
	view->run = fd_close(view->run);
	free(view->supervisors);
	view->supervisors = NULL;
	view->n_supervisors = 0;
}

/*
 * To look at a process takes longer than all the rest. A supervisor that lives takes the state away when its
 * init has ended, and in an empty group there is none.
 */
static bool surely_lives(const struct guest_view *view, const struct run_state *state,
			 const struct guest_usage *usage)
{
	return usage->processes && bsearch(&state->supervisor_pid, view->supervisors, view->n_supervisors,
					   sizeof(state->supervisor_pid), compare);
}

bool guest_view_look(const struct guest_view *view, const char *name, struct guest_look *ret)
{
	struct guest_usage usage = { 0 };
	struct run_state state;

	if (!name_valid(name) || view->run < 0 || run_look_in(view->run, name, &state) < 0)
		return false;
	if (view->cgroups)
		view->cgroups->usage(&view->groups, name, &usage);
	if (!surely_lives(view, &state, &usage) && !run_lives(&state))
		return false;
	*ret = (struct guest_look){ state.init_pid, state.since, usage };
	return true;
}
