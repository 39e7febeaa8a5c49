/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the doors ask before they let somebody in. */
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "provision/base/cleanup.h"
#include "provision/base/log.h"
#include "provision/daemon/handlers.h"
#include "provision/daemon/life.h"
#include "provision/daemon/locks.h"
#include "provision/store/lockout.h"
#include "provision/store/password.h"
#include "provision/store/rules.h"
#include "provision/store/totp.h"

#define PASSWORD_WAIT_MS 3000

/* Where they come from, as the doors say; a tenant's own word counts for nothing. NULL: nowhere. */
static const char *source_of(const struct request *r)
{
	return r->peer.roles & (ROLE_ROOT | ROLE_GATEWAY) ? msg_get(&r->in, "source") : NULL;
}

static int denied(struct request *r, const char *what, const char *tenant)
{
	/* Names as hostile clients give them: bounded. */
	log_notice("%s for '%.40s' from %.80s: denied", what, tenant,
		source_of(r) ? source_of(r) : "this host");
	return err_set(&r->err, ERR_DENIED, "this %s lets nobody of that name in",
		strcmp(what, "password") ? "key" : "password");
}

/* Whether the key may be used now, and from there. A stock sshd asks for its options and keeps them. */
static bool usable(const struct request *r, const struct store_key *key)
{
	CLEANUP_KEYOPTS struct keyopts options = { 0 };
	const char *source = source_of(r);

	if (keyopts_parse(key->options, &options, NULL) != 0)
		return false;
	if (source && !strcmp(source, "sshd"))
		return true;
	return (!options.expires || time(NULL) < options.expires) && keyopts_from(&options, source);
}

/* Equal blobs are the same key: nothing of the cryptography is needed here. */
int auth_key(struct request *r)
{
	CLEANUP_FREE struct authkey *parsed = xcalloc(1, sizeof(*parsed));
	const char *tenant = NULL, *line = NULL;
	struct store_key key;
	int n = msg_need(&r->in, "tenant", &tenant, &r->err);

	r->again = true;
	if (n == 0)
		n = msg_need(&r->in, "key", &line, &r->err);
	if (n != 0)
		return n;
	/* A key of a kind that we do not take is nobody's: it is no fault of the request. */
	if (!name_valid(tenant) || authkey_parse(line, parsed, NULL) != 0)
		return denied(r, "key", tenant);
	n = store_key_match(r->store, tenant, parsed->blob, parsed->len, &key, &r->err);
	if (n == ERR_NOT_FOUND || (n == 0 && !usable(r, &key)))
		return denied(r, "key", tenant);
	if (n != 0)
		return n;
	msg_add(&r->out, "fingerprint", key.fingerprint);
	msg_add(&r->out, "options", key.options);
	msg_add(&r->out, "comment", key.comment);
	return 0;
}

