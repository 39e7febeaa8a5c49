/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/guest/steps.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "firewall/link.h"
#include "firewall/owner.h"
#include "firewall/rules.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/guest/cgroup.h"
#include "provision/guest/run.h"
#include "provision/guest/storage.h"

/* How much longer than stop_timeout a supervisor may take before it is killed. */
#define SUPERVISOR_EXTRA_MS 5000
#define KILL_MS 10000

static int files_up(struct work *w, struct err *err)
{
	const struct storage_driver *driver = storage_of(w->spec);
	int r = driver->make(w->config, w->spec, &w->fresh, err);

	if (r == 0 && !w->fresh)
		files_follow(w->config, w->spec);
	if (r == 0 && w->fresh && (w->spec->limits.disk || w->spec->limits.inodes))
		r = driver->limit(w->config, w->spec, err);
	if (r == 0 && w->begun)
		launch_say(w->begun->link, LAUNCH_FILES);
	return r;
}

static int files_down(struct work *w, struct err *err)
{
	return w->fresh ? storage_of(w->spec)->destroy(w->config, w->spec->name, err) : 0;
}

static int cgroup_up(struct work *w, struct err *err)
{
	const char *why = NULL;
	const struct cgroup_manager *manager = cgroup_pick(&why);
	int r;

	if (!manager)
		return err_set(err, ERR_FAILED, "no limits can be set: %s", why);
	r = manager->make(w->config->instance, w->spec->name, w->spec->uid_base, &w->spec->limits,
			  err);
	if (r != 0)
		return r;
	if (w->begun)
		launch_say(w->begun->link, LAUNCH_GROUP);
	return manager->bound(w->config->instance, w->spec->name, &w->spec->limits, err);
}

static int cgroup_down(struct work *w, struct err *err)
{
	const struct cgroup_manager *manager = cgroup_pick(NULL);

	return manager ? manager->remove(w->config->instance, w->spec->name, err) : 0;
}

static void describe_rules(const struct work *w, struct rules_base *base, struct rules_guest *guest)
{
	*base = (struct rules_base){ w->config->instance, w->config->pool4, w->config->pool6,
		w->config->run, .held = w->held ? OWNER_HELD_FD : 0 };
	*guest = (struct rules_guest){ .number = w->spec->number,
		.address4 = w->spec->address4,
		.address6 = w->spec->address6,
		.more = w->spec->more,
		.up = w->spec->up / 8,
		.down = w->spec->down / 8,
		.packets = w->spec->limits.packets };
}

static int rules_up(struct work *w, struct err *err)
{
	struct rules_base base;
	struct rules_guest guest;

	describe_rules(w, &base, &guest);
	return rules_add_guest(&base, &guest, err);
}

static int rules_down(struct work *w, struct err *err)
{
	struct rules_base base;
	struct rules_guest guest;

	describe_rules(w, &base, &guest);
	return rules_remove_guest(&base, &guest, err);
}

/* Without a table there is nothing to change: whoever restores it reads what holds by now. */
int steps_rates(struct work *w, struct err *err)
{
	struct err why = { 0 };
	int r = rules_up(w, &why);

	if (r == -ENOENT)
		return 0;
	return r ? err_set(err, r, "%s", why.text) : 0;
}

static int run_up(struct work *w, struct err *err)
{
	const struct guest_starting *starting = w->starting;

	launch_say(w->begun->link, LAUNCH_ALL);
	if (starting && starting->meanwhile)
		starting->meanwhile(starting->data);
	return launch_await(w->config, w->begun->link, err);
}

/* End the supervisor: politely, which ends the guest politely; else by force. */
static void end_supervisor(const struct work *w, int dirfd)
{
	CLEANUP_CLOSE int pidfd = run_holder(dirfd);

	if (pidfd < 0)
		return;
	process_signal(pidfd, SIGTERM);
	if (process_wait(pidfd, (int)w->config->stop_timeout * 1000 + SUPERVISOR_EXTRA_MS) == 0)
		return;
	process_signal(pidfd, SIGKILL);
	process_wait(pidfd, KILL_MS);
}

/* An init that outlived its supervisor. */
static void end_init(int dirfd)
{
	struct run_state state;
	CLEANUP_CLOSE int pidfd = -1;

	if (run_read(dirfd, &state) < 0)
		return;
	pidfd = process_open(state.init_pid, state.init_start);
	if (pidfd < 0)
		return;
	process_signal(pidfd, SIGKILL);
	process_wait(pidfd, KILL_MS);
}

static int run_down(struct work *w, struct err *err)
{
	CLEANUP_CLOSE int dirfd = run_open(w->config, w->spec->name, false);
	int r;

	if (dirfd >= 0) {
		end_supervisor(w, dirfd);
		end_init(dirfd);
	}
	r = link_down(w->config->instance, w->spec->number, err);
	if (r != 0)
		return r;
	/* The caller holds the tenant's lock and no supervisor lives: nobody makes it anew. */
	r = run_remove(w->config, w->spec->name);
	return r < 0 ? err_sys(err, -r, "cannot remove the guest's folder in %s", w->config->run) : 0;
}

/* In the order of starting: nothing of the guest runs before its limits and its rules are there. */
const struct step steps[STEPS] = {
	[STEP_LIMITS] = { "limits", NULL, cgroup_up, cgroup_down },
	[STEP_FILES] = { "files", "Making your system from its template", files_up, files_down },
	[STEP_RULES] = { "rules", NULL, rules_up, rules_down },
	[STEP_RUN] = { "run", "Starting your system", run_up, run_down },
};

int steps_down(struct work *work, int from, struct err *err)
{
	struct err later = { 0 };
	int ret = 0, r;

	for (int i = from - 1; i >= 0; i--) {
		r = steps[i].down(work, ret ? &later : err);
		if (r != 0 && ret == 0) {
			err_wrap(err, "%s", steps[i].name);
			ret = r;
		}
	}
	return ret;
}

void steps_settle(struct work *work)
{
	CLEANUP_CLOSE int dirfd = run_open(work->config, work->spec->name, false);

	if (dirfd >= 0)
		unlinkat(dirfd, "state", 0);
	link_down(work->config->instance, work->spec->number, NULL);
	rules_down(work, NULL);
	cgroup_down(work, NULL);
}
