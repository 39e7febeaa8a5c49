/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/recover.h"

#include <errno.h>
#include <stdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "provision/audit/ledger.h"
#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"
#include "provision/daemon/boot.h"
#include "provision/daemon/drafts.h"
#include "provision/daemon/hostlog.h"
#include "provision/daemon/life.h"
#include "provision/daemon/links.h"
#include "provision/daemon/locks.h"
#include "provision/daemon/names.h"
#include "provision/daemon/quota.h"
#include "provision/daemon/settle.h"
#include "provision/daemon/traffic.h"
#include "provision/guest/storage.h"
#include "provision/store/accounts.h"

/* In every few rounds all is looked at; in each, who was killed. */
#define ROUND_S	   3
#define KEEP_ROUNDS 5
#define FOLDER_MODE	0700

static int folder(const char *path, mode_t mode, struct err *err)
{
	int r = fd_mkdirs(path, 0755);

	if (r == 0 && chmod(path, mode) < 0)
		r = -errno;
	return r < 0 ? err_sys(err, -r, "cannot make the folder %s", path) : 0;
}

int recover_folders(const struct config *config, struct err *err)
{
	CLEANUP_FREE char *empty = xasprintf("%s/empty", config->state);
	/* Templates and guests hold setuid programs of root: nobody else may walk in there. */
	const struct {
		const char *path;
		mode_t mode;
	} folders[] = { { config->state, 0755 }, { config->run, 0755 }, { empty, 0555 },
		{ config->templates, 0700 }, { config->guests, 0700 }, { config->sessions, 0700 } };
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_LEN(folders); i++)
		r = folder(folders[i].path, folders[i].mode, err);
	return r == 0 ? lock_folder(config, err) : r;
}

static bool has_guest(const struct store_tenant *t, const void *unused)
{
	return t->guest.intent != STORE_GUEST_NONE;
}

static int collect_lost(void *data, const struct store_session *s)
{
	int pidfd = process_open(s->pid, s->pid_start);

	fd_close(pidfd);
	return pidfd >= 0 ? 0 : names_add(data, s->id);
}

static void recover_sessions(struct store *store)
{
	CLEANUP_NAMES struct names lost = { 0 };
	struct err err = { 0 };

	if (store_session_each(store, NULL, true, INT64_MAX, collect_lost, &lost, &err) != 0)
		log_err("cannot look for lost sessions: %s", err.text);
	for (size_t i = 0; i < lost.n; i++)
		if (store_session_lost(store, lost.of[i], time(NULL), &err) == 0) {
			log_notice("session %s was lost: its process is gone", lost.of[i]);
			hostlog_end(lost.of[i], 0);
		}
}

static void recover_guests(const struct config *config, struct store *store)
{
	CLEANUP_NAMES struct names guests = { 0 };
	struct err err = { 0 };

	if (names_collect(store, has_guest, NULL, &guests, &err) != 0)
		log_err("cannot look for guests to repair: %s", err.text);
	for (size_t i = 0; i < guests.n; i++)
		if (life_repair(config, store, guests.of[i], &err) != 0)
			log_err("cannot repair the guest '%s': %s", guests.of[i], err.text);
}

static void recover_books(const struct config *config, struct store *store)
{
	struct err err = { 0 };

	if (accounts_publish(store, config, &err) != 0)
		log_err("%s", err.text);
	recover_sessions(store);
}

void recover_all(const struct config *config, struct store *store)
{
	struct err err = { 0 };

	recover_books(config, store);
	recover_guests(config, store);
	links_mend(config, store);
	settle_addresses(config, store);
	if (accounts_publish(store, config, &err) != 0)
		log_err("%s", err.text);
	drafts_discard(config);
}

/* In a child, since it may take long; the next round finds what this one is still at. */
static void empty_trash(const struct config *config)
{
	pid_t pid;
	int r;

	while (waitpid(-1, NULL, WNOHANG) > 0)
		continue;
	if (!storage_has_trash(config))
		return;
	pid = fork();
	if (pid != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	r = storage_empty_trash(config);
	_exit(r < 0);
}

int recover_keep(const struct config *config)
{
	struct links_watch watch;
	struct store *store = NULL;
	struct err err = { 0 };
	uint64_t synced = 0;

	if (store_open(config->database, &store, &err) != 0) {
		log_err("%s", err.text);
		return 1;
	}
	/*
	 * A start takes back what was half done of its own guest. To look after all guests first, one
	 * after the other, kept a thousand waiting for minutes.
	 */
	recover_books(config, store);
	links_watch(&watch);
	boot_start(config);
	recover_all(config, store);
	boot_note(config, store);
	storage_prepare(config);
	for (unsigned int round = 1;; round++) {
		links_await(&watch, config, store, 1000 * ROUND_S);
		boot_revive(config);
		storage_prepare(config);
		if (round % KEEP_ROUNDS != 0)
			continue;
		boot_note(config, store);
		empty_trash(config);
		if (store_checkpoint(store, &err) != 0)
			log_warn("%s", err.text);
		if (access(config->ledger, F_OK) == 0 &&
			ledger_sync(config->ledger, &synced, &err) != 0)
			log_warn("cannot sync the ledger: %s", err.text);
		if (traffic_collect(config, store, &err) != 0)
			log_warn("cannot save what guests sent and received: %s", err.text);
		quota_keep(config, store);
		/* A session whose process was killed ends in the books while vm2d runs, too. */
		recover_sessions(store);
	}
}
