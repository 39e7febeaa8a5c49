/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "firewall/link.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/str.h"
#include "provision/guest/cgroup.h"
#include "provision/guest/queue.h"
#include "provision/guest/run.h"
#include "provision/guest/steps.h"
#include "provision/guest/storage.h"
#include "provision/guest/type.h"

void guest_begin(const struct config *config, int queue, struct guest_begun *ret)
{
	*ret = (struct guest_begun){ .link = queue_take(queue) };
	if (!ret->link)
		launch_begin(config, ret, NULL);
}

void guest_begun_end(struct guest_begun *begun)
{
	launch_end(begun);
}

void guest_run_close(struct guest_run *run)
{
	run->init_pidfd = fd_close(run->init_pidfd);
	run->supervisor_pidfd = fd_close(run->supervisor_pidfd);
	cgroup_close_way(&run->way);
	if (run->keeper > 0)
		run->keeper = fd_close(run->keeper);
}

static int check_name(const char *name, struct err *err)
{
	/* It becomes part of paths below. */
	return name_valid(name) ? 0 : err_set(err, ERR_USAGE, "'%s' is no name of a guest", name);
}

int guest_find(const struct config *config, const char *name, struct guest_run *ret,
	       struct err *err)
{
	CLEANUP_CLOSE int dirfd = -1, init = -1;
	struct run_state state;
	int supervisor, r = check_name(name, err);

	if (r)
		return r;
	dirfd = run_open(config, name, false);
	if (dirfd < 0)
		r = dirfd;
	else
		r = run_read(dirfd, &state);
	if (r < 0 && r != -ENOENT)
		return err_sys(err, -r, "cannot read the state of guest %s", name);
	init = r < 0 ? -ESRCH : process_open(state.init_pid, state.init_start);
	/* A pidfd can also be had of one that has ended and was not reaped yet: it is readable. */
	if (init < 0 || process_wait(init, 0) == 0)
		return err_set(err, ERR_NOT_FOUND, "guest %s does not run", name);
	/* Without its supervisor a guest is a leftover, which the next start takes away. */
	supervisor = process_open(state.supervisor_pid, state.supervisor_start);
	if (supervisor < 0)
		return err_set(err, ERR_NOT_FOUND, "guest %s does not run", name);
	*ret = (struct guest_run){
		.init_pidfd = steal_fd(&init),
		.supervisor_pidfd = supervisor,
		.init_pid = state.init_pid,
		.since = state.since,
	};
	return 0;
}

bool guest_runs(const struct config *config, const char *name)
{
	struct run_state state;

	return name_valid(name) && run_look(config, name, &state) == 0 && run_lives(&state);
}

bool guest_alive(const struct config *config, const char *name)
{
	CLEANUP_CLOSE int dirfd = name_valid(name) ? run_open(config, name, false) : -1;
	CLEANUP_CLOSE int pidfd = dirfd < 0 ? -1 : run_holder(dirfd);

	return pidfd >= 0;
}

/*
 * Take back what a crash left. The folder in RUN is made before anything else and goes last, so
 * without it there is nothing.
 */
static int clear_leftovers(struct work *work, struct err *err)
{
	CLEANUP_CLOSE int dirfd = run_open(work->config, work->spec->name, false);
	int r = 0;

	if (dirfd >= 0)
		r = steps_down(work, STEPS, err);
	if (r != 0)
		return r;
	dirfd = fd_close(dirfd);
	dirfd = run_open(work->config, work->spec->name, true);
	return dirfd < 0 ? err_sys(err, -dirfd, "cannot make the guest's folder in %s",
				   work->config->run) :
			   0;
}

