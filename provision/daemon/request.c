/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "provision/daemon/request.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/base/log.h"

/* A peer has so long to send its request, and to take each part of the answer. */
#define READ_TIMEOUT_MS 5000
#define SEND_TIMEOUT_S	10

/* Rows that share a message: enough that few are sent, and the first are read while others are made. */
#define ROWS_BYTES 32768

void request_row_begin(struct msg *row)
{
	msg_add(row, "event", "row");
}

static int send_rows(struct request *r)
{
	int n = r->rows.data.len ? msg_send(r->fd, &r->rows, &r->err) : 0;

	r->rows.data.len = 0;
	if (n != 0)
		err_wrap(&r->err, "the answer was not taken");
	return n;
}

int request_row(struct request *r, const struct msg *row)
{
	int n = r->rows.data.len + row->data.len > ROWS_BYTES ? send_rows(r) : 0;

	buf_add(&r->rows.data, row->data.data, row->data.len);
	return n == 0 && !msg_get(&r->in, "many") ? send_rows(r) : n;
}

void request_progress(void *request, const char *text)
{
	struct request *r = request;
	CLEANUP_MSG struct msg m = { 0 };

	msg_add(&m, "event", "progress");
	msg_add(&m, "text", text);
	msg_send(r->fd, &m, NULL);
}

int request_name(struct request *r, const char *key, const char **ret)
{
	const char *name = NULL;
	int n = msg_need(&r->in, key, &name, &r->err);

	if (n == 0 && !name_valid(name))
		return err_set(&r->err, ERR_USAGE,
			"'%.40s' is no name: it takes a-z first, then a-z, 0-9 and '-', at most %d",
			name, NAME_LEN_MAX);
	if (n == 0)
		*ret = name;
	return n;
}

/* Of U+0080 to U+009F all begin so (RFC 3629), and a terminal may do what they say. */
static bool is_control(const unsigned char *c)
{
	return c[0] < ' ' || c[0] == 127 || (c[0] == 0xc2 && c[1] < 0xa0);
}

int request_text(struct request *r, const char *key, size_t max, const char **ret)
{
	const char *text = msg_get(&r->in, key) ?: "";
	size_t left = strlen(text), len;

	if (left > max)
		return err_set(&r->err, ERR_USAGE, "the %s is longer than %zu bytes", key, max);
	for (const char *at = text; *at; at += len, left -= len) {
		len = utf8_len(at, left);
		if (!len)
			return err_set(&r->err, ERR_USAGE, "the %s is not UTF-8, from byte %zu on", key,
				at - text + 1);
		if (is_control((const unsigned char *)at))
			return err_set(&r->err, ERR_USAGE, "there are control characters in the %s", key);
	}
	*ret = text;
	return 0;
}

static void send_end(int fd, int status, const char *text, struct msg *out)
{
	char number[8];
	CLEANUP_MSG struct msg m = { 0 };

	snprintf(number, sizeof(number), "%d", status);
	msg_add(&m, "event", "end");
	msg_add(&m, "status", number);
	if (status != 0)
		msg_add(&m, "error", text && *text ? text : "vm2d failed and cannot say why");
	if (out) {
		buf_add(&m.data, out->data.data, out->data.len);
		for (int i = 0; status == 0 && i < out->n_fds; i++)
			msg_add_fd(&m, out->fds[i]);
	}
	msg_send(fd, &m, NULL);
}

void request_refuse(int fd, int status, const char *text)
{
	send_end(fd, status, text, NULL);
}

static const struct request_kind *find_kind(const char *op)
{
	for (const struct request_kind *k = request_kinds; k->op; k++)
		if (!strcmp(k->op, op))
			return k;
	return NULL;
}

/* Each word of the table's fields that is not in brackets must be there. */
static int check_fields(struct request *r, const struct request_kind *kind)
{
	char fields[512], *rest = fields, *word;
	const char *value;
	int n = 0;

	snprintf(fields, sizeof(fields), "%s", kind->fields);
	while (n == 0 && (word = strsep(&rest, " ")))
		if (*word && *word != '[')
			n = msg_need(&r->in, word, &value, &r->err);
	return n;
}

/*
 * The tenant that a request is about: what ROLE_SELF is for. The first of the table's fields names
 * it, which is the one that the handler reads: a request may hold the other, too.
 */
static const char *subject(const struct request *r, const struct request_kind *kind)
{
	return msg_get(&r->in, str_starts(kind->fields, "tenant") ? "tenant" : "name");
}