/* A name that is nobody's takes what most do: it is told apart from none. */
int auth_methods(struct request *r)
{
	const struct limit *limit = &limit_table[LIMITS_AT_methods];
	CLEANUP_BUF struct buf text = { 0 };
	const char *tenant = NULL;
	struct limits limits;
	struct store_tenant t;
	int n = msg_need(&r->in, "tenant", &tenant, &r->err);

	r->again = true;
	if (n != 0)
		return n;
	limits_default(&limits);
	n = name_valid(tenant) ? store_tenant_get(r->store, tenant, &t, &r->err) : ERR_NOT_FOUND;
	if (n == 0) {
		limits = t.limits;
		msg_add(&r->out, "accept_env", t.lists.accept_env);
	} else if (n != ERR_NOT_FOUND) {
		return n;
	}
	limit_print(limit, limits.methods, &text);
	msg_add(&r->out, "methods", text.data);
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

/* One password, and the code if there must be one, judged at the cost of one hash in any case. */
static int judge(struct request *r, const char *tenant, const char *password,
	const struct lockout_try *t, enum lockout_verdict *ret)
{
	const char *code = msg_get(&r->in, "code");
	char hash[STORE_HASH_SIZE] = "";
	bool known = false, right, second = false;
	int n = 0;

	if (t->tenant)
		n = store_password_get(r->store, tenant, hash, &r->err);
	known = t->tenant && n == 0 && t->state == LOCKOUT_NONE;
	if (n != 0 && n != ERR_NOT_FOUND)
		return n;
	right = password_verify(password, known ? hash : NULL);
	explicit_bzero(hash, sizeof(hash));
	n = totp_has(r->store, tenant, &second, &r->err);
	if (n != 0 || !right)
		return n;
	if (!second) {
		*ret = LOCKOUT_RIGHT;
		return 0;
	}
	if (!code) {
		*ret = LOCKOUT_UNDONE;
		return 0;
	}
	n = totp_take(r->store, tenant, code, time(NULL), &r->err);
	if (n == 0)
		*ret = LOCKOUT_RIGHT;
	return n == ERR_DENIED ? 0 : n;
}

/* 0, or ERR_DENIED in the same words and after the same time whatever was wrong. */
static int check_password(struct request *r, const char *tenant, const char *password)
{
	enum lockout_verdict verdict = LOCKOUT_WRONG;
	struct lockout_try t = { 0 };
	int n, ended;

	n = lockout_begin(r->store, r->config, name_valid(tenant) ? tenant : "",
		source_of(r), &t, &r->err);
	if (n != 0)
		return n;
	n = judge(r, tenant, password, &t, &verdict);
	ended = lockout_end(r->store, &t, n == 0 ? verdict : LOCKOUT_UNDONE, &r->err);
	if (n != 0 || ended != 0)
		return n != 0 ? n : ended;
	if (verdict == LOCKOUT_RIGHT)
		return 0;
	if (verdict == LOCKOUT_UNDONE) {
		msg_add(&r->out, "second", "code");
		return err_set(&r->err, ERR_DENIED, "a one-time code is needed, too");
	}
	if (t.state == LOCKOUT_SOURCE)
		msg_add(&r->out, "locked", "1");
	if (t.state != LOCKOUT_NONE)
		log_notice("'%.40s' is locked for %s", tenant,
			t.state == LOCKOUT_SOURCE ? t.source : "sources that it never came from");
	return denied(r, "password", tenant);
}

/* Its turn among those that verify passwords: *ret_seat and *ret_slot are to be closed. */
static int take_turn(struct request *r, int *ret_seat, int *ret_slot)
{
	int n = lock_seat(r->config, LOCK_PASSWORD, ret_seat, &r->err);

	return n == 0 ? password_slot(r, ret_slot) : n;
}

int auth_password(struct request *r)
{
	const char *tenant = NULL, *password = NULL;
	CLEANUP_CLOSE int seat = -1, slot = -1;
	int n = msg_need(&r->in, "tenant", &tenant, &r->err);

	if (n == 0)
		n = msg_need(&r->in, "password", &password, &r->err);
	if (n == 0)
		n = take_turn(r, &seat, &slot);
	return n == 0 ? check_password(r, tenant, password) : n;
}

/* Who had to change it has done so. */
static int was_changed(struct request *r, const char *tenant)
{
	struct rules rules;
	int n = rules_get(r->store, tenant, &rules, &r->err);

	if (n != 0 || !rules.change)
		return n;
	rules.change = false;
	return rules_put(r->store, tenant, &rules, &r->err);
}

/* The same one again would change nothing of its age that a change is there for. */
static int check_new(struct request *r, const char *password, const char *new)
{
	return strcmp(password, new) ? 0 : err_set(&r->err, ERR_USAGE, "that is the old password");
}

int auth_change(struct request *r)
{
	const char *tenant = NULL, *password = NULL, *new = NULL;
	CLEANUP_CLOSE int seat = -1, slot = -1;
	CLEANUP_FREE char *hash = NULL;
	int n = request_name(r, "tenant", &tenant);

	if (n == 0)
		n = msg_need(&r->in, "password", &password, &r->err);
	if (n == 0)
		n = msg_need(&r->in, "new", &new, &r->err);
	if (n == 0)
		n = take_turn(r, &seat, &slot);
	if (n == 0)
		n = check_password(r, tenant, password);
	if (n == 0)
		n = check_new(r, password, new);
	if (n == 0)
		n = password_hash(new, &hash, &r->err);
	if (n == 0)
		n = store_password_set(r->store, tenant, hash, &r->err);
	return n == 0 ? was_changed(r, tenant) : n;
}

/* Why not, in words that the tenant reads, and in one that programs do. */
static int say_rule(struct request *r, enum rules_verdict verdict)
{
	static const struct {
		const char *why, *text;
	} words[] = {
		[RULES_EXPIRED] = { "expired", "this account has expired" },
		[RULES_SOURCE] = { "source", "this account may not log in from where you are" },
		[RULES_HOURS] = { "hours", "this account may not log in at this hour" },
		[RULES_PASSWORD] = { "password", "the password is too old: it must be changed" },
	};

	msg_add(&r->out, "why", words[verdict].why);
	return err_set(&r->err, ERR_DENIED, "%s", words[verdict].text);
}

static int check_rules(struct request *r, const struct store_tenant *t)
{
	const char *by = msg_get(&r->in, "by");
	struct rules_login login = { .now = time(NULL),
		.source = source_of(r),
		.by_password = by && !strcmp(by, "password"),
		.password_set = t->password_set };
	enum rules_verdict verdict;
	struct rules rules;
	int n = rules_get(r->store, t->name, &rules, &r->err);

	if (n != 0)
		return n;
	verdict = rules_judge(&rules, &login);
	return verdict == RULES_OK ? 0 : say_rule(r, verdict);
}

int auth_account(struct request *r)
{
	const char *name = NULL;
	struct store_tenant t;
	int n = request_name(r, "tenant", &name);

	r->again = true;
	if (n != 0)
		return err_set(&r->err, ERR_NOT_FOUND, "there is no such tenant");
	n = store_tenant_get(r->store, name, &t, &r->err);
	if (n == 0 && t.suspended)
		return err_set(
			&r->err, ERR_DENIED, "suspended%s%s", t.reason[0] ? ": " : "", t.reason);
	return n == 0 ? check_rules(r, &t) : n;
}

int auth_open(struct request *r)
{
	const struct life_waiting waiting = { request_progress, NULL, r, r->host->queue };
	const char *name = NULL;
	struct guest_run run;
	struct store_tenant t;
	int n = request_name(r, "tenant", &name);

	if (n != 0)
		return n;
	r->again = life_is_up(r->config, r->store, name, &t, &run);
	if (!r->again)
		n = life_up(r->config, r->store, name, &waiting, &t, &run, &r->err);
	if (n != 0)
		return n;
	guest_run_close(&run);
	msg_add(&r->out, "guest", name);
	/* Who asks for a session for it has let it in: where it came from is its own from now on. */
	if (source_of(r))
		n = lockout_note_source(r->store, name, source_of(r), &r->err);
	return n != 0 ? n : store_tenant_login(r->store, name, &r->err);
}
