/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/boot.h"

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

static bool was_up(const struct store_tenant *t, const void *unused)
{
	return t->guest.up && t->guest.intent == STORE_GUEST_PRESENT && !t->suspended;
}

/* A store is never carried over fork(2): each has its own. */
static int start_one(const struct config *config, const char *name)
{
	CLEANUP_STORE struct store *store = NULL;
	struct store_tenant tenant;
	struct guest_run run;
	struct err err = { 0 };
	int r = store_open(config->database, &store, &err);

	if (r == 0)
		r = life_up(config, store, name, NULL, NULL, &tenant, &run, &err);
	if (r == 0)
		guest_run_close(&run);
	else
		log_err("cannot start the guest of '%s' after the host's boot: %s", name, err.text);
	return r;
}

/* Several at a time: a start waits more than it works. */
static void start_all(const struct config *config, const struct names *names)
{
	uint64_t running = 0;

	for (size_t i = 0; i < names->n; i++) {
		pid_t pid;

		if (running == config->start_parallel && wait(NULL) > 0)
			running--;
		pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGTERM);
			_exit(start_one(config, names->of[i]) != 0);
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
	start_all(config, &names);
	fd_close(open(mark, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
}

void boot_note(const struct config *config, struct store *store)
{
	CLEANUP_NAMES struct names names = { 0 };
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
		store_guest_up(store, names.of[i], false, NULL);
	}
}
