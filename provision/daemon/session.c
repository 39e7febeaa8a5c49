/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sessions as auditors see them, and how each says that it ended. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "provision/base/cleanup.h"
#include "provision/base/fd.h"
#include "provision/daemon/handlers.h"
#include "provision/daemon/hostlog.h"
#include "provision/daemon/life.h"
#include "provision/daemon/logout.h"

#define LIST_DEFAULT 100
#define LIST_MAX     100000

static int send_session(void *data, const struct store_session *s)
{
	CLEANUP_MSG struct msg row = { 0 };

	request_row_begin(&row);
	msg_add(&row, "id", s->id);
	msg_add(&row, "tenant", s->tenant);
	msg_add(&row, "kind", s->kind);
	msg_add(&row, "command", s->command);
	msg_add(&row, "source", s->source);
	msg_add(&row, "credential", s->credential);
	msg_add(&row, "via", s->via);
	msg_add_i64(&row, "started", s->started);
	if (s->ended)
		msg_add_i64(&row, "ended", s->ended);
	if (s->status >= 0)
		msg_add_i64(&row, "status", s->status);
	msg_add(&row, "signal", s->signal);
	msg_add_u64(&row, "recorded", s->recorded);
	msg_add_u64(&row, "bytes_in", s->bytes_in);
	msg_add_u64(&row, "bytes_out", s->bytes_out);
	msg_add(&row, "state", s->state);
	return request_row(data, &row);
}

int session_list(struct request *r)
{
	const char *tenant = NULL;
	uint64_t limit = 0;
	int n = msg_get_u64(&r->in, "limit", LIST_DEFAULT, LIST_MAX, &limit, &r->err);

	if (n == 0 && msg_get(&r->in, "tenant"))
		n = request_name(r, "tenant", &tenant);
	return n == 0 ?
		store_session_each(r->store, tenant, false, limit, send_session, r, &r->err) :
		n;
}

int session_show(struct request *r)
{
	const char *id = NULL;
	int n = msg_need(&r->in, "id", &id, &r->err);

	return n == 0 ? store_session_get(r->store, id, send_session, r, &r->err) : n;
}

struct found {
	char tenant[STORE_NAME_SIZE];
	char id[STORE_SESSION_LEN + 1];
	bool by_gateway;
	pid_t pid;
	uint64_t pid_start;
};

static int note(void *data, const struct store_session *s)
{
	struct found *f = data;

	snprintf(f->tenant, sizeof(f->tenant), "%s", s->tenant);
	snprintf(f->id, sizeof(f->id), "%s", s->id);
	f->by_gateway = s->via && !strcmp(s->via, "gateway");
	f->pid = s->pid;
	f->pid_start = s->pid_start;
	return 0;
}

static int find(struct request *r, struct found *ret)
{
	const char *id = NULL;
	int n = msg_need(&r->in, "id", &id, &r->err);

	return n == 0 ? store_session_get(r->store, id, note, ret, &r->err) : n;
}

/*
 * Tenant and id come from the database, and were checked when they went in: no path of the peer's.
 */
int session_read(struct request *r)
{
	CLEANUP_FREE char *path = NULL;
	CLEANUP_CLOSE int fd = -1;
	uint64_t segment = 0;
	struct found f;
	struct stat st;
	int n = find(r, &f);

	if (n == 0)
		n = msg_get_u64(&r->in, "segment", 0, 999999, &segment, &r->err);
	if (n != 0)
		return n;
	path = xasprintf(
		"%s/%s/%s/%06" PRIu64 ".cast", r->config->sessions, f.tenant, f.id, segment);
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 && errno == ENOENT)
		return err_set(&r->err, ERR_NOT_FOUND,
			"session %s has no recording with number %" PRIu64, f.id, segment);
	if (fd < 0)
		return err_sys(&r->err, errno, "cannot open %s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(&r->err, ERR_FAILED, "%s is no file", path);
	n = msg_add_fd(&r->out, fd);
	return n < 0 ? err_sys(&r->err, -n, "cannot pass %s on", path) : 0;
}

static int read_end(struct request *r, struct store_session *s)
{
	uint64_t status = 0, recorded = 0;
	int n = msg_get_u64(&r->in, "status", 0, 255, &status, &r->err);

	if (n == 0)
		n = msg_get_u64(&r->in, "recorded", 0, 1, &recorded, &r->err);
	if (n == 0)
		n = msg_get_u64(&r->in, "bytes_in", 0, INT64_MAX, &s->bytes_in, &r->err);
	if (n == 0)
		n = msg_get_u64(&r->in, "bytes_out", 0, INT64_MAX, &s->bytes_out, &r->err);
	s->status = msg_get(&r->in, "status") ? (int64_t)status : -1;
	s->signal = msg_get(&r->in, "signal");
	s->recorded = recorded;
	if (n == 0 && s->signal && strlen(s->signal) > 16)
		return err_set(
			&r->err, ERR_USAGE, "signal = '%.20s…' is no signal's name", s->signal);
	return n;
}

/* The end of a terminal's session, for who(1) and last(1) in the guest, and last(1) here. Best effort. */
static void record_logout(struct request *r, const struct found *f)
{
	uint64_t line = 0, pid = 0;

	if (!msg_get(&r->in, "line"))
		return;
	if (f->by_gateway)
		hostlog_end(f->id, f->pid);
	if (msg_get_u64(&r->in, "line", 0, 1 << 20, &line, NULL) != 0 ||
	    msg_get_u64(&r->in, "pid", 0, INT32_MAX, &pid, NULL) != 0 || pid == 0)
		return;
	logout_record(r->config, f->tenant, (unsigned int)line, (pid_t)pid);
}

int session_close(struct request *r)
{
	struct store_session s = { .ended = time(NULL) };
	struct found f;
	int n = find(r, &f);

	if (n != 0)
		return n;
	/*
	 * The very process that became the session: root itself is not believed about another's
	 * end.
	 */
	if (r->peer.pid != f.pid || process_start_time(r->peer.pid) != f.pid_start)
		return err_set(
			&r->err, ERR_DENIED, "session.close is for the session's own vm2-session");
	s.id = f.id;
	n = read_end(r, &s);
	if (n == 0)
		n = store_session_close(r->store, &s, &r->err);
	/* To write into the guest's records it goes half into it. */
	r->again = n == 0 && !msg_get(&r->in, "line");
	if (n == 0) {
		record_logout(r, &f);
		life_learn(r->config, r->store, f.tenant);
	}
	return n;
}