/* A guest that has its files is made no second time, and nobody is told so. */
static void tell(const struct work *work, int step)
{
	const struct guest_starting *starting = work->starting;
	char path[512];

	if (!starting || !starting->progress || !steps[step].progress)
		return;
	snprintf(path, sizeof(path), "%s/%s", work->config->guests, work->spec->name);
	if (step == STEP_FILES && faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return;
	starting->progress(starting->data, steps[step].progress);
}

static int run_steps(struct work *work, struct err *err)
{
	const struct guest_starting *starting = work->starting;
	struct guest_begun own = { 0 };
	int r = clear_leftovers(work, err);

	if (r != 0)
		return r;
	work->begun = starting && starting->begun ? starting->begun : &own;
	if (!work->begun->link)
		r = launch_begin(work->config, work->begun, err);
	if (r == 0)
		r = launch_supervisor(work->config, work->spec, work->begun->link, err);
	for (int i = 0; r == 0 && i < STEPS; i++) {
		tell(work, i);
		r = steps[i].up(work, err);
		if (r != 0)
			err_wrap(err, "%s", steps[i].name);
	}
	/* Without us a vm2-guest that still waits gives up. */
	launch_end(work->begun);
	/* The last step's down also removes the folder in RUN. */
	if (r != 0)
		steps_down(work, STEPS, NULL);
	return r;
}

int guest_start(const struct config *config, const struct guest_spec *spec,
		const struct guest_starting *starting, struct guest_run *ret, struct err *err)
{
	struct work work = { .config = config, .spec = spec, .starting = starting };
	struct guest_run run;
	int r = guest_find(config, spec->name, &run, NULL);

	if (r == ERR_USAGE)
		return check_name(spec->name, err);
	if (r != 0) {
		r = run_steps(&work, err);
		if (r == 0)
			r = guest_find(config, spec->name, &run, err);
		if (r != 0) {
			err_wrap(err, "cannot start guest %s", spec->name);
			return r;
		}
	}
	if (ret)
		*ret = run;
	else
		guest_run_close(&run);
	return 0;
}

int guest_stop(const struct config *config, const struct guest_spec *spec, struct err *err)
{
	struct work work = { .config = config, .spec = spec };
	int r = check_name(spec->name, err);

	if (r == 0)
		r = steps_down(&work, STEPS, err);
	if (r != 0)
		err_wrap(err, "cannot stop guest %s", spec->name);
	return r;
}

int guest_destroy(const struct config *config, const struct guest_spec *spec, struct err *err)
{
	int r = guest_stop(config, spec, err);

	if (r == 0)
		r = storage_of(spec)->destroy(config, spec->name, err);
	return r;
}

static int limit_link(const struct config *config, const struct guest_spec *spec, struct err *err)
{
	uint32_t mtu = (uint32_t)(spec->limits.mtu ?: config->mtu);
	struct guest_run run;
	int r;

	if (guest_find(config, spec->name, &run, NULL) != 0)
		return 0;
	r = link_set_mtu(config->instance, spec->number, run.init_pidfd, mtu, err);
	guest_run_close(&run);
	return r;
}

static int limit_running(const struct config *config, const struct guest_spec *spec, struct err *err)
{
	CLEANUP_CLOSE int dirfd = run_open(config, spec->name, false), supervisor = -1;
	const struct cgroup_manager *manager = cgroup_pick(NULL);
	struct work work = { .config = config, .spec = spec };
	int r;

	if (dirfd < 0 || !manager)
		return 0;
	/* For its vm2-guest, which makes the group anew when the guest reboots, and looks at idle. */
	r = run_write_limits(dirfd, &spec->limits);
	if (r < 0)
		return err_sys(err, -r, "cannot keep the limits of guest %s", spec->name);
	supervisor = run_holder(dirfd);
	if (supervisor >= 0)
		process_signal(supervisor, SIGHUP);
	r = manager->limit(config->instance, spec->name, &spec->limits, err);
	if (r != 0 || supervisor < 0)
		return r;
	/* One that has just ended has no rules: it gets none. */
	r = steps_rates(&work, err);
	return r == 0 ? limit_link(config, spec, err) : r;
}

int guest_limit(const struct config *config, const struct guest_spec *spec, struct err *err)
{
	struct err second;
	int r = check_name(spec->name, err), disk;

	if (r != 0)
		return r;
	r = limit_running(config, spec, err);
	disk = storage_of(spec)->limit(config, spec, r ? &second : err);
	return r ? r : disk;
}

const char *guest_probe(const struct config *config)
{
	const char *why = type_container.probe(config);

	return why || storage_pick(config, NULL) ? why : "guest.storage cannot serve here";
}
