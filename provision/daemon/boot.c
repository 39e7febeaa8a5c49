/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/boot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/daemon/life.h"
#include "provision/daemon/locks.h"
#include "provision/daemon/names.h"
#include "provision/guest/run.h"

static bool was_up(const struct store_tenant *t, const void *unused)
{
	return t->guest.up && t->guest.intent == STORE_GUEST_PRESENT && !t->suspended;
}

/* What is done about one guest, in a process of its own. An exit status. */
typedef int (*act_fn)(const struct config *config, const char *name);

/* A store is never carried over fork(2): each has its own. */
static int start_one(const struct config *config, const char *name)
{
	CLEANUP_STORE struct store *store = NULL;
	struct store_tenant tenant;
	struct guest_run run;
	struct err err = { 0 };
	int r = store_open(config->database, &store, &err);

	if (r == 0)
		r = life_up(config, store, name, NULL, &tenant, &run, &err);
	if (r == 0)
		guest_run_close(&run);
	else
		log_err("cannot start the guest of '%s' again: %s", name, err.text);
	return r != 0;
}

/* It is not to run, unless somebody has started it meanwhile. */
static void give_up(const struct config *config, struct store *store, const char *name)
{
	CLEANUP_CLOSE int lock = -1;

	if (lock_take(config, name, false, 0, &lock, NULL) == 0 && !guest_alive(config, name))
		store_guest_up(store, name, false, NULL);
}

/*
 * Of a guest whose vm2-guest was killed. One try: whoever kills it each time shall not keep the host
 * busy. What its plan does not want to run again is only cleared away.
 */
static int revive_one(const struct config *config, const char *name)
{
	CLEANUP_STORE struct store *store = NULL;
	struct store_tenant t;
	struct err err = { 0 };
	int r = store_open(config->database, &store, &err);

	if (r == 0)
		r = store_tenant_get(store, name, &t, &err);
	if (r != 0)
		return 1;
	if (was_up(&t, NULL) && t.limits.restart != LIMITS_RESTART_NO) {
		log_warn("the vm2-guest of '%s' was killed: the guest is started again", name);
		if (start_one(config, name) == 0)
			return 0;
	}
	give_up(config, store, name);
	return life_repair(config, store, name, &err) != 0;
}

/* Several at a time: a start waits more than it works. */
static void all(const struct config *config, const struct names *names, act_fn act)
{
	uint64_t running = 0;

	for (size_t i = 0; i < names->n; i++) {
		pid_t pid;

		if (running == config->start_parallel && wait(NULL) > 0)
			running--;
		pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			_exit(act(config, names->of[i]));
		}
		if (pid < 0)
			log_err("cannot fork to start the guest of '%s': %m", names->of[i]);
		else
			running++;
	}
	while (wait(NULL) > 0 || errno == EINTR)
		continue;
}

void boot_start(const struct config *config)
{
	CLEANUP_FREE char *mark = xasprintf("%s/booted", config->run);
	CLEANUP_NAMES struct names names = { 0 };
	struct store *store = NULL;
	struct err err = { 0 };
	int r;

	if (access(mark, F_OK) == 0)
		return;
	r = store_open(config->database, &store, &err);
	if (r == 0)
		r = names_collect(store, was_up, NULL, &names, &err);
	store_close(store);
	if (r != 0) {
		log_err("cannot look for guests to start: %s", err.text);
		return;
	}
	if (names.n)
		log_notice("starting the %zu guests that ran when the host went down", names.n);
	all(config, &names, start_one);
	fd_close(open(mark, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
}

/*
 * What remains of a guest that has ended by itself is its folder in RUN, without its state: vm2-guest
 * saw to that. Else nobody did.
 */
static bool was_killed(const struct config *config, const char *name)
{
	CLEANUP_FREE char *folder = xasprintf("%s/guests/%s", config->run, name);
	struct run_state state;

	return access(folder, F_OK) < 0 || run_look(config, name, &state) == 0;
}

void boot_note(const struct config *config, struct store *store)
{
	CLEANUP_NAMES struct names names = { 0 }, killed = { 0 };
	struct err err = { 0 };

	if (names_collect(store, was_up, NULL, &names, &err) != 0)
		log_err("cannot look for guests that ended: %s", err.text);
	for (size_t i = 0; i < names.n; i++) {
		CLEANUP_CLOSE int lock = -1;

		/* Not running, and nobody, a vm2-guest that waits to begin again neither, at it. */
		if (guest_alive(config, names.of[i]) ||
			lock_take(config, names.of[i], false, 0, &lock, NULL) != 0 ||
			guest_alive(config, names.of[i]))
			continue;
		if (was_killed(config, names.of[i]))
			names_add(&killed, names.of[i]);
		else
			store_guest_up(store, names.of[i], false, NULL);
	}
	all(config, &killed, revive_one);
}

void boot_revive(const struct config *config)
{
	CLEANUP_FREE char *path = xasprintf("%s/guests", config->run);
	CLEANUP_CLOSEDIR DIR *dir = opendir(path);
	CLEANUP_NAMES struct names killed = { 0 };
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		struct run_state state;

		if (name_valid(e->d_name) && run_look(config, e->d_name, &state) == 0 &&
			!process_lives(state.supervisor_pid, state.supervisor_start))
			names_add(&killed, e->d_name);
	}
	all(config, &killed, revive_one);
}
