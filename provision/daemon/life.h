/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A tenant's guest as the database means it: up, stopped, gone. What every door and every staff
 * verb goes through; the intent is written before the first step, the result after the last.
 */
#ifndef VM2_DAEMON_LIFE_H
#define VM2_DAEMON_LIFE_H

#include "provision/daemon/request.h"
#include "provision/guest/view.h"

/*
 * Whether the tenant's guest runs and the tenant may be let in: looks only, and leaves the process as it
 * was. *tenant and *run are filled in then; run is to be closed.
 */
bool life_is_up(const struct config *config, struct store *store, const char *name,
	struct store_tenant *tenant, struct guest_run *run);

/* What whoever waits for a guest is told, and does. Both may be NULL. */
struct life_waiting {
	guest_progress_fn progress;
	/*
	 * While the guest comes up: *tenant is filled in, with the guest's addresses. The start may still fail.
	 * Not called when the guest runs.
	 */
	void (*meanwhile)(void *data);
	void *data; /* for both */
	int queue;  /* of vm2-guests that were begun ahead, or -1 */
};

/*
 * Have the tenant's guest running, making it when there is none. Two at once make one. *tenant and
 * *run are filled in; run is to be closed. waiting may be NULL. ERR_NOT_FOUND: no such tenant or
 * template; ERR_DENIED: suspended.
 */
int life_up(const struct config *config, struct store *store, const char *name,
	const struct life_waiting *waiting, struct store_tenant *tenant, struct guest_run *run,
	struct err *err);

/*
 * End all open sessions of a tenant: asked, then killed. Rows of those that are gone become
 * "lost".
 */
int life_end_sessions(struct store *store, const char *name, struct err *err);

/* Stop the guest, files stay. No guest is success. */
int life_stop(const struct config *config, struct store *store, const char *name, struct err *err);

/* Take the lock of a tenant's guest; *ret is to be closed. ERR_BUSY. */
int life_lock(const struct config *config, const char *name, int *ret, struct err *err);

/* life_stop() for a caller that holds the lock. */
int life_stop_held(
	const struct config *config, struct store *store, const char *name, struct err *err);

/*
 * Destroy the guest and forget its row. No guest is success. With `tenant_too` the tenant goes
 * as well, under the same lock.
 */
int life_destroy(const struct config *config, struct store *store, const char *name,
	bool tenant_too, struct err *err);

/* Take back what was made of a guest whose intent is not yet "present". The caller holds the lock. */
void life_take_back(
	const struct config *config, struct store *store, const struct store_tenant *tenant);

/* Held while a guest's files are read for an export: nothing destroys them. ERR_BUSY: another does. */
int life_lock_export(const struct config *config, const char *name, int *ret, struct err *err);

/* Bring a guest's row and the host in line after a crash; skipped while another works on it. */
int life_repair(
	const struct config *config, struct store *store, const char *name, struct err *err);

/*
 * Have the limits that the database names in force in the tenant's guest, running or not. No guest
 * is success.
 */
int life_limit(const struct config *config, struct store *store, const char *name, struct err *err);

/* The same, by a caller that does not wait for longer: ERR_BUSY. */
int life_limit_within(const struct config *config, struct store *store, const char *name,
	int patience_ms, struct err *err);

/* The same for all tenants of a plan; goes on after a failure, and says how many there were. */
int life_limit_all(
	const struct config *config, struct store *store, const char *plan, struct err *err);

/*
 * Look for accounts that were added or removed inside the tenant's guest, and publish their names
 * (docs/SNAPSHOT). Done at each start and stop of a guest and at the end of each session; best effort.
 */
void life_learn(const struct config *config, struct store *store, const char *name);

/*
 * Have a running guest's hosts and resolv.conf follow its plan and addresses, where they are still ours
 * (one that does not run gets them at its start). The caller holds the lock. Best effort.
 */
void life_follow(const struct config *config, const struct store_tenant *tenant);

/* The spec of a tenant's guest; strings belong to the tenant. */
void life_spec(const struct store_tenant *tenant, struct guest_spec *ret);

/* "none", "creating", "running", "stopped" or "destroying". */
const char *life_state(const struct config *config, const struct store_tenant *tenant);

/* The same where many are looked at; look is filled when running. */
const char *life_state_in(const struct guest_view *view, const struct store_tenant *tenant,
	struct guest_look *look);

#endif
