/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What staff sees and sets of how a tenant logs in. */
#include <string.h>
#include <unistd.h>

#include "provision/base/cleanup.h"
#include "provision/daemon/handlers.h"
#include "provision/store/lockout.h"
#include "provision/store/rules.h"
#include "provision/store/totp.h"

/* The host's name as the issuer of codes; what a URI cannot hold as it is (RFC 3986, 2.3) is left out. */
static void issuer(char *ret, size_t size)
{
	char name[256] = "";
	size_t n = 0;

	gethostname(name, sizeof(name) - 1);
	for (const char *p = name; *p && n + 1 < size; p++)
		if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
			*p == '.' || *p == '-')
			ret[n++] = *p;
	ret[n] = '\0';
}

static void wipe(struct msg *m)
{
	if (m->data.data)
		explicit_bzero(m->data.data, m->data.cap);
	msg_free(m);
}

/* The key URI that authenticators read (github.com/google/google-authenticator, "Key Uri Format"). */
static int send_totp(struct request *r, const char *name, const struct totp_new *made)
{
	__attribute__((cleanup(wipe))) struct msg row = { 0 };
	char host[65], uri[256];
	int n;

	issuer(host, sizeof(host));
	snprintf(uri, sizeof(uri), "otpauth://totp/%s:%s?secret=%s&issuer=%s", host, name, made->secret,
		host);
	/* Room for all at once: a buffer that grows would leave copies behind. */
	buf_add(&row.data, (const char[2048]){ 0 }, 2048);
	row.data.len = 0;
	request_row_begin(&row);
	msg_add(&row, "name", name);
	msg_add(&row, "uri", uri);
	msg_add(&row, "secret", made->secret);
	for (int i = 0; i < TOTP_RECOVERY; i++)
		msg_add(&row, "recovery", made->recovery[i]);
	n = request_row(r, &row);
	explicit_bzero(uri, sizeof(uri));
	return n;
}

int tenant_totp(struct request *r)
{
	const char *name = NULL, *remove = msg_get(&r->in, "remove");
	struct totp_new made = { 0 };
	int n = request_name(r, "name", &name);

	if (n != 0)
		return n;
	if (remove && !strcmp(remove, "1"))
		return totp_remove(r->store, name, &r->err);
	n = totp_set(r->store, name, &made, &r->err);
	if (n == 0)
		n = send_totp(r, name, &made);
	explicit_bzero(&made, sizeof(made));
	return n;
}

int tenant_unlock(struct request *r)
{
	const char *name = NULL;
	int n = request_name(r, "name", &name);

	return n == 0 ? lockout_clear(r->store, name, msg_get(&r->in, "source"), &r->err) : n;
}

/* The fields of tenant.set that are about logins, into rules. *ret_any: there was one. */
static int read_rules(struct request *r, struct rules *rules, bool *ret_any)
{
	static const struct {
		const char *field;
		int (*set)(struct rules *rules, const char *text, struct err *err);
	} texts[] = { { "expires", rules_set_expires },
		{ "sources", rules_set_sources },
		{ "hours", rules_set_hours } };
	const char *change = msg_get(&r->in, "change_password");
	int n = 0;

	for (size_t i = 0; n == 0 && i < ARRAY_LEN(texts); i++) {
		const char *text = msg_get(&r->in, texts[i].field);

		if (text) {
			n = texts[i].set(rules, text, &r->err);
			*ret_any = true;
		}
	}
	if (n == 0 && msg_get(&r->in, "password_days")) {
		n = msg_get_u64(&r->in, "password_days", 0, 36500, &rules->password_days, &r->err);
		*ret_any = true;
	}
	if (change) {
		rules->change = !strcmp(change, "1");
		*ret_any = true;
	}
	return n;
}

int login_set(struct request *r, const char *name, bool *ret_any)
{
	struct rules rules;
	bool any = false;
	int n = rules_get(r->store, name, &rules, &r->err);

	if (n == 0)
		n = read_rules(r, &rules, &any);
	if (n == 0 && any && !msg_get(&r->in, "dry_run"))
		n = rules_put(r->store, name, &rules, &r->err);
	if (n == 0)
		*ret_any = any;
	return n;
}

static int add_rules(struct request *r, const char *name, struct msg *row)
{
	struct rules rules;
	bool any = false;
	int n = rules_get(r->store, name, &rules, &r->err);

	/* As they would be. */
	if (n == 0 && msg_get(&r->in, "dry_run"))
		n = read_rules(r, &rules, &any);
	if (n != 0)
		return n;
	msg_add_i64(row, "expires", rules.expires);
	msg_add_u64(row, "password_days", rules.password_days);
	msg_add(row, "change_password", rules.change ? "1" : "0");
	msg_add(row, "sources", rules.sources);
	msg_add(row, "hours", rules.hours);
	return 0;
}

int login_fields(struct request *r, const char *name, struct msg *row)
{
	struct lockout lock;
	bool totp = false;
	int n = lockout_get(r->store, r->config, name, &lock, &r->err);

	if (n == 0)
		n = totp_has(r->store, name, &totp, &r->err);
	if (n != 0)
		return n;
	msg_add(row, "totp", totp ? "1" : "0");
	msg_add_u64(row, "failures", lock.failures);
	msg_add_i64(row, "locked_until", lock.until);
	msg_add_u64(row, "known_sources", lock.known);
	msg_add_u64(row, "locked_sources", lock.locked_known);
	return add_rules(r, name, row);
}
