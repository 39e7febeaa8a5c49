/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the doors ask before they let somebody in. */
#include <string.h>
#include <sys/sysinfo.h>
#include <stdio.h>

#include "provision/base/cleanup.h"
#include "provision/base/log.h"
#include "provision/daemon/handlers.h"
#include "provision/daemon/life.h"
#include "provision/daemon/locks.h"
#include "provision/store/password.h"

#define PASSWORD_WAIT_MS 3000

/* Names as hostile clients give them: for the log only, bounded. */
static const char *source_of(const struct request *r)
{
	const char *source = msg_get(&r->in, "source");

	return source ? source : "unknown";
}

static int denied(struct request *r, const char *what, const char *tenant)
{
	log_notice("%s for '%.40s' from %.80s: denied", what, tenant, source_of(r));
	return err_set(&r->err, ERR_DENIED, "this %s lets nobody of that name in",
		strcmp(what, "password") ? "key" : "password");
}

/* Equal blobs are the same key: nothing of the cryptography is needed here. */
int auth_key(struct request *r)
{
	CLEANUP_FREE struct authkey *parsed = xcalloc(1, sizeof(*parsed));
	const char *tenant = NULL, *line = NULL;
	struct store_key key;
	int n = msg_need(&r->in, "tenant", &tenant, &r->err);

	if (n == 0)
		n = msg_need(&r->in, "key", &line, &r->err);
	if (n != 0)
		return n;
	/* A key of a kind that we do not take is nobody's: it is no fault of the request. */
	if (!name_valid(tenant) || authkey_parse(line, parsed, NULL) != 0)
		return denied(r, "key", tenant);
	n = store_key_match(r->store, tenant, parsed->blob, parsed->len, &key, &r->err);
	if (n == ERR_NOT_FOUND)
		return denied(r, "key", tenant);
	if (n != 0)
		return n;
	msg_add(&r->out, "fingerprint", key.fingerprint);
	msg_add(&r->out, "comment", key.comment);
	return 0;
}

/*
 * One of as many locks as there are processors: each verification costs 70 ms of one, so that a
 * flood of guesses waits for itself and not for the guests.
 */
static int password_slot(struct request *r, int *ret)
{
	int slots = get_nprocs() < 2 ? 2 : get_nprocs(), n = ERR_BUSY;
	char name[32];

	for (int i = 0; n == ERR_BUSY && i < slots; i++) {
		snprintf(name, sizeof(name), LOCK_PASSWORD "%d", i);
		n = lock_take(r->config, name, false, 0, ret, &r->err);
	}
	if (n == ERR_BUSY) {
		snprintf(name, sizeof(name), LOCK_PASSWORD "%d", (int)(r->peer.pid % slots));
		n = lock_take(r->config, name, false, PASSWORD_WAIT_MS, ret, &r->err);
	}
	if (n == ERR_BUSY)
		err_set(&r->err, n, "too many passwords are being tried at once; try again");
	return n;
}

int auth_password(struct request *r)
{
	const char *tenant = NULL, *password = NULL;
	char hash[STORE_HASH_SIZE] = "";
	CLEANUP_CLOSE int seat = -1, slot = -1;
	bool right, known = false;
	int n = msg_need(&r->in, "tenant", &tenant, &r->err);

	if (n == 0)
		n = msg_need(&r->in, "password", &password, &r->err);
	if (n == 0)
		n = lock_seat(r->config, LOCK_PASSWORD, &seat, &r->err);
	if (n == 0)
		n = password_slot(r, &slot);
	if (n != 0)
		return n;
	if (name_valid(tenant)) {
		n = store_password_get(r->store, tenant, hash, &r->err);
		known = n == 0;
		if (n != 0 && n != ERR_NOT_FOUND)
			return n;
	}
	right = password_verify(password, known ? hash : NULL);
	explicit_bzero(hash, sizeof(hash));
	return right ? 0 : denied(r, "password", tenant);
}

int auth_account(struct request *r)
{
	const char *name = NULL;
	struct store_tenant t;
	int n = request_name(r, "tenant", &name);

	if (n != 0)
		return err_set(&r->err, ERR_NOT_FOUND, "there is no such tenant");
	n = store_tenant_get(r->store, name, &t, &r->err);
	if (n == 0 && t.suspended)
		return err_set(
			&r->err, ERR_DENIED, "suspended%s%s", t.reason[0] ? ": " : "", t.reason);
	return n;
}

int auth_open(struct request *r)
{
	const char *name = NULL;
	struct guest_run run;
	struct store_tenant t;
	int n = request_name(r, "tenant", &name);

	if (n == 0)
		n = life_up(r->config, r->store, name, request_progress, r, &t, &run, &r->err);
	if (n != 0)
		return n;
	guest_run_close(&run);
	msg_add(&r->out, "guest", name);
	return store_tenant_login(r->store, name, &r->err);
}
