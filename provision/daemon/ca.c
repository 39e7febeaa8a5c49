/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Authorities whose certificates let users in (ssh-keygen(1), CERTIFICATES). */
#include <stdio.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/base/log.h"
#include "provision/daemon/handlers.h"

static int send_ca(void *data, const struct store_ca *ca)
{
	CLEANUP_MSG struct msg row = { 0 };

	request_row_begin(&row);
	msg_add_i64(&row, "id", ca->id);
	msg_add(&row, "tenant", ca->tenant);
	msg_add(&row, "type", ca->type);
	msg_add(&row, "fingerprint", ca->fingerprint);
	msg_add(&row, "principals", ca->principals);
	msg_add(&row, "comment", ca->comment);
	msg_add_i64(&row, "created", ca->created);
	return request_row(data, &row);
}

/* The tenant, where one is named. */
static int maybe_tenant(struct request *r, const char **ret)
{
	*ret = NULL;
	return msg_get(&r->in, "tenant") ? request_name(r, "tenant", ret) : 0;
}

/* Names that a certificate may have in place of the tenant's. */
static int take_principals(struct request *r, struct store_ca *ca)
{
	CLEANUP_BUF struct buf list = { 0 };
	const char *one;
	size_t at = 0;

	while ((one = msg_next_value(&r->in, "principal", &at))) {
		bool bad = !*one;

		for (const char *p = one; *p; p++)
			bad |= *p <= ' ' || *p == 0x7f || *p == ',' || *p == '"' || *p == '\\';
		if (bad)
			return err_set(&r->err, ERR_USAGE, "'%.40s' is no principal: give a name without "
				       "spaces, commas and quotes", one);
		buf_printf(&list, "%s%s", list.len ? " " : "", one);
	}
	if (list.len > STORE_PRINCIPALS_MAX)
		return err_set(&r->err, ERR_USAGE, "the principals are longer than %d bytes together",
			STORE_PRINCIPALS_MAX);
	snprintf(ca->principals, sizeof(ca->principals), "%s", list.data ? list.data : "");
	return 0;
}

/* The line of a public key that signs; an authenticator's signatures are not read. */
static int read_ca(struct request *r, const char *line, struct authkey *parsed, struct store_ca *ca)
{
	const char *comment = NULL;
	int n = authkey_parse(line, parsed, &r->err);

	if (n == 0 && str_starts(parsed->type, "sk-"))
		n = err_set(&r->err, ERR_USAGE,
			"an authority whose key is in an authenticator (%s) is not taken", parsed->type);
	if (n == 0 && parsed->options[0])
		n = err_set(&r->err, ERR_USAGE, "an authority takes no options: its certificates have them");
	if (n == 0)
		n = request_text(r, "comment", sizeof(parsed->comment) - 1, &comment);
	if (n != 0)
		return n;
	if (msg_get(&r->in, "comment"))
		authkey_comment(parsed, comment);
	*ca = (struct store_ca){ .blob = parsed->blob, .blob_len = parsed->len };
	memcpy(ca->type, parsed->type, sizeof(ca->type));
	memcpy(ca->comment, parsed->comment, sizeof(ca->comment));
	authkey_fingerprint(parsed->blob, parsed->len, ca->fingerprint);
	return take_principals(r, ca);
}

int ca_add(struct request *r)
{
	CLEANUP_FREE struct authkey *parsed = xcalloc(1, sizeof(*parsed));
	const char *tenant = NULL, *line = NULL;
	struct store_ca ca;
	int n = maybe_tenant(r, &tenant);

	if (n == 0)
		n = msg_need(&r->in, "key", &line, &r->err);
	if (n == 0)
		n = read_ca(r, line, parsed, &ca);
	if (n == 0 && !tenant && ca.principals[0])
		n = err_set(&r->err, ERR_USAGE, "an authority for all tenants takes no principals: each of "
			    "its certificates lets in the tenants that it names");
	if (n == 0)
		n = store_ca_add(r->store, tenant, &ca, &r->err);
	if (n != 0)
		return n;
	snprintf(ca.tenant, sizeof(ca.tenant), "%s", tenant ? tenant : "");
	return send_ca(r, &ca);
}

int ca_list(struct request *r)
{
	const char *tenant = NULL;
	int n = maybe_tenant(r, &tenant);

	return n == 0 ? store_ca_each(r->store, tenant, send_ca, r, &r->err) : n;
}

int ca_remove(struct request *r)
{
	const char *which = NULL;
	int n = msg_need(&r->in, "ca", &which, &r->err);

	return n == 0 ? store_ca_remove(r->store, which, &r->err) : n;
}

/* --- a certificate is offered --- */

struct match {
	const struct request *r;
	const char *tenant;
	struct store_ca found; /* id 0: none */
	struct buf names;      /* that count, of all that match, with commas between */
};

/* Whether one of the certificate's principals is a name. */
static bool named(const struct request *r, const char *name)
{
	const char *one;
	size_t at = 0;

	while ((one = msg_next_value(&r->in, "principal", &at)))
		if (!strcmp(one, name))
			return true;
	return false;
}

static int consider(void *data, const struct store_ca *ca)
{
	struct match *m = data;
	CLEANUP_FREE char *list = xstrdup(ca->principals[0] ? ca->principals : m->tenant);
	char *rest = list, *name;

	while ((name = strsep(&rest, " "))) {
		buf_printf(&m->names, "%s%s", m->names.len ? "," : "", name);
		if (!m->found.id && named(m->r, name))
			m->found = *ca;
	}
	return 0;
}

int auth_ca(struct request *r)
{
	CLEANUP_FREE struct authkey *parsed = xcalloc(1, sizeof(*parsed));
	struct match match = { .r = r };
	const char *line = NULL;
	int n = msg_need(&r->in, "tenant", &match.tenant, &r->err);

	if (n == 0)
		n = msg_need(&r->in, "key", &line, &r->err);
	if (n == 0 && name_valid(match.tenant) && authkey_parse(line, parsed, NULL) == 0)
		n = store_ca_match(r->store, match.tenant, parsed->blob, parsed->len, consider, &match,
			&r->err);
	if (n == 0 && match.found.id) {
		msg_add(&r->out, "fingerprint", match.found.fingerprint);
		msg_add(&r->out, "principals", match.names.data);
	} else if (n == 0) {
		log_notice("certificate for '%.40s': denied", match.tenant);
		n = err_set(&r->err, ERR_DENIED, "this authority's certificate lets nobody of that name in");
	}
	buf_free(&match.names);
	return n;
}