static int find_self(struct request *r, const struct request_kind *kind)
{
	uint64_t base = r->config->account_base;
	char name[STORE_NAME_SIZE];
	const char *about = subject(r, kind);
	int n;

	if (!about || r->peer.uid < base || r->peer.uid >= base + r->config->account_count)
		return 0;
	n = store_tenant_by_uid(r->store, r->peer.uid, name, &r->err);
	if (n == 0)
		r->self = !strcmp(name, about);
	return n == ERR_NOT_FOUND ? 0 : n;
}

static int authorise(struct request *r, const struct request_kind *kind)
{
	char words[64];
	int n;

	/* Which session's process a peer is, only the handler can tell: it looks at the row. */
	if (kind->roles & ROLE_SESSION)
		return r->peer.uid == 0 ?
			0 :
			err_set(&r->err, ERR_DENIED, "%s is for vm2-session only", kind->op);
	if (r->peer.roles & (ROLE_ROOT | kind->roles))
		return 0;
	if (kind->roles & ROLE_SELF) {
		n = find_self(r, kind);
		if (n != 0 || r->self)
			return n;
	}
	access_words(kind->roles, words, sizeof(words));
	return err_set(&r->err, ERR_DENIED, "%s is not for uid %u: it takes %s%s", kind->op,
		       (unsigned int)r->peer.uid, kind->roles ? "root or one of: " : "", words);
}

/* Values are logged only where they are names or ids: a password or a key never is. */
static void log_request(const struct request *r, const struct request_kind *kind, int status)
{
	static const char *const keys[] = { "name", "tenant", "id", "fingerprint" };
	CLEANUP_BUF struct buf line = { 0 };

	buf_printf(&line, "uid %u (%s%s%s): %s", (unsigned int)r->peer.uid,
		r->peer.uid == 0 ? "root" :
			r->self	 ? "self" :
				   "",
		r->peer.roles & ROLE_GATEWAY	   ? "gateway" :
			r->peer.roles & ROLE_STAFF ? "staff" :
						     "",
		r->peer.roles & ROLE_AUDIT ? " audit" : "", kind->op);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (msg_get(&r->in, keys[i]))
			buf_printf(&line, " %s=%.80s", keys[i], msg_get(&r->in, keys[i]));
	if (status == 0)
		log_info("%s: done", line.data);
	else
		log_notice("%s: %s", line.data, r->err.text);
}

static int handle(struct request *r, const struct request_kind *kind)
{
	int n = check_fields(r, kind);

	if (n == 0 && !r->store)
		n = store_open(r->config->database, &r->store, &r->err);
	if (n == 0)
		n = authorise(r, kind);
	if (n == 0 && kind->flags & REQUEST_CHANGES)
		n = store_durable(r->store, &r->err);
	return n == 0 ? kind->handle(r) : n;
}

static int serve(struct request *r)
{
	const struct request_kind *kind;
	const char *op = NULL;
	int n = msg_recv(r->fd, &r->in, clock_ms() + READ_TIMEOUT_MS, &r->err);

	if (n == -EBADMSG)
		n = ERR_USAGE;
	if (n == 0)
		n = msg_need(&r->in, "op", &op, &r->err);
	if (n != 0)
		return n;
	kind = find_kind(op);
	if (!kind)
		return err_set(&r->err, ERR_USAGE, "there is no request '%.40s'", op);
	n = handle(r, kind);
	if (n == 0)
		n = send_rows(r);
	n = err_exit_status(n);
	if (kind->flags || n == ERR_DENIED)
		log_request(r, kind, n);
	return n;
}

/* What came may hold a password. */
static void wipe(struct msg *m)
{
	if (m->data.data)
		explicit_bzero(m->data.data, m->data.cap);
	msg_free(m);
}

bool request_serve(const struct host *host, int fd, struct store **store)
{
	struct timeval patience = { .tv_sec = SEND_TIMEOUT_S };
	struct request r = { .host = host, .config = host->config, .fd = fd, .store = steal_ptr(store) };
	int status;

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	status = access_peer(&host->access, fd, &r.peer, &r.err);
	if (status == 0)
		status = serve(&r);
	status = err_exit_status(status);
	if (!r.handed_on)
		send_end(r.fd, status, r.err.text, &r.out);
	wipe(&r.in);
	msg_free(&r.rows);
	msg_free(&r.out);
	/* Who met a fault, in the database say, does not go on with it. */
	if (r.again && r.store && (status == 0 || status == ERR_DENIED || status == ERR_NOT_FOUND)) {
		*store = r.store;
		return true;
	}
	store_close(r.store);
	return false;
}
