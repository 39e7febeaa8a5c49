/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "provision/base/cleanup.h"
#include "provision/daemon/handlers.h"
#include "provision/store/authkey.h"

void key_fill(const struct authkey *parsed, struct store_key *ret)
{
	*ret = (struct store_key){ .blob = parsed->blob, .blob_len = parsed->len };
	memcpy(ret->type, parsed->type, sizeof(ret->type));
	memcpy(ret->comment, parsed->comment, sizeof(ret->comment));
	memcpy(ret->options, parsed->options, sizeof(ret->options));
	authkey_fingerprint(parsed->blob, parsed->len, ret->fingerprint);
}

static int send_key(void *data, const struct store_key *k)
{
	CLEANUP_MSG struct msg row = { 0 };

	request_row_begin(&row);
	msg_add_i64(&row, "id", k->id);
	msg_add(&row, "type", k->type);
	msg_add(&row, "fingerprint", k->fingerprint);
	msg_add(&row, "comment", k->comment);
	msg_add(&row, "options", k->options);
	msg_add_i64(&row, "created", k->created);
	return request_row(data, &row);
}

/* The line, and what the request says besides it. */
static int read_line(struct request *r, const char *line, struct authkey *ret)
{
	const char *options = msg_get(&r->in, "options"), *comment = NULL;
	int n = authkey_parse(line, ret, &r->err);

	if (n == 0 && options)
		n = authkey_restrict(ret, options, &r->err);
	if (n == 0)
		n = request_text(r, "comment", sizeof(ret->comment) - 1, &comment);
	if (n == 0 && msg_get(&r->in, "comment"))
		authkey_comment(ret, comment);
	return n;
}

int key_add(struct request *r)
{
	CLEANUP_FREE struct authkey *parsed = xcalloc(1, sizeof(*parsed));
	const char *tenant = NULL, *line = NULL;
	struct store_key key;
	int n = request_name(r, "tenant", &tenant);

	if (n == 0)
		n = msg_need(&r->in, "key", &line, &r->err);
	if (n == 0)
		n = read_line(r, line, parsed);
	if (n != 0)
		return n;
	key_fill(parsed, &key);
	n = store_key_add(r->store, tenant, &key, &r->err);
	return n == 0 ? send_key(r, &key) : n;
}

int key_list(struct request *r)
{
	const char *tenant = NULL;
	int n = request_name(r, "tenant", &tenant);

	return n == 0 ? store_key_each(r->store, tenant, send_key, r, &r->err) : n;
}

int key_remove(struct request *r)
{
	const char *tenant = NULL, *which = NULL;
	int n = request_name(r, "tenant", &tenant);

	if (n == 0)
		n = msg_need(&r->in, "fingerprint", &which, &r->err);
	return n == 0 ? store_key_remove(r->store, tenant, which, &r->err) : n;
}
